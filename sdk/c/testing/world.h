// What the files of tidemill_test.h share: the world around a plugin, and the call that is being made in it.

#ifndef TIDEMILL_TEST_WORLD_H
#define TIDEMILL_TEST_WORLD_H

#include "../tidemill_test.h"

// Names and values, in the byte order of the names. What it holds lies in the arena of the test and is never changed, so that
// copying the rows copies the table.
typedef struct table {
    tm_attribute *rows;
    size_t len, room;
} table;

// A collection: the fields that it is indexed by, and its documents by key.
typedef struct collection {
    tm_text name;
    table indexes, documents;
} collection;

typedef enum role { HANDLER, PROJECTION, QUERY } role;

struct tm_test {
    table config, state, grants;  // no grants: every subject is granted
    collection *collections;
    size_t collection_count;
    tm_context context;
    uint64_t sequence;
    tm_text now;
    uint32_t time_left;
    bool is_unavailable;
};

// One call: the world as it sees it, and what it did.
typedef struct call {
    role role;
    tm_test world;
    tm_outgoing *emits;
    size_t emit_count;
    tm_line *lines;
    size_t line_count;
    tm_outcome refused;  // the first effect that was refused: it fails the call, whatever the plugin makes of it
    uint64_t drawn;
} call;

// The call that is being made. Asking the host outside of one ends the test.
extern call *tm_call;

// Leaves the call that is being made, if one is, when its test has failed in it.
void tm_call_abandon(void);

// A table's row of a name, or NULL.
const tm_attribute *tm_table_find(const table *table, tm_text name);
void tm_table_set(table *table, tm_text name, tm_text value);
void tm_table_remove(table *table, tm_text name);
table tm_table_copy(const table *table);

int tm_compare_texts(tm_text one, tm_text other);

const collection *tm_find_collection(const tm_test *test, tm_text name);

// The value of a document at a path like `address.city`.
const tm_json *tm_document_at(const tm_json *document, tm_text path);

// Copies into the arena of the test, also while the call's own arena is used.
tm_text tm_keep(tm_text text);
tm_attributes tm_keep_attributes(tm_attributes attributes);
void *tm_keep_alloc(size_t size);

// Grows a list of `count` items by one.
#define KEEP_ONE_MORE(list, count) \
    (list = memcpy(tm_keep_alloc(((count) + 1) * sizeof *(list)), (count) ? (list) : (void *)"", (count) * sizeof *(list)))

#endif
