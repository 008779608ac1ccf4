//! Plugins in plain `zig test`, without Wasm and without a server: the harness of tidemill_test.h.
//!
//!     test "a customer is welcomed" {
//!         var harness: tidemill.testing.Harness = .init();
//!         defer harness.deinit();
//!         const run = harness.handle(handle, .{ .kind = "CustomerRegistered", .data = "{\"name\":\"Ada\"}" });
//!         try run.expectDone();
//!         try tidemill.testing.expectJson("{\"text\":\"Hello Ada\"}", (try run.emitted("MailSent")).data);
//!     }
//!
//! It keeps the host's promises: what a failed call did vanishes, a call sees its own writes, and a refused emit or write fails the
//! call even if the plugin ignores it. It does not check schemas, limits of time and memory, or conflicts.

const std = @import("std");
const c = @import("c.zig");
const tidemill = @import("tidemill.zig");

/// The event of a test. What is left out has a plausible value.
pub const Event = struct {
    kind: []const u8,
    data: []const u8,
    id: []const u8 = "event-1",
    source: []const u8 = "/test",
    time: ?[]const u8 = "2026-01-01T00:00:00Z",
    subject: ?[]const u8 = null,
    datacontenttype: ?[]const u8 = "application/json",
    dataschema: ?[]const u8 = null,

    fn lower(event: Event) c.Event {
        return .{
            .id = .of(event.id),
            .source = .of(event.source),
            .kind = .of(event.kind),
            .time = .maybe(event.time),
            .subject = .maybe(event.subject),
            .datacontenttype = .maybe(event.datacontenttype),
            .dataschema = .maybe(event.dataschema),
            .data = .of(event.data),
        };
    }
};

/// The world around a plugin: settings, state, documents. State and documents stay from one call to the next.
pub const Harness = struct {
    world: *c.Test,

    pub fn init() Harness {
        return .{ .world = c.tm_test_new() };
    }

    /// Frees this harness and every run of it.
    pub fn deinit(_: *Harness) void {
        c.tm_test_end();
    }

    /// A setting, as it would stand under `plugins.settings.<plugin>.config` in runtime.yaml.
    pub fn config(harness: Harness, key: [:0]const u8, value: [:0]const u8) void {
        c.tm_test_config(harness.world, key, value);
    }

    /// What the state holds under a key.
    pub fn state(harness: Harness, key: [:0]const u8, value: [:0]const u8) void {
        c.tm_test_state(harness.world, key, value);
    }

    /// A pattern of subjects that may be emitted to. With the first one all others are refused.
    pub fn emits(harness: Harness, pattern: [:0]const u8) void {
        c.tm_test_emits(harness.world, pattern);
    }

    /// A collection with the fields that it is indexed by.
    pub fn collection(harness: Harness, name: [:0]const u8, indexes: []const [:0]const u8) void {
        c.tm_test_collection(harness.world, name);
        for (indexes) |field| c.tm_test_index(harness.world, name, field);
    }

    /// A document that is there already.
    pub fn document(harness: Harness, name: [:0]const u8, key: [:0]const u8, json: [:0]const u8) void {
        c.tm_test_document(harness.world, name, key, json);
    }

    /// Which attempt the next call is; the first of five otherwise.
    pub fn attempt(harness: Harness, number: u32) void {
        c.tm_test_attempt(harness.world, number);
    }

    pub fn maxAttempts(harness: Harness, number: u32) void {
        c.tm_test_max_attempts(harness.world, number);
    }

    /// The name of the route or projection.
    pub fn route(harness: Harness, name: [:0]const u8) void {
        c.tm_test_route(harness.world, name);
    }

    /// The name of the stream that the next events come from.
    pub fn stream(harness: Harness, name: [:0]const u8) void {
        c.tm_test_stream(harness.world, name);
    }

    /// What `host.now` says: RFC 3339.
    pub fn now(harness: Harness, time: [:0]const u8) void {
        c.tm_test_now(harness.world, time);
    }

    /// What `host.timeLeft` says; the whole time limit of the call otherwise, because time stands still in a harness.
    pub fn timeLeft(harness: Harness, milliseconds: u32) void {
        c.tm_test_time_left(harness.world, milliseconds);
    }

    /// Makes every function of state and documents fail, as if the store could not be reached.
    pub fn unavailable(harness: Harness) void {
        c.tm_test_unavailable(harness.world);
    }

    /// Gives a handler one event.
    pub fn handle(harness: Harness, comptime handler: anytype, event: Event) Run {
        return .{ .run = c.tm_test_call_handler(harness.world, &tidemill.Wrapped(handler).call, event.lower()) };
    }

    /// Gives a projection one event.
    pub fn apply(harness: Harness, comptime projection: anytype, event: Event) Run {
        return .{ .run = c.tm_test_call_projection(harness.world, &tidemill.Wrapped(projection).call, event.lower()) };
    }

    /// Asks a projection a question. Null: it failed, and `tidemill.reason` says why.
    pub fn query(harness: Harness, comptime function: anytype, name: [:0]const u8, params: [:0]const u8) ?[]const u8 {
        var answer: c.Text = .none;
        const outcome = c.tm_test_call_query(harness.world, &tidemill.WrappedQuery(function).call, name, params, &answer);
        if (outcome.code == .done) return answer.slice();
        tidemill.keepReason(outcome);
        return null;
    }
};

