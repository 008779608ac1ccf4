// Tidemill's SDK for C and C++: write plugins for the WebAssembly event runtime for NATS JetStream.
//
// A handler is one function, `tidemill_handle`; a projection is one, too, `tidemill_apply`, and may answer questions in a
// second, `tidemill_query`. You define them, as you would define `main`; everything that begins with `tm_` is here for you to
// call. README.md has a first handler; this header is the reference.
//
//     tm_outcome tidemill_handle(const tm_event *event, const tm_context *context) {
//         if (!tm_is(event->kind, "OrderCreated")) return tm_reject("expected an order, found %s", event->kind.ptr);
//         TM_TRY(tm_emit((tm_outgoing){ .to = TM("orders.seen"), .kind = TM("OrderSeen"), .data = event->data }));
//         return tm_done();
//     }
//
// Memory: whatever this SDK gives you lies in an arena that is emptied when the call returns. Free nothing of it; copy (with
// `malloc`) what a global shall keep. So a call that allocates leaves nothing behind, and 10,000 calls need what one needs.
//
// Failing: every function that can fail returns a `tm_outcome`. `TM_TRY(…)` returns it from the function that it stands in, and
// returned from the handler it does what fits: the event is tried again with the error's text as the reason, or, where trying
// again cannot help because the event's own data is at fault, it is dead-lettered.
//
// In a component these functions are tidemill.c, over the bindings that `tools/bindings` generates from the contract in `wit/`.
// In a native build, for tests, they are tidemill_test.c. What lies above is the same code in both.

#ifndef TIDEMILL_H
#define TIDEMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TM_FORMAT(format, arguments) __attribute__((__format__(__printf__, format, arguments)))
#define TM_NO_RETURN __attribute__((__noreturn__))

// An outcome that nobody looks at is a warning; only Clang knows this of a type, and Clang builds the component.
#ifdef __clang__
#define TM_CHECKED __attribute__((__warn_unused_result__))
#else
#define TM_CHECKED
#endif

// A component that imports what its kind has not is refused when it is loaded. `tidemill build` says which kind it builds, so
// that the compiler refuses it first; tests need not say.
#if defined(TIDEMILL_PROJECTION) || defined(TIDEMILL_PROJECTION_WITH_QUERIES)
#define TM_WITH_DOCUMENTS
#define TM_HANDLERS_ONLY __attribute__((__unavailable__("a projection emits nothing and has documents in place of state")))
#define TM_PROJECTIONS_ONLY
#elif defined(__wasm__)
#define TM_WITH_STATE
#define TM_HANDLERS_ONLY
#define TM_PROJECTIONS_ONLY __attribute__((__unavailable__("a handler has state; only projections have documents")))
#else
#define TM_WITH_STATE
#define TM_WITH_DOCUMENTS
#define TM_HANDLERS_ONLY
#define TM_PROJECTIONS_ONLY
#endif

