// The payments handler that every language has, written in C++.

#include <tidemill.h>
#include <tidemill_json.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

using tidemill::Json;

namespace {

struct Payment {
    std::string_view id, account;
    int64_t amount;
    Json items;
    Json trouble;  // optional
};

tidemill::Result<Payment> read(const tm_event *event) {
    TM_LET(Json data, Json::of(event));
    TM_LET(auto id, data.text_at("/payment_id"));
    TM_LET(auto account, data.text_at("/account"));
    TM_LET(auto amount, data.integer_at("/amount"));
    TM_LET(Json items, data.list_at("/items"));
    return Payment{ id, account, amount, items, data["/trouble"] };
}

tm_outcome check(const Payment &payment) {
    int64_t sum = 0;
    for (Json item : payment.items) {
        TM_LET(auto quantity, item.integer_at("/quantity"));
        TM_LET(auto unit_price, item.integer_at("/unit_price"));
        int64_t price;
        if (__builtin_mul_overflow(quantity, unit_price, &price) || __builtin_add_overflow(sum, price, &sum)) {
            return tidemill::reject("the items add up to more than 64 bits hold");
        }
    }
    if (sum != payment.amount) {
        return tidemill::reject("the amount is " + std::to_string(payment.amount) + ", the items add up to " + std::to_string(sum));
    }
    TM_LET(auto limit, tidemill::config::integer("limit", 100000));
    if (payment.amount > limit) {
        return tidemill::reject(std::to_string(payment.amount) + " is above the limit of " + std::to_string(limit));
    }
    return tm_done();
}

// What a test asks for, to see what becomes of it.
tm_outcome make_trouble(Json trouble, const tm_context *context) {
    if (trouble.is("retry") && context->attempt == 1) return tidemill::retry("asked to be tried again", 10);
    if (trouble.is("throw")) {
        std::fputs("boom\n", stderr);
        std::abort();
    }
    if (trouble.is("spin")) {
        for (volatile bool forever = true; forever;) {}
    }
    if (trouble.is("memory")) {
        for (;;) std::memset(tm_alloc(1 << 20), 1, 1 << 20);
    }
    return tm_done();
}

tm_outcome record(const Payment &payment) {
    TM_LET(auto balance, tidemill::state::add("balance/" + std::string(payment.account), payment.amount));
    Json recorded = Json::object({ { "payment_id", payment.id }, { "account", payment.account }, { "balance", balance } });
    TM_TRY(tidemill::emit({
        .to = "payments.recorded",
        .kind = "PaymentRecorded",
        .subject = payment.account,
        .data = recorded.write(),
    }));

    auto lines = payment.items.size();
    Json receipt = Json::object({ { "payment_id", payment.id }, { "lines", lines }, { "amount", payment.amount } });
    TM_TRY(tidemill::emit({
        .to = "receipts.issued",
        .kind = "ReceiptIssued",
        .extensions = { { "lines", lines } },
        .data = receipt.write(),
    }));

    tidemill::info("recorded a payment", { { "payment_id", payment.id }, { "balance", balance } });
    return tm_done();
}

}  // namespace

tm_outcome tidemill_handle(const tm_event *event, const tm_context *context) {
    TM_LET(Payment payment, read(event));
    TM_TRY(check(payment));
    TM_TRY(make_trouble(payment.trouble, context));
    return record(payment);
}
