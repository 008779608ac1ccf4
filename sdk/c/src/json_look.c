// Looking into JSON, and saying what does not fit.

#include "json_tree.h"

#include <math.h>
#include <stdlib.h>

tm_json_kind tm_json_kind_of(const tm_json *value) { return value ? value->kind : TM_JSON_NONE; }

tm_json *tm_json_first(const tm_json *value) { return tm_json_is_box(value) ? value->parts.first : NULL; }

tm_json *tm_json_next(const tm_json *value) { return value ? value->next : NULL; }

size_t tm_json_length(const tm_json *value) { return tm_json_is_box(value) ? value->parts.length : 0; }

tm_text tm_json_name(const tm_json *value) { return value ? value->name : (tm_text){ NULL, 0 }; }

// Whether a token of a pointer, up to `/` or its end, names a member, undoing `~1` and `~0` on the way.
static bool names(const char *token, size_t length, tm_text name) {
    size_t at = 0;
    for (size_t i = 0; i < length; i++, at++) {
        char wanted = token[i];
        if (wanted == '~' && i + 1 < length && (token[i + 1] == '0' || token[i + 1] == '1')) wanted = token[++i] == '1' ? '/' : '~';
        if (at >= name.len || name.ptr[at] != wanted) return false;
    }
    return at == name.len;
}

static tm_json *member(const tm_json *object, const char *token, size_t length) {
    tm_json *found = NULL;
    tm_json_each(each, object) {
        if (names(token, length, each->name)) found = each;
    }
    return found;
}

static tm_json *item(const tm_json *list, const char *token, size_t length) {
    size_t index = 0;
    if (length == 0 || length > 9 || (length > 1 && token[0] == '0')) return NULL;
    for (size_t i = 0; i < length; i++) {
        if (!tm_json_is_digit(token[i])) return NULL;
        index = index * 10 + (size_t)(token[i] - '0');
    }
    tm_json *found = list->parts.first;
    while (found && index-- > 0) found = found->next;
    return found;
}

tm_json *tm_json_at(const tm_json *value, const char *place) {
    while (value && *place == '/') {
        const char *token = place + 1;
        size_t length = strcspn(token, "/");
        value = value->kind == TM_JSON_OBJECT ? member(value, token, length)
                : value->kind == TM_JSON_LIST ? item(value, token, length)
                                              : NULL;
        place = token + length;
    }
    return *place ? NULL : (tm_json *)value;
}

tm_text tm_json_text(const tm_json *value) {
    return tm_json_kind_of(value) == TM_JSON_TEXT ? value->text : (tm_text){ NULL, 0 };
}

bool tm_json_integer(const tm_json *value, int64_t *integer) {
    if (tm_json_kind_of(value) != TM_JSON_NUMBER) return false;
    const char *at = value->text.ptr, *end = at + value->text.len;
    bool is_negative = *at == '-';
    uint64_t size = 0, most = (uint64_t)INT64_MAX + is_negative;
    for (at += is_negative; at < end; at++) {
        if (!tm_json_is_digit(*at)) return false;
        uint64_t digit = (uint64_t)(*at - '0');
        if (size > (most - digit) / 10) return false;
        size = size * 10 + digit;
    }
    *integer = is_negative ? (int64_t)(0 - size) : (int64_t)size;
    return true;
}

bool tm_json_number(const tm_json *value, double *number) {
    if (tm_json_kind_of(value) != TM_JSON_NUMBER) return false;
    // An integer of 53 bits is exact and needs no `strtod`, which in Wasm computes with 128 bits in software.
    int64_t integer;
    bool is_small = tm_json_integer(value, &integer) && integer >= -(INT64_C(1) << 53) && integer <= INT64_C(1) << 53;
    *number = is_small ? (double)integer : strtod(value->text.ptr, NULL);
    return isfinite(*number);
}

