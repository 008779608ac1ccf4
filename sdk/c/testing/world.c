// The world around a plugin under test.

#include "world.h"

// === Tables ==========================================================================================================

int tm_compare_texts(tm_text one, tm_text other) {
    size_t shorter = one.len < other.len ? one.len : other.len;
    int order = shorter ? memcmp(one.ptr, other.ptr, shorter) : 0;
    return order ? order : (one.len > other.len) - (one.len < other.len);
}

// The first row whose name is not less.
static size_t place_in(const table *table, tm_text name) {
    size_t low = 0, high = table->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tm_compare_texts(table->rows[middle].name, name) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

const tm_attribute *tm_table_find(const table *table, tm_text name) {
    size_t place = place_in(table, name);
    bool is_there = place < table->len && tm_compare_texts(table->rows[place].name, name) == 0;
    return is_there ? &table->rows[place] : NULL;
}

void tm_table_set(table *table, tm_text name, tm_text value) {
    size_t place = place_in(table, name);
    if (tm_table_find(table, name)) {
        table->rows[place].value = tm_keep(value);
        return;
    }
    if (table->len == table->room) {
        table->room = table->room ? table->room * 2 : 8;
        tm_attribute *rows = tm_keep_alloc(table->room * sizeof *rows);
        if (table->len) memcpy(rows, table->rows, table->len * sizeof *rows);
        table->rows = rows;
    }
    memmove(table->rows + place + 1, table->rows + place, (table->len - place) * sizeof *table->rows);
    table->rows[place] = (tm_attribute){ tm_keep(name), tm_keep(value) };
    table->len++;
}

void tm_table_remove(table *table, tm_text name) {
    size_t place = place_in(table, name);
    if (!tm_table_find(table, name)) return;
    table->len--;
    memmove(table->rows + place, table->rows + place + 1, (table->len - place) * sizeof *table->rows);
}

table tm_table_copy(const table *original) {
    table copy = { NULL, original->len, original->len };
    if (copy.len) copy.rows = memcpy(tm_keep_alloc(copy.len * sizeof *copy.rows), original->rows, copy.len * sizeof *copy.rows);
    return copy;
}

// === The world =======================================================================================================

// The milliseconds that a default host gives a call.
enum { TIME_LIMIT = 5000 };

tm_test *tm_test_new(void) {
    tm_test *test = tm_keep_alloc(sizeof *test);
    *test = (tm_test){
        .context = {
            .route = TM("test"),
            .attempt = 1,
            .max_attempts = 5,
            .stream = TM("TEST"),
            .sequence = TM("1"),
            .time_limit = TIME_LIMIT,
        },
        .sequence = 1,
        .now = TM("2026-01-01T00:00:00.000Z"),
        .time_left = TIME_LIMIT,
    };
    return test;
}

void tm_test_config(tm_test *test, const char *key, const char *value) {
    tm_table_set(&test->config, tm_text_of(key), tm_text_of(value));
}

void tm_test_state(tm_test *test, const char *key, const char *value) {
    tm_table_set(&test->state, tm_text_of(key), tm_text_of(value));
}

void tm_test_emits(tm_test *test, const char *pattern) { tm_table_set(&test->grants, tm_text_of(pattern), TM("")); }

const collection *tm_find_collection(const tm_test *test, tm_text name) {
    for (size_t i = 0; i < test->collection_count; i++) {
        if (tm_equal(test->collections[i].name, name)) return &test->collections[i];
    }
    return NULL;
}

void tm_test_collection(tm_test *test, const char *name) {
    if (tm_find_collection(test, tm_text_of(name))) return;
    KEEP_ONE_MORE(test->collections, test->collection_count);
    test->collections[test->collection_count++] = (collection){ .name = tm_keep(tm_text_of(name)) };
}

void tm_test_index(tm_test *test, const char *name, const char *field) {
    tm_test_collection(test, name);
    tm_table_set(&((collection *)tm_find_collection(test, tm_text_of(name)))->indexes, tm_text_of(field), TM(""));
}

void tm_test_document(tm_test *test, const char *name, const char *key, const char *json) {
    tm_json *document = NULL;
    tm_outcome read = tm_json_read(tm_text_of(json), "the test's document", &document);
    if (read.code != TM_DONE) tm_test_fail(__FILE__, __LINE__, "%s", read.reason.ptr);
    if (tm_json_kind_of(document) != TM_JSON_OBJECT) {
        tm_test_fail(__FILE__, __LINE__, "a document is a JSON object, but the test gives %s", json);
    }
    tm_test_collection(test, name);
    tm_table_set(&((collection *)tm_find_collection(test, tm_text_of(name)))->documents, tm_text_of(key), tm_text_of(json));
}

void tm_test_attempt(tm_test *test, uint32_t attempt) { test->context.attempt = attempt; }

void tm_test_max_attempts(tm_test *test, uint32_t max_attempts) { test->context.max_attempts = max_attempts; }

void tm_test_route(tm_test *test, const char *route) { test->context.route = tm_keep(tm_text_of(route)); }

void tm_test_stream(tm_test *test, const char *stream) { test->context.stream = tm_keep(tm_text_of(stream)); }

void tm_test_now(tm_test *test, const char *now) { test->now = tm_keep(tm_text_of(now)); }

void tm_test_time_left(tm_test *test, uint32_t milliseconds) { test->time_left = milliseconds; }

void tm_test_unavailable(tm_test *test) { test->is_unavailable = true; }

tm_event tm_test_event(const char *kind, const char *json) {
    return (tm_event){
        .id = TM("event-1"),
        .source = TM("/test"),
        .kind = tm_text_of(kind),
        .time = TM("2026-01-01T00:00:00Z"),
        .datacontenttype = TM("application/json"),
        .data = tm_text_of(json),
    };
}
