#include <tidemill_test.h>

TM_TEST(orders_are_added_up_by_customer) {
    tm_test *test = tm_test_new();
    tm_test_index(test, "orders", "customer");
    tm_test_collection(test, "customers");
    TM_ASSERT_DONE(tm_test_apply(test, tm_test_event("OrderCreated", TM_JSON({"id": "o-1", "customer": "c-1", "total": 750}))));
    const tm_run *run = tm_test_apply(test, tm_test_event("OrderCreated", TM_JSON({"id": "o-2", "customer": "c-1", "total": 50})));
    TM_ASSERT_DONE(run);
    TM_ASSERT_KEYS(run, "orders", "o-1 o-2");
    TM_ASSERT_JSON(tm_run_document(run, "customers", "c-1"), TM_JSON({"orders": 2, "spent": 800}));
}

TM_TEST_MAIN