#ifdef __cplusplus
#include <concepts>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
extern "C" {
#endif

// === Texts and memory ================================================================================================

// A text in UTF-8, or bytes. It is not owned. A text that this SDK gives is followed by a NUL, so that `%s` and `strcmp` can take
// its `ptr`; one that you give need not be. It may hold NULs of its own, so `len` is the truth. `ptr` is NULL where there is
// nothing at all, which is not the same as an empty text.
typedef struct tm_text {
    const char *ptr;
    size_t len;
#ifdef __cplusplus
    operator std::string_view() const { return { ptr, len }; }
    bool operator==(std::string_view other) const { return std::string_view(*this) == other; }
#endif
} tm_text;

// A literal as a text: `TM("orders.created")`.
#ifdef __cplusplus
#define TM(literal) (tm_text{ "" literal, sizeof(literal) - 1 })
#else
#define TM(literal) ((tm_text){ "" literal, sizeof(literal) - 1 })
#endif

// A text as the two arguments of printf's `%.*s`. For a text of this SDK's, `%s` and `text.ptr` do as well.
#define TM_ARG(text) ((int)(text).len), ((text).ptr)

// Texts, and how many.
typedef struct tm_texts {
    const tm_text *ptr;
    size_t len;
#ifdef __cplusplus
    const tm_text *begin() const { return ptr; }
    const tm_text *end() const { return ptr + len; }
#endif
} tm_texts;

// A C string as a text; nothing for NULL.
static inline tm_text tm_text_of(const char *chars) {
    tm_text text = { chars, chars ? strlen(chars) : 0 };
    return text;
}

// Whether there is a text, empty or not.
static inline bool tm_exists(tm_text text) { return text.ptr != NULL; }

// Whether two texts are the same. Nothing is the same as nothing, and not as an empty text.
static inline bool tm_equal(tm_text one, tm_text other) {
    if (!one.ptr || !other.ptr) return !one.ptr && !other.ptr;
    return one.len == other.len && memcmp(one.ptr, other.ptr, one.len) == 0;
}

// Whether a text is this C string.
static inline bool tm_is(tm_text text, const char *chars) { return tm_equal(text, tm_text_of(chars)); }

// Memory until the call returns, set to zero. Never NULL: when the plugin's memory limit is used up, the call ends in a trap.
void *tm_alloc(size_t size);

// A text made as by printf, valid until the call returns.
tm_text tm_format(const char *format, ...) TM_FORMAT(1, 2);

// A copy of a text, followed by a NUL, valid until the call returns.
tm_text tm_copy(tm_text text);

// === Outcomes ========================================================================================================

// What came of a call, this SDK's or yours.
typedef enum tm_code {
    TM_DONE,
    TM_RETRY,          // `tm_retry`: trying again may help
    TM_REJECT,         // `tm_reject`: trying again will not help
    TM_NOT_GRANTED,    // emit: the subject is not granted; the text names the line of runtime.yaml that would allow it
    TM_INVALID,        // a subject, type, attribute, key, value or document breaks a rule
    TM_LIMIT,          // a limit is used up; the text names it
    TM_UNAVAILABLE,    // the store cannot be reached; the host runs the call again without counting an attempt
    TM_NO_COLLECTION,  // read model: the collection is not declared; the text names the line that would declare it
    TM_NO_INDEX,       // read model: the field is not indexed; the text names the line that would index it
    TM_READ_ONLY,      // read model: questions read and do not write
    TM_UNFIT,          // a value, a document or a setting is not what you read it as
} tm_code;

// An outcome. Returned from the handler, `TM_DONE` makes the call's effects durable, `TM_REJECT` dead-letters the event at once,
// and every other code is a retry with this reason.
typedef struct TM_CHECKED tm_outcome {
    tm_code code;
    uint32_t after;  // of a retry: the least milliseconds until the next attempt; 0 leaves it to the route's backoff
    tm_text reason;
} tm_outcome;

// The event is done: what was emitted and written becomes durable together, once.
static inline tm_outcome tm_done(void) {
    tm_outcome done = { TM_DONE, 0, { NULL, 0 } };
    return done;
}

// Trying again will not help: the event is dead-lettered at once, with this reason, made as by printf.
tm_outcome tm_reject(const char *format, ...) TM_FORMAT(1, 2);

// Trying again may help: the next attempt comes after the route's backoff. When the attempts are used up, the event is
// dead-lettered.
tm_outcome tm_retry(const char *format, ...) TM_FORMAT(1, 2);

// The same, not before so many milliseconds have passed; after the route's backoff, where that is longer.
tm_outcome tm_retry_after(uint32_t milliseconds, const char *format, ...) TM_FORMAT(2, 3);

// Leaves the function with an outcome unless it is `TM_DONE`: `TM_TRY(tm_state_put(key, value));`.
#define TM_TRY(call)                                   \
    do {                                               \
        tm_outcome tm_tried = (call);                  \
        if (tm_tried.code != TM_DONE) return tm_tried; \
    } while (0)

// Ends the call with a message that goes into the log and the dead letter, for what cannot happen. To the host it is a trap: the
// event is tried again, in a fresh instance. `assert` and `abort` do the same; what they and you print to stderr is logged, too.
#define tm_panic(...) tm_panic_at(__FILE__, __LINE__, __VA_ARGS__)
TM_NO_RETURN void tm_panic_at(const char *file, int line, const char *format, ...) TM_FORMAT(3, 4);

// === What you define =================================================================================================

// A name and a value.
typedef struct tm_attribute {
    tm_text name;
    tm_text value;
} tm_attribute;

// Attributes, and how many.
typedef struct tm_attributes {
    const tm_attribute *ptr;
    size_t len;
#ifdef __cplusplus
    const tm_attribute *begin() const { return ptr; }
    const tm_attribute *end() const { return ptr + len; }
#endif
} tm_attributes;

// A CloudEvents 1.0 event that has passed its JSON Schema, where one is registered. What it leaves out does not exist
// (`tm_exists`).
typedef struct tm_event {
    tm_text id;  // unique together with `source`; a redelivery has the same id
    tm_text source;
    tm_text kind;     // the CloudEvents attribute `type`, for example `OrderCreated`
    tm_text time;     // RFC 3339, as the producer wrote it; optional
    tm_text subject;  // the CloudEvents attribute `subject`, not the NATS subject; optional
    tm_text datacontenttype;  // optional
    tm_text dataschema;       // optional
    tm_attributes extensions;  // names in lower case: `correlationid`, `traceparent`, and the producer's own
    tm_text data;  // byte for byte what the producer sent; `tm_event_json` of tidemill_json.h reads it
} tm_event;

// An extension attribute by its lower-case name, if the event has it.
tm_text tm_event_extension(const tm_event *event, const char *name);

// Where a call stands.
typedef struct tm_context {
    tm_text route;          // the route of runtime.yaml that delivers the event, or the projection that folds it
    uint32_t attempt;       // 1 for the first attempt
    uint32_t max_attempts;  // after this attempt fails the event is dead-lettered
    tm_text stream;    // of the original message; with `sequence` it names the event for ever, also after a retry or a redrive
    tm_text sequence;  // decimal text
    uint32_t time_limit;  // milliseconds that the call may take, counted from its start; then it is interrupted
} tm_context;

// Handles one event. What the call emits and writes becomes durable together with the fact that the event is done, all or
// nothing. The same event may be given again, after a failure or a crash; effects of an earlier successful call are not doubled.
//
// An instance handles one event at a time and is reused for later ones. Globals are therefore a cache that may vanish at any time;
// what must stay belongs into `tm_state_…`.
tm_outcome tidemill_handle(const tm_event *event, const tm_context *context);

// Folds one event into the documents of `tm_read_model_…`. Events come one by one, in the order of their stream, each exactly
// once; on failure only this event's writes are undone. A rebuild folds all events again, into empty collections: nothing but the
// event and the documents should decide what comes of it, neither the time nor chance.
tm_outcome tidemill_apply(const tm_event *event, const tm_context *context);

// A question about the read model: what is asked, and a JSON object of parameters (`tm_question_json` reads it).
typedef struct tm_question {
    tm_text name;
    tm_text params;
} tm_question;

// Answers a question with JSON of any kind. It reads the documents as far as they have been folded; writing is refused. Whoever
// asked is told the reason of a failure, and nothing is tried again.
tm_outcome tidemill_query(const tm_question *question, tm_text *answer);

// That there is no query of this name.
tm_outcome tm_unknown(const tm_question *question);

// === Emitting ========================================================================================================

// An event to publish. The host adds `id`, `source`, `time`, and carries `correlationid`, `causationid` and `traceparent` on.
typedef struct tm_outgoing {
    tm_text to;       // the NATS subject; it must be granted: the route's `emits` in runtime.yaml
    tm_text kind;     // the CloudEvents attribute `type`; where a schema is registered for it, the data must match
    tm_text subject;  // the CloudEvents attribute `subject`: what the event is about; optional
    tm_text datacontenttype;   // `application/json` when left out
    tm_text dataschema;        // optional
    tm_attributes extensions;  // of your own: `.extensions = TM_FIELDS(TM_FIELD("lines", 3))`
    tm_text data;
} tm_outgoing;

// Collects an event to publish; it is published only after the handler has returned `tm_done()`. A refused emit fails the call,
// whatever the handler returns: half of what it wanted is never done.
tm_outcome tm_emit(tm_outgoing event) TM_HANDLERS_ONLY;

// === State ===========================================================================================================

// Keyed state, if `state: true` grants it. Each plugin has a namespace of its own, shared by all its routes and instances. Keys
// have 1 to 256 bytes and no control characters.
//
// A call sees its own writes; nobody else sees them before the call has succeeded. If somebody else changes a key between this
// call's reading and its commit, the host runs the call again on the new value. So read, compute, write is safe as it stands.

// A key's value, if it has one; otherwise it does not exist.
tm_outcome tm_state_get(tm_text key, tm_text *value) TM_HANDLERS_ONLY;

// Sets a key's value.
tm_outcome tm_state_put(tm_text key, tm_text value) TM_HANDLERS_ONLY;

// Removes a key. Removing what is not there is no error.
tm_outcome tm_state_delete(tm_text key) TM_HANDLERS_ONLY;

// Sets (or, where `value` does not exist, removes) a key if its value is `expected` (one that does not exist: the key is absent).
// `*did` says whether it was so.
tm_outcome tm_state_compare_and_set(tm_text key, tm_text expected, tm_text value, bool *did) TM_HANDLERS_ONLY;

// Up to `limit` (at most `TM_MAX_LIST`) keys that begin with `prefix`, in byte order, after the key `after`, if it exists.
tm_outcome tm_state_list(tm_text prefix, tm_text after, uint32_t limit, tm_texts *keys) TM_HANDLERS_ONLY;

#define TM_MAX_LIST 1000

// === Documents =======================================================================================================

// Collections of JSON objects, declared with their indexes in runtime.yaml, under the projection. An event sees its own writes and
// those of all events before it. A refused put or delete fails the event, whatever `tidemill_apply` returns.

// A document and its key.
typedef struct tm_document {
    tm_text key;
    tm_text body;
} tm_document;

// Documents, and how many.
typedef struct tm_documents {
    const tm_document *ptr;
    size_t len;
#ifdef __cplusplus
    const tm_document *begin() const { return ptr; }
    const tm_document *end() const { return ptr + len; }
#endif
} tm_documents;

// A document, if there is one under the key; otherwise it does not exist.
tm_outcome tm_read_model_get(tm_text collection, tm_text key, tm_text *body) TM_PROJECTIONS_ONLY;

// Sets a document, a JSON object.
tm_outcome tm_read_model_put(tm_text collection, tm_text key, tm_text body) TM_PROJECTIONS_ONLY;

// Removes a document. Removing what is not there is no error.
tm_outcome tm_read_model_delete(tm_text collection, tm_text key) TM_PROJECTIONS_ONLY;

// Up to `limit` (at most `TM_MAX_LIST`) documents whose indexed `field` equals `value`, which is JSON (`TM("\"paid\"")`), in the
// order of their keys, after the key `after`, if it exists.
tm_outcome tm_read_model_find(tm_text collection, tm_text field, tm_text value, tm_text after, uint32_t limit,
                              tm_documents *documents) TM_PROJECTIONS_ONLY;

// === Settings, time, identity, chance ================================================================================

// A value of `plugins.settings.<plugin>.config` in runtime.yaml, or a granted secret; otherwise it does not exist. A text is given
// as it is, any other value as JSON. tidemill_json.h reads numbers and truth values.
tm_text tm_config_get(tm_text key);

// The names of all values, without the secrets, in byte order.
tm_texts tm_config_keys(void);

// The current time, RFC 3339 in UTC with milliseconds.
tm_text tm_host_now(void);

// An id that is the same each time this event is handled by this route: a UUIDv5 of route, stream, sequence and `name`. Use it
// where a repeated call must make the same thing again.
tm_text tm_host_stable_id(tm_text name);

// How many milliseconds are left of the call's time limit; 0 while the plugin starts. It is meant for the timeouts of what may be slow:
// a request over HTTP that may take no longer than this ends in an error that the plugin can tell, and not in an interruption.
uint32_t tm_host_time_left(void);

// Fills `bytes` with `size` random bytes; cryptographically strong.
void tm_host_random(void *bytes, size_t size);

// === The log =========================================================================================================

// How much a line matters.
typedef enum tm_level { TM_TRACE, TM_DEBUG, TM_INFO, TM_WARN, TM_ERROR } tm_level;

// Writes a line to the host's log, with plugin, route and event id beside it. Unlike an effect it is written whether the call
// succeeds or not, and the last lines of a failed call go into its dead letter.
void tm_log(tm_level level, tm_text message, tm_attributes fields);

// Attributes from numbers, truth values, C strings and texts.
tm_attribute tm_field_text(const char *name, tm_text value);
tm_attribute tm_field_chars(const char *name, const char *value);
tm_attribute tm_field_integer(const char *name, int64_t value);
tm_attribute tm_field_number(const char *name, double value);
tm_attribute tm_field_bool(const char *name, bool value);

#ifdef __cplusplus
}
#endif

