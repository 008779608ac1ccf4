//! Tidemill's SDK for Zig: a thin layer over the one for C, with slices, optionals, error unions and typed data.
//!
//!     const tidemill = @import("tidemill");
//!
//!     const Order = struct { id: []const u8, total: f64 };
//!
//!     fn handle(event: tidemill.Event, _: tidemill.Context) !void {
//!         const order = try event.json(Order);
//!         if (order.total < 0) return tidemill.reject("a total cannot be negative", .{});
//!         try tidemill.emit(.{ .to = "orders.seen", .kind = "OrderSeen", .data = try tidemill.json(.{ .order = order.id }) });
//!     }
//!
//!     comptime {
//!         tidemill.exportHandler(handle);
//!     }
//!
//!     pub const panic = tidemill.panic;
//!
//! Memory: `allocator` and everything that this file gives lie in an arena that is emptied when the call returns. Free nothing.
//!
//! Failing: an error of Zig has no text, so the text of the last one is kept beside it (`reason`). What leaves the handler through
//! `try` does what fits: `reject` dead-letters the event, and so does data that does not fit; every other error is a retry, with the
//! text of the host, or the error's name.

const std = @import("std");
const c = @import("c.zig");

pub const testing = @import("testing.zig");

/// The arena of the call.
pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &arena };

// === Outcomes ========================================================================================================

pub const Error = error{
    Retry,
    Rejected,
    /// emit: the subject is not granted.
    NotGranted,
    /// A subject, type, attribute, key, value or document breaks a rule.
    Invalid,
    /// A limit is used up.
    Limit,
    /// The store cannot be reached; the host runs the call again without counting an attempt.
    Unavailable,
    /// The collection is not declared.
    NoCollection,
    /// The field is not indexed.
    NoIndex,
    /// Questions read and do not write.
    ReadOnly,
    /// A value, a document or a setting is not what it is read as.
    Unfit,
};

/// Trying again will not help: the event is dead-lettered at once, with this reason. `return tidemill.reject("…", .{});`
pub fn reject(comptime format: []const u8, arguments: anytype) Error {
    return fail(.reject, 0, print(format, arguments));
}

/// Trying again may help: the next attempt comes after the route's backoff.
pub fn retry(comptime format: []const u8, arguments: anytype) Error {
    return fail(.retry, 0, print(format, arguments));
}

/// The same, not before so many milliseconds have passed.
pub fn retryAfter(milliseconds: u32, comptime format: []const u8, arguments: anytype) Error {
    return fail(.retry, milliseconds, print(format, arguments));
}

/// The text of the last error of this file: the host's, for example the line of runtime.yaml that would grant an emit.
pub fn reason() []const u8 {
    return last.outcome.reason.slice() orelse "";
}

var last: struct { outcome: c.Outcome, failure: ?Error } = .{ .outcome = .done, .failure = null };

fn fail(code: c.Code, after: u32, text: []const u8) Error {
    return failed(.{ .code = code, .after = after, .reason = .of(text) });
}

fn failed(outcome: c.Outcome) Error {
    const failure: Error = switch (outcome.code) {
        .reject => error.Rejected,
        .not_granted => error.NotGranted,
        .invalid => error.Invalid,
        .limit => error.Limit,
        .unavailable => error.Unavailable,
        .no_collection => error.NoCollection,
        .no_index => error.NoIndex,
        .read_only => error.ReadOnly,
        .unfit => error.Unfit,
        .done, .retry => error.Retry,
    };
    last = .{ .outcome = outcome, .failure = failure };
    return failure;
}

/// For the harness: makes an outcome the last one.
pub fn keepReason(outcome: c.Outcome) void {
    last = .{ .outcome = outcome, .failure = null };
}

fn check(outcome: c.Outcome) Error!void {
    if (outcome.code != .done) return failed(outcome);
}

/// What the host is told of an error that left the plugin.
fn lower(failure: anyerror) c.Outcome {
    if (last.failure) |known| {
        if (known == failure) return last.outcome;
    }
    log(.err, print("failed with error.{s}", .{@errorName(failure)}), .{});
    return .{ .code = .retry, .reason = .of(@errorName(failure)) };
}

