// Reading JSON: one pass that trusts nothing.
//
// There is no recursion: where the reader is in the tree is the tree itself, whose nodes know what they lie in. So no text,
// however deep, can use up the stack, and the place of a mistake can be told without having been kept.

#include "json_tree.h"

typedef struct reader {
    const unsigned char *at, *start, *end;
    const tm_json_origin *from;
    const char *problem;
} reader;

static bool fail(reader *reader, const char *problem) {
    if (!reader->problem) reader->problem = problem;
    return false;
}

// The byte that comes next. Behind the text it is a NUL, which fits nowhere, so that no other check of the end is needed.
static unsigned char peek(const reader *reader) { return reader->at < reader->end ? *reader->at : '\0'; }

static bool take(reader *reader, unsigned char byte) {
    if (peek(reader) != byte || reader->at == reader->end) return false;
    reader->at++;
    return true;
}

static void skip_blanks(reader *reader) {
    while (peek(reader) == ' ' || peek(reader) == '\t' || peek(reader) == '\n' || peek(reader) == '\r') reader->at++;
}

static bool skip_digits(reader *reader) {
    if (!tm_json_is_digit((char)peek(reader))) return fail(reader, "expected a digit");
    while (tm_json_is_digit((char)peek(reader))) reader->at++;
    return true;
}

static bool read_number(reader *reader, tm_text *digits) {
    const unsigned char *start = reader->at;
    take(reader, '-');
    if (!take(reader, '0') && !skip_digits(reader)) return false;
    if (take(reader, '.') && !skip_digits(reader)) return false;
    if (take(reader, 'e') || take(reader, 'E')) {
        if (!take(reader, '+')) take(reader, '-');
        if (!skip_digits(reader)) return false;
    }
    *digits = tm_copy((tm_text){ (const char *)start, (size_t)(reader->at - start) });
    return true;
}

static bool read_word(reader *reader, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) {
        return fail(reader, "expected a value");
    }
    reader->at += length;
    return true;
}

static bool read_hex(reader *reader, uint32_t *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        unsigned char byte = peek(reader);
        uint32_t digit = tm_json_is_digit((char)byte)                 ? (uint32_t)(byte - '0')
                         : byte >= 'a' && byte <= 'f'    ? (uint32_t)(byte - 'a' + 10)
                         : byte >= 'A' && byte <= 'F'    ? (uint32_t)(byte - 'A' + 10)
                                                         : 16;
        if (digit == 16) return fail(reader, "expected four hexadecimal digits");
        *unit = *unit << 4 | digit;
    }
    return true;
}

// Writes a code point as UTF-8 and says how many bytes that are.
static size_t encode(uint32_t point, char *out) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

