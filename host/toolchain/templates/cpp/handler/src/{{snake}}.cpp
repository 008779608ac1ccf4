// What becomes of an order. Change it: tests/{{snake}}_test.cpp says what it does now.

#include <tidemill.h>
#include <tidemill_json.h>

using tidemill::Json;

tm_outcome tidemill_handle(const tm_event *event, const tm_context *) {
    TM_LET(Json order, Json::of(event));
    TM_LET(auto id, order.text_at("/id"));
    TM_LET(auto total, order.number_at("/total"));
    if (total < 0) return tidemill::reject("a total cannot be negative");

    tidemill::info("an order", { { "order", id }, { "total", total } });
    Json checked = Json::object({ { "order", id }, { "large", total >= 1000 } });
    return tidemill::emit({ .to = "checks.done", .kind = "OrderChecked", .data = checked.write() });
}
