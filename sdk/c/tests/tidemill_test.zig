//! What the layer for Zig makes of the calls in C. The rules of the harness have their tests in C.

const std = @import("std");
const tidemill = @import("tidemill");

const Harness = tidemill.testing.Harness;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;

/// Runs `body` where a handler's body runs.
fn inside(harness: Harness, comptime body: fn () anyerror!void) tidemill.testing.Run {
    const Body = struct {
        fn handle(_: tidemill.Event, _: tidemill.Context) anyerror!void {
            return body();
        }
    };
    return harness.handle(Body.handle, .{ .kind = "Any", .data = "{}" });
}

test "an event and its context arrive" {
    const Reader = struct {
        const Data = struct { id: []const u8, total: f64, note: ?[]const u8 = null };

        fn handle(event: tidemill.Event, context: tidemill.Context) !void {
            const data = try event.json(Data);
            try expectEqualStrings("o-1", data.id);
            try expectEqual(@as(f64, 1.5), data.total);
            try expect(data.note == null);
            try expectEqualStrings("Ordered", event.kind);
            try expectEqualStrings("event-1", event.id);
            try expectEqualStrings("c-1", event.subject.?);
            try expect(event.dataschema == null and event.extension("none") == null);
            try expectEqualStrings("demo", context.route);
            try expectEqualStrings("ORDERS", context.stream);
            try expectEqualStrings("1", context.sequence);
            try expect(context.attempt == 2 and context.max_attempts == 2 and context.isLastAttempt());
        }
    };
    var harness: Harness = .init();
    defer harness.deinit();
    harness.route("demo");
    harness.stream("ORDERS");
    harness.attempt(2);
    harness.maxAttempts(2);
    try harness.handle(Reader.handle, .{
        .kind = "Ordered",
        .subject = "c-1",
        .data = "{\"id\":\"o-1\",\"total\":1.5,\"more\":[]}",
    }).expectDone();
}

test "what does not fit is a rejection that tells the place" {
    const Reader = struct {
        fn handle(event: tidemill.Event, _: tidemill.Context) !void {
            _ = try event.json(struct { id: []const u8 });
        }
    };
    var harness: Harness = .init();
    defer harness.deinit();
    try harness.handle(Reader.handle, .{ .kind = "Any", .data = "{\"id\": 7}" })
        .expectRejected("the event's data does not fit: UnexpectedToken at line 1 column 8");
    try harness.handle(Reader.handle, .{ .kind = "Any", .data = "{}" })
        .expectRejected("the event's data does not fit: MissingField");
    try harness.handle(Reader.handle, .{ .kind = "Any", .data = "{\"id\"" })
        .expectRejected("the event's data is not JSON: UnexpectedEndOfInput at line 1 column 6");
}

test "errors of the SDK keep their text and others their name" {
    const Failing = struct {
        fn rejects() !void {
            return tidemill.reject("no {s}", .{"way"});
        }
        fn later() !void {
            return tidemill.retryAfter(250, "closed", .{});
        }
        fn refused() !void {
            tidemill.emit(.{ .to = "secrets.told", .kind = "Told" }) catch |failure| {
                try expectEqual(error.NotGranted, failure);
                try expect(std.mem.indexOf(u8, tidemill.reason(), "emits: [\"secrets.told\"]") != null);
            };
        }
        fn other() !void {
            return error.LedgerClosed;
        }
        fn afterOneThatWasHandled() !void {
            tidemill.state.put("", "x") catch {};
            return error.LedgerClosed;
        }
    };
    var harness: Harness = .init();
    defer harness.deinit();
    harness.emits("orders.>");
    try inside(harness, Failing.rejects).expectRejected("no way");
    const later = inside(harness, Failing.later);
    try later.expectRetry("closed");
    try expectEqual(@as(u32, 250), later.after());
    try inside(harness, Failing.refused).expectRefused("secrets.told");
    const other = inside(harness, Failing.other);
    try other.expectRetry("LedgerClosed");
    try expect(other.logged(.err, "failed with error.LedgerClosed"));
    try inside(harness, Failing.afterOneThatWasHandled).expectRetry("LedgerClosed");
}

