//! What becomes of an order. Change it: the tests at the end say what it does now.

const tidemill = @import("tidemill");

const Order = struct {
    id: []const u8,
    total: f64,
};

fn handle(event: tidemill.Event, _: tidemill.Context) !void {
    const order = try event.json(Order);
    if (order.total < 0) return tidemill.reject("a total cannot be negative", .{});
    tidemill.info("an order", .{ .order = order.id, .total = order.total });
    try tidemill.emit(.{
        .to = "checks.done",
        .kind = "OrderChecked",
        .data = try tidemill.json(.{ .order = order.id, .large = order.total >= 1000 }),
    });
}

comptime {
    tidemill.exportHandler(handle);
}

pub const panic = tidemill.panic;

test "a large order is marked" {
    var harness: tidemill.testing.Harness = .init();
    defer harness.deinit();
    const run = harness.handle(handle, .{ .kind = "OrderCreated", .data =
        \\{"id": "o-1", "total": 1500}
    });
    try run.expectDone();
    try tidemill.testing.expectJson(
        \\{"order": "o-1", "large": true}
    , (try run.emitted("OrderChecked")).data);
}

test "a negative total is refused" {
    var harness: tidemill.testing.Harness = .init();
    defer harness.deinit();
    const run = harness.handle(handle, .{ .kind = "OrderCreated", .data =
        \\{"id": "o-1", "total": -1}
    });
    try run.expectRejected("a total cannot be negative");
}
