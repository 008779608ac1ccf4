//! The payments handler that every language has, written in Zig.

const std = @import("std");
const tidemill = @import("tidemill");

const Payment = struct {
    payment_id: []const u8,
    account: []const u8,
    amount: i64,
    items: []const Item,
    trouble: ?[]const u8 = null,
};

const Item = struct {
    sku: []const u8,
    quantity: i64,
    unit_price: i64,
};

fn handle(event: tidemill.Event, context: tidemill.Context) !void {
    const payment = try event.json(Payment);
    try check(payment);
    if (payment.trouble) |trouble| try makeTrouble(trouble, context);
    try record(payment);
}

fn check(payment: Payment) !void {
    var sum: i64 = 0;
    for (payment.items) |item| {
        const price = std.math.mul(i64, item.quantity, item.unit_price) catch return tooLarge();
        sum = std.math.add(i64, sum, price) catch return tooLarge();
    }
    if (sum != payment.amount) {
        return tidemill.reject("the amount is {d}, the items add up to {d}", .{ payment.amount, sum });
    }
    const limit = try tidemill.config.getAs(i64, "limit") orelse 100000;
    if (payment.amount > limit) {
        return tidemill.reject("{d} is above the limit of {d}", .{ payment.amount, limit });
    }
}

fn tooLarge() tidemill.Error {
    return tidemill.reject("the items add up to more than 64 bits hold", .{});
}

/// What a test asks for, to see what becomes of it.
fn makeTrouble(trouble: []const u8, context: tidemill.Context) !void {
    if (std.mem.eql(u8, trouble, "retry") and context.attempt == 1) {
        return tidemill.retryAfter(10, "asked to be tried again", .{});
    }
    if (std.mem.eql(u8, trouble, "throw")) @panic("boom");
    if (std.mem.eql(u8, trouble, "spin")) {
        var forever = true;
        while (@as(*volatile bool, &forever).*) {}
    }
    if (std.mem.eql(u8, trouble, "memory")) {
        while (true) @memset(try tidemill.allocator.alloc(u8, 1 << 20), 1);
    }
}

fn record(payment: Payment) !void {
    const balance = try tidemill.state.add(tidemill.print("balance/{s}", .{payment.account}), payment.amount);
    try tidemill.emit(.{
        .to = "payments.recorded",
        .kind = "PaymentRecorded",
        .subject = payment.account,
        .data = try tidemill.json(.{ .payment_id = payment.payment_id, .account = payment.account, .balance = balance }),
    });
    const lines = payment.items.len;
    try tidemill.emit(.{
        .to = "receipts.issued",
        .kind = "ReceiptIssued",
        .extensions = &.{.{ .name = "lines", .value = tidemill.print("{d}", .{lines}) }},
        .data = try tidemill.json(.{ .payment_id = payment.payment_id, .lines = lines, .amount = payment.amount }),
    });
    tidemill.info("recorded a payment", .{ .payment_id = payment.payment_id, .balance = balance });
}

comptime {
    tidemill.exportHandler(handle);
}

pub const panic = tidemill.panic;

// === Tests ===========================================================================================================

const expectEqualStrings = std.testing.expectEqualStrings;
const expectJson = tidemill.testing.expectJson;

fn pay(harness: tidemill.testing.Harness, comptime rest: []const u8) tidemill.testing.Run {
    const data =
        \\{"payment_id": "p-1", "account": "a-1", "items": [
        \\  {"sku": "MUG", "quantity": 2, "unit_price": 700}, {"sku": "PEN", "quantity": 1, "unit_price": 100}],
    ++ rest ++ "}";
    return harness.handle(handle, .{ .kind = "PaymentRequested", .data = data });
}

test "a payment is recorded" {
    var harness: tidemill.testing.Harness = .init();
    defer harness.deinit();
    harness.state("balance/a-1", "500");
    const run = pay(harness,
        \\"amount": 1500
    );
    try run.expectDone();

    const recorded = try run.emitted("PaymentRecorded");
    try expectEqualStrings("payments.recorded", recorded.to);
    try expectEqualStrings("a-1", recorded.subject.?);
    try expectJson(
        \\{"payment_id": "p-1", "account": "a-1", "balance": 2000}
    , recorded.data);

    const receipt = try run.emitted("ReceiptIssued");
    try expectEqualStrings("receipts.issued", receipt.to);
    try expectEqualStrings("lines", receipt.extensions[0].name);
    try expectEqualStrings("2", receipt.extensions[0].value);
    try expectJson(
        \\{"payment_id": "p-1", "lines": 2, "amount": 1500}
    , receipt.data);

    try expectEqualStrings("2000", run.state("balance/a-1").?);
    try expectEqualStrings("2000", run.loggedField(.info, "recorded a payment", "balance").?);
}

test "what cannot be right is rejected" {
    var harness: tidemill.testing.Harness = .init();
    defer harness.deinit();
    try harness.handle(handle, .{ .kind = "PaymentRequested", .data = "{" }).expectRejected("the event's data is not JSON");
    try pay(harness,
        \\"amount": "a lot"
    ).expectRejected("the event's data does not fit: ");
    try pay(harness,
        \\"amount": 1400
    ).expectRejected("the amount is 1400, the items add up to 1500");
    try harness.handle(handle, .{ .kind = "PaymentRequested", .data =
        \\{"payment_id": "p-1", "account": "a-1", "amount": 1,
        \\ "items": [{"sku": "MUG", "quantity": 4294967296, "unit_price": 4294967296}]}
    }).expectRejected("the items add up to more than 64 bits hold");
    harness.config("limit", "1000");
    try pay(harness,
        \\"amount": 1500
    ).expectRejected("1500 is above the limit of 1000");
}

test "a retry is asked for once" {
    var harness: tidemill.testing.Harness = .init();
    defer harness.deinit();
    const run = pay(harness,
        \\"amount": 1500, "trouble": "retry"
    );
    try run.expectRetry("asked to be tried again");
    try std.testing.expectEqual(10, run.after());
    harness.attempt(2);
    try pay(harness,
        \\"amount": 1500, "trouble": "retry"
    ).expectDone();
}
