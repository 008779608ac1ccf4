// JSON for plugins in C and C++: reading, building, changing, writing.
//
// A value is a tree in the call's arena: nothing is freed. Functions take a NULL where there is no value, and say that there is
// nothing; so a chain of looks needs one check, at its end. Places are JSON pointers: `/items/0/sku`, with `~1` for a `/` in a
// name and `~0` for a `~`.
//
//     tm_json *order;
//     TM_TRY(tm_event_json(event, &order));                         // rejects what is no JSON
//     tm_text id;
//     TM_TRY(tm_json_text_at(order, "/id", &id));                   // rejects what is no text, with the place and what is there
//     tm_json_each(item, tm_json_at(order, "/items")) { … }         // an `item` of type `tm_json *`
//
//     tm_json *receipt = tm_json_object();
//     tm_json_set(receipt, "order", id);
//     tm_json_set(receipt, "lines", 3);
//     tm_text data = tm_json_write(receipt);                        // {"order":"o-1","lines":3}
//
// What is read is RFC 8259 to the letter: valid UTF-8, no comments, no lone surrogates, nesting to `TM_JSON_DEPTH`. Of a name that
// occurs twice the last one counts. Numbers keep their digits: what was read and not changed is written as it was.

#ifndef TIDEMILL_JSON_H
#define TIDEMILL_JSON_H

#include "tidemill.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TM_JSON_DEPTH 128

// A value and what lies in it. It belongs to one place: what already lies in a list or an object is put into another one as a copy.
typedef struct tm_json tm_json;

typedef enum tm_json_kind {
    TM_JSON_NONE,  // there is no value
    TM_JSON_NULL,
    TM_JSON_BOOL,
    TM_JSON_NUMBER,
    TM_JSON_TEXT,
    TM_JSON_LIST,
    TM_JSON_OBJECT,
} tm_json_kind;

// === Reading =========================================================================================================

// The event's data. What is no JSON is rejected: ``the event's data is not JSON: expected a value at line 1 column 7``.
tm_outcome tm_event_json(const tm_event *event, tm_json **data);

// The parameters of a question; likewise.
tm_outcome tm_question_json(const tm_question *question, tm_json **params);

// Any text. `what` names it in errors (`the ledger's answer`); those have the code `TM_UNFIT`.
tm_outcome tm_json_read(tm_text text, const char *what, tm_json **value);

// A state value, NULL where there is none; `TM_UNFIT` if it is no JSON.
tm_outcome tm_state_get_json(tm_text key, tm_json **value) TM_HANDLERS_ONLY;

// A document, NULL where there is none.
tm_outcome tm_read_model_get_json(tm_text collection, tm_text key, tm_json **body) TM_PROJECTIONS_ONLY;

// === Looking =========================================================================================================

// What kind of value this is.
tm_json_kind tm_json_kind_of(const tm_json *value);

// The value at a place, NULL where there is none. The place "" is the value itself.
tm_json *tm_json_at(const tm_json *value, const char *place);

// The values at a place, if they are what you expect; otherwise an outcome that says what is there instead: ``the event's data does
// not fit: `/items/1/price`: expected a number, found "2"``. For data of an event it is a rejection.
tm_outcome tm_json_text_at(const tm_json *value, const char *place, tm_text *text);
tm_outcome tm_json_integer_at(const tm_json *value, const char *place, int64_t *integer);
tm_outcome tm_json_number_at(const tm_json *value, const char *place, double *number);
tm_outcome tm_json_bool_at(const tm_json *value, const char *place, bool *truth);
tm_outcome tm_json_list_at(const tm_json *value, const char *place, tm_json **list);
tm_outcome tm_json_object_at(const tm_json *value, const char *place, tm_json **object);

// A text; if the value is none, it does not exist.
tm_text tm_json_text(const tm_json *value);

// Whether the value is an integer of 64 bits, and which. It is exact: `1e3` and `1.0` are numbers, but no integers.
bool tm_json_integer(const tm_json *value, int64_t *integer);

// Whether the value is a number, and which, as the nearest double.
bool tm_json_number(const tm_json *value, double *number);

// Whether the value is true or false, and which.
bool tm_json_bool(const tm_json *value, bool *truth);

// Whether the value is this text.
bool tm_json_is(const tm_json *value, const char *chars);

// How many items a list, or members an object has; 0 of anything else.
size_t tm_json_length(const tm_json *value);

// The first item or member, and the one after it.
tm_json *tm_json_first(const tm_json *value);
tm_json *tm_json_next(const tm_json *value);

// The name of a member of an object; of anything else it does not exist.
tm_text tm_json_name(const tm_json *value);

#define tm_json_each(item, list) for (tm_json *item = tm_json_first(list); item; item = tm_json_next(item))

// === Building and writing ============================================================================================

