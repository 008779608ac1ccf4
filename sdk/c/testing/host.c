// The seam of a native build: the host's imports, answered from the world of the call that is being made. Its counterpart in a
// component is component/component.c; both define the same functions. The rules and their texts are the host's.

#include "world.h"

#include "../src/json_tree.h"

enum {
    MAX_KEY = 256,
    MAX_VALUE = 512 * 1024,  // the largest state value and document that a default host accepts,
    MAX_INDEXED = 512,       // and the longest text that it indexes
};

static call *calling(void) {
    if (!tm_call) {
        tm_test_fail(__FILE__, __LINE__, "outside of a plugin the host can be asked only inside of a harness: see tidemill_test.h");
    }
    return tm_call;
}

// --- what holds for any text -----------------------------------------------------------------------------------------

static bool is_utf8(tm_text text) {
    for (size_t i = 0, length; i < text.len; i += length) {
        length = (unsigned char)text.ptr[i] < 0x80 ? 1 : tm_json_sequence((const unsigned char *)text.ptr + i, text.len - i);
        if (length == 0) return false;
    }
    return true;
}

// A text that is none would be a trap in the host.
static void expect_utf8(tm_text text, const char *what) {
    if (!is_utf8(text)) tm_panic("%s is not UTF-8", what);
}

static void expect_attributes(tm_attributes attributes, const char *what) {
    for (size_t i = 0; i < attributes.len; i++) {
        expect_utf8(attributes.ptr[i].name, what);
        expect_utf8(attributes.ptr[i].value, what);
    }
}

// A text with its control characters made visible.
static tm_text visible(tm_text text) {
    tm_text shown = TM("");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        const char *format = byte == '\n' ? "%.*s\\n" : byte < 0x20 || byte == 0x7f ? "%.*s\\u{%x}" : "%.*s%c";
        shown = byte == '\n' ? tm_format("%.*s\\n", TM_ARG(shown)) : tm_format(format, TM_ARG(shown), byte);
    }
    return shown;
}

static tm_outcome check_key(tm_text key, const char *what) {
    expect_utf8(key, what);
    bool is_fine = key.len > 0 && key.len <= MAX_KEY;
    for (size_t i = 0; i < key.len; i++) {
        unsigned char byte = (unsigned char)key.ptr[i];
        bool is_c1 = byte == 0xc2 && i + 1 < key.len && (unsigned char)key.ptr[i + 1] < 0xa0;
        if (byte < 0x20 || byte == 0x7f || is_c1) is_fine = false;
    }
    if (is_fine) return tm_done();
    tm_text reason = tm_format("`%.*s` is not %s: expected 1 to 256 bytes without control characters", TM_ARG(visible(key)), what);
    return (tm_outcome){ TM_INVALID, 0, reason };
}

// Remembers a refusal: it fails the call, whatever the plugin makes of it. What is unavailable is no refusal; the host calls again.
static tm_outcome refuse(tm_outcome outcome) {
    call *call = calling();
    bool is_first = call->refused.code == TM_DONE;
    if (outcome.code != TM_DONE && outcome.code != TM_UNAVAILABLE && is_first) {
        call->refused = (tm_outcome){ outcome.code, 0, tm_keep(outcome.reason) };
    }
    return outcome;
}

static tm_outcome fail(tm_code code, tm_text reason) { return (tm_outcome){ code, 0, reason }; }

// === Emitting ========================================================================================================

static bool next_token(tm_text *rest, tm_text *token) {
    if (!rest->ptr) return false;
    const char *dot = rest->len ? memchr(rest->ptr, '.', rest->len) : NULL;
    size_t length = dot ? (size_t)(dot - rest->ptr) : rest->len;
    *token = (tm_text){ rest->ptr, length };
    *rest = dot ? (tm_text){ dot + 1, rest->len - length - 1 } : (tm_text){ NULL, 0 };
    return true;
}

// Whether a NATS subject pattern admits a subject.
static bool admits(tm_text pattern, tm_text subject) {
    tm_text wanted, token;
    while (next_token(&pattern, &wanted)) {
        if (!next_token(&subject, &token)) return false;
        if (tm_is(wanted, ">")) return true;
        if (!tm_is(wanted, "*") && !tm_equal(wanted, token)) return false;
    }
    return !subject.ptr;
}

static bool is_subject(tm_text subject) {
    tm_text token;
    if (!subject.ptr) return false;
    while (next_token(&subject, &token)) {
        if (token.len == 0) return false;
        for (size_t i = 0; i < token.len; i++) {
            if (strchr("*> ", token.ptr[i])) return false;  // also a NUL
        }
    }
    return true;
}

static bool is_granted(tm_text subject) {
    const table *grants = &calling()->world.grants;
    for (size_t i = 0; i < grants->len; i++) {
        if (admits(grants->rows[i].name, subject)) return true;
    }
    return grants->len == 0;
}