// What follows `\u`.
static bool read_unit(reader *reader, char **out) {
    uint32_t point, low;
    if (!read_hex(reader, &point)) return false;
    if (point >= 0xdc00 && point <= 0xdfff) return fail(reader, "a low surrogate without a high one");
    if (point >= 0xd800 && point <= 0xdbff) {
        if (!take(reader, '\\') || !take(reader, 'u')) return fail(reader, "a high surrogate without a low one");
        if (!read_hex(reader, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return fail(reader, "a high surrogate without a low one");
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    *out += encode(point, *out);
    return true;
}

static bool read_escape(reader *reader, char **out) {
    static const char plain[] = "\"\"\\\\//b\bf\fn\nr\rt\t";  // pairs: behind the backslash, and what it means
    unsigned char byte = peek(reader);
    if (take(reader, 'u')) return read_unit(reader, out);
    for (const char *pair = plain; *pair; pair += 2) {
        if (byte == (unsigned char)pair[0]) {
            reader->at++;
            *(*out)++ = pair[1];
            return true;
        }
    }
    return fail(reader, "an unknown escape");
}

// Neither overlong forms nor surrogates are UTF-8 (table 3-7 of the Unicode standard).
size_t tm_json_sequence(const unsigned char *at, size_t rest) {
    unsigned char lead = at[0], least = 0x80, most = 0xbf;
    size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
    if (lead == 0xe0) least = 0xa0;
    if (lead == 0xed) most = 0x9f;
    if (lead == 0xf0) least = 0x90;
    if (lead == 0xf4) most = 0x8f;
    if (length == 0 || length > rest || at[1] < least || at[1] > most) return 0;
    for (size_t i = 2; i < length; i++) {
        if (at[i] < 0x80 || at[i] > 0xbf) return 0;
    }
    return length;
}

// The length of a text up to its closing quote, escapes not yet undone.
static size_t raw_length(const reader *reader) {
    const unsigned char *end = reader->at;
    while (end < reader->end && *end != '"') end += *end == '\\' && reader->end - end > 1 ? 2 : 1;
    return (size_t)(end - reader->at);
}

// A text whose opening quote has been taken. No escape is shorter than what it means, so the room of the escaped text is enough.
static bool read_text(reader *reader, tm_text *text) {
    char *start = tm_alloc(raw_length(reader) + 1), *out = start;
    while (!take(reader, '"')) {
        if (reader->at == reader->end) return fail(reader, "a text without an end");
        unsigned char byte = *reader->at;
        if (byte < 0x20) return fail(reader, "a control character in a text");
        if (byte >= 0x80) {
            size_t length = tm_json_sequence(reader->at, (size_t)(reader->end - reader->at));
            if (length == 0) return fail(reader, "a text that is not UTF-8");
            memcpy(out, reader->at, length);
            out += length;
            reader->at += length;
        } else if (take(reader, '\\')) {
            if (!read_escape(reader, &out)) return false;
        } else {
            *out++ = (char)byte;
            reader->at++;
        }
    }
    *text = (tm_text){ start, (size_t)(out - start) };
    return true;
}

// Reads a value, of a list or an object only the opening bracket.
static tm_json *read_value(reader *reader) {
    tm_json *value = tm_json_make(TM_JSON_NULL, reader->from);
    bool fine;
    switch (peek(reader)) {
        case '{': reader->at++; value->kind = TM_JSON_OBJECT; return value;
        case '[': reader->at++; value->kind = TM_JSON_LIST; return value;
        case '"': reader->at++; value->kind = TM_JSON_TEXT; fine = read_text(reader, &value->text); break;
        case 't': value->kind = TM_JSON_BOOL; value->truth = true; fine = read_word(reader, "true"); break;
        case 'f': value->kind = TM_JSON_BOOL; fine = read_word(reader, "false"); break;
        case 'n': fine = read_word(reader, "null"); break;
        case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
            value->kind = TM_JSON_NUMBER;
            fine = read_number(reader, &value->text);
            break;
        default: fine = fail(reader, "expected a value");
    }
    return fine ? value : NULL;
}

static bool read_name(reader *reader, tm_text *name) {
    skip_blanks(reader);
    if (!take(reader, '"')) return fail(reader, "expected a name in quotes");
    if (!read_text(reader, name)) return false;
    skip_blanks(reader);
    return take(reader, ':') || fail(reader, "expected `:`");
}

// Reads one item or member of `box`, or, of a box in it, the opening bracket.
static tm_json *read_part(reader *reader, tm_json *box) {
    tm_text name = { NULL, 0 };
    if (box->kind == TM_JSON_OBJECT && !read_name(reader, &name)) return NULL;
    skip_blanks(reader);
    tm_json *part = read_value(reader);
    if (!part) return NULL;
    part->name = name;
    tm_json_add(box, part);
    return part;
}

// Closes the boxes that end here. Answers the box that goes on behind a comma, or NULL when the outermost has ended or something
// is wrong.
static tm_json *close_boxes(reader *reader, tm_json *box, size_t *depth) {
    while (box) {
        skip_blanks(reader);
        if (take(reader, ',')) return box;
        bool is_list = box->kind == TM_JSON_LIST;
        if (!take(reader, is_list ? ']' : '}')) {
            fail(reader, is_list ? "expected `,` or `]`" : "expected `,` or `}`");
            return NULL;
        }
        box = box->inside;
        --*depth;
    }
    return NULL;
}

static tm_json *read_tree(reader *reader) {
    skip_blanks(reader);
    tm_json *root = read_value(reader);
    if (!root) return NULL;
    tm_json *box = tm_json_is_box(root) ? root : NULL;
    size_t depth = 1;
    while (box) {
        skip_blanks(reader);
        if (box->parts.length == 0 && peek(reader) == (box->kind == TM_JSON_LIST ? ']' : '}')) {
            box = close_boxes(reader, box, &depth);
            continue;
        }
        tm_json *part = read_part(reader, box);
        if (!part) return NULL;
        if (!tm_json_is_box(part)) {
            box = close_boxes(reader, box, &depth);
        } else if (++depth > TM_JSON_DEPTH) {
            fail(reader, "nested too deeply");
        } else {
            box = part;
        }
        if (reader->problem) return NULL;
    }
    skip_blanks(reader);
    if (!reader->problem && reader->at != reader->end) fail(reader, "something behind the value");
    return reader->problem ? NULL : root;
}

tm_outcome tm_json_misfit(const tm_json_origin *from, tm_text problem) {
    return (tm_outcome){ from ? from->code : TM_UNFIT, 0, problem };
}

static tm_outcome no_json(const reader *reader) {
    int line = 1;
    const unsigned char *begin = reader->start;
    for (const unsigned char *at = reader->start; at < reader->at; at++) {
        if (*at == '\n') {
            line++;
            begin = at + 1;
        }
    }
    return tm_json_misfit(reader->from, tm_format("%s is not JSON: %s at line %d column %d", reader->from->what, reader->problem, line,
                                          (int)(reader->at - begin) + 1));
}

tm_outcome tm_json_read_from(tm_text text, const char *what, tm_code code, tm_json **value) {
    tm_json_origin *from = tm_alloc(sizeof(tm_json_origin));
    *from = (tm_json_origin){ what, code };
    const unsigned char *start = (const unsigned char *)(text.ptr ? text.ptr : "");
    reader reader = { start, start, start + text.len, from, NULL };
    *value = read_tree(&reader);
    return *value ? tm_done() : no_json(&reader);
}

tm_outcome tm_event_json(const tm_event *event, tm_json **data) {
    return tm_json_read_from(event->data, "the event's data", TM_REJECT, data);
}

tm_outcome tm_question_json(const tm_question *question, tm_json **params) {
    return tm_json_read_from(question->params, "the query's parameter object", TM_REJECT, params);
}

tm_outcome tm_json_read(tm_text text, const char *what, tm_json **value) {
    return tm_json_read_from(text, tm_copy(tm_text_of(what)).ptr, TM_UNFIT, value);
}