tm_json *tm_json_null(void);
tm_json *tm_json_from_text(tm_text text);
tm_json *tm_json_from_chars(const char *chars);
tm_json *tm_json_from_integer(int64_t integer);
tm_json *tm_json_from_number(double number);  // JSON has no infinity and no NaN: they become null
tm_json *tm_json_from_bool(bool truth);
tm_json *tm_json_object(void);
tm_json *tm_json_list(void);

// Sets a member of an object, in the place of the one of that name, or as the last. NULL is written as null.
void tm_json_set_value(tm_json *object, tm_text name, tm_json *value);

// Appends an item to a list.
void tm_json_append_value(tm_json *list, tm_json *value);

// Takes a member away, if it is there.
void tm_json_remove(tm_json *object, const char *name);

// The value as JSON, without blanks.
tm_text tm_json_write(const tm_json *value);

tm_outcome tm_state_put_json(tm_text key, const tm_json *value) TM_HANDLERS_ONLY;
tm_outcome tm_read_model_put_json(tm_text collection, tm_text key, const tm_json *body) TM_PROJECTIONS_ONLY;

// Adds to an integer in the state, which is 0 as long as it is absent. `total` may be NULL.
tm_outcome tm_state_add(tm_text key, int64_t amount, int64_t *total) TM_HANDLERS_ONLY;

// === Settings ========================================================================================================

// Settings as numbers and truth values, or `otherwise` where they are not set. One of another type is `TM_UNFIT`; its value is not
// told, as it may be a secret.
tm_outcome tm_config_integer(tm_text key, int64_t otherwise, int64_t *integer);
tm_outcome tm_config_number(tm_text key, double otherwise, double *number);
tm_outcome tm_config_bool(tm_text key, bool otherwise, bool *truth);

#ifdef __cplusplus
}
#else

// A JSON value from a number, a truth value, a C string, a text or a JSON value.
#define TM_JSON_VALUE(value)              \
    _Generic((value),                     \
        tm_text: tm_json_from_text,       \
        char *: tm_json_from_chars,       \
        const char *: tm_json_from_chars, \
        float: tm_json_from_number,       \
        double: tm_json_from_number,      \
        bool: tm_json_from_bool,          \
        tm_json *: tm_json_itself,        \
        default: tm_json_from_integer)(value)

static inline tm_json *tm_json_itself(tm_json *value) { return value; }

// Sets a member of an object to a value of any kind: `tm_json_set(order, "total", 12.5)`.
#define tm_json_set(object, name, value) tm_json_set_value(object, tm_text_of(name), TM_JSON_VALUE(value))

// Appends a value of any kind to a list.
#define tm_json_append(list, value) tm_json_append_value(list, TM_JSON_VALUE(value))

#endif

#ifdef __cplusplus

// === C++ =============================================================================================================

namespace tidemill {

// A JSON value, or none. It is as small as a pointer, and its copies are the same value.
//
//     TM_LET(auto order, tidemill::Json::of(event));
//     TM_LET(auto id, order.text_at("/id"));
//     for (auto item : order["/items"]) { … }
//     auto receipt = tidemill::Json::object({ { "order", id }, { "lines", 3 } });
class Json {
public:
    Json(tm_json *value = nullptr) : value(value) {}
    Json(std::string_view text) : value(tm_json_from_text(to_text(text))) {}
    Json(tm_text text) : value(tm_json_from_text(text)) {}
    Json(const char *chars) : value(tm_json_from_chars(chars)) {}
    Json(bool truth) : value(tm_json_from_bool(truth)) {}
    Json(std::integral auto integer) : value(tm_json_from_integer(integer)) {}
    Json(std::floating_point auto number) : value(tm_json_from_number(number)) {}

    using Members = std::initializer_list<std::pair<std::string_view, Json>>;
    static Json object(Members members = {}) {
        Json made = tm_json_object();
        for (const auto &[name, member] : members) made.set(name, member);
        return made;
    }
    static Json list(std::initializer_list<Json> items = {}) {
        Json made = tm_json_list();
        for (Json item : items) made.append(item);
        return made;
    }

    // Reads an event's data, a question's parameters, or any text.
    static Result<Json> of(const tm_event *event) {
        return read([&](tm_json **value) { return tm_event_json(event, value); });
    }
    static Result<Json> of(const tm_question *question) {
        return read([&](tm_json **value) { return tm_question_json(question, value); });
    }
    static Result<Json> parse(std::string_view text, const char *what) {
        return read([&](tm_json **value) { return tm_json_read(to_text(text), what, value); });
    }

    explicit operator bool() const { return value != nullptr; }
    operator tm_json *() const { return value; }

    tm_json_kind kind() const { return tm_json_kind_of(value); }
    Json operator[](const char *place) const { return tm_json_at(value, place); }
    std::optional<std::string_view> text() const { return from_text(tm_json_text(value)); }
    std::optional<int64_t> integer() const {
        int64_t integer;
        return tm_json_integer(value, &integer) ? std::optional(integer) : std::nullopt;
    }
    std::optional<double> number() const {
        double number;
        return tm_json_number(value, &number) ? std::optional(number) : std::nullopt;
    }
    std::optional<bool> truth() const {
        bool truth;
        return tm_json_bool(value, &truth) ? std::optional(truth) : std::nullopt;
    }
    bool is(const char *chars) const { return tm_json_is(value, chars); }
    std::string_view name() const { return tm_json_name(value); }
    size_t size() const { return tm_json_length(value); }