// === What a plugin is ================================================================================================

/// Makes a function the component's handler: `comptime { tidemill.exportHandler(handle); }`.
pub fn exportHandler(comptime handle: anytype) void {
    @export(&Wrapped(handle).call, .{ .name = "tidemill_handle" });
}

/// Makes a function of the same shape the component's projection.
pub fn exportProjection(comptime apply: anytype) void {
    @export(&Wrapped(apply).call, .{ .name = "tidemill_apply" });
}

/// Makes a function `fn (Question) ![]const u8`, which answers with JSON, that of a projection's questions.
pub fn exportQueries(comptime query: anytype) void {
    @export(&WrappedQuery(query).call, .{ .name = "tidemill_query" });
}

pub fn Wrapped(comptime function: anytype) type {
    return struct {
        pub fn call(event: *const c.Event, context: *const c.Context) callconv(.c) c.Outcome {
            last.failure = null;
            function(Event.lift(event), Context.lift(context)) catch |failure| return lower(failure);
            return .done;
        }
    };
}

pub fn WrappedQuery(comptime function: anytype) type {
    return struct {
        pub fn call(question: *const c.Question, answer: *c.Text) callconv(.c) c.Outcome {
            last.failure = null;
            const text: []const u8 = function(Question{
                .name = question.name.slice().?,
                .params = question.params.slice().?,
            }) catch |failure| return lower(failure);
            answer.* = .of(text);
            return .done;
        }
    };
}

/// A panic goes into the log and ends the call: `pub const panic = tidemill.panic;` in the plugin's root file.
pub const panic = std.debug.FullPanic(struct {
    fn panicked(message: []const u8, _: ?usize) noreturn {
        @branchHint(.cold);
        log(.err, print("panicked: {s}", .{message}), .{});
        @trap();
    }
}.panicked);

pub const Attribute = struct { name: []const u8, value: []const u8 };

/// A CloudEvents 1.0 event that has passed its JSON Schema, where one is registered.
pub const Event = struct {
    /// Unique together with `source`. A redelivery has the same id.
    id: []const u8,
    source: []const u8,
    /// The CloudEvents attribute `type`, for example `OrderCreated`.
    kind: []const u8,
    /// RFC 3339, as the producer wrote it.
    time: ?[]const u8 = null,
    /// The CloudEvents attribute `subject`. Not the NATS subject.
    subject: ?[]const u8 = null,
    datacontenttype: ?[]const u8 = null,
    dataschema: ?[]const u8 = null,
    extensions: []const Attribute = &.{},
    /// Byte for byte what the producer sent.
    data: []const u8,

    /// The data as a `T`. What does not fit rejects the event.
    pub fn json(event: Event, comptime T: type) Error!T {
        return read(T, event.data, "the event's data", .reject);
    }

    /// An extension attribute by its lower-case name: `correlationid`, `traceparent`, or one of the producer's own.
    pub fn extension(event: Event, name: []const u8) ?[]const u8 {
        for (event.extensions) |attribute| {
            if (std.mem.eql(u8, attribute.name, name)) return attribute.value;
        }
        return null;
    }

    fn lift(event: *const c.Event) Event {
        return .{
            .id = event.id.slice().?,
            .source = event.source.slice().?,
            .kind = event.kind.slice().?,
            .time = event.time.slice(),
            .subject = event.subject.slice(),
            .datacontenttype = event.datacontenttype.slice(),
            .dataschema = event.dataschema.slice(),
            .extensions = liftAttributes(event.extensions),
            .data = event.data.slice().?,
        };
    }
};

/// Where a call stands.
pub const Context = struct {
    /// The route of runtime.yaml that delivers the event, or the projection that folds it.
    route: []const u8,
    /// 1 for the first attempt.
    attempt: u32,
    /// After this attempt fails the event is dead-lettered.
    max_attempts: u32,
    /// The stream of the original message. With `sequence` it names the event for ever.
    stream: []const u8,
    sequence: []const u8,
    /// Milliseconds that the call may take, counted from its start.
    time_limit: u32,

    /// Whether a failure of this call dead-letters the event.
    pub fn isLastAttempt(context: Context) bool {
        return context.attempt >= context.max_attempts;
    }

    fn lift(context: *const c.Context) Context {
        return .{
            .route = context.route.slice().?,
            .attempt = context.attempt,
            .max_attempts = context.max_attempts,
            .stream = context.stream.slice().?,
            .sequence = context.sequence.slice().?,
            .time_limit = context.time_limit,
        };
    }
};

