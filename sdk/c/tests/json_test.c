// What the JSON reader takes and refuses, and what comes back out.

#include "tidemill_test.h"

#include <stdlib.h>

static tm_outcome read(const char *text, tm_json **value) { return tm_json_read(tm_text_of(text), "it", value); }

static tm_json *must_read(const char *text) {
    tm_json *value;
    tm_outcome outcome = read(text, &value);
    if (outcome.code != TM_DONE) tm_test_fail(__FILE__, __LINE__, "%s: %s", text, outcome.reason.ptr);
    return value;
}

TM_TEST(what_is_read_is_written_as_it_was) {
    static const char *const texts[] = {
        "null", "true", "false", "0", "-0", "1e400", "0.1", "-12.5E+3", "12345678901234567890", "\"\"", "[]", "{}",
        "[1,[2,[]],{}]", "{\"a\":{\"b\":[null]},\"\":\"x\"}", "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f/\"", "\"äöü € 𝄞\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        TM_ASSERT_TEXT(tm_json_write(must_read(texts[i])), texts[i]);
    }
    TM_ASSERT_TEXT(tm_json_write(must_read(" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } ")), "{\"a\":[1,2],\"b\":{}}");
}

TM_TEST(escapes_are_undone) {
    TM_ASSERT_TEXT(tm_json_text(must_read("\"\\u0041\\/\\u00e4\\u20AC\\ud834\\udd1e\"")), "A/ä€𝄞");
    tm_text with_nul = tm_json_text(must_read("\"a\\u0000b\""));
    TM_ASSERT_INTEGER((int64_t)with_nul.len, 3);
    TM_ASSERT(memcmp(with_nul.ptr, "a\0b", 4) == 0);
}