static tm_outcome check_emit(const tm_outgoing *event) {
    tm_text to = event->to;
    if (!is_subject(to)) return fail(TM_INVALID, tm_format("`%.*s` is not a subject", TM_ARG(to)));
    if (event->kind.len == 0) {
        return fail(TM_INVALID, tm_format("the emit to `%.*s` has no type: `.kind = TM(\"…\")` sets it", TM_ARG(to)));
    }
    if (to.ptr[0] == '$' || (to.len >= 6 && memcmp(to.ptr, "_INBOX", 6) == 0)) {
        return fail(TM_NOT_GRANTED, tm_format("`%.*s` belongs to the server", TM_ARG(to)));
    }
    if (!is_granted(to)) {
        return fail(TM_NOT_GRANTED, tm_format("emitting to `%.*s` is not granted; the route's `emits: [\"%.*s\"]` in runtime.yaml "
                                              "would allow it", TM_ARG(to), TM_ARG(to)));
    }
    return tm_done();
}

tm_outcome tm_emit(tm_outgoing event) {
    call *call = calling();
    if (call->role != HANDLER) tm_panic("a projection emits nothing; the host refuses one that would");
    expect_utf8(event.to, "an emit's subject");
    expect_utf8(event.kind, "an emit's type");
    expect_utf8(event.subject, "an emit's attribute `subject`");
    expect_utf8(event.datacontenttype, "an emit's attribute `datacontenttype`");
    expect_utf8(event.dataschema, "an emit's attribute `dataschema`");
    expect_attributes(event.extensions, "an emit's extension attribute");
    TM_TRY(refuse(check_emit(&event)));
    KEEP_ONE_MORE(call->emits, call->emit_count);
    call->emits[call->emit_count++] = (tm_outgoing){
        .to = tm_keep(event.to),
        .kind = tm_keep(event.kind),
        .subject = tm_keep(event.subject),
        .datacontenttype = tm_keep(event.datacontenttype),
        .dataschema = tm_keep(event.dataschema),
        .extensions = tm_keep_attributes(event.extensions),
        .data = tm_keep(event.data.ptr ? event.data : TM("")),
    };
    return tm_done();
}

// === State ===========================================================================================================

static tm_outcome check_state(void) {
    call *call = calling();
    if (call->role != HANDLER) tm_panic("a projection has no state, only documents; the host refuses one that uses it");
    return call->world.is_unavailable ? fail(TM_UNAVAILABLE, TM("the state is unavailable: the harness says so")) : tm_done();
}

static tm_outcome check_value(tm_text value) {
    if (value.len <= MAX_VALUE) return tm_done();
    return fail(TM_LIMIT, tm_format("the limit `state_value` of %d is used up", MAX_VALUE));
}

static tm_outcome check_access(tm_text key) {
    TM_TRY(check_key(key, "a state key"));
    return check_state();
}

tm_outcome tm_state_get(tm_text key, tm_text *value) {
    *value = (tm_text){ NULL, 0 };
    TM_TRY(check_access(key));
    const tm_attribute *found = tm_table_find(&calling()->world.state, key);
    if (found) *value = tm_copy(found->value);
    return tm_done();
}

tm_outcome tm_state_put(tm_text key, tm_text value) {
    TM_TRY(check_value(value));
    TM_TRY(check_access(key));
    tm_table_set(&calling()->world.state, key, value.ptr ? value : TM(""));
    return tm_done();
}

tm_outcome tm_state_delete(tm_text key) {
    TM_TRY(check_access(key));
    tm_table_remove(&calling()->world.state, key);
    return tm_done();
}

tm_outcome tm_state_compare_and_set(tm_text key, tm_text expected, tm_text value, bool *did) {
    *did = false;
    TM_TRY(check_value(value));
    TM_TRY(check_access(key));
    const tm_attribute *found = tm_table_find(&calling()->world.state, key);
    *did = tm_equal(found ? found->value : (tm_text){ NULL, 0 }, expected);
    if (!*did) return tm_done();
    return tm_exists(value) ? tm_state_put(key, value) : tm_state_delete(key);
}

tm_outcome tm_state_list(tm_text prefix, tm_text after, uint32_t limit, tm_texts *keys) {
    *keys = (tm_texts){ NULL, 0 };
    TM_TRY(check_state());
    const table *state = &calling()->world.state;
    tm_text *found = tm_alloc((state->len + 1) * sizeof *found);
    size_t count = 0, most = limit < TM_MAX_LIST ? limit : TM_MAX_LIST;
    for (size_t i = 0; i < state->len && count < most; i++) {
        tm_text key = state->rows[i].name;
        bool begins = key.len >= prefix.len && (prefix.len == 0 || memcmp(key.ptr, prefix.ptr, prefix.len) == 0);
        bool is_later = !tm_exists(after) || tm_compare_texts(key, after) > 0;
        if (begins && is_later) found[count++] = tm_copy(key);
    }
    *keys = (tm_texts){ found, count };
    return tm_done();
}

