#include <tidemill_test.h>

// A payment of 1500, but for its amount and what else is given.
#define PAYMENT(...)                                                            \
    TM_JSON({"payment_id": "p-1", "account": "a-1",                             \
             "items": [{"sku": "MUG", "quantity": 2, "unit_price": 700},        \
                       {"sku": "PEN", "quantity": 1, "unit_price": 100}], __VA_ARGS__})

static const tm_run *pay(tm_test *test, const char *json) { return tm_test_handle(test, tm_test_event("PaymentRequested", json)); }

TM_TEST(a_payment_is_recorded) {
    tm_test *test = tm_test_new();
    tm_test_state(test, "balance/a-1", "500");
    const tm_run *run = pay(test, PAYMENT("amount": 1500));
    TM_ASSERT_DONE(run);

    const tm_outgoing *recorded = tm_run_emitted(run, "PaymentRecorded");
    TM_ASSERT_TEXT(recorded->to, "payments.recorded");
    TM_ASSERT_TEXT(recorded->subject, "a-1");
    TM_ASSERT_JSON(recorded->data, TM_JSON({"payment_id": "p-1", "account": "a-1", "balance": 2000}));

    const tm_outgoing *receipt = tm_run_emitted(run, "ReceiptIssued");
    TM_ASSERT_TEXT(receipt->to, "receipts.issued");
    TM_ASSERT_TEXT(tm_emitted_extension(receipt, "lines"), "2");
    TM_ASSERT_JSON(receipt->data, TM_JSON({"payment_id": "p-1", "lines": 2, "amount": 1500}));

    TM_ASSERT_TEXT(tm_run_state(run, "balance/a-1"), "2000");
    TM_ASSERT_TEXT(tm_line_field(tm_run_logged(run, TM_INFO, "recorded a payment"), "balance"), "2000");
}

TM_TEST(what_cannot_be_right_is_rejected) {
    tm_test *test = tm_test_new();
    TM_ASSERT_REJECTED(pay(test, "{"), "the event's data is not JSON");
    TM_ASSERT_REJECTED(pay(test, PAYMENT("amount": "1500")), "`/amount`: expected an integer, found \"1500\"");
    TM_ASSERT_REJECTED(pay(test, PAYMENT("amount": 1400)), "the amount is 1400, the items add up to 1500");
    TM_ASSERT_REJECTED(pay(test, TM_JSON({"payment_id": "p-1", "account": "a-1", "amount": 1,
                                          "items": [{"quantity": 4294967296, "unit_price": 4294967296}]})),
                       "the items add up to more than 64 bits hold");
    tm_test_config(test, "limit", "1000");
    TM_ASSERT_REJECTED(pay(test, PAYMENT("amount": 1500)), "1500 is above the limit of 1000");
}

TM_TEST(trouble_is_what_it_asks_for) {
    tm_test *test = tm_test_new();
    const tm_run *run = pay(test, PAYMENT("amount": 1500, "trouble": "retry"));
    TM_ASSERT_RETRY(run, "asked to be tried again");
    TM_ASSERT_INTEGER(run->after, 10);
    tm_test_attempt(test, 2);
    TM_ASSERT_DONE(pay(test, PAYMENT("amount": 1500, "trouble": "retry")));
    TM_ASSERT_PANICKED(pay(test, PAYMENT("amount": 1500, "trouble": "throw")), "aborted");
}

TM_TEST_MAIN