    Result<std::string_view> text_at(const char *place) const { return at<std::string_view, tm_text>(tm_json_text_at, place); }
    Result<int64_t> integer_at(const char *place) const { return at<int64_t, int64_t>(tm_json_integer_at, place); }
    Result<double> number_at(const char *place) const { return at<double, double>(tm_json_number_at, place); }
    Result<bool> truth_at(const char *place) const { return at<bool, bool>(tm_json_bool_at, place); }
    Result<Json> list_at(const char *place) const { return at<Json, tm_json *>(tm_json_list_at, place); }
    Result<Json> object_at(const char *place) const { return at<Json, tm_json *>(tm_json_object_at, place); }

    Json &set(std::string_view name, Json member) {
        tm_json_set_value(value, to_text(name), member);
        return *this;
    }
    Json &append(Json item) {
        tm_json_append_value(value, item);
        return *this;
    }
    std::string_view write() const { return tm_json_write(value); }

    struct Iterator {
        tm_json *at;
        Json operator*() const { return at; }
        Iterator &operator++() {
            at = tm_json_next(at);
            return *this;
        }
        bool operator==(const Iterator &other) const = default;
    };
    Iterator begin() const { return { tm_json_first(value) }; }
    Iterator end() const { return { nullptr }; }

    // Reads by a function that fills in a value.
    static Result<Json> read(auto fill) {
        tm_json *value = nullptr;
        tm_outcome outcome = fill(&value);
        return Result<Json>::of(outcome, value);
    }

private:
    template <class Value, class Raw>
    Result<Value> at(tm_outcome (*look)(const tm_json *, const char *, Raw *), const char *place) const {
        Raw found{};
        tm_outcome outcome = look(value, place, &found);
        return Result<Value>::of(outcome, Value(found));
    }

    tm_json *value;
};

#ifdef TM_WITH_STATE

namespace state {

inline Result<Json> get_json(std::string_view key) {
    return Json::read([&](tm_json **value) { return tm_state_get_json(to_text(key), value); });
}
inline tm_outcome put_json(std::string_view key, Json value) { return tm_state_put_json(to_text(key), value); }
inline Result<int64_t> add(std::string_view key, int64_t amount) {
    int64_t total = 0;
    tm_outcome outcome = tm_state_add(to_text(key), amount, &total);
    return Result<int64_t>::of(outcome, total);
}

// Writes what `change` makes of the value (no value where there is none), and gives it.
inline Result<Json> update(std::string_view key, auto change) {
    TM_LET(Json before, get_json(key));
    Json after = change(before);
    TM_TRY(put_json(key, after));
    return after;
}

}  // namespace state

#endif

#ifdef TM_WITH_DOCUMENTS

namespace read_model {

inline Result<Json> get(std::string_view collection, std::string_view key) {
    return Json::read([&](tm_json **body) { return tm_read_model_get_json(to_text(collection), to_text(key), body); });
}
inline tm_outcome put(std::string_view collection, std::string_view key, Json body) {
    return tm_read_model_put_json(to_text(collection), to_text(key), body);
}
inline tm_outcome erase(std::string_view collection, std::string_view key) {
    return tm_read_model_delete(to_text(collection), to_text(key));
}
inline Result<Json> update(std::string_view collection, std::string_view key, auto change) {
    TM_LET(Json before, get(collection, key));
    Json after = change(before);
    TM_TRY(put(collection, key, after));
    return after;
}
inline Result<tm_documents> find(std::string_view collection, std::string_view field, Json value,
                                 std::optional<std::string_view> after = {}, uint32_t limit = TM_MAX_LIST) {
    tm_documents found;
    tm_outcome outcome = tm_read_model_find(to_text(collection), to_text(field), to_text(value.write()), to_text(after), limit, &found);
    return Result<tm_documents>::of(outcome, found);
}

}  // namespace read_model

#endif

namespace config {

inline Result<int64_t> integer(std::string_view key, int64_t otherwise) {
    tm_outcome outcome = tm_config_integer(to_text(key), otherwise, &otherwise);
    return Result<int64_t>::of(outcome, otherwise);
}
inline Result<double> number(std::string_view key, double otherwise) {
    tm_outcome outcome = tm_config_number(to_text(key), otherwise, &otherwise);
    return Result<double>::of(outcome, otherwise);
}
inline Result<bool> truth(std::string_view key, bool otherwise) {
    tm_outcome outcome = tm_config_bool(to_text(key), otherwise, &otherwise);
    return Result<bool>::of(outcome, otherwise);
}

}  // namespace config

}  // namespace tidemill

#endif

#endif
