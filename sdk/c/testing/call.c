// Making one call, and what stays of it.

#include "world.h"

#include "../src/memory.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

call *tm_call;

// The arena of calls, while the test's own is used, and the other way round.
static tm_memory *other;

static void change_arena(void) { other = tm_memory_exchange(other); }

// === Keeping =========================================================================================================

void *tm_keep_alloc(size_t size) {
    if (tm_call) change_arena();
    void *kept = tm_alloc(size);
    if (tm_call) change_arena();
    return kept;
}

tm_text tm_keep(tm_text text) {
    if (!text.ptr) return text;
    char *kept = tm_keep_alloc(text.len + 1);
    return (tm_text){ memcpy(kept, text.ptr, text.len), text.len };
}

tm_attributes tm_keep_attributes(tm_attributes attributes) {
    tm_attribute *kept = tm_keep_alloc((attributes.len + 1) * sizeof *kept);
    for (size_t i = 0; i < attributes.len; i++) {
        kept[i] = (tm_attribute){ tm_keep(attributes.ptr[i].name), tm_keep(attributes.ptr[i].value) };
    }
    return (tm_attributes){ kept, attributes.len };
}

// A copy of the world that a call can change.
static tm_test copy_world(const tm_test *test) {
    tm_test copy = *test;
    copy.state = tm_table_copy(&test->state);
    copy.collections = tm_keep_alloc((test->collection_count + 1) * sizeof *copy.collections);
    for (size_t i = 0; i < test->collection_count; i++) {
        copy.collections[i] = test->collections[i];
        copy.collections[i].documents = tm_table_copy(&test->collections[i].documents);
    }
    return copy;
}

// === Panics ==========================================================================================================

static sigjmp_buf way_out;
static tm_text last_words;

void tm_memory_panic(tm_text message) {
    if (!tm_call) tm_test_fail(__FILE__, __LINE__, "panicked outside of a call: %.*s", TM_ARG(message));
    last_words = tm_keep(message);
    siglongjmp(way_out, 1);
}

// `abort`, and with it a failed `assert`: leaving the handler by a jump is what keeps the process.
static void on_abort(int signal) {
    (void)signal;
    last_words = TM("aborted; its message is on stderr");
    siglongjmp(way_out, 1);
}

// === Calling =========================================================================================================

void tm_call_abandon(void) {
    if (!tm_call) return;
    signal(SIGABRT, SIG_DFL);
    tm_memory_release();
    change_arena();
    tm_call = NULL;
}

// What is called, and with what.
typedef struct job {
    tm_function *function;
    const tm_event *event;
    tm_query_function *query;
    const tm_question *question;
    tm_text *answer;
} job;

// As the host gives it: in the arena of the call, so that what a plugin keeps of it is seen to be gone.
static tm_event give_event(const tm_event *event) {
    tm_attribute *extensions = tm_alloc((event->extensions.len + 1) * sizeof *extensions);
    for (size_t i = 0; i < event->extensions.len; i++) {
        extensions[i] = (tm_attribute){ tm_copy(event->extensions.ptr[i].name), tm_copy(event->extensions.ptr[i].value) };
    }
    return (tm_event){
        .id = tm_copy(event->id),
        .source = tm_copy(event->source),
        .kind = tm_copy(event->kind),
        .time = tm_copy(event->time),
        .subject = tm_copy(event->subject),
        .datacontenttype = tm_copy(event->datacontenttype),
        .dataschema = tm_copy(event->dataschema),
        .extensions = { extensions, event->extensions.len },
        .data = tm_copy(event->data),
    };
}

static tm_outcome run(const job *job, const tm_context *context) {
    if (job->query) {
        tm_question question = { tm_copy(job->question->name), tm_copy(job->question->params) };
        return job->query(&question, job->answer);
    }
    tm_event event = give_event(job->event);
    return job->function(&event, context);
}

// Makes a call. False: it panicked.
static bool make(call *call, const job *job, tm_outcome *outcome) {
    struct sigaction ours = { .sa_handler = on_abort }, theirs;
    volatile bool is_fine = false;
    tm_call = call;
    change_arena();
    sigaction(SIGABRT, &ours, &theirs);
    if (sigsetjmp(way_out, 1) == 0) {
        *outcome = run(job, &call->world.context);
        outcome->reason = tm_keep(outcome->reason);
        if (job->answer) *job->answer = tm_keep(*job->answer);
        is_fine = true;
    }
    sigaction(SIGABRT, &theirs, NULL);
    tm_memory_release();
    change_arena();
    tm_call = NULL;
    return is_fine;
}

static tm_ended ended_as(bool is_fine, const call *call, tm_outcome outcome) {
    if (!is_fine) return TM_ENDED_PANICKED;
    if (call->refused.code != TM_DONE) return TM_ENDED_REFUSED;
    return outcome.code == TM_DONE ? TM_ENDED_DONE : outcome.code == TM_REJECT ? TM_ENDED_REJECTED : TM_ENDED_RETRY;
}

static const tm_run *call_function(tm_test *test, role role, tm_function *function, tm_event event) {
    test->context.sequence = tm_format("%llu", (unsigned long long)test->sequence);
    call *call = tm_keep_alloc(sizeof *call);
    call->role = role;
    call->world = copy_world(test);
    tm_outcome outcome = tm_done();
    bool is_fine = make(call, &(job){ .function = function, .event = &event }, &outcome);

    tm_run *run = tm_keep_alloc(sizeof *run);
    run->ended = ended_as(is_fine, call, outcome);
    if (run->ended == TM_ENDED_REFUSED) outcome = call->refused;
    if (run->ended == TM_ENDED_PANICKED) outcome = (tm_outcome){ TM_RETRY, 0, last_words };
    run->code = outcome.code;
    run->reason = outcome.reason;
    run->after = outcome.after;
    run->lines = call->lines;
    run->line_count = call->line_count;
    if (run->ended == TM_ENDED_DONE) {
        run->emits = call->emits;
        run->emit_count = call->emit_count;
        test->state = call->world.state;
        test->collections = call->world.collections;
    }
    if (run->ended == TM_ENDED_DONE || run->ended == TM_ENDED_REJECTED) test->sequence++;
    tm_test *after = tm_keep_alloc(sizeof *after);
    *after = copy_world(test);
    run->after_it = after;
    return run;
}