test "emits, state, settings and the log" {
    const Body = struct {
        const Counter = struct { count: u32, names: []const []const u8 };

        fn run() !void {
            const state = tidemill.state;
            try state.putJson("counter", Counter{ .count = 3, .names = &.{ "a", "b" } });
            const counter = (try state.getJson(Counter, "counter")).?;
            try expect(counter.count == 3 and counter.names.len == 2);
            try expect(try state.getJson(Counter, "none") == null);
            try expect(try state.get("none") == null);
            try expectEqual(@as(i64, 12), try state.add("sum", 12));
            try expectEqual(@as(i64, 10), try state.add("sum", -2));
            try expect(try state.compareAndSet("sum", "10", null));
            try expect(!try state.compareAndSet("sum", "10", "11"));
            try state.put("k/1", "");
            try state.put("k/2", "x");
            try state.put("k/3", "x");
            try state.delete("k/3");
            try expectEqualStrings("", (try state.get("k/1")).?);
            const keys = try state.list("k/", .{ .after = "k/1", .limit = 5 });
            try expect(keys.len == 1 and std.mem.eql(u8, keys[0], "k/2"));

            try expectEqual(@as(i64, 5), (try tidemill.config.getAs(i64, "limit")).?);
            try expect(try tidemill.config.getAs(bool, "none") == null);
            try expectEqual(error.Unfit, tidemill.config.getAs(bool, "limit"));
            try expectEqualStrings("the setting `limit`: expected bool", tidemill.reason());
            try expectEqualStrings("limit", tidemill.config.keys()[0]);

            try expectEqualStrings("2030-01-02T03:04:05.000Z", tidemill.host.now());
            try expectEqual(@as(usize, 36), tidemill.host.stableId("thing").len);
            try expectEqual(@as(u32, 250), tidemill.host.timeLeft());
            var bytes: [8]u8 = @splat(0);
            tidemill.host.random(&bytes);
            try expect(!std.mem.allEqual(u8, &bytes, 0));

            const text: ?[]const u8 = null;
            tidemill.warn("a line", .{ .number = 7, .half = 0.5, .flag = true, .text = "t", .none = text });
            tidemill.info("bare", .{});
            try tidemill.emit(.{
                .to = "sent",
                .kind = "Sent",
                .subject = "s",
                .datacontenttype = "text/plain",
                .extensions = &.{.{ .name = "lines", .value = "2" }},
                .data = "hello",
            });
            const aligned = try tidemill.allocator.alignedAlloc(u8, .@"64", 3);
            try expect(@intFromPtr(aligned.ptr) % 64 == 0);
        }
    };
    var harness: Harness = .init();
    defer harness.deinit();
    harness.config("limit", "5");
    harness.now("2030-01-02T03:04:05.000Z");
    harness.timeLeft(250);
    const run = inside(harness, Body.run);
    try run.expectDone();
    for ([_][2][]const u8{ .{ "number", "7" }, .{ "half", "0.5" }, .{ "flag", "true" }, .{ "text", "t" }, .{ "none", "" } }) |field| {
        try expectEqualStrings(field[1], run.loggedField(.warn, "a line", field[0]).?);
    }
    try expect(run.logged(.info, "bare"));
    const sent = try run.emitted("Sent");
    try expectEqualStrings("s", sent.subject.?);
    try expectEqualStrings("text/plain", sent.datacontenttype.?);
    try expectEqualStrings("lines", sent.extensions[0].name);
    try expectEqualStrings("hello", sent.data);
    try expect(run.state("sum") == null and run.emitCount() == 1);
}

test "a store that cannot be reached is a retry" {
    const Body = struct {
        fn run() !void {
            _ = try tidemill.state.get("k");
        }
    };
    var harness: Harness = .init();
    defer harness.deinit();
    harness.unavailable();
    try inside(harness, Body.run).expectRetry("the state is unavailable");
}

test "a projection folds, and answers questions" {
    const View = struct {
        const Order = struct { id: []const u8, customer: []const u8 };

        fn apply(event: tidemill.Event, _: tidemill.Context) !void {
            const order = try event.json(Order);
            try tidemill.read_model.put("orders", order.id, order);
            try tidemill.read_model.delete("orders", "old");
        }

        fn query(question: tidemill.Question) ![]const u8 {
            if (!std.mem.eql(u8, question.name, "orders of")) return question.unknown();
            const params = try question.json(struct { customer: []const u8 });
            const found = try tidemill.read_model.find(Order, "orders", "customer", params.customer, .{});
            const keys = try tidemill.allocator.alloc([]const u8, found.len);
            for (keys, found) |*key, document| key.* = document.body.id;
            return tidemill.json(keys);
        }
    };
    var harness: Harness = .init();
    defer harness.deinit();
    harness.collection("orders", &.{"customer"});
    harness.document("orders", "old", "{}");
    const run = harness.apply(View.apply, .{ .kind = "Ordered", .data = "{\"id\":\"o-1\",\"customer\":\"c-1\"}" });
    try run.expectDone();
    try expect(run.document("orders", "old") == null);
    try tidemill.testing.expectJson("{\"id\":\"o-1\",\"customer\":\"c-1\"}", run.document("orders", "o-1").?);
    try expectEqualStrings("[\"o-1\"]", harness.query(View.query, "orders of", "{\"customer\":\"c-1\"}").?);
    try expect(harness.query(View.query, "the weather", "{}") == null);
    try expectEqualStrings("there is no query `the weather`", tidemill.reason());
}
