// The payments handler that every language has, written in C.

#include <tidemill.h>
#include <tidemill_json.h>

#include <assert.h>
#include <stdlib.h>

typedef struct payment {
    tm_text id, account;
    int64_t amount;
    const tm_json *items;
    const tm_json *trouble;  // optional
} payment;

static tm_outcome read_payment(const tm_event *event, payment *payment) {
    tm_json *data, *items;
    TM_TRY(tm_event_json(event, &data));
    TM_TRY(tm_json_text_at(data, "/payment_id", &payment->id));
    TM_TRY(tm_json_text_at(data, "/account", &payment->account));
    TM_TRY(tm_json_integer_at(data, "/amount", &payment->amount));
    TM_TRY(tm_json_list_at(data, "/items", &items));
    payment->items = items;
    payment->trouble = tm_json_at(data, "/trouble");
    return tm_done();
}

static tm_outcome check(const payment *payment) {
    int64_t sum = 0, limit;
    tm_json_each(item, payment->items) {
        int64_t quantity, unit_price, price;
        TM_TRY(tm_json_integer_at(item, "/quantity", &quantity));
        TM_TRY(tm_json_integer_at(item, "/unit_price", &unit_price));
        if (__builtin_mul_overflow(quantity, unit_price, &price) || __builtin_add_overflow(sum, price, &sum)) {
            return tm_reject("the items add up to more than 64 bits hold");
        }
    }
    if (sum != payment->amount) {
        return tm_reject("the amount is %lld, the items add up to %lld", (long long)payment->amount, (long long)sum);
    }
    TM_TRY(tm_config_integer(TM("limit"), 100000, &limit));
    if (payment->amount > limit) {
        return tm_reject("%lld is above the limit of %lld", (long long)payment->amount, (long long)limit);
    }
    return tm_done();
}

// What a test asks for, to see what becomes of it.
static tm_outcome make_trouble(const tm_json *trouble, const tm_context *context) {
    if (tm_json_is(trouble, "retry") && context->attempt == 1) return tm_retry_after(10, "asked to be tried again");
    if (tm_json_is(trouble, "throw")) assert(!"boom");
    if (tm_json_is(trouble, "spin")) {
        for (volatile bool forever = true; forever;) {}
    }
    if (tm_json_is(trouble, "memory")) {
        for (;;) memset(tm_alloc(1 << 20), 1, 1 << 20);
    }
    return tm_done();
}

static tm_outcome record(const payment *payment) {
    int64_t balance;
    TM_TRY(tm_state_add(tm_format("balance/%.*s", TM_ARG(payment->account)), payment->amount, &balance));

    tm_json *recorded = tm_json_object();
    tm_json_set(recorded, "payment_id", payment->id);
    tm_json_set(recorded, "account", payment->account);
    tm_json_set(recorded, "balance", balance);
    TM_TRY(tm_emit((tm_outgoing){
        .to = TM("payments.recorded"),
        .kind = TM("PaymentRecorded"),
        .subject = payment->account,
        .data = tm_json_write(recorded),
    }));

    size_t lines = tm_json_length(payment->items);
    tm_json *receipt = tm_json_object();
    tm_json_set(receipt, "payment_id", payment->id);
    tm_json_set(receipt, "lines", lines);
    tm_json_set(receipt, "amount", payment->amount);
    TM_TRY(tm_emit((tm_outgoing){
        .to = TM("receipts.issued"),
        .kind = TM("ReceiptIssued"),
        .extensions = TM_FIELDS(TM_FIELD("lines", lines)),
        .data = tm_json_write(receipt),
    }));

    tm_info("recorded a payment", TM_FIELD("payment_id", payment->id), TM_FIELD("balance", balance));
    return tm_done();
}

tm_outcome tidemill_handle(const tm_event *event, const tm_context *context) {
    payment payment;
    TM_TRY(read_payment(event, &payment));
    TM_TRY(check(&payment));
    TM_TRY(make_trouble(payment.trouble, context));
    return record(&payment);
}
