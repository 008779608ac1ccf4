// Tests of plugins in C and C++, as native programs: neither Wasm nor a server is needed.
//
//     #include "tidemill_test.h"
//
//     TM_TEST(a_customer_is_welcomed) {
//         tm_test *test = tm_test_new();
//         const tm_run *run = tm_test_handle(test, tm_test_event("CustomerRegistered", TM_JSON({"name": "Ada"})));
//         TM_ASSERT_DONE(run);
//         TM_ASSERT_JSON(tm_run_emitted(run, "MailSent")->data, TM_JSON({"text": "Hello Ada"}));
//     }
//
//     TM_TEST_MAIN
//
// Compile it with your plugin and the SDK's src/*.c and testing/*.c, and run it: it prints each test as TAP does and exits with 1 if
// one failed. An argument runs only the tests whose names contain it.
//
// The harness keeps the host's promises: emits, state writes and documents of a failed call vanish, a call sees its own writes, and
// a refused emit or write fails the call even if the plugin ignores it. After a call its arena is overwritten, so that a global
// which points into it shows. The harness does not check schemas, limits of time and memory, or conflicts; those belong to the host.
//
// Nothing is freed by hand here either: what a test makes is gone when the test ends.

#ifndef TIDEMILL_TEST_H
#define TIDEMILL_TEST_H

#include "tidemill.h"
#include "tidemill_json.h"