/// A question about the read model.
pub const Question = struct {
    name: []const u8,
    /// A JSON object.
    params: []const u8,

    /// The parameters as a `T`. What does not fit is rejected.
    pub fn json(question: Question, comptime T: type) Error!T {
        return read(T, question.params, "the query's parameter object", .reject);
    }

    /// That there is no query of this name.
    pub fn unknown(question: Question) Error {
        return reject("there is no query `{s}`", .{question.name});
    }
};

// === Emitting ========================================================================================================

/// An event to publish. The host adds `id`, `source`, `time`, and carries correlation and trace on.
pub const Outgoing = struct {
    /// The NATS subject. It must be granted: the route's `emits` in runtime.yaml.
    to: []const u8,
    /// The CloudEvents attribute `type`.
    kind: []const u8,
    /// The CloudEvents attribute `subject`: what the event is about.
    subject: ?[]const u8 = null,
    /// `application/json` when left out.
    datacontenttype: ?[]const u8 = null,
    dataschema: ?[]const u8 = null,
    extensions: []const Attribute = &.{},
    data: []const u8 = "",
};

/// Collects an event to publish. It is published only after the handler has succeeded; a refused one fails the call in any case.
pub fn emit(event: Outgoing) Error!void {
    return check(c.tm_emit(.{
        .to = .of(event.to),
        .kind = .of(event.kind),
        .subject = .maybe(event.subject),
        .datacontenttype = .maybe(event.datacontenttype),
        .dataschema = .maybe(event.dataschema),
        .extensions = lowerAttributes(event.extensions),
        .data = .of(event.data),
    }));
}

// === State ===========================================================================================================

/// Keyed state, if `state: true` grants it. If somebody else changes a key between this call's reading and its commit, the host runs
/// the call again on the new value; so read, compute, write is safe as it stands.
pub const state = struct {
    /// A key's value, if it has one.
    pub fn get(key: []const u8) Error!?[]const u8 {
        var value: c.Text = .none;
        try check(c.tm_state_get(.of(key), &value));
        return value.slice();
    }

    pub fn put(key: []const u8, value: []const u8) Error!void {
        return check(c.tm_state_put(.of(key), .of(value)));
    }

    /// Removes a key. Removing what is not there is no error.
    pub fn delete(key: []const u8) Error!void {
        return check(c.tm_state_delete(.of(key)));
    }

    /// Sets (or, with no `value`, removes) a key if its value is `expected` (null: the key is absent). Says whether it did.
    pub fn compareAndSet(key: []const u8, expected: ?[]const u8, value: ?[]const u8) Error!bool {
        var did = false;
        try check(c.tm_state_compare_and_set(.of(key), .maybe(expected), .maybe(value), &did));
        return did;
    }

    pub const Page = struct { after: ?[]const u8 = null, limit: u32 = 1000 };

    /// Keys that begin with `prefix`, in byte order; at most 1000 at once.
    pub fn list(prefix: []const u8, page: Page) Error![]const []const u8 {
        var keys: c.Texts = .{ .ptr = null, .len = 0 };
        try check(c.tm_state_list(.of(prefix), .maybe(page.after), page.limit, &keys));
        return liftTexts(keys);
    }

    /// A key's value as a `T`, if it has one.
    pub fn getJson(comptime T: type, key: []const u8) Error!?T {
        const value = try get(key) orelse return null;
        return try read(T, value, print("the state's value of `{s}`", .{key}), .unfit);
    }

    pub fn putJson(key: []const u8, value: anytype) Error!void {
        return put(key, try json(value));
    }

    /// Adds to an integer, which is 0 as long as the key is absent, and gives the sum.
    pub fn add(key: []const u8, amount: i64) Error!i64 {
        var sum: i64 = 0;
        try check(c.tm_state_add(.of(key), amount, &sum));
        return sum;
    }
};

