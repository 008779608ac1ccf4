// The C++ half of the headers: the same calls in types of C++.

#include "tidemill_test.h"

#include <string>

using namespace std::literals;

static tm_outcome check(const tm_event *event, const tm_context *context) {
    TM_LET(auto order, tidemill::Json::of(event));
    TM_LET(auto id, order.text_at("/id"));
    TM_LET(auto total, order.number_at("/total"));
    TM_LET(double threshold, tidemill::config::number("threshold", 1000));
    if (total < 0) return tidemill::reject("the order " + std::string(id) + " has a negative total");
    if (total < threshold) return tm_done();
    int64_t quantity = 0;
    for (auto item : order["/items"]) quantity += item["/quantity"].integer().value_or(1);
    TM_LET(auto seen, tidemill::state::add("large-orders", 1));
    TM_LET(auto last, tidemill::state::update("last", [&](tidemill::Json before) {
        return tidemill::Json::object({ { "id", id }, { "before", before["/id"] }, { "list", tidemill::Json::list({ 1, 2.5, true }) } });
    }));
    TM_TRY(tidemill::state::put("text", "x"sv));
    TM_LET(auto text, tidemill::state::get("text"));
    TM_LET(auto none, tidemill::state::get("none"));
    TM_LET(bool did, tidemill::state::compare_and_set("text", "x", std::nullopt));
    TM_LET(auto keys, tidemill::state::list("la"));
    std::string listed;
    for (tm_text key : keys) listed += std::string(key) + " ";
    tidemill::info("a large order", { { "order", id }, { "seen", seen }, { "total", total }, { "did", did }, { "attempt", context->attempt },
                                      { "text", text.value_or("-") }, { "none", none.value_or("-") }, { "keys", listed } });
    return tidemill::emit({ .to = "fraud.checked",
                            .kind = "FraudChecked",
                            .subject = id,
                            .extensions = { { "quantity", quantity } },
                            .data = last.write() });
}

TM_TEST(a_handler_in_cpp_does_what_one_in_c_does) {
    tm_test *test = tm_test_new();
    tm_test_config(test, "threshold", "500");
    tm_event event = tm_test_event("OrderCreated", TM_JSON({"id": "o-1", "total": 750, "items": [{"quantity": 2}, {}]}));
    TM_ASSERT_DONE(tm_test_call_handler(test, check, event));
    const tm_run *run = tm_test_call_handler(test, check, event);
    TM_ASSERT_DONE(run);
    const tm_outgoing *sent = tm_run_emitted(run, "FraudChecked");
    TM_ASSERT_JSON(sent->data, TM_JSON({"id": "o-1", "before": "o-1", "list": [1, 2.5, true]}));
    TM_ASSERT(sent->subject == "o-1" && !tm_exists(sent->dataschema));
    TM_ASSERT_TEXT(tm_emitted_extension(sent, "quantity"), "3");
    const tm_line *line = tm_run_logged(run, TM_INFO, "a large order");
    TM_ASSERT_TEXT(tm_line_field(line, "seen"), "2");
    TM_ASSERT_TEXT(tm_line_field(line, "total"), "750");
    TM_ASSERT_TEXT(tm_line_field(line, "did"), "true");
    TM_ASSERT_TEXT(tm_line_field(line, "attempt"), "1");
    TM_ASSERT_TEXT(tm_line_field(line, "text"), "x");
    TM_ASSERT_TEXT(tm_line_field(line, "none"), "-");
    TM_ASSERT_TEXT(tm_line_field(line, "keys"), "large-orders last ");
    TM_ASSERT(!tm_exists(tm_run_state(run, "text")));
}

static tm_outcome tell_time(const tm_event *, const tm_context *context) {
    return tidemill::reject(std::to_string(tidemill::host::time_left()) + " of " + std::to_string(context->time_limit));
}

TM_TEST(the_time_that_is_left_is_known_in_cpp) {
    tm_test *test = tm_test_new();
    tm_test_time_left(test, 250);
    TM_ASSERT_REJECTED(tm_test_call_handler(test, tell_time, tm_test_event("Any", "")), "250 of 5000");
}

TM_TEST(failures_of_cpp_are_outcomes) {
    tm_test *test = tm_test_new();
    TM_ASSERT_REJECTED(tm_test_call_handler(test, check, tm_test_event("OrderCreated", TM_JSON({"id": "o-1", "total": -1}))),
                       "the order o-1 has a negative total");
    TM_ASSERT_REJECTED(tm_test_call_handler(test, check, tm_test_event("OrderCreated", TM_JSON({"id": "o-1"}))),
                       "the event's data does not fit: `/total`: expected a number, found nothing");
    tm_outcome later = tidemill::retry("closed", 250);
    TM_ASSERT(later.code == TM_RETRY && later.after == 250);
}

static tm_outcome fold(const tm_event *event, const tm_context *) {
    namespace read_model = tidemill::read_model;
    TM_LET(auto order, tidemill::Json::of(event));
    TM_LET(auto id, order.text_at("/id"));
    TM_TRY(read_model::put("orders", id, order));
    TM_LET(auto count, read_model::update("counts", "all", [](tidemill::Json before) {
        return tidemill::Json::object({ { "orders", before["/orders"].integer().value_or(0) + 1 } });
    }));
    TM_LET(auto found, read_model::find("orders", "id", id));
    for (const tm_document &document : found) TM_TRY(read_model::erase("old", document.key));
    TM_LET(auto none, read_model::get("orders", "none"));
    return none || found.len != 1 || !count["/orders"] ? tidemill::reject("not what was written") : tm_done();
}

TM_TEST(a_projection_in_cpp_folds) {
    tm_test *test = tm_test_new();
    tm_test_index(test, "orders", "id");
    tm_test_collection(test, "counts");
    tm_test_document(test, "old", "o-1", "{}");
    const tm_run *run = tm_test_call_projection(test, fold, tm_test_event("OrderCreated", TM_JSON({"id": "o-1"})));
    TM_ASSERT_DONE(run);
    TM_ASSERT_KEYS(run, "orders", "o-1");
    TM_ASSERT_KEYS(run, "old", "");
    TM_ASSERT_JSON(tm_run_document(run, "counts", "all"), TM_JSON({"orders": 1}));
}

TM_TEST_MAIN