#ifndef __cplusplus

// A name and a value of any kind: `TM_FIELD("balance", balance)`.
#define TM_FIELD(name, value)           \
    _Generic((value),                   \
        tm_text: tm_field_text,         \
        char *: tm_field_chars,         \
        const char *: tm_field_chars,   \
        float: tm_field_number,         \
        double: tm_field_number,        \
        bool: tm_field_bool,            \
        default: tm_field_integer)(name, value)

// Fields as one value: `TM_FIELDS(TM_FIELD("lines", 3), TM_FIELD("sku", sku))`; there may be none.
#define TM_FIELDS(...) \
    ((tm_attributes){ (const tm_attribute[]){ { { NULL, 0 }, { NULL, 0 } } __VA_OPT__(, ) __VA_ARGS__ } + 1, TM_COUNT(__VA_ARGS__) })
#define TM_COUNT(...) \
    (sizeof((const tm_attribute[]){ { { NULL, 0 }, { NULL, 0 } } __VA_OPT__(, ) __VA_ARGS__ }) / sizeof(tm_attribute) - 1)

// Lines of the log: a sentence, then fields.
//
//     tm_info("recorded a payment", TM_FIELD("payment_id", id), TM_FIELD("balance", balance));
//     tm_log(TM_WARN, tm_format("%d items are out of stock", count), TM_FIELDS());
#define tm_trace(message, ...) tm_log(TM_TRACE, tm_text_of(message), TM_FIELDS(__VA_ARGS__))
#define tm_debug(message, ...) tm_log(TM_DEBUG, tm_text_of(message), TM_FIELDS(__VA_ARGS__))
#define tm_info(message, ...) tm_log(TM_INFO, tm_text_of(message), TM_FIELDS(__VA_ARGS__))
#define tm_warn(message, ...) tm_log(TM_WARN, tm_text_of(message), TM_FIELDS(__VA_ARGS__))
#define tm_error(message, ...) tm_log(TM_ERROR, tm_text_of(message), TM_FIELDS(__VA_ARGS__))