// === Documents =======================================================================================================

/// Collections of JSON objects that a projection fills, declared with their indexes in runtime.yaml.
pub const read_model = struct {
    pub fn Document(comptime T: type) type {
        return struct { key: []const u8, body: T };
    }

    /// A document, if there is one under the key.
    pub fn get(comptime T: type, collection: []const u8, key: []const u8) Error!?T {
        var body: c.Text = .none;
        try check(c.tm_read_model_get(.of(collection), .of(key), &body));
        return if (body.slice()) |text| try readDocument(T, collection, key, text) else null;
    }

    /// Sets a document: what is written as a JSON object.
    pub fn put(collection: []const u8, key: []const u8, document: anytype) Error!void {
        return check(c.tm_read_model_put(.of(collection), .of(key), .of(try json(document))));
    }

    /// Removes a document. Removing what is not there is no error.
    pub fn delete(collection: []const u8, key: []const u8) Error!void {
        return check(c.tm_read_model_delete(.of(collection), .of(key)));
    }

    /// Documents whose indexed `field` equals `value`, in the order of their keys; at most 1000 at once.
    pub fn find(comptime T: type, collection: []const u8, field: []const u8, value: anytype, page: state.Page) Error![]Document(T) {
        var found: c.Documents = .{ .ptr = null, .len = 0 };
        const wanted = try json(value);
        try check(c.tm_read_model_find(.of(collection), .of(field), .of(wanted), .maybe(page.after), page.limit, &found));
        const documents = allocator.alloc(Document(T), found.len) catch unreachable;
        for (documents, 0..) |*document, i| {
            const key = found.ptr.?[i].key.slice().?;
            document.* = .{ .key = key, .body = try readDocument(T, collection, key, found.ptr.?[i].body.slice().?) };
        }
        return documents;
    }

    fn readDocument(comptime T: type, collection: []const u8, key: []const u8, text: []const u8) Error!T {
        return read(T, text, print("the document `{s}` of the collection `{s}`", .{ key, collection }), .unfit);
    }
};

// === Settings, time, identity, chance ================================================================================

/// The plugin's own settings: `plugins.settings.<plugin>.config` of runtime.yaml, and the secrets granted to it.
pub const config = struct {
    /// A value as text; what is no text in runtime.yaml is given as JSON.
    pub fn get(key: []const u8) ?[]const u8 {
        return c.tm_config_get(.of(key)).slice();
    }

    /// A value as a `T`, if it is set. What does not fit is an error that does not tell the value: it may be a secret.
    pub fn getAs(comptime T: type, key: []const u8) Error!?T {
        const text = get(key) orelse return null;
        return std.json.parseFromSliceLeaky(T, allocator, text, .{}) catch {
            return fail(.unfit, 0, print("the setting `{s}`: expected {s}", .{ key, @typeName(T) }));
        };
    }

    /// The names of all values, without the secrets, in byte order.
    pub fn keys() []const []const u8 {
        return liftTexts(c.tm_config_keys());
    }
};

pub const host = struct {
    /// The current time, RFC 3339 in UTC with milliseconds.
    pub fn now() []const u8 {
        return c.tm_host_now().slice().?;
    }

    /// An id that is the same each time this event is handled by this route.
    pub fn stableId(name: []const u8) []const u8 {
        return c.tm_host_stable_id(.of(name)).slice().?;
    }

    /// How many milliseconds are left of the call's time limit; 0 while the plugin starts. It is meant for the timeouts of what may be
    /// slow: a request over HTTP that may take no longer than this ends in an error that the plugin can tell, and not in an interruption.
    pub fn timeLeft() u32 {
        return c.tm_host_time_left();
    }

    /// Fills a buffer with random bytes; cryptographically strong.
    pub fn random(buffer: []u8) void {
        c.tm_host_random(buffer.ptr, buffer.len);
    }
};

// === The log =========================================================================================================

pub const Level = enum(c_int) { trace, debug, info, warn, err };

