// Orders as documents, and what each customer has spent. Change it: tests/{{snake}}_test.cpp says what it does now.

#include <tidemill.h>
#include <tidemill_json.h>

using tidemill::Json;
namespace read_model = tidemill::read_model;

tm_outcome tidemill_apply(const tm_event *event, const tm_context *) {
    TM_LET(Json order, Json::of(event));
    TM_LET(auto id, order.text_at("/id"));
    TM_LET(auto customer, order.text_at("/customer"));
    TM_LET(auto total, order.number_at("/total"));

    TM_TRY(read_model::put("orders", id, Json::object({ { "customer", customer }, { "total", total } })));
    return read_model::update("customers", customer, [&](Json before) {
        auto orders = before["/orders"].integer().value_or(0);
        auto spent = before["/spent"].number().value_or(0);
        return Json::object({ { "orders", orders + 1 }, { "spent", spent + total } });
    }).outcome();
}