/// What came of one call.
pub const Run = struct {
    run: *const c.Run,

    pub fn expectDone(run: Run) !void {
        return run.expectEnded(.done, "");
    }

    /// The call asked for a retry, or failed, with a reason that contains `part`.
    pub fn expectRetry(run: Run, part: []const u8) !void {
        return run.expectEnded(.retry, part);
    }

    pub fn expectRejected(run: Run, part: []const u8) !void {
        return run.expectEnded(.rejected, part);
    }

    /// An emit or a write was refused, so the call failed, whatever the plugin returned.
    pub fn expectRefused(run: Run, part: []const u8) !void {
        return run.expectEnded(.refused, part);
    }

    fn expectEnded(run: Run, ended: c.Ended, part: []const u8) !void {
        const text = run.reason();
        if (run.run.ended == ended and std.mem.indexOf(u8, text, part) != null) return;
        std.debug.print("expected the call to end as `{s}` ({s}), but it ended as `{s}`: {s}\n", .{
            @tagName(ended), part, @tagName(run.run.ended), text,
        });
        return error.TestUnexpectedResult;
    }

    /// Why the call is not done.
    pub fn reason(run: Run) []const u8 {
        return run.run.reason.slice() orelse "";
    }

    /// The milliseconds that a retry asked for.
    pub fn after(run: Run) u32 {
        return run.run.after;
    }

    pub fn emitCount(run: Run) usize {
        return run.run.emit_count;
    }

    /// The only emit of a type.
    pub fn emitted(run: Run, kind: []const u8) !tidemill.Outgoing {
        var found: ?*const c.Outgoing = null;
        for (0..run.run.emit_count) |i| {
            const emit = &run.run.emits.?[i];
            if (!std.mem.eql(u8, emit.kind.slice().?, kind)) continue;
            if (found != null) return run.noSingle(kind);
            found = emit;
        }
        const emit = found orelse return run.noSingle(kind);
        return .{
            .to = emit.to.slice().?,
            .kind = emit.kind.slice().?,
            .subject = emit.subject.slice(),
            .datacontenttype = emit.datacontenttype.slice(),
            .dataschema = emit.dataschema.slice(),
            .extensions = tidemill.liftAttributes(emit.extensions),
            .data = emit.data.slice().?,
        };
    }

    fn noSingle(run: Run, kind: []const u8) error{TestUnexpectedResult} {
        std.debug.print("expected one emit of type {s}, but found {d} emits; the call ended as `{s}`: {s}\n", .{
            kind, run.run.emit_count, @tagName(run.run.ended), run.reason(),
        });
        return error.TestUnexpectedResult;
    }

    /// A state value after the call.
    pub fn state(run: Run, key: [:0]const u8) ?[]const u8 {
        return c.tm_run_state(run.run, key).slice();
    }

    /// A document after the call, as JSON.
    pub fn document(run: Run, collection: [:0]const u8, key: [:0]const u8) ?[]const u8 {
        return c.tm_run_document(run.run, collection, key).slice();
    }

    /// Whether a line of this level contains `part`.
    pub fn logged(run: Run, level: tidemill.Level, part: []const u8) bool {
        return run.line(level, part) != null;
    }

    /// A field of the first line that contains `part`.
    pub fn loggedField(run: Run, level: tidemill.Level, part: []const u8, name: []const u8) ?[]const u8 {
        const found = run.line(level, part) orelse return null;
        for (tidemill.liftAttributes(found.fields)) |field| {
            if (std.mem.eql(u8, field.name, name)) return field.value;
        }
        return null;
    }

    fn line(run: Run, level: tidemill.Level, part: []const u8) ?*const c.Line {
        for (0..run.run.line_count) |i| {
            const candidate = &run.run.lines.?[i];
            if (candidate.level == level and std.mem.indexOf(u8, candidate.message.slice().?, part) != null) return candidate;
        }
        return null;
    }
};

/// The same JSON, but for blanks.
pub fn expectJson(expected: []const u8, found: []const u8) !void {
    try std.testing.expectEqualStrings(try normal(expected), try normal(found));
}

fn normal(text: []const u8) ![]const u8 {
    return tidemill.json(try std.json.parseFromSliceLeaky(std.json.Value, tidemill.allocator, text, .{}));
}