bool tm_json_bool(const tm_json *value, bool *truth) {
    if (tm_json_kind_of(value) != TM_JSON_BOOL) return false;
    *truth = value->truth;
    return true;
}

bool tm_json_is(const tm_json *value, const char *chars) {
    tm_text text = tm_json_text(value);
    return text.ptr && tm_is(text, chars);
}

// === Saying what does not fit =====================================================================================

static size_t index_of(const tm_json *value) {
    size_t index = 0;
    for (const tm_json *each = value->inside->parts.first; each != value; each = each->next) index++;
    return index;
}

static tm_text escape_token(tm_text name) {
    char *token = tm_alloc(name.len * 2 + 1), *out = token;
    for (size_t i = 0; i < name.len; i++) {
        bool is_special = name.ptr[i] == '/' || name.ptr[i] == '~';
        if (is_special) *out++ = '~';
        *out++ = is_special ? (name.ptr[i] == '/' ? '1' : '0') : name.ptr[i];
    }
    return (tm_text){ token, (size_t)(out - token) };
}

// The pointer from the root to a value.
static tm_text place_of(const tm_json *value) {
    if (!value || !value->inside) return TM("");
    tm_text outer = place_of(value->inside);
    if (value->inside->kind == TM_JSON_LIST) return tm_format("%.*s/%zu", TM_ARG(outer), index_of(value));
    return tm_format("%.*s/%.*s", TM_ARG(outer), TM_ARG(escape_token(value->name)));
}

tm_text tm_json_describe(const tm_json *value) {
    switch (tm_json_kind_of(value)) {
        case TM_JSON_NONE: return TM("nothing");
        case TM_JSON_LIST: return TM("a list");
        case TM_JSON_OBJECT: return TM("an object");
        default: return tm_json_write(value);
    }
}

static tm_outcome unexpected(const tm_json *value, const char *place, const char *expected) {
    const tm_json_origin *from = value ? value->from : NULL;
    tm_text whole = tm_format("%.*s%s", TM_ARG(place_of(value)), place);
    tm_text where = whole.len ? tm_format("`%.*s`: ", TM_ARG(whole)) : TM("");
    tm_text found = tm_json_describe(tm_json_at(value, place));
    return tm_json_misfit(from, tm_format("%s does not fit: %.*sexpected %s, found %.*s", from ? from->what : "the value", TM_ARG(where),
                                  expected, TM_ARG(found)));
}

tm_outcome tm_json_text_at(const tm_json *value, const char *place, tm_text *text) {
    *text = tm_json_text(tm_json_at(value, place));
    return tm_exists(*text) ? tm_done() : unexpected(value, place, "a text");
}

tm_outcome tm_json_integer_at(const tm_json *value, const char *place, int64_t *integer) {
    *integer = 0;
    return tm_json_integer(tm_json_at(value, place), integer) ? tm_done() : unexpected(value, place, "an integer");
}

tm_outcome tm_json_number_at(const tm_json *value, const char *place, double *number) {
    *number = 0;
    return tm_json_number(tm_json_at(value, place), number) ? tm_done() : unexpected(value, place, "a number");
}

tm_outcome tm_json_bool_at(const tm_json *value, const char *place, bool *truth) {
    *truth = false;
    return tm_json_bool(tm_json_at(value, place), truth) ? tm_done() : unexpected(value, place, "true or false");
}

static tm_outcome box_at(const tm_json *value, const char *place, tm_json_kind kind, tm_json **box) {
    *box = tm_json_at(value, place);
    if (tm_json_kind_of(*box) == kind) return tm_done();
    *box = NULL;
    return unexpected(value, place, kind == TM_JSON_LIST ? "a list" : "an object");
}

tm_outcome tm_json_list_at(const tm_json *value, const char *place, tm_json **list) {
    return box_at(value, place, TM_JSON_LIST, list);
}

tm_outcome tm_json_object_at(const tm_json *value, const char *place, tm_json **object) {
    return box_at(value, place, TM_JSON_OBJECT, object);
}
