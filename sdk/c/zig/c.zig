//! tidemill.h and tidemill_test.h in declarations of Zig; nothing for plugins. They are written by hand because translating C headers
//! is done differently in every version of Zig. That they agree with the headers is what the tests of `tidemill.zig` show.

pub const Text = extern struct {
    ptr: ?[*]const u8,
    len: usize,

    pub const none: Text = .{ .ptr = null, .len = 0 };

    pub fn of(text: []const u8) Text {
        // An empty slice may point anywhere, also to where nothing exists.
        return if (text.len == 0) .{ .ptr = "", .len = 0 } else .{ .ptr = text.ptr, .len = text.len };
    }

    pub fn maybe(text: ?[]const u8) Text {
        return if (text) |there| of(there) else none;
    }

    pub fn slice(text: Text) ?[]const u8 {
        return if (text.ptr) |ptr| ptr[0..text.len] else null;
    }
};

pub const Texts = extern struct { ptr: ?[*]const Text, len: usize };
pub const Attribute = extern struct { name: Text, value: Text };
pub const Attributes = extern struct { ptr: ?[*]const Attribute = null, len: usize = 0 };
pub const Document = extern struct { key: Text, body: Text };
pub const Documents = extern struct { ptr: ?[*]const Document, len: usize };

pub const Code = enum(c_int) {
    done,
    retry,
    reject,
    not_granted,
    invalid,
    limit,
    unavailable,
    no_collection,
    no_index,
    read_only,
    unfit,
};

pub const Outcome = extern struct {
    code: Code,
    after: u32 = 0,
    reason: Text = .none,

    pub const done: Outcome = .{ .code = .done };
};

pub const Event = extern struct {
    id: Text,
    source: Text,
    kind: Text,
    time: Text = .none,
    subject: Text = .none,
    datacontenttype: Text = .none,
    dataschema: Text = .none,
    extensions: Attributes = .{},
    data: Text,
};

pub const Context = extern struct {
    route: Text,
    attempt: u32,
    max_attempts: u32,
    stream: Text,
    sequence: Text,
    time_limit: u32,
};

pub const Question = extern struct { name: Text, params: Text };

pub const Outgoing = extern struct {
    to: Text,
    kind: Text,
    subject: Text,
    datacontenttype: Text,
    dataschema: Text,
    extensions: Attributes,
    data: Text,
};

pub const Level = @import("tidemill.zig").Level;

pub extern fn tm_alloc(size: usize) *anyopaque;
pub extern fn tm_emit(event: Outgoing) Outcome;
pub extern fn tm_state_get(key: Text, value: *Text) Outcome;
pub extern fn tm_state_put(key: Text, value: Text) Outcome;
pub extern fn tm_state_delete(key: Text) Outcome;
pub extern fn tm_state_compare_and_set(key: Text, expected: Text, value: Text, did: *bool) Outcome;
pub extern fn tm_state_list(prefix: Text, after: Text, limit: u32, keys: *Texts) Outcome;
pub extern fn tm_state_add(key: Text, amount: i64, total: *i64) Outcome;
pub extern fn tm_read_model_get(collection: Text, key: Text, body: *Text) Outcome;
pub extern fn tm_read_model_put(collection: Text, key: Text, body: Text) Outcome;
pub extern fn tm_read_model_delete(collection: Text, key: Text) Outcome;
pub extern fn tm_read_model_find(collection: Text, field: Text, value: Text, after: Text, limit: u32, found: *Documents) Outcome;
pub extern fn tm_config_get(key: Text) Text;
pub extern fn tm_config_keys() Texts;
pub extern fn tm_host_now() Text;
pub extern fn tm_host_stable_id(name: Text) Text;
pub extern fn tm_host_time_left() u32;
pub extern fn tm_host_random(bytes: [*]u8, size: usize) void;
pub extern fn tm_log(level: Level, message: Text, fields: Attributes) void;

// --- tidemill_test.h -------------------------------------------------------------------------------------------------

pub const Test = opaque {};
pub const Function = fn (*const Event, *const Context) callconv(.c) Outcome;
pub const QueryFunction = fn (*const Question, *Text) callconv(.c) Outcome;
pub const Ended = enum(c_int) { done, retry, rejected, panicked, refused };
pub const Line = extern struct { level: Level, message: Text, fields: Attributes };

pub const Run = extern struct {
    ended: Ended,
    code: Code,
    reason: Text,
    after: u32,
    emits: ?[*]const Outgoing,
    emit_count: usize,
    lines: ?[*]const Line,
    line_count: usize,
    after_it: *const Test,
};

pub extern fn tm_test_new() *Test;
pub extern fn tm_test_end() void;
pub extern fn tm_test_config(harness: *Test, key: [*:0]const u8, value: [*:0]const u8) void;
pub extern fn tm_test_state(harness: *Test, key: [*:0]const u8, value: [*:0]const u8) void;
pub extern fn tm_test_emits(harness: *Test, pattern: [*:0]const u8) void;
pub extern fn tm_test_collection(harness: *Test, name: [*:0]const u8) void;
pub extern fn tm_test_index(harness: *Test, collection: [*:0]const u8, field: [*:0]const u8) void;
pub extern fn tm_test_document(harness: *Test, collection: [*:0]const u8, key: [*:0]const u8, json: [*:0]const u8) void;
pub extern fn tm_test_attempt(harness: *Test, attempt: u32) void;
pub extern fn tm_test_max_attempts(harness: *Test, max_attempts: u32) void;
pub extern fn tm_test_route(harness: *Test, route: [*:0]const u8) void;
pub extern fn tm_test_stream(harness: *Test, stream: [*:0]const u8) void;
pub extern fn tm_test_now(harness: *Test, now: [*:0]const u8) void;
pub extern fn tm_test_time_left(harness: *Test, milliseconds: u32) void;
pub extern fn tm_test_unavailable(harness: *Test) void;
pub extern fn tm_test_call_handler(harness: *Test, handler: *const Function, event: Event) *const Run;
pub extern fn tm_test_call_projection(harness: *Test, projection: *const Function, event: Event) *const Run;
pub extern fn tm_test_call_query(harness: *Test, query: *const QueryFunction, name: [*:0]const u8, params: [*:0]const u8, answer: *Text) Outcome;
pub extern fn tm_run_state(run: *const Run, key: [*:0]const u8) Text;
pub extern fn tm_run_document(run: *const Run, collection: [*:0]const u8, key: [*:0]const u8) Text;
