// What the files of tidemill_json.h share: the tree.

#ifndef TIDEMILL_JSON_TREE_H
#define TIDEMILL_JSON_TREE_H

#include "../tidemill_json.h"

// What a tree was read from, for errors: what to call it, and what a misfit means.
typedef struct tm_json_origin {
    const char *what;
    tm_code code;
} tm_json_origin;

struct tm_json {
    tm_json_kind kind;
    bool truth;
    const tm_json_origin *from;  // NULL of what was built
    tm_json *inside, *next;      // the list or object (the box) that it lies in, and what comes behind it there
    tm_text name;                // of a member
    union {
        tm_text text;  // of a text, without its quotes and escapes; of a number, its digits
        struct {
            tm_json *first, *last;
            size_t length;
        } parts;
    };
};

tm_json *tm_json_make(tm_json_kind kind, const tm_json_origin *from);

// Whether it is a list or an object.
bool tm_json_is_box(const tm_json *value);

// A value in a few words, for errors.
tm_text tm_json_describe(const tm_json *value);

static inline bool tm_json_is_digit(char byte) { return byte >= '0' && byte <= '9'; }

// The length of the UTF-8 sequence that begins at a byte of 0x80 or more; 0 if it is none.
size_t tm_json_sequence(const unsigned char *at, size_t rest);

// Puts a value that lies nowhere yet behind the last part of a box.
void tm_json_add(tm_json *box, tm_json *value);

// Reads a text that errors call `what`, and take for a `code`.
tm_outcome tm_json_read_from(tm_text text, const char *what, tm_code code, tm_json **value);

// The outcome when something does not fit.
tm_outcome tm_json_misfit(const tm_json_origin *from, tm_text problem);

#endif