#else

// === C++ =============================================================================================================

// The same with `std::string_view`, `std::optional` and results, for C++20 and newer. There are no exceptions in a component; what
// can fail gives a `Result`, and `TM_LET` takes it apart:
//
//     TM_LET(auto seen, tidemill::state::get("large-orders"));
//     TM_TRY(tidemill::emit({ .to = "fraud.checked", .kind = "FraudChecked", .data = data }));
//     tidemill::info("a large order", { { "order", id }, { "total", total } });

// Declares a variable with what a call gives, or leaves the function with the call's outcome.
#define TM_LET(declaration, call) TM_LET_AS(declaration, call, TM_LET_NAME(__LINE__))
#define TM_LET_AS(declaration, call, result) \
    auto result = (call);                    \
    if (!result) return result.outcome();    \
    declaration = *result
#define TM_LET_NAME(line) TM_LET_JOINED(tm_result_, line)
#define TM_LET_JOINED(name, line) TM_LET_JOINED_AGAIN(name, line)
#define TM_LET_JOINED_AGAIN(name, line) name##line

namespace tidemill {

// A value, or why there is none.
template <class Value> class [[nodiscard]] Result {
public:
    Result(Value value) : there(std::move(value)) {}
    Result(tm_outcome failure) : failure(failure) {}

    explicit operator bool() const { return there.has_value(); }
    Value &operator*() { return *there; }
    Value *operator->() { return &*there; }
    tm_outcome outcome() const { return there ? tm_done() : failure; }

    // The value, if the call that filled it has not failed.
    static Result of(tm_outcome outcome, Value value) {
        return outcome.code == TM_DONE ? Result(std::move(value)) : Result(outcome);
    }

private:
    std::optional<Value> there;
    tm_outcome failure = tm_done();
};

// Between texts of C and of C++. An empty view is an empty text; only an empty optional is nothing.
inline tm_text to_text(std::string_view view) { return { view.data() ? view.data() : "", view.size() }; }
inline tm_text to_text(std::optional<std::string_view> view) { return view ? to_text(*view) : tm_text{ nullptr, 0 }; }
inline std::optional<std::string_view> from_text(tm_text text) {
    return tm_exists(text) ? std::optional<std::string_view>(text) : std::nullopt;
}

inline tm_outcome reject(std::string_view reason) { return { TM_REJECT, 0, tm_copy(to_text(reason)) }; }
inline tm_outcome retry(std::string_view reason, uint32_t after = 0) { return { TM_RETRY, after, tm_copy(to_text(reason)) }; }

// A name and a value of any kind.
struct Field : tm_attribute {
    Field(std::string_view name, std::string_view value) : tm_attribute{ to_text(name), to_text(value) } {}
    Field(std::string_view name, const char *value) : Field(name, std::string_view(value)) {}
    Field(std::string_view name, tm_text value) : Field(name, std::string_view(value)) {}
    Field(std::string_view name, bool value) : Field(name, value ? "true" : "false") {}
    Field(std::string_view name, std::integral auto value) : Field(name, tm_format("%lld", static_cast<long long>(value))) {}
    Field(std::string_view name, std::floating_point auto value) : Field(name, tm_format("%.15g", static_cast<double>(value))) {}
};
using Fields = std::initializer_list<Field>;

inline tm_attributes to_attributes(const Fields &fields) { return { fields.begin(), fields.size() }; }

inline void log(tm_level level, std::string_view message, Fields fields = {}) {
    tm_log(level, to_text(message), to_attributes(fields));
}
inline void trace(std::string_view message, Fields fields = {}) { log(TM_TRACE, message, fields); }
inline void debug(std::string_view message, Fields fields = {}) { log(TM_DEBUG, message, fields); }
inline void info(std::string_view message, Fields fields = {}) { log(TM_INFO, message, fields); }
inline void warn(std::string_view message, Fields fields = {}) { log(TM_WARN, message, fields); }
inline void error(std::string_view message, Fields fields = {}) { log(TM_ERROR, message, fields); }

#ifdef TM_WITH_STATE

// An event to publish: `tm_outgoing` in types of C++.
struct Emit {
    std::string_view to;
    std::string_view kind;
    std::optional<std::string_view> subject = {};
    std::optional<std::string_view> datacontenttype = {};
    std::optional<std::string_view> dataschema = {};
    Fields extensions = {};
    std::string_view data = {};
};

inline tm_outcome emit(const Emit &event) {
    return tm_emit({ to_text(event.to), to_text(event.kind), to_text(event.subject), to_text(event.datacontenttype),
                     to_text(event.dataschema), to_attributes(event.extensions), to_text(event.data) });
}

namespace state {

inline Result<std::optional<std::string_view>> get(std::string_view key) {
    tm_text value;
    tm_outcome outcome = tm_state_get(to_text(key), &value);
    return Result<std::optional<std::string_view>>::of(outcome, from_text(value));
}
inline tm_outcome put(std::string_view key, std::string_view value) { return tm_state_put(to_text(key), to_text(value)); }
inline tm_outcome erase(std::string_view key) { return tm_state_delete(to_text(key)); }
inline Result<bool> compare_and_set(std::string_view key, std::optional<std::string_view> expected,
                                    std::optional<std::string_view> value) {
    bool did;
    tm_outcome outcome = tm_state_compare_and_set(to_text(key), to_text(expected), to_text(value), &did);
    return Result<bool>::of(outcome, did);
}
inline Result<tm_texts> list(std::string_view prefix, std::optional<std::string_view> after = {}, uint32_t limit = TM_MAX_LIST) {
    tm_texts keys;
    tm_outcome outcome = tm_state_list(to_text(prefix), to_text(after), limit, &keys);
    return Result<tm_texts>::of(outcome, keys);
}

}  // namespace state

#endif

namespace config {

inline std::optional<std::string_view> get(std::string_view key) { return from_text(tm_config_get(to_text(key))); }
inline tm_texts keys() { return tm_config_keys(); }

}  // namespace config

namespace host {

inline std::string_view now() { return tm_host_now(); }
inline std::string_view stable_id(std::string_view name) { return tm_host_stable_id(to_text(name)); }
inline uint32_t time_left() { return tm_host_time_left(); }
inline void random(void *bytes, size_t size) { tm_host_random(bytes, size); }

}  // namespace host

}  // namespace tidemill

#endif

#endif
