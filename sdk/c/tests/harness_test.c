// The harness keeps the host's promises, and so do the functions that a handler calls through it.

#include "tidemill_test.h"

#include <assert.h>
#include <stdlib.h>

// === A handler whose behaviour the event names, so that each test reads as cause and effect ===========================

static tm_text kept;

static tm_outcome wish_of(const tm_event *event, const tm_context *context, tm_text wish) {
    if (tm_is(wish, "count")) {
        int64_t count;
        TM_TRY(tm_state_add(TM("count"), 1, &count));
        return tm_emit((tm_outgoing){ .to = TM("counts.made"), .kind = TM("Counted"), .data = tm_format("%d", (int)count) });
    }
    if (tm_is(wish, "count, then reject")) {
        TM_TRY(tm_state_put(TM("count"), TM("99")));
        TM_TRY(tm_emit((tm_outgoing){ .to = TM("counts.made"), .kind = TM("Counted"), .data = TM("99") }));
        tm_info("about to reject", TM_FIELD("route", context->route), TM_FIELD("tries", context->attempt));
        return tm_reject("changed my mind about %s", event->id.ptr);
    }
    if (tm_is(wish, "retry later")) return tm_retry_after(7000, "not yet");
    if (tm_is(wish, "panic")) tm_panic("on %s", event->kind.ptr);
    if (tm_is(wish, "abort")) abort();
    if (tm_is(wish, "assert")) assert(event->data.len == 0);
    if (tm_is(wish, "ignore a refusal")) {
        tm_outcome refused = tm_emit((tm_outgoing){ .to = TM("secrets.told"), .kind = TM("Told") });
        tm_debug("went on", TM_FIELD("code", refused.code));
        return tm_done();
    }
    if (tm_is(wish, "id")) {
        TM_TRY(tm_state_put(TM("id"), tm_host_stable_id(TM("thing"))));
        return context->attempt >= context->max_attempts ? tm_done() : tm_retry("once more");
    }
    if (tm_is(wish, "set once")) {
        bool did;
        TM_TRY(tm_state_compare_and_set(TM("once"), (tm_text){ NULL, 0 }, TM("1"), &did));
        return tm_emit((tm_outgoing){ .to = TM("sets.made"), .kind = TM("Set"), .data = did ? TM("true") : TM("false") });
    }
    if (tm_is(wish, "keep")) {
        kept = event->id;
        return tm_done();
    }
    if (tm_is(wish, "bad text")) return tm_emit((tm_outgoing){ .to = TM("a.b"), .kind = TM("K"), .subject = TM("\xff") });
    return tm_reject("no such wish: %s", wish.ptr);
}

static tm_outcome puppet(const tm_event *event, const tm_context *context) {
    tm_json *data;
    tm_text wish;
    TM_TRY(tm_event_json(event, &data));
    TM_TRY(tm_json_text_at(data, "/wish", &wish));
    return wish_of(event, context, wish);
}

static const tm_run *wish(tm_test *test, const char *wish) {
    tm_json *data = tm_json_object();
    tm_json_set(data, "wish", wish);
    return tm_test_call_handler(test, puppet, tm_test_event("Wish", tm_json_write(data).ptr));
}

TM_TEST(effects_of_a_done_call_stay) {
    tm_test *test = tm_test_new();
    tm_test_state(test, "count", "4");
    const tm_run *run = wish(test, "count");
    TM_ASSERT_DONE(run);
    TM_ASSERT_TEXT(tm_run_emitted(run, "Counted")->data, "5");
    TM_ASSERT_TEXT(tm_run_state(wish(test, "count"), "count"), "6");
    TM_ASSERT_TEXT(tm_run_state(run, "count"), "5");
}

TM_TEST(effects_of_a_failed_call_vanish_and_its_log_stays) {
    tm_test *test = tm_test_new();
    tm_test_state(test, "count", "4");
    tm_test_route(test, "demo");
    const tm_run *run = wish(test, "count, then reject");
    TM_ASSERT_REJECTED(run, "changed my mind about event-1");
    TM_ASSERT_NO_EMITS(run);
    TM_ASSERT_TEXT(tm_run_state(run, "count"), "4");
    const tm_line *line = tm_run_logged(run, TM_INFO, "about to reject");
    TM_ASSERT_TEXT(tm_line_field(line, "route"), "demo");
    TM_ASSERT_TEXT(tm_line_field(line, "tries"), "1");
}

