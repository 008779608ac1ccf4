// Projections and questions in the harness: what the host does with documents, it does.

#include "tidemill_test.h"

static tm_outcome fold(const tm_event *event, const tm_context *context) {
    (void)context;
    tm_json *data, *customer;
    tm_text id, name;
    double total, spent = 0;
    TM_TRY(tm_event_json(event, &data));
    TM_TRY(tm_json_text_at(data, "/id", &id));
    TM_TRY(tm_json_text_at(data, "/customer", &name));
    TM_TRY(tm_json_number_at(data, "/total", &total));
    tm_json *order = tm_json_object();
    tm_json_set(order, "customer", name);
    tm_json_set(order, "total", total);
    TM_TRY(tm_read_model_put_json(TM("orders"), id, order));
    TM_TRY(tm_read_model_get_json(TM("customers"), name, &customer));
    if (!customer) customer = tm_json_object();
    tm_json_number(tm_json_at(customer, "/spent"), &spent);
    tm_json_set(customer, "spent", spent + total);
    TM_TRY(tm_read_model_put_json(TM("customers"), name, customer));
    return total < 0 ? tm_reject("a total cannot be negative") : tm_done();
}

static tm_outcome answer(const tm_question *question, tm_text *text) {
    tm_json *params;
    tm_documents found;
    TM_TRY(tm_question_json(question, &params));
    if (tm_is(question->name, "orders of")) {
        TM_TRY(tm_read_model_find(TM("orders"), TM("customer"), tm_json_write(tm_json_at(params, "/customer")), (tm_text){ NULL, 0 },
                                  10, &found));
        tm_json *list = tm_json_list();
        for (size_t i = 0; i < found.len; i++) tm_json_append(list, found.ptr[i].key);
        *text = tm_json_write(list);
        return tm_done();
    }
    if (tm_is(question->name, "write")) {
        tm_outcome refused = tm_read_model_delete(TM("orders"), TM("o-1"));
        return refused.code == TM_READ_ONLY ? tm_done() : tm_reject("it was not refused");
    }
    if (tm_is(question->name, "by an index that is not there")) {
        return tm_read_model_find(TM("orders"), TM("total"), TM("1"), (tm_text){ NULL, 0 }, 10, &found);
    }
    return tm_unknown(question);
}

static tm_test *shop(void) {
    tm_test *test = tm_test_new();
    tm_test_collection(test, "customers");
    tm_test_index(test, "orders", "customer");
    return test;
}

static const tm_run *order(tm_test *test, const char *json) {
    return tm_test_call_projection(test, fold, tm_test_event("OrderCreated", json));
}

TM_TEST(events_are_folded_into_documents) {
    tm_test *test = shop();
    TM_ASSERT_DONE(order(test, TM_JSON({"id": "o-2", "customer": "c-1", "total": 750})));
    const tm_run *run = order(test, TM_JSON({"id": "o-1", "customer": "c-1", "total": 50.5}));
    TM_ASSERT_DONE(run);
    TM_ASSERT_KEYS(run, "orders", "o-1 o-2");
    TM_ASSERT_JSON(tm_run_document(run, "customers", "c-1"), TM_JSON({"spent": 800.5}));
    TM_ASSERT(!tm_exists(tm_run_document(run, "customers", "c-2")));
}

TM_TEST(what_a_failed_event_wrote_is_undone_and_nothing_else) {
    tm_test *test = shop();
    TM_ASSERT_DONE(order(test, TM_JSON({"id": "o-1", "customer": "c-1", "total": 1})));
    const tm_run *run = order(test, TM_JSON({"id": "o-2", "customer": "c-1", "total": -1}));
    TM_ASSERT_REJECTED(run, "a total cannot be negative");
    TM_ASSERT_KEYS(run, "orders", "o-1");
    TM_ASSERT_JSON(tm_run_document(run, "customers", "c-1"), TM_JSON({"spent": 1}));
}