// === Documents =======================================================================================================

static tm_outcome open_collection(tm_text name, collection **opened) {
    call *call = calling();
    if (call->role == HANDLER) tm_panic("only a projection has a read model; the host refuses a handler that uses it");
    expect_utf8(name, "the name of a collection");
    if (call->world.is_unavailable) return fail(TM_UNAVAILABLE, TM("the read model is unavailable: the harness says so"));
    *opened = (collection *)tm_find_collection(&call->world, name);
    if (*opened) return tm_done();
    return fail(TM_NO_COLLECTION, tm_format("the collection `%.*s` is not declared; `projections[].collections.%.*s` in runtime.yaml "
                                            "would declare it", TM_ARG(name), TM_ARG(name)));
}

tm_outcome tm_read_model_get(tm_text name, tm_text key, tm_text *body) {
    *body = (tm_text){ NULL, 0 };
    collection *collection = NULL;
    TM_TRY(check_key(key, "a document's key"));
    TM_TRY(open_collection(name, &collection));
    const tm_attribute *found = tm_table_find(&collection->documents, key);
    if (found) *body = tm_copy(found->value);
    return tm_done();
}

const tm_json *tm_document_at(const tm_json *document, tm_text path) {
    tm_text name;
    while (document && next_token(&path, &name)) {
        const tm_json *found = NULL;
        if (tm_json_kind_of(document) != TM_JSON_OBJECT) return NULL;
        tm_json_each(member, document) {
            if (tm_equal(tm_json_name(member), name)) found = member;
        }
        document = found;
    }
    return document;
}

static tm_outcome refused_document(tm_text collection, tm_text why) {
    return fail(TM_INVALID, tm_format("a document of the collection `%.*s` is refused: %.*s", TM_ARG(collection), TM_ARG(why)));
}

static tm_outcome check_document(const collection *collection, tm_text body) {
    if (body.len > MAX_VALUE) return fail(TM_LIMIT, tm_format("the limit `document` of %d is used up", MAX_VALUE));
    tm_json *document = NULL;
    tm_outcome read = tm_json_read(body, "it", &document);
    if (read.code != TM_DONE) {
        return refused_document(collection->name, tm_format("expected a JSON object, found no JSON: %s", read.reason.ptr));
    }
    if (tm_json_kind_of(document) != TM_JSON_OBJECT) {
        return refused_document(collection->name, tm_format("expected a JSON object, found %.*s", TM_ARG(body)));
    }
    for (size_t i = 0; i < collection->indexes.len; i++) {
        tm_text field = collection->indexes.rows[i].name;
        size_t length = tm_json_text(tm_document_at(document, field)).len;
        if (length > MAX_INDEXED) {
            return refused_document(collection->name, tm_format("its indexed field `%.*s` holds a text of %zu bytes, at most %d can be "
                                                                "indexed", TM_ARG(field), length, MAX_INDEXED));
        }
    }
    return tm_done();
}

static tm_outcome open_to_write(tm_text name, tm_text key, collection **opened) {
    TM_TRY(open_collection(name, opened));
    if (calling()->role == QUERY) return fail(TM_READ_ONLY, TM("a query reads documents and writes none"));
    return check_key(key, "a document's key");
}

static tm_outcome put_document(tm_text name, tm_text key, tm_text body) {
    collection *collection = NULL;
    TM_TRY(open_to_write(name, key, &collection));
    TM_TRY(check_document(collection, body));
    tm_table_set(&collection->documents, key, body);
    return tm_done();
}

tm_outcome tm_read_model_put(tm_text name, tm_text key, tm_text body) { return refuse(put_document(name, key, body)); }

tm_outcome tm_read_model_delete(tm_text name, tm_text key) {
    collection *collection = NULL;
    TM_TRY(refuse(open_to_write(name, key, &collection)));
    tm_table_remove(&collection->documents, key);
    return tm_done();
}

// Whether an index takes two values for the same: numbers as doubles, and all lists and objects alike.
static bool is_same(const tm_json *one, const tm_json *other) {
    tm_json_kind kind = tm_json_kind_of(one), other_kind = tm_json_kind_of(other);
    bool is_box = kind == TM_JSON_LIST || kind == TM_JSON_OBJECT, is_other_box = other_kind == TM_JSON_LIST || other_kind == TM_JSON_OBJECT;
    double number, other_number;
    bool truth, other_truth;
    if (is_box || is_other_box) return is_box && is_other_box;
    if (kind != other_kind) return false;
    if (tm_json_number(one, &number) && tm_json_number(other, &other_number)) return number == other_number;
    if (tm_json_bool(one, &truth) && tm_json_bool(other, &other_truth)) return truth == other_truth;
    return tm_equal(tm_json_text(one), tm_json_text(other));
}