TM_TEST(retries_and_panics_are_told_apart) {
    tm_test *test = tm_test_new();
    const tm_run *run = wish(test, "retry later");
    TM_ASSERT_RETRY(run, "not yet");
    TM_ASSERT_INTEGER(run->after, 7000);
    run = wish(test, "panic");
    TM_ASSERT_PANICKED(run, "on Wish");
    TM_ASSERT(tm_run_logged(run, TM_ERROR, ": on Wish"));
    TM_ASSERT_PANICKED(wish(test, "abort"), "aborted");
    TM_ASSERT_PANICKED(wish(test, "assert"), "aborted");
    TM_ASSERT_DONE(wish(test, "count"));
}

TM_TEST(data_that_does_not_fit_is_rejected) {
    const tm_run *run = tm_test_call_handler(tm_test_new(), puppet, tm_test_event("Wish", TM_JSON({"wish": 1})));
    TM_ASSERT_REJECTED(run, "`/wish`: expected a text, found 1");
    run = tm_test_call_handler(tm_test_new(), puppet, tm_test_event("Wish", "{"));
    TM_ASSERT_REJECTED(run, "the event's data is not JSON: expected a name in quotes at line 1 column 2");
}

TM_TEST(a_refused_emit_fails_the_call_even_if_it_is_ignored) {
    tm_test *test = tm_test_new();
    tm_test_emits(test, "counts.*");
    const tm_run *run = wish(test, "ignore a refusal");
    TM_ASSERT_REFUSED(run, "`emits: [\"secrets.told\"]`");
    TM_ASSERT(run->code == TM_NOT_GRANTED && tm_run_logged(run, TM_DEBUG, "went on"));
    TM_ASSERT_DONE(wish(test, "count"));
}

TM_TEST(a_stable_id_is_the_same_for_a_redelivery_and_another_for_the_next_event) {
    tm_test *test = tm_test_new();
    tm_test_attempt(test, 5);
    tm_text first = tm_run_state(wish(test, "id"), "id"), second = tm_run_state(wish(test, "id"), "id");
    TM_ASSERT(first.len == 36 && !tm_equal(first, second));
    test = tm_test_new();
    TM_ASSERT_RETRY(wish(test, "id"), "once more");
    tm_test_attempt(test, 5);
    TM_ASSERT_TEXT(tm_run_state(wish(test, "id"), "id"), first.ptr);
}

TM_TEST(compare_and_set_sets_what_is_absent_once) {
    tm_test *test = tm_test_new();
    TM_ASSERT_TEXT(tm_run_emitted(wish(test, "set once"), "Set")->data, "true");
    TM_ASSERT_TEXT(tm_run_emitted(wish(test, "set once"), "Set")->data, "false");
}

TM_TEST(what_a_global_keeps_of_a_call_is_seen_to_be_gone) {
    TM_ASSERT_DONE(wish(tm_test_new(), "keep"));
    TM_ASSERT_TEXT(kept, "~~~~~~~");
}

TM_TEST(text_that_is_not_utf8_ends_the_call_as_in_the_host) {
    TM_ASSERT_PANICKED(wish(tm_test_new(), "bad text"), "an emit's attribute `subject` is not UTF-8");
}

// === What a call sees of state and settings ==========================================================================

