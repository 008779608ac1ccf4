//! Orders as documents, and what each customer has spent. Change it: the test at the end says what it does now.

const tidemill = @import("tidemill");
const read_model = tidemill.read_model;

const Order = struct {
    id: []const u8,
    customer: []const u8,
    total: f64,
};

const Customer = struct {
    orders: u32 = 0,
    spent: f64 = 0,
};

fn apply(event: tidemill.Event, _: tidemill.Context) !void {
    const order = try event.json(Order);
    try read_model.put("orders", order.id, .{ .customer = order.customer, .total = order.total });
    var customer = try read_model.get(Customer, "customers", order.customer) orelse Customer{};
    customer.orders += 1;
    customer.spent += order.total;
    try read_model.put("customers", order.customer, customer);
}

comptime {
    tidemill.exportProjection(apply);
}

pub const panic = tidemill.panic;

test "orders are added up by customer" {
    var harness: tidemill.testing.Harness = .init();
    defer harness.deinit();
    harness.collection("orders", &.{"customer"});
    harness.collection("customers", &.{});
    try harness.apply(apply, .{ .kind = "OrderCreated", .data =
        \\{"id": "o-1", "customer": "c-1", "total": 750}
    }).expectDone();
    const run = harness.apply(apply, .{ .kind = "OrderCreated", .data =
        \\{"id": "o-2", "customer": "c-1", "total": 50}
    });
    try run.expectDone();
    try tidemill.testing.expectJson(
        \\{"customer": "c-1", "total": 50}
    , run.document("orders", "o-2").?);
    try tidemill.testing.expectJson(
        \\{"orders": 2, "spent": 800}
    , run.document("customers", "c-1").?);
}
