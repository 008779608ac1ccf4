// The seam of a real component: imports and exports, between this SDK's types and those that `tools/bindings` generates from the
// contract in `wit/`. Its counterpart in native builds is testing/host.c.
//
// One file serves all worlds: `-DTIDEMILL_PROJECTION` or `-DTIDEMILL_PROJECTION_WITH_QUERIES` names one, otherwise it is a
// handler, and `-I` the folder of its `plugin.h`. The worlds' bindings have the same names for what they have in common.

#include "../src/memory.h"
#include "plugin.h"

#include <stdlib.h>

void tm_memory_panic(tm_text message) {
    (void)message;
    abort();
}

// The host asks for all memory that it writes to through this function: arguments of an export before the call, results of
// imports during it. It comes from the arena, with a NUL behind every text.
__attribute__((__export_name__("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align;  // the contract has no type that is aligned to more than `max_align_t`
    if (size == 0) return (void *)align;
    char *bytes = tm_memory_take(size + 1);
    if (old_size) memcpy(bytes, old, old_size < size ? old_size : size);
    bytes[size] = '\0';
    return bytes;
}

// The adapter that stands between the C library and WASI 0.2 takes its stack and its state from here, once, and keeps them: the arena
// would give them to somebody else after the first call.
__attribute__((__export_name__("cabi_realloc_adapter"))) void *tm_component_adapter_memory(void *old, size_t old_size, size_t align,
                                                                                           size_t size) {
    (void)align;  // no more than `malloc` gives
    (void)old_size;
    void *bytes = realloc(old, size);
    if (!bytes) abort();
    return bytes;
}

// The bindings want to be linked with an object that holds the description of the world. `tidemill build` puts the description in
// afterwards, from `wit/`, so that no binary has to be committed.
void __component_type_object_force_link_plugin(void) {}

// --- between texts and generated types -------------------------------------------------------------------------------

// Of what is empty a plugin may point anywhere, but the host checks where it points.
static void *lower_pointer(const void *ptr, size_t len) { return len ? (void *)ptr : NULL; }

static plugin_string_t lower(tm_text text) { return (plugin_string_t){ lower_pointer(text.ptr, text.len), text.len }; }

static plugin_list_u8_t lower_bytes(tm_text bytes) { return (plugin_list_u8_t){ lower_pointer(bytes.ptr, bytes.len), bytes.len }; }

// The host writes nothing for an empty text, so that its `ptr` may be anything.
static tm_text lift_parts(const void *ptr, size_t len) { return len ? (tm_text){ ptr, len } : TM(""); }

static tm_text lift(plugin_string_t text) { return lift_parts(text.ptr, text.len); }

static tm_text lift_bytes(plugin_list_u8_t bytes) { return lift_parts(bytes.ptr, bytes.len); }

static tm_text lift_option(plugin_option_string_t text) { return text.is_some ? lift(text.val) : (tm_text){ NULL, 0 }; }

// A text is the same on both sides of the seam, and so is a record of two; only the generated types are other ones. So lists of
// them need not be copied.
_Static_assert(sizeof(tm_text) == sizeof(plugin_string_t) && offsetof(tm_text, len) == offsetof(plugin_string_t, len), "");
_Static_assert(sizeof(tm_attribute) == sizeof(tidemill_plugin_types_attribute_t) &&
               offsetof(tm_attribute, value) == offsetof(tidemill_plugin_types_attribute_t, value), "");

// Makes the texts of a list from the host as the header promises them, in place.
static const void *lift_texts(void *list, size_t count) {
    tm_text *texts = list;
    for (size_t i = 0; i < count; i++) texts[i] = lift_parts(texts[i].ptr, texts[i].len);
    return list;
}

static tm_event lift_event(const tidemill_plugin_types_event_t *event) {
    return (tm_event){
        .id = lift(event->id),
        .source = lift(event->source),
        .kind = lift(event->kind),
        .time = lift_option(event->time),
        .subject = lift_option(event->subject),
        .datacontenttype = lift_option(event->datacontenttype),
        .dataschema = lift_option(event->dataschema),
        .extensions = { lift_texts(event->extensions.ptr, event->extensions.len * 2), event->extensions.len },
        .data = lift_bytes(event->data),
    };
}

static tm_context lift_context(const tidemill_plugin_types_context_t *context) {
    return (tm_context){
        .route = lift(context->route),
        .attempt = context->attempt,
        .max_attempts = context->max_attempts,
        .stream = lift(context->stream),
        .sequence = lift(context->sequence),
        .time_limit = context->time_limit,
    };
}

// Whether the call is done; if not, why. What is returned is read by the host before the arena is emptied.
static bool lower_outcome(tm_outcome outcome, tidemill_plugin_types_failure_t *failure) {
    switch (outcome.code) {
        case TM_DONE:
            return true;
        case TM_REJECT:
            failure->tag = TIDEMILL_PLUGIN_TYPES_FAILURE_REJECT;
            failure->val.reject = lower(outcome.reason);
            return false;
        default:
            failure->tag = TIDEMILL_PLUGIN_TYPES_FAILURE_RETRY;
            failure->val.retry.delay.is_some = outcome.after != 0;
            failure->val.retry.delay.val = outcome.after;
            failure->val.retry.reason = lower(outcome.reason);
            return false;
    }
}

// --- exports ---------------------------------------------------------------------------------------------------------

// After an export has returned and the host has read the result, it calls the export's `cabi_post_…`. The generated one would free
// the result; these, which the linker takes in its place, empty the arena.

#ifdef TM_WITH_DOCUMENTS

bool exports_tidemill_plugin_event_projection_apply(tidemill_plugin_types_event_t *event,
                                                    tidemill_plugin_types_context_t *context,
                                                    tidemill_plugin_types_failure_t *failure) {
    tm_event lifted = lift_event(event);
    tm_context stand = lift_context(context);
    return lower_outcome(tidemill_apply(&lifted, &stand), failure);
}

__attribute__((__export_name__("cabi_post_tidemill:plugin/event-projection@0.2.0#apply")))
void __wasm_export_exports_tidemill_plugin_event_projection_apply_post_return(uint8_t *result) {
    (void)result;
    tm_memory_release();
}

#else

bool exports_tidemill_plugin_event_handler_handle(tidemill_plugin_types_event_t *event,
                                                  tidemill_plugin_types_context_t *context,
                                                  tidemill_plugin_types_failure_t *failure) {
    tm_event lifted = lift_event(event);
    tm_context stand = lift_context(context);
    return lower_outcome(tidemill_handle(&lifted, &stand), failure);
}

__attribute__((__export_name__("cabi_post_tidemill:plugin/event-handler@0.2.0#handle")))
void __wasm_export_exports_tidemill_plugin_event_handler_handle_post_return(uint8_t *result) {
    (void)result;
    tm_memory_release();
}

#endif

#ifdef TIDEMILL_PROJECTION_WITH_QUERIES

bool exports_tidemill_plugin_queries_query(plugin_string_t *name, plugin_list_u8_t *params, plugin_list_u8_t *answer,
                                           tidemill_plugin_types_failure_t *failure) {
    tm_question question = { lift(*name), lift_bytes(*params) };
    tm_text text = TM("null");
    bool done = lower_outcome(tidemill_query(&question, &text), failure);
    if (done) *answer = lower_bytes(text);
    return done;
}

__attribute__((__export_name__("cabi_post_tidemill:plugin/queries@0.2.0#query")))
void __wasm_export_exports_tidemill_plugin_queries_query_post_return(uint8_t *result) {
    (void)result;
    tm_memory_release();
}

#endif

// --- imports ---------------------------------------------------------------------------------------------------------

#ifdef TM_WITH_DOCUMENTS

static tm_outcome read_model_outcome(bool done, const tidemill_plugin_read_model_read_model_error_t *error) {
    static const tm_code codes[] = {
        [TIDEMILL_PLUGIN_READ_MODEL_READ_MODEL_ERROR_NO_COLLECTION] = TM_NO_COLLECTION,
        [TIDEMILL_PLUGIN_READ_MODEL_READ_MODEL_ERROR_NO_INDEX] = TM_NO_INDEX,
        [TIDEMILL_PLUGIN_READ_MODEL_READ_MODEL_ERROR_INVALID] = TM_INVALID,
        [TIDEMILL_PLUGIN_READ_MODEL_READ_MODEL_ERROR_READ_ONLY] = TM_READ_ONLY,
        [TIDEMILL_PLUGIN_READ_MODEL_READ_MODEL_ERROR_LIMIT] = TM_LIMIT,
        [TIDEMILL_PLUGIN_READ_MODEL_READ_MODEL_ERROR_UNAVAILABLE] = TM_UNAVAILABLE,
    };
    // All cases hold one text, at the same place.
    return done ? tm_done() : (tm_outcome){ codes[error->tag], 0, lift(error->val.invalid) };
}

tm_outcome tm_read_model_get(tm_text collection, tm_text key, tm_text *body) {
    plugin_string_t lowered_collection = lower(collection), lowered_key = lower(key);
    plugin_option_list_u8_t found = { false, { NULL, 0 } };
    tidemill_plugin_read_model_read_model_error_t error;
    bool done = tidemill_plugin_read_model_get(&lowered_collection, &lowered_key, &found, &error);
    *body = done && found.is_some ? lift_bytes(found.val) : (tm_text){ NULL, 0 };
    return read_model_outcome(done, &error);
}

tm_outcome tm_read_model_put(tm_text collection, tm_text key, tm_text body) {
    plugin_string_t lowered_collection = lower(collection), lowered_key = lower(key);
    plugin_list_u8_t lowered_body = lower_bytes(body);
    tidemill_plugin_read_model_read_model_error_t error;
    bool done = tidemill_plugin_read_model_put(&lowered_collection, &lowered_key, &lowered_body, &error);
    return read_model_outcome(done, &error);
}

tm_outcome tm_read_model_delete(tm_text collection, tm_text key) {
    plugin_string_t lowered_collection = lower(collection), lowered_key = lower(key);
    tidemill_plugin_read_model_read_model_error_t error;
    bool done = tidemill_plugin_read_model_delete(&lowered_collection, &lowered_key, &error);
    return read_model_outcome(done, &error);
}

tm_outcome tm_read_model_find(tm_text collection, tm_text field, tm_text value, tm_text after, uint32_t limit,
                              tm_documents *documents) {
    _Static_assert(sizeof(tm_document) == sizeof(tidemill_plugin_read_model_document_t) &&
                   offsetof(tm_document, body) == offsetof(tidemill_plugin_read_model_document_t, body), "");
    plugin_string_t lowered_collection = lower(collection), lowered_field = lower(field), lowered_after = lower(after);
    plugin_list_u8_t lowered_value = lower_bytes(value);
    tidemill_plugin_read_model_list_document_t found = { NULL, 0 };
    tidemill_plugin_read_model_read_model_error_t error;
    bool done = tidemill_plugin_read_model_find(&lowered_collection, &lowered_field, &lowered_value,
                                                tm_exists(after) ? &lowered_after : NULL, limit, &found, &error);
    *documents = (tm_documents){ lift_texts(found.ptr, done ? found.len * 2 : 0), done ? found.len : 0 };
    return read_model_outcome(done, &error);
}

#else

tm_outcome tm_emit(tm_outgoing event) {
    static const tm_code codes[] = {
        [TIDEMILL_PLUGIN_EMIT_EMIT_ERROR_NOT_GRANTED] = TM_NOT_GRANTED,
        [TIDEMILL_PLUGIN_EMIT_EMIT_ERROR_INVALID] = TM_INVALID,
        [TIDEMILL_PLUGIN_EMIT_EMIT_ERROR_LIMIT] = TM_LIMIT,
    };
    tidemill_plugin_emit_outgoing_t outgoing = {
        .to = lower(event.to),
        .kind = lower(event.kind),
        .subject = { tm_exists(event.subject), lower(event.subject) },
        .datacontenttype = { tm_exists(event.datacontenttype), lower(event.datacontenttype) },
        .dataschema = { tm_exists(event.dataschema), lower(event.dataschema) },
        .extensions = { lower_pointer(event.extensions.ptr, event.extensions.len), event.extensions.len },
        .data = lower_bytes(event.data),
    };
    tidemill_plugin_emit_emit_error_t error;
    if (tidemill_plugin_emit_emit(&outgoing, &error)) return tm_done();
    return (tm_outcome){ codes[error.tag], 0, lift(error.val.invalid) };  // all cases hold one text, at the same place
}

static tm_outcome state_outcome(bool done, const tidemill_plugin_state_state_error_t *error) {
    if (done) return tm_done();
    switch (error->tag) {
        case TIDEMILL_PLUGIN_STATE_STATE_ERROR_INVALID_KEY:
            return (tm_outcome){ TM_INVALID, 0, lift(error->val.invalid_key) };
        case TIDEMILL_PLUGIN_STATE_STATE_ERROR_LIMIT:
            return (tm_outcome){ TM_LIMIT, 0, lift(error->val.limit) };
        default:
            return (tm_outcome){ TM_UNAVAILABLE, 0,
                                 tm_format("the state is unavailable: %.*s", TM_ARG(lift(error->val.unavailable))) };
    }
}

tm_outcome tm_state_get(tm_text key, tm_text *value) {
    plugin_string_t lowered_key = lower(key);
    plugin_option_list_u8_t found = { false, { NULL, 0 } };
    tidemill_plugin_state_state_error_t error;
    bool done = tidemill_plugin_state_get(&lowered_key, &found, &error);
    *value = done && found.is_some ? lift_bytes(found.val) : (tm_text){ NULL, 0 };
    return state_outcome(done, &error);
}

tm_outcome tm_state_put(tm_text key, tm_text value) {
    plugin_string_t lowered_key = lower(key);
    plugin_list_u8_t lowered_value = lower_bytes(value);
    tidemill_plugin_state_state_error_t error;
    return state_outcome(tidemill_plugin_state_put(&lowered_key, &lowered_value, &error), &error);
}

tm_outcome tm_state_delete(tm_text key) {
    plugin_string_t lowered_key = lower(key);
    tidemill_plugin_state_state_error_t error;
    return state_outcome(tidemill_plugin_state_delete(&lowered_key, &error), &error);
}

tm_outcome tm_state_compare_and_set(tm_text key, tm_text expected, tm_text value, bool *did) {
    plugin_string_t lowered_key = lower(key);
    plugin_list_u8_t lowered_expected = lower_bytes(expected), lowered_value = lower_bytes(value);
    tidemill_plugin_state_state_error_t error;
    *did = false;
    bool done = tidemill_plugin_state_compare_and_set(&lowered_key, tm_exists(expected) ? &lowered_expected : NULL,
                                                      tm_exists(value) ? &lowered_value : NULL, did, &error);
    return state_outcome(done, &error);
}

tm_outcome tm_state_list(tm_text prefix, tm_text after, uint32_t limit, tm_texts *keys) {
    plugin_string_t lowered_prefix = lower(prefix), lowered_after = lower(after);
    plugin_list_string_t found = { NULL, 0 };
    tidemill_plugin_state_state_error_t error;
    bool done = tidemill_plugin_state_list(&lowered_prefix, tm_exists(after) ? &lowered_after : NULL, limit, &found, &error);
    *keys = (tm_texts){ lift_texts(found.ptr, done ? found.len : 0), done ? found.len : 0 };
    return state_outcome(done, &error);
}

#endif

tm_text tm_config_get(tm_text key) {
    plugin_string_t lowered_key = lower(key), found;
    return tidemill_plugin_config_get(&lowered_key, &found) ? lift(found) : (tm_text){ NULL, 0 };
}

tm_texts tm_config_keys(void) {
    plugin_list_string_t keys;
    tidemill_plugin_config_keys(&keys);
    return (tm_texts){ lift_texts(keys.ptr, keys.len), keys.len };
}

tm_text tm_host_now(void) {
    plugin_string_t now;
    tidemill_plugin_host_now(&now);
    return lift(now);
}

tm_text tm_host_stable_id(tm_text name) {
    plugin_string_t lowered_name = lower(name), id;
    tidemill_plugin_host_stable_id(&lowered_name, &id);
    return lift(id);
}

uint32_t tm_host_time_left(void) { return tidemill_plugin_host_time_left(); }

void tm_host_random(void *bytes, size_t size) {
    enum { MOST_AT_ONCE = 4096 };  // what the host gives with one call
    for (size_t filled = 0; filled < size;) {
        size_t wanted = size - filled < MOST_AT_ONCE ? size - filled : MOST_AT_ONCE;
        plugin_list_u8_t drawn;
        tidemill_plugin_host_random((uint32_t)wanted, &drawn);
        memcpy((char *)bytes + filled, drawn.ptr, wanted);
        filled += wanted;
    }
}

void tm_log(tm_level level, tm_text message, tm_attributes fields) {
    plugin_string_t lowered_message = lower(message);
    tidemill_plugin_log_list_attribute_t lowered_fields = { lower_pointer(fields.ptr, fields.len), fields.len };
    tidemill_plugin_log_write((tidemill_plugin_log_level_t)level, &lowered_message, &lowered_fields);
}