const tm_run *tm_test_call_handler(tm_test *test, tm_function *handler, tm_event event) {
    return call_function(test, HANDLER, handler, event);
}

const tm_run *tm_test_call_projection(tm_test *test, tm_function *projection, tm_event event) {
    return call_function(test, PROJECTION, projection, event);
}

tm_outcome tm_test_call_query(tm_test *test, tm_query_function *query, const char *name, const char *params, tm_text *answer) {
    call *call = tm_keep_alloc(sizeof *call);
    call->role = QUERY;
    call->world = copy_world(test);
    tm_question question = { tm_text_of(name), tm_text_of(params) };
    tm_outcome outcome = tm_done();
    *answer = TM("null");
    if (!make(call, &(job){ .query = query, .question = &question, .answer = answer }, &outcome)) {
        tm_test_fail(__FILE__, __LINE__, "the query `%s` panicked: %.*s", name, TM_ARG(last_words));
    }
    if (call->refused.code != TM_DONE) return tm_reject("%.*s", TM_ARG(call->refused.reason));
    return outcome;
}

// === Looking at what came of it ======================================================================================

tm_text tm_run_state(const tm_run *run, const char *key) {
    const tm_attribute *found = tm_table_find(&run->after_it->state, tm_text_of(key));
    return found ? found->value : (tm_text){ NULL, 0 };
}

static const collection *collection_of(const tm_run *run, const char *name) {
    const collection *found = tm_find_collection(run->after_it, tm_text_of(name));
    if (!found) tm_test_fail(__FILE__, __LINE__, "there is no collection `%s`: tm_test_collection makes one", name);
    return found;
}

tm_text tm_run_document(const tm_run *run, const char *collection, const char *key) {
    const tm_attribute *found = tm_table_find(&collection_of(run, collection)->documents, tm_text_of(key));
    return found ? found->value : (tm_text){ NULL, 0 };
}

static bool contains(tm_text text, const char *part) { return tm_exists(text) && strstr(text.ptr, part); }

const tm_line *tm_run_logged(const tm_run *run, tm_level level, const char *part) {
    for (size_t i = 0; i < run->line_count; i++) {
        if (run->lines[i].level == level && contains(run->lines[i].message, part)) return &run->lines[i];
    }
    return NULL;
}

static tm_text attribute(tm_attributes attributes, const char *name) {
    for (size_t i = 0; i < attributes.len; i++) {
        if (tm_is(attributes.ptr[i].name, name)) return attributes.ptr[i].value;
    }
    return (tm_text){ NULL, 0 };
}

tm_text tm_line_field(const tm_line *line, const char *name) {
    return line ? attribute(line->fields, name) : (tm_text){ NULL, 0 };
}

tm_text tm_emitted_extension(const tm_outgoing *emit, const char *name) { return attribute(emit->extensions, name); }

static tm_text kinds(const tm_run *run) {
    tm_text list = TM("");
    for (size_t i = 0; i < run->emit_count; i++) {
        list = tm_format("%.*s%s%.*s", TM_ARG(list), i ? ", " : "", TM_ARG(run->emits[i].kind));
    }
    return list;
}

static tm_text ending(const tm_run *run) {
    static const char *const words[] = { "done", "a retry", "a rejection", "a panic", "a refusal" };
    return run->ended == TM_ENDED_DONE ? TM("done") : tm_format("%s: %.*s", words[run->ended], TM_ARG(run->reason));
}

const tm_outgoing *tm_run_emitted(const tm_run *run, const char *kind) {
    const tm_outgoing *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < run->emit_count; i++) {
        if (!tm_is(run->emits[i].kind, kind)) continue;
        found = &run->emits[i];
        count++;
    }
    if (count != 1) {
        tm_test_fail(__FILE__, __LINE__, "expected one emit of type %s, but found [%s] (the call ended as %s)", kind, kinds(run).ptr,
                     ending(run).ptr);
    }
    return found;
}

void tm_assert_ended(const char *file, int line, const tm_run *run, tm_ended ended, const char *part) {
    static const char *const wanted[] = { "to be done", "a retry", "a rejection", "a panic", "a refusal" };
    if (run->ended == ended && (ended == TM_ENDED_DONE || contains(run->reason, part))) return;
    tm_test_fail(file, line, "expected %s%s%s, but it ended as %s", wanted[ended], *part ? " because of " : "", part, ending(run).ptr);
}

void tm_assert_emits(const char *file, int line, const tm_run *run, size_t count) {
    if (run->emit_count != count) tm_test_fail(file, line, "expected %zu emits, but found [%s]", count, kinds(run).ptr);
}

void tm_assert_keys(const char *file, int line, const tm_run *run, const char *name, const char *keys) {
    const table *documents = &collection_of(run, name)->documents;
    tm_text found = TM("");
    for (size_t i = 0; i < documents->len; i++) {
        found = tm_format("%.*s%s%.*s", TM_ARG(found), i ? " " : "", TM_ARG(documents->rows[i].name));
    }
    if (!tm_is(found, keys)) tm_test_fail(file, line, "expected the keys [%s] in `%s`, but found [%s]", keys, name, found.ptr);
}
