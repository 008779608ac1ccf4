#include <tidemill_test.h>

TM_TEST(a_large_order_is_marked) {
    const tm_run *run = tm_test_handle(tm_test_new(), tm_test_event("OrderCreated", TM_JSON({"id": "o-1", "total": 1500})));
    TM_ASSERT_DONE(run);
    TM_ASSERT_JSON(tm_run_emitted(run, "OrderChecked")->data, TM_JSON({"order": "o-1", "large": true}));
}

TM_TEST(a_negative_total_is_refused) {
    const tm_run *run = tm_test_handle(tm_test_new(), tm_test_event("OrderCreated", TM_JSON({"id": "o-1", "total": -1})));
    TM_ASSERT_REJECTED(run, "a total cannot be negative");
}

TM_TEST_MAIN