TM_TEST(what_is_no_json_is_refused_with_the_place) {
    static const char *const cases[][2] = {
        { "", "expected a value at line 1 column 1" },
        { "  ", "expected a value at line 1 column 3" },
        { "nul", "expected a value at line 1 column 1" },
        { "nulll", "something behind the value at line 1 column 5" },
        { "1 2", "something behind the value at line 1 column 3" },
        { "01", "something behind the value at line 1 column 2" },
        { "-", "expected a digit at line 1 column 2" },
        { "1.", "expected a digit at line 1 column 3" },
        { ".5", "expected a value at line 1 column 1" },
        { "+1", "expected a value at line 1 column 1" },
        { "1e", "expected a digit at line 1 column 3" },
        { "1e+", "expected a digit at line 1 column 4" },
        { "NaN", "expected a value at line 1 column 1" },
        { "[", "expected a value at line 1 column 2" },
        { "]", "expected a value at line 1 column 1" },
        { "[1", "expected `,` or `]` at line 1 column 3" },
        { "[1,]", "expected a value at line 1 column 4" },
        { "[,1]", "expected a value at line 1 column 2" },
        { "[1}", "expected `,` or `]` at line 1 column 3" },
        { "[]]", "something behind the value at line 1 column 3" },
        { "{", "expected a name in quotes at line 1 column 2" },
        { "{]", "expected a name in quotes at line 1 column 2" },
        { "{\"a\"}", "expected `:` at line 1 column 5" },
        { "{\"a\":}", "expected a value at line 1 column 6" },
        { "{\"a\":1,}", "expected a name in quotes at line 1 column 8" },
        { "{a:1}", "expected a name in quotes at line 1 column 2" },
        { "{\"a\":1\n,\"b\" 2}", "expected `:` at line 2 column 6" },
        { "'a'", "expected a value at line 1 column 1" },
        { "// no\n1", "expected a value at line 1 column 1" },
        { "\"a", "a text without an end at line 1 column 3" },
        { "\"\\\"", "a text without an end at line 1 column 4" },
        { "\"\\", "an unknown escape at line 1 column 3" },
        { "\"\\x41\"", "an unknown escape at line 1 column 3" },
        { "\"\\u12g4\"", "expected four hexadecimal digits at line 1 column 6" },
        { "\"\\ud834\"", "a high surrogate without a low one at line 1 column 8" },
        { "\"\\ud834\\u0041\"", "a high surrogate without a low one at line 1 column 14" },
        { "\"\\udd1e\"", "a low surrogate without a high one at line 1 column 8" },
        { "\"a\nb\"", "a control character in a text at line 1 column 3" },
        { "\"\xff\"", "a text that is not UTF-8 at line 1 column 2" },
        { "\"\xc3\"", "a text that is not UTF-8 at line 1 column 2" },          // cut off
        { "\"\xc0\xaf\"", "a text that is not UTF-8 at line 1 column 2" },      // overlong
        { "\"\xe0\x80\xaf\"", "a text that is not UTF-8 at line 1 column 2" },
        { "\"\xed\xa0\x80\"", "a text that is not UTF-8 at line 1 column 2" },  // a surrogate
        { "\"\xf4\x90\x80\x80\"", "a text that is not UTF-8 at line 1 column 2" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tm_json *value;
        tm_outcome outcome = read(cases[i][0], &value);
        TM_ASSERT(outcome.code == TM_UNFIT && value == NULL);
        TM_ASSERT_TEXT(outcome.reason, tm_format("it is not JSON: %s", cases[i][1]).ptr);
    }
}

TM_TEST(nesting_has_an_end) {
    char text[300000];
    tm_json *value;
    memset(text, '[', 128);
    memset(text + 128, ']', 128);
    TM_ASSERT(tm_json_read((tm_text){ text, 256 }, "it", &value).code == TM_DONE);
    memset(text, '[', sizeof text);
    TM_ASSERT_TEXT(tm_json_read((tm_text){ text, sizeof text }, "it", &value).reason,
                   "it is not JSON: nested too deeply at line 1 column 130");
    for (size_t i = 0; i + 5 <= sizeof text; i += 5) memcpy(text + i, "{\"\":[", 5);
    TM_ASSERT(tm_json_read((tm_text){ text, sizeof text }, "it", &value).code == TM_UNFIT);
}

TM_TEST(no_cut_and_no_changed_byte_is_read_beyond_its_end) {
    const char *text = "{\"a\":[1,{\"b\\\"\":null},\"x\\u00e4ä\"],\"c\":-1e5}";
    size_t length = strlen(text);
    for (size_t cut = 0; cut <= length; cut++) {
        for (int byte = 0; byte < 256; byte++) {
            // In memory of its own, so that the address sanitizer sees a byte that is read too far.
            char *copy = malloc(cut + 1);
            memcpy(copy, text, cut);
            copy[cut] = (char)byte;
            tm_json *value;
            tm_outcome outcome = tm_json_read((tm_text){ copy, cut + 1 }, "it", &value);
            TM_ASSERT((outcome.code == TM_DONE) == (value != NULL));
            free(copy);
            if (value) TM_ASSERT(tm_json_write(value).len > 0);
        }
    }
}

TM_TEST(integers_are_exact_and_doubles_the_nearest) {
    static const struct {
        const char *text;
        bool is_integer;
        int64_t integer;
        double number;
    } cases[] = {
        { "0", true, 0, 0 },
        { "-0", true, 0, 0 },
        { "9007199254740993", true, 9007199254740993, 9007199254740992.0 },
        { "9223372036854775807", true, INT64_MAX, 9223372036854775808.0 },
        { "-9223372036854775808", true, INT64_MIN, -9223372036854775808.0 },
        { "9223372036854775808", false, 0, 9223372036854775808.0 },
        { "-9223372036854775809", false, 0, -9223372036854775808.0 },
        { "99999999999999999999999999", false, 0, 1e26 },
        { "1.0", false, 0, 1 },
        { "1e3", false, 0, 1000 },
        { "0.1", false, 0, 0.1 },
        { "-2.2250738585072014e-308", false, 0, -2.2250738585072014e-308 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tm_json *value = must_read(cases[i].text);
        int64_t integer = 0;
        double number = 0;
        TM_ASSERT(tm_json_integer(value, &integer) == cases[i].is_integer);
        if (cases[i].is_integer) TM_ASSERT_INTEGER(integer, cases[i].integer);
        TM_ASSERT(tm_json_number(value, &number) && number == cases[i].number);
    }
    double number;
    TM_ASSERT(!tm_json_number(must_read("1e400"), &number));
}

TM_TEST(places_are_json_pointers) {
    const tm_json *value = must_read("{\"items\":[{\"sku\":\"A\"},{\"sku\":\"B\"}],\"a/b\":{\"~\":1},\"\":2,\"0\":3,\"twice\":4,\"twice\":5}");
    static const char *const cases[][2] = {
        { "/items/0/sku", "\"A\"" }, { "/items/1/sku", "\"B\"" }, { "/a~1b/~0", "1" }, { "/", "2" }, { "/0", "3" },
        { "/twice", "5" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TM_ASSERT_TEXT(tm_json_write(tm_json_at(value, cases[i][0])), cases[i][1]);
    }
    static const char *const nowhere[] = {
        "/items/2", "/items/00", "/items/-1", "/items/0x", "/items/", "/items/99999999999999999999", "/item", "/items/0/sku/x", "items",
        "/a/b", "/ite",
    };
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) TM_ASSERT(tm_json_at(value, nowhere[i]) == NULL);
    TM_ASSERT(tm_json_at(value, "") == value);
    TM_ASSERT(tm_json_at(NULL, "/a") == NULL && !tm_exists(tm_json_text(NULL)) && tm_json_first(NULL) == NULL);
}

TM_TEST(what_does_not_fit_is_told_with_its_place) {
    tm_event event = tm_test_event("Any", "{\"id\":7,\"items\":[{\"price\":1.5},{\"price\":\"2\"}],\"a/b\":{}}");
    tm_json *data;
    tm_text text;
    int64_t integer;
    double number;
    bool truth;
    tm_json *box;
    TM_ASSERT(tm_event_json(&event, &data).code == TM_DONE);
    tm_outcome outcome = tm_json_text_at(data, "/id", &text);
    TM_ASSERT(outcome.code == TM_REJECT && !tm_exists(text));
    TM_ASSERT_TEXT(outcome.reason, "the event's data does not fit: `/id`: expected a text, found 7");
    TM_ASSERT_TEXT(tm_json_number_at(tm_json_at(data, "/items/1"), "/price", &number).reason,
                   "the event's data does not fit: `/items/1/price`: expected a number, found \"2\"");
    TM_ASSERT_TEXT(tm_json_integer_at(data, "/items/0/price", &integer).reason,
                   "the event's data does not fit: `/items/0/price`: expected an integer, found 1.5");
    TM_ASSERT_TEXT(tm_json_bool_at(tm_json_at(data, "/a~1b"), "", &truth).reason,
                   "the event's data does not fit: `/a~1b`: expected true or false, found an object");
    TM_ASSERT_TEXT(tm_json_list_at(data, "/a~1b", &box).reason, "the event's data does not fit: `/a~1b`: expected a list, found an object");
    TM_ASSERT_TEXT(tm_json_object_at(data, "/none", &box).reason,
                   "the event's data does not fit: `/none`: expected an object, found nothing");
    TM_ASSERT(box == NULL);
}

TM_TEST(values_are_built_and_changed) {
    tm_json *order = tm_json_object();
    tm_text id = TM("o-\"1\"");
    char chars[] = "x";
    tm_json_set(order, "id", id);
    tm_json_set(order, "total", 12.5);
    tm_json_set(order, "lines", 3);
    tm_json_set(order, "big", INT64_MIN);
    tm_json_set(order, "paid", (bool)true);
    tm_json_set(order, "note", chars);
    tm_json_set(order, "gone", tm_json_null());
    tm_json *items = tm_json_list();
    tm_json_append(items, "a");
    tm_json_append(items, 0.1);
    tm_json_set(order, "items", items);
    TM_ASSERT_TEXT(tm_json_write(order), "{\"id\":\"o-\\\"1\\\"\",\"total\":12.5,\"lines\":3,\"big\":-9223372036854775808,\"paid\":true,"
                                         "\"note\":\"x\",\"gone\":null,\"items\":[\"a\",0.1]}");
    tm_json_set(order, "id", 1);
    tm_json_set(order, "items", "none");
    tm_json_remove(order, "big");
    tm_json_remove(order, "never");
    tm_json_set(order, "last", 2);
    TM_ASSERT_TEXT(tm_json_write(order), "{\"id\":1,\"total\":12.5,\"lines\":3,\"paid\":true,\"note\":\"x\",\"gone\":null,\"items\":\"none\","
                                         "\"last\":2}");
    TM_ASSERT_INTEGER((int64_t)tm_json_length(order), 8);
}

TM_TEST(a_value_that_lies_somewhere_is_put_elsewhere_as_a_copy) {
    tm_json *order = must_read("{\"items\":[{\"sku\":\"A\"}],\"first\":null}");
    tm_json *item = tm_json_at(order, "/items/0");
    tm_json_set(order, "first", item);
    tm_json_set(item, "sku", "B");
    TM_ASSERT_TEXT(tm_json_write(order), "{\"items\":[{\"sku\":\"B\"}],\"first\":{\"sku\":\"A\"}}");
}

TM_TEST(doubles_are_written_as_short_as_they_can_be_read_back) {
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        { 0.1, "0.1" }, { 800, "800" }, { -0.5, "-0.5" }, { 1e21, "1e+21" }, { 0.1 + 0.2, "0.30000000000000004" },
        { 1e15, "1e+15" }, { 123456789012345, "123456789012345" }, { 5e-324, "4.94065645841247e-324" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tm_text text = tm_json_write(tm_json_from_number(cases[i].number));
        double number;
        TM_ASSERT_TEXT(text, cases[i].text);
        TM_ASSERT(tm_json_number(must_read(text.ptr), &number) && number == cases[i].number);
    }
    TM_ASSERT_TEXT(tm_json_write(tm_json_from_number(1.0 / 0.0)), "null");
    TM_ASSERT_TEXT(tm_json_write(NULL), "null");
}

TM_TEST_MAIN
