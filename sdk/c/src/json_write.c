// Writing JSON.

#include "json_tree.h"

typedef struct writer {
    char *out;
    size_t len, room;
} writer;

static char *reserve(writer *writer, size_t more) {
    if (writer->room - writer->len < more) {
        size_t room = (writer->len + more) * 2;
        char *larger = tm_alloc(room + 1);
        memcpy(larger, writer->out ? writer->out : "", writer->len);
        *writer = (struct writer){ larger, writer->len, room };
    }
    char *at = writer->out + writer->len;
    writer->len += more;
    return at;
}

static void write_bytes(writer *writer, const char *bytes, size_t length) { memcpy(reserve(writer, length), bytes, length); }

static void write_escape(writer *writer, unsigned char byte) {
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *pair = short_forms; *pair; pair += 2) {
        if (byte == (unsigned char)pair[0]) {
            write_bytes(writer, (char[]){ '\\', pair[1] }, 2);
            return;
        }
    }
    static const char hex[] = "0123456789abcdef";
    write_bytes(writer, (char[]){ '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] }, 6);
}

static void write_text(writer *writer, tm_text text) {
    write_bytes(writer, "\"", 1);
    size_t written = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        write_bytes(writer, text.ptr + written, i - written);
        write_escape(writer, byte);
        written = i + 1;
    }
    if (text.len > written) write_bytes(writer, text.ptr + written, text.len - written);
    write_bytes(writer, "\"", 1);
}

static void write_value(writer *writer, const tm_json *value);

static void write_parts(writer *writer, const tm_json *box) {
    bool is_list = box->kind == TM_JSON_LIST;
    write_bytes(writer, is_list ? "[" : "{", 1);
    tm_json_each(each, box) {
        if (each != box->parts.first) write_bytes(writer, ",", 1);
        if (!is_list) {
            write_text(writer, each->name);
            write_bytes(writer, ":", 1);
        }
        write_value(writer, each);
    }
    write_bytes(writer, is_list ? "]" : "}", 1);
}

static void write_value(writer *writer, const tm_json *value) {
    switch (tm_json_kind_of(value)) {
        case TM_JSON_NONE:
        case TM_JSON_NULL: write_bytes(writer, "null", 4); break;
        case TM_JSON_BOOL: write_bytes(writer, value->truth ? "true" : "false", value->truth ? 4 : 5); break;
        case TM_JSON_NUMBER: write_bytes(writer, value->text.ptr, value->text.len); break;
        case TM_JSON_TEXT: write_text(writer, value->text); break;
        case TM_JSON_LIST:
        case TM_JSON_OBJECT: write_parts(writer, value); break;
    }
}

tm_text tm_json_write(const tm_json *value) {
    writer writer = { NULL, 0, 0 };
    write_value(&writer, value);
    *reserve(&writer, 1) = '\0';
    return (tm_text){ writer.out, writer.len - 1 };
}
