// Orders as documents, and what each customer has spent. Change it: tests/{{snake}}_test.c says what it does now.

#include <tidemill.h>
#include <tidemill_json.h>

// Adds an order to what is known of its customer.
static tm_outcome add_to_customer(tm_text name, double total) {
    tm_json *customer;
    int64_t orders = 0;
    double spent = 0;
    TM_TRY(tm_read_model_get_json(TM("customers"), name, &customer));
    if (!customer) customer = tm_json_object();
    tm_json_integer(tm_json_at(customer, "/orders"), &orders);
    tm_json_number(tm_json_at(customer, "/spent"), &spent);
    tm_json_set(customer, "orders", orders + 1);
    tm_json_set(customer, "spent", spent + total);
    return tm_read_model_put_json(TM("customers"), name, customer);
}

tm_outcome tidemill_apply(const tm_event *event, const tm_context *context) {
    (void)context;
    tm_json *data;
    tm_text id, customer;
    double total;
    TM_TRY(tm_event_json(event, &data));
    TM_TRY(tm_json_text_at(data, "/id", &id));
    TM_TRY(tm_json_text_at(data, "/customer", &customer));
    TM_TRY(tm_json_number_at(data, "/total", &total));

    tm_json *order = tm_json_object();
    tm_json_set(order, "customer", customer);
    tm_json_set(order, "total", total);
    TM_TRY(tm_read_model_put_json(TM("orders"), id, order));
    return add_to_customer(customer, total);
}