static bool is_found(const tm_attribute *document, tm_text field, const tm_json *value) {
    tm_json *body = NULL;
    tm_outcome read = tm_json_read(document->value, "a document", &body);
    const tm_json *held = read.code == TM_DONE ? tm_document_at(body, field) : NULL;
    return held && is_same(held, value);
}

tm_outcome tm_read_model_find(tm_text name, tm_text field, tm_text value, tm_text after, uint32_t limit,
                              tm_documents *documents) {
    *documents = (tm_documents){ NULL, 0 };
    collection *collection = NULL;
    tm_json *wanted = NULL;
    TM_TRY(open_collection(name, &collection));
    if (!tm_table_find(&collection->indexes, field)) {
        return fail(TM_NO_INDEX, tm_format("the field `%.*s` of the collection `%.*s` is not indexed; `projections[].collections.%.*s."
                                           "indexes: [%.*s]` in runtime.yaml would index it", TM_ARG(field), TM_ARG(name),
                                           TM_ARG(name), TM_ARG(field)));
    }
    tm_outcome read = tm_json_read(value, "it", &wanted);
    if (read.code != TM_DONE) {
        return fail(TM_INVALID, tm_format("a value to search for is refused: expected JSON that can be indexed, found no JSON: %s",
                                          read.reason.ptr));
    }
    const table *all = &collection->documents;
    tm_document *found = tm_alloc((all->len + 1) * sizeof *found);
    size_t count = 0, most = limit < TM_MAX_LIST ? limit : TM_MAX_LIST;
    for (size_t i = 0; i < all->len && count < most; i++) {
        bool is_later = !tm_exists(after) || tm_compare_texts(all->rows[i].name, after) > 0;
        if (!is_later || !is_found(&all->rows[i], field, wanted)) continue;
        found[count++] = (tm_document){ tm_copy(all->rows[i].name), tm_copy(all->rows[i].value) };
    }
    *documents = (tm_documents){ found, count };
    return tm_done();
}

// === Settings, time, identity, chance, log ===========================================================================

tm_text tm_config_get(tm_text key) {
    expect_utf8(key, "the name of a setting");
    const tm_attribute *found = tm_table_find(&calling()->world.config, key);
    return found ? tm_copy(found->value) : (tm_text){ NULL, 0 };
}

tm_texts tm_config_keys(void) {
    const table *config = &calling()->world.config;
    tm_text *keys = tm_alloc((config->len + 1) * sizeof *keys);
    for (size_t i = 0; i < config->len; i++) keys[i] = tm_copy(config->rows[i].name);
    return (tm_texts){ keys, config->len };
}

tm_text tm_host_now(void) { return tm_copy(calling()->world.now); }

static uint64_t fnv1a(uint64_t seed, tm_text text) {
    for (size_t i = 0; i < text.len; i++) seed = (seed ^ (unsigned char)text.ptr[i]) * UINT64_C(0x100000001b3);
    return seed;
}

// Shaped like the host's ids and as stable, but another number: the host's needs SHA-1.
tm_text tm_host_stable_id(tm_text name) {
    call *call = calling();
    if (call->role == QUERY) tm_panic("a query has no event that a stable id could be made from");
    expect_utf8(name, "the name of a stable id");
    const tm_context *context = &call->world.context;
    tm_text text = tm_format("%.*s/%.*s/%.*s/%.*s", TM_ARG(context->route), TM_ARG(context->stream), TM_ARG(context->sequence),
                             TM_ARG(name));
    uint64_t high = fnv1a(UINT64_C(0xcbf29ce484222325), text), low = fnv1a(UINT64_C(0x6c62272e07bb0142), text);
    return tm_format("%08x-%04x-5%03x-8%03x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xfff),
                     (unsigned)(low >> 48 & 0xfff), (unsigned long long)(low & 0xffffffffffff));
}

// Time stands still in a harness.
uint32_t tm_host_time_left(void) { return calling()->world.time_left; }

// The same bytes in every run of a test.
void tm_host_random(void *bytes, size_t size) {
    call *call = calling();
    for (size_t i = 0; i < size; i++) ((unsigned char *)bytes)[i] = (unsigned char)(fnv1a(++call->drawn, TM("random")) >> 56);
}

void tm_log(tm_level level, tm_text message, tm_attributes fields) {
    call *call = calling();
    expect_utf8(message, "a line of the log");
    expect_attributes(fields, "a field of a line of the log");
    KEEP_ONE_MORE(call->lines, call->line_count);
    call->lines[call->line_count++] = (tm_line){ level, tm_keep(message), tm_keep_attributes(fields) };
}