/// Writes a line: a sentence, then fields, which are those of a struct: `info("a large order", .{ .order = order.id })`.
pub fn log(level: Level, message: []const u8, fields: anytype) void {
    const names = comptime std.meta.fieldNames(@TypeOf(fields));
    var attributes: [names.len]Attribute = undefined;
    inline for (names, &attributes) |name, *attribute| {
        attribute.* = .{ .name = name, .value = toText(@field(fields, name)) };
    }
    c.tm_log(level, .of(message), lowerAttributes(&attributes));
}

pub fn trace(message: []const u8, fields: anytype) void {
    log(.trace, message, fields);
}

pub fn debug(message: []const u8, fields: anytype) void {
    log(.debug, message, fields);
}

pub fn info(message: []const u8, fields: anytype) void {
    log(.info, message, fields);
}

pub fn warn(message: []const u8, fields: anytype) void {
    log(.warn, message, fields);
}

pub fn err(message: []const u8, fields: anytype) void {
    log(.err, message, fields);
}

// === Texts and JSON ==================================================================================================

/// A text made as by `std.fmt`, valid until the call returns.
pub fn print(comptime format: []const u8, arguments: anytype) []const u8 {
    return std.fmt.allocPrint(allocator, format, arguments) catch unreachable; // the arena traps before it fails
}

/// A value written as JSON.
pub fn json(value: anytype) Error![]const u8 {
    return std.json.Stringify.valueAlloc(allocator, value, .{}) catch unreachable; // likewise
}

fn read(comptime T: type, text: []const u8, what: []const u8, code: c.Code) Error!T {
    var place: std.json.Diagnostics = .{};
    var scanner = std.json.Scanner.initCompleteInput(allocator, text);
    scanner.enableDiagnostics(&place);
    return std.json.parseFromTokenSourceLeaky(T, allocator, &scanner, .{ .ignore_unknown_fields = true }) catch |problem| {
        const is_syntax = problem == error.SyntaxError or problem == error.UnexpectedEndOfInput;
        return fail(code, 0, print("{s} {s}: {s} at line {d} column {d}", .{
            what,
            if (is_syntax) "is not JSON" else "does not fit",
            @errorName(problem),
            place.getLine(),
            place.getColumn(),
        }));
    };
}

fn toText(value: anytype) []const u8 {
    return switch (@typeInfo(@TypeOf(value))) {
        .int, .comptime_int, .float, .comptime_float => print("{d}", .{value}),
        .bool => if (value) "true" else "false",
        .@"enum" => @tagName(value),
        .optional => if (value) |there| toText(there) else "",
        else => value,
    };
}

// --- between types of Zig and of C -----------------------------------------------------------------------------------

fn liftTexts(texts: c.Texts) []const []const u8 {
    const slices = allocator.alloc([]const u8, texts.len) catch unreachable;
    for (slices, 0..) |*slice, i| slice.* = texts.ptr.?[i].slice().?;
    return slices;
}

pub fn liftAttributes(attributes: c.Attributes) []const Attribute {
    const lifted = allocator.alloc(Attribute, attributes.len) catch unreachable;
    for (lifted, 0..) |*attribute, i| {
        attribute.* = .{ .name = attributes.ptr.?[i].name.slice().?, .value = attributes.ptr.?[i].value.slice().? };
    }
    return lifted;
}

fn lowerAttributes(attributes: []const Attribute) c.Attributes {
    const lowered = allocator.alloc(c.Attribute, attributes.len) catch unreachable;
    for (lowered, attributes) |*to, from| to.* = .{ .name = .of(from.name), .value = .of(from.value) };
    return .{ .ptr = lowered.ptr, .len = lowered.len };
}

const arena: std.mem.Allocator.VTable = .{
    .alloc = arenaAlloc,
    .resize = std.mem.Allocator.noResize,
    .remap = std.mem.Allocator.noRemap,
    .free = std.mem.Allocator.noFree,
};

// The arena of the C part aligns as `malloc` does; more than that is made by hand.
fn arenaAlloc(_: *anyopaque, len: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
    if (alignment.compare(.lte, .of(c_longdouble))) return @ptrCast(c.tm_alloc(len));
    const room = c.tm_alloc(len + alignment.toByteUnits());
    return @ptrFromInt(alignment.forward(@intFromPtr(room)));
}