TM_TEST(questions_are_answered_and_write_nothing) {
    tm_test *test = shop();
    tm_text text;
    tm_test_document(test, "orders", "o-1", TM_JSON({"customer": "c-1"}));
    tm_test_document(test, "orders", "o-2", TM_JSON({"customer": "c-2"}));
    tm_test_document(test, "orders", "o-3", TM_JSON({"customer": "c-1"}));
    TM_ASSERT(tm_test_call_query(test, answer, "orders of", TM_JSON({"customer": "c-1"}), &text).code == TM_DONE);
    TM_ASSERT_JSON(text, TM_JSON(["o-1", "o-3"]));
    TM_ASSERT_TEXT(tm_test_call_query(test, answer, "write", "{}", &text).reason, "a query reads documents and writes none");
    TM_ASSERT_TEXT(tm_test_call_query(test, answer, "the weather", "{}", &text).reason, "there is no query `the weather`");
    TM_ASSERT_TEXT(tm_test_call_query(test, answer, "any", "[", &text).reason,
                   "the query's parameter object is not JSON: expected a value at line 1 column 2");
    TM_ASSERT_TEXT(tm_test_call_query(test, answer, "by an index that is not there", "{}", &text).reason,
                   "the field `total` of the collection `orders` is not indexed; `projections[].collections.orders.indexes: [total]` "
                   "in runtime.yaml would index it");
}

TM_TEST(a_refused_write_fails_the_event_even_if_it_is_ignored) {
    tm_test *test = tm_test_new();
    tm_test_collection(test, "orders");
    const tm_run *run = order(test, TM_JSON({"id": "o-1", "customer": "c-1", "total": 1}));
    TM_ASSERT_RETRY(run, "the collection `customers` is not declared; `projections[].collections.customers` in runtime.yaml would");
    TM_ASSERT(run->code == TM_NO_COLLECTION);
}

// --- rules about single writes ---------------------------------------------------------------------------------------

static tm_text wanted_key, wanted_body;

static tm_outcome write_one(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    tm_outcome ignored = tm_read_model_put(TM("orders"), wanted_key, wanted_body);
    return ignored.code == TM_UNAVAILABLE ? ignored : tm_done();
}

static const tm_run *write_document(tm_test *test, const char *key, const char *body) {
    wanted_key = tm_text_of(key);
    wanted_body = tm_text_of(body);
    return tm_test_call_projection(test, write_one, tm_test_event("Any", ""));
}

TM_TEST(documents_are_objects_with_keys_that_are_keys) {
    tm_test *test = shop();
    TM_ASSERT_DONE(write_document(test, "o-1", "{}"));
    TM_ASSERT_REFUSED(write_document(test, "", "{}"), "`` is not a document's key: expected 1 to 256 bytes");
    TM_ASSERT_REFUSED(write_document(test, "o-1", "[1]"),
                      "a document of the collection `orders` is refused: expected a JSON object, found [1]");
    TM_ASSERT_REFUSED(write_document(test, "o-1", "{"), "expected a JSON object, found no JSON");
    tm_json *long_one = tm_json_object();
    tm_json_set(long_one, "customer", tm_format("%600s", "x"));
    TM_ASSERT_REFUSED(write_document(test, "o-1", tm_json_write(long_one).ptr),
                      "its indexed field `customer` holds a text of 600 bytes, at most 512 can be indexed");
    tm_test_unavailable(test);
    TM_ASSERT_RETRY(write_document(test, "o-1", "{}"), "the read model is unavailable");
}

static tm_outcome emit(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    return tm_emit((tm_outgoing){ .to = TM("a.b"), .kind = TM("K") });
}

static tm_outcome read_state(const tm_event *event, const tm_context *context) {
    (void)event, (void)context;
    tm_text value;
    return tm_state_get(TM("k"), &value);
}

TM_TEST(what_a_kind_has_not_is_a_panic) {
    tm_event event = tm_test_event("Any", "{}");
    TM_ASSERT_PANICKED(tm_test_call_projection(tm_test_new(), emit, event), "a projection emits nothing");
    TM_ASSERT_PANICKED(tm_test_call_projection(tm_test_new(), read_state, event), "a projection has no state");
    TM_ASSERT_PANICKED(tm_test_call_handler(shop(), write_one, event), "only a projection has a read model");
}

TM_TEST_MAIN
