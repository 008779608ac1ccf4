// What becomes of an order. Change it: tests/{{snake}}_test.c says what it does now.

#include <tidemill.h>
#include <tidemill_json.h>

tm_outcome tidemill_handle(const tm_event *event, const tm_context *context) {
    (void)context;
    tm_json *order;
    tm_text id;
    double total;
    TM_TRY(tm_event_json(event, &order));
    TM_TRY(tm_json_text_at(order, "/id", &id));
    TM_TRY(tm_json_number_at(order, "/total", &total));
    if (total < 0) return tm_reject("a total cannot be negative");

    tm_info("an order", TM_FIELD("order", id), TM_FIELD("total", total));
    tm_json *checked = tm_json_object();
    tm_json_set(checked, "order", id);
    tm_json_set(checked, "large", (bool)(total >= 1000));
    return tm_emit((tm_outgoing){ .to = TM("checks.done"), .kind = TM("OrderChecked"), .data = tm_json_write(checked) });
}