static tm_outcome settings(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    int64_t integer;
    double number;
    bool truth;
    TM_TRY(tm_config_integer(TM("text"), 0, &integer));
    TM_ASSERT_INTEGER(integer, 5);
    TM_TRY(tm_config_integer(TM("none"), 7, &integer));
    TM_ASSERT_INTEGER(integer, 7);
    TM_TRY(tm_config_number(TM("number"), 0, &number));
    TM_ASSERT(number == 1.5);
    TM_TRY(tm_config_bool(TM("flag"), false, &truth));
    TM_ASSERT(truth);
    TM_ASSERT_TEXT(tm_config_get(TM("mode")), "strict");
    TM_ASSERT(!tm_exists(tm_config_get(TM("none"))));
    tm_texts keys = tm_config_keys();
    TM_ASSERT_INTEGER((int64_t)keys.len, 4);
    TM_ASSERT_TEXT(keys.ptr[0], "flag");
    TM_ASSERT_TEXT(tm_config_integer(TM("mode"), 0, &integer).reason, "the setting `mode`: expected an integer");
    return tm_config_number(TM("flag"), 0, &number);
}

TM_TEST(settings_are_read_as_texts_or_as_json_and_never_told) {
    tm_test *test = tm_test_new();
    tm_test_config(test, "text", "5");
    tm_test_config(test, "mode", "strict");
    tm_test_config(test, "number", "1.5");
    tm_test_config(test, "flag", "true");
    TM_ASSERT_RETRY(tm_test_call_handler(test, settings, tm_test_event("Any", "")), "the setting `flag`: expected a number");
}

static tm_outcome keys(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    tm_texts found;
    tm_text value;
    for (int i = 0; i < 2500; i++) TM_TRY(tm_state_put(tm_format("many/%04d", i), TM("x")));
    TM_TRY(tm_state_put(TM("other"), TM("x")));
    TM_TRY(tm_state_list(TM("many/"), (tm_text){ NULL, 0 }, 5000, &found));
    TM_ASSERT_INTEGER((int64_t)found.len, TM_MAX_LIST);
    TM_ASSERT_TEXT(found.ptr[999], "many/0999");
    TM_TRY(tm_state_list(TM("many/"), TM("many/0002"), 2, &found));
    TM_ASSERT(found.len == 2 && tm_is(found.ptr[0], "many/0003") && tm_is(found.ptr[1], "many/0004"));
    TM_TRY(tm_state_delete(TM("many/0003")));
    TM_TRY(tm_state_get(TM("many/0003"), &value));
    TM_ASSERT(!tm_exists(value));
    TM_TRY(tm_state_put(TM("empty"), TM("")));
    TM_TRY(tm_state_get(TM("empty"), &value));
    TM_ASSERT(tm_exists(value) && value.len == 0);
    return tm_done();
}

TM_TEST(keys_are_listed_in_order_and_page_by_page) {
    TM_ASSERT_DONE(tm_test_call_handler(tm_test_new(), keys, tm_test_event("Any", "")));
}

static tm_outcome errors(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    tm_text value;
    tm_json *json;
    TM_ASSERT(tm_state_put(TM(""), TM("x")).code == TM_INVALID);
    TM_ASSERT_TEXT(tm_state_get(TM("a\nb"), &value).reason,
                   "`a\\nb` is not a state key: expected 1 to 256 bytes without control characters");
    TM_ASSERT(tm_state_put(TM("big"), (tm_text){ tm_alloc(600000), 600000 }).code == TM_LIMIT);
    TM_ASSERT_TEXT(tm_state_get_json(TM("count"), &json).reason,
                   "the state's value of `count` is not JSON: expected a value at line 1 column 1");
    TM_ASSERT_TEXT(tm_state_add(TM("full"), 1, NULL).reason,
                   "the state's value of `full`: 9223372036854775807 and 1 are more than 64 bits hold");
    return tm_state_add(TM("list"), 1, NULL);
}

TM_TEST(state_errors_say_what_is_wrong) {
    tm_test *test = tm_test_new();
    tm_test_state(test, "count", "what JSON?");
    tm_test_state(test, "full", "9223372036854775807");
    tm_test_state(test, "list", "[1]");
    const tm_run *run = tm_test_call_handler(test, errors, tm_test_event("Any", ""));
    TM_ASSERT_RETRY(run, "the state's value of `list` does not fit: expected an integer, found a list");
    TM_ASSERT(run->code == TM_UNFIT);
}

static tm_outcome get(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    tm_text value;
    return tm_state_get(TM("key"), &value);
}