#ifdef __cplusplus
extern "C" {
#endif

// JSON as it is written elsewhere: `TM_JSON({"id": "o-1", "total": 750})`.
#define TM_JSON(...) #__VA_ARGS__

// === The world around a plugin =======================================================================================

// Settings, state, documents, and where the next call stands. State and documents stay from one call to the next, as they do in
// the host. A new world is empty, and every emit is granted.
typedef struct tm_test tm_test;

tm_test *tm_test_new(void);

// A setting, as it would stand under `plugins.settings.<plugin>.config` in runtime.yaml.
void tm_test_config(tm_test *test, const char *key, const char *value);

// What the state holds under a key.
void tm_test_state(tm_test *test, const char *key, const char *value);

// A pattern of subjects that may be emitted to, as the route's `emits` says. With the first one all others are refused.
void tm_test_emits(tm_test *test, const char *pattern);

// A collection, as `projections[].collections` in runtime.yaml declares it, and a field that it is indexed by.
void tm_test_collection(tm_test *test, const char *name);
void tm_test_index(tm_test *test, const char *collection, const char *field);

// A document that is there already.
void tm_test_document(tm_test *test, const char *collection, const char *key, const char *json);

// Which attempt the next call is (1 otherwise), and how many there are (5 otherwise).
void tm_test_attempt(tm_test *test, uint32_t attempt);
void tm_test_max_attempts(tm_test *test, uint32_t max_attempts);

// The names of the route or projection, and of the stream.
void tm_test_route(tm_test *test, const char *route);
void tm_test_stream(tm_test *test, const char *stream);

// What `tm_host_now` says: RFC 3339.
void tm_test_now(tm_test *test, const char *now);

// What `tm_host_time_left` says; the whole time limit of the call otherwise, because time stands still in a harness.
void tm_test_time_left(tm_test *test, uint32_t milliseconds);

// Makes every function of state and documents fail, as if the store could not be reached.
void tm_test_unavailable(tm_test *test);

// An event with plausible attributes. They can be set: `event.subject = TM("c-1");`.
tm_event tm_test_event(const char *kind, const char *json);

// === Calls ===========================================================================================================

typedef enum tm_ended {
    TM_ENDED_DONE,
    TM_ENDED_RETRY,
    TM_ENDED_REJECTED,
    TM_ENDED_PANICKED,  // in the host: a trap. After `abort` or a failed `assert` the message is on stderr.
    TM_ENDED_REFUSED,   // an emit or a write was refused, so the call failed, whatever the plugin returned
} tm_ended;

typedef struct tm_line {
    tm_level level;
    tm_text message;
    tm_attributes fields;
} tm_line;

// What came of one call.
typedef struct tm_run {
    tm_ended ended;
    tm_code code;           // what the plugin returned, or, of a refusal, what was refused
    tm_text reason;         // of whatever is not done
    uint32_t after;         // of a retry
    const tm_outgoing *emits;  // what is published; nothing unless the call is done
    size_t emit_count;
    const tm_line *lines;  // what was logged, in any case
    size_t line_count;
    const tm_test *after_it;  // state and documents after the call; as before it unless the call is done
} tm_run;

// Calls the plugin with one event. A call that ends settled (done or rejected) moves the stream's sequence on. After a retry or a
// panic the next call has the same sequence, and so the same stable ids: it stands for the redelivery.
#define tm_test_handle(test, event) tm_test_call_handler(test, tidemill_handle, event)
#define tm_test_apply(test, event) tm_test_call_projection(test, tidemill_apply, event)

typedef tm_outcome tm_function(const tm_event *event, const tm_context *context);
const tm_run *tm_test_call_handler(tm_test *test, tm_function *handler, tm_event event);
const tm_run *tm_test_call_projection(tm_test *test, tm_function *projection, tm_event event);

// Asks a projection a question. A write that it tried is its outcome, whatever it returned.
#define tm_test_query(test, name, params, answer) tm_test_call_query(test, tidemill_query, name, params, answer)

typedef tm_outcome tm_query_function(const tm_question *question, tm_text *answer);
tm_outcome tm_test_call_query(tm_test *test, tm_query_function *query, const char *name, const char *params, tm_text *answer);

// === Looking at what came of it ======================================================================================

// The only emit of a type; the test fails unless there is exactly one.
const tm_outgoing *tm_run_emitted(const tm_run *run, const char *kind);

// An extension attribute of an emit.
tm_text tm_emitted_extension(const tm_outgoing *emit, const char *name);

// A state value after the call; it may not exist.
tm_text tm_run_state(const tm_run *run, const char *key);

// A document after the call; it may not exist.
tm_text tm_run_document(const tm_run *run, const char *collection, const char *key);

// The first line of this level whose message contains `part`, or NULL.
const tm_line *tm_run_logged(const tm_run *run, tm_level level, const char *part);

// A field of a line; it may not exist.
tm_text tm_line_field(const tm_line *line, const char *name);

// === Assertions ======================================================================================================

// Each one, when it does not hold, says what was found instead and where, and ends the test.
#define TM_ASSERT(condition) ((condition) ? (void)0 : tm_test_fail(__FILE__, __LINE__, "expected %s", #condition))
#define TM_ASSERT_DONE(run) tm_assert_ended(__FILE__, __LINE__, run, TM_ENDED_DONE, "")
#define TM_ASSERT_RETRY(run, part) tm_assert_ended(__FILE__, __LINE__, run, TM_ENDED_RETRY, part)
#define TM_ASSERT_REJECTED(run, part) tm_assert_ended(__FILE__, __LINE__, run, TM_ENDED_REJECTED, part)
#define TM_ASSERT_PANICKED(run, part) tm_assert_ended(__FILE__, __LINE__, run, TM_ENDED_PANICKED, part)
#define TM_ASSERT_REFUSED(run, part) tm_assert_ended(__FILE__, __LINE__, run, TM_ENDED_REFUSED, part)
#define TM_ASSERT_NO_EMITS(run) tm_assert_emits(__FILE__, __LINE__, run, 0)
#define TM_ASSERT_INTEGER(found, expected) tm_assert_integer(__FILE__, __LINE__, #found, found, expected)
#define TM_ASSERT_TEXT(found, expected) tm_assert_text(__FILE__, __LINE__, #found, found, expected)

// The same JSON, whatever its blanks and the order of its members.
#define TM_ASSERT_JSON(found, expected) tm_assert_json(__FILE__, __LINE__, #found, found, expected)

// A collection has exactly these keys, in byte order, separated by blanks: `TM_ASSERT_KEYS(run, "orders", "o-1 o-2")`.
#define TM_ASSERT_KEYS(run, collection, keys) tm_assert_keys(__FILE__, __LINE__, run, collection, keys)

void tm_assert_ended(const char *file, int line, const tm_run *run, tm_ended ended, const char *part);
void tm_assert_emits(const char *file, int line, const tm_run *run, size_t count);
void tm_assert_integer(const char *file, int line, const char *what, int64_t found, int64_t expected);
void tm_assert_text(const char *file, int line, const char *what, tm_text found, const char *expected);
void tm_assert_json(const char *file, int line, const char *what, tm_text found, const char *expected);
void tm_assert_keys(const char *file, int line, const tm_run *run, const char *collection, const char *keys);
TM_NO_RETURN void tm_test_fail(const char *file, int line, const char *format, ...) TM_FORMAT(3, 4);

// === Running =========================================================================================================

// Defines a test. It is found by itself.
#define TM_TEST(name)                                                                             \
    static void name(void);                                                                       \
    __attribute__((__constructor__)) static void tm_add_##name(void) { tm_test_add(#name, name); } \
    static void name(void)

// The program. For another runner leave it away: there a failed assertion prints and aborts, and `tm_test_end` frees.
#define TM_TEST_MAIN \
    int main(int count, char **arguments) { return tm_test_main(count, arguments); }

void tm_test_add(const char *name, void (*test)(void));
int tm_test_main(int count, char **arguments);
void tm_test_end(void);

#ifdef __cplusplus
}
#endif

#endif