TM_TEST(a_store_that_cannot_be_reached_is_a_retry) {
    tm_test *test = tm_test_new();
    tm_test_unavailable(test);
    const tm_run *run = tm_test_call_handler(test, get, tm_test_event("Any", ""));
    TM_ASSERT_RETRY(run, "the state is unavailable");
    TM_ASSERT(run->code == TM_UNAVAILABLE);
}

static tm_outcome chance(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    unsigned char bytes[5000] = { 0 };
    tm_host_random(bytes, sizeof bytes);
    TM_ASSERT(bytes[0] != bytes[1] || bytes[1] != bytes[2]);
    TM_ASSERT_TEXT(tm_host_now(), "2030-01-02T03:04:05.000Z");
    return tm_reject("%02x%02x", bytes[0], bytes[4999]);
}

TM_TEST(time_and_chance_are_the_same_in_each_run) {
    tm_test *test = tm_test_new();
    tm_test_now(test, "2030-01-02T03:04:05.000Z");
    const tm_run *run = tm_test_call_handler(test, chance, tm_test_event("Any", ""));
    TM_ASSERT_REJECTED(tm_test_call_handler(test, chance, tm_test_event("Any", "")), run->reason.ptr);
}

static tm_outcome tell_time(const tm_event *event, const tm_context *context) {
    (void)event;
    return tm_reject("%u of %u", (unsigned)tm_host_time_left(), (unsigned)context->time_limit);
}

TM_TEST(the_time_that_is_left_is_the_time_limit_unless_the_test_says_otherwise) {
    tm_test *test = tm_test_new();
    TM_ASSERT_REJECTED(tm_test_call_handler(test, tell_time, tm_test_event("Any", "")), "5000 of 5000");
    tm_test_time_left(test, 250);
    TM_ASSERT_REJECTED(tm_test_call_handler(test, tell_time, tm_test_event("Any", "")), "250 of 5000");
}

static tm_outcome emits(const tm_event *event, const tm_context *context) {
    (void)context;
    tm_outcome outcome = tm_emit((tm_outgoing){
        .to = event->subject,
        .kind = TM("K"),
        .subject = TM("about"),
        .datacontenttype = TM("text/plain"),
        .dataschema = TM("https://schemas.example/k"),
        .extensions = TM_FIELDS(TM_FIELD("lines", 3), TM_FIELD("flag", (bool)true), TM_FIELD("half", 0.5)),
        .data = TM("hello"),
    });
    return outcome;
}

TM_TEST(an_emit_arrives_as_it_was_sent_and_wrong_ones_are_refused) {
    static const char *const refused[][2] = {
        { "", "`` is not a subject" },
        { "a..b", "`a..b` is not a subject" },
        { "a.*", "`a.*` is not a subject" },
        { "a b", "`a b` is not a subject" },
        { "$JS.API", "`$JS.API` belongs to the server" },
        { "_INBOX.x", "`_INBOX.x` belongs to the server" },
    };
    tm_event event = tm_test_event("Any", "");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        event.subject = tm_text_of(refused[i][0]);
        TM_ASSERT_REFUSED(tm_test_call_handler(tm_test_new(), emits, event), refused[i][1]);
    }
    event.subject = TM("orders.seen");
    const tm_outgoing *sent = tm_run_emitted(tm_test_call_handler(tm_test_new(), emits, event), "K");
    TM_ASSERT_TEXT(sent->to, "orders.seen");
    TM_ASSERT_TEXT(sent->subject, "about");
    TM_ASSERT_TEXT(sent->datacontenttype, "text/plain");
    TM_ASSERT_TEXT(sent->dataschema, "https://schemas.example/k");
    TM_ASSERT_TEXT(tm_emitted_extension(sent, "lines"), "3");
    TM_ASSERT_TEXT(tm_emitted_extension(sent, "flag"), "true");
    TM_ASSERT_TEXT(tm_emitted_extension(sent, "half"), "0.5");
    TM_ASSERT_TEXT(sent->data, "hello");
}

TM_TEST_MAIN
