// Running tests, and saying what does not hold.

#include "world.h"

#include "../src/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// === Assertions ======================================================================================================

void tm_assert_integer(const char *file, int line, const char *what, int64_t found, int64_t expected) {
    if (found == expected) return;
    tm_test_fail(file, line, "expected %s to be %lld, but found %lld", what, (long long)expected, (long long)found);
}

void tm_assert_text(const char *file, int line, const char *what, tm_text found, const char *expected) {
    if (tm_exists(found) && tm_is(found, expected)) return;
    if (!tm_exists(found)) tm_test_fail(file, line, "expected %s to be \"%s\", but it does not exist", what, expected);
    tm_test_fail(file, line, "expected %s to be \"%s\", but found \"%.*s\"", what, expected, TM_ARG(found));
}

static const tm_json *member_of(const tm_json *object, tm_text name) {
    const tm_json *found = NULL;
    tm_json_each(member, object) {
        if (tm_equal(tm_json_name(member), name)) found = member;
    }
    return found;
}

static bool is_same(const tm_json *one, const tm_json *other) {
    double number, other_number;
    if (tm_json_kind_of(one) != tm_json_kind_of(other) || tm_json_length(one) != tm_json_length(other)) return false;
    switch (tm_json_kind_of(one)) {
        case TM_JSON_NUMBER:
            return tm_json_number(one, &number) && tm_json_number(other, &other_number)
                       ? number == other_number
                       : tm_equal(tm_json_write(one), tm_json_write(other));
        case TM_JSON_LIST:
            for (tm_json *each = tm_json_first(one), *opposite = tm_json_first(other); each;
                 each = tm_json_next(each), opposite = tm_json_next(opposite)) {
                if (!is_same(each, opposite)) return false;
            }
            return true;
        case TM_JSON_OBJECT:
            tm_json_each(each, one) {
                if (!is_same(each, member_of(other, tm_json_name(each)))) return false;
            }
            return true;
        default: return tm_equal(tm_json_write(one), tm_json_write(other));
    }
}

void tm_assert_json(const char *file, int line, const char *what, tm_text found, const char *expected) {
    tm_json *found_value = NULL, *expected_value = NULL;
    if (!tm_exists(found)) tm_test_fail(file, line, "expected %s to be %s, but it does not exist", what, expected);
    tm_outcome read = tm_json_read(tm_text_of(expected), "what the test expects", &expected_value);
    if (read.code == TM_DONE) read = tm_json_read(found, what, &found_value);
    if (read.code != TM_DONE) tm_test_fail(file, line, "%s", read.reason.ptr);
    if (!is_same(found_value, expected_value)) {
        tm_test_fail(file, line, "expected %s to be %s, but found %.*s", what, expected, TM_ARG(found));
    }
}

// === Running =========================================================================================================

enum { MAX_TESTS = 1024 };

static struct {
    const char *name;
    void (*run)(void);
} tests[MAX_TESTS];
static size_t test_count;

static jmp_buf next_test;
static bool is_running;

void tm_test_add(const char *name, void (*test)(void)) {
    if (test_count == MAX_TESTS) {
        fprintf(stderr, "more than %d tests in one program\n", MAX_TESTS);
        abort();
    }
    tests[test_count].name = name;
    tests[test_count++].run = test;
}

void tm_test_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(is_running ? stdout : stderr, "# %s:%d: ", file, line);
    vfprintf(is_running ? stdout : stderr, format, arguments);
    fprintf(is_running ? stdout : stderr, "\n");
    va_end(arguments);
    if (!is_running) abort();
    longjmp(next_test, 1);
}

void tm_test_end(void) { tm_memory_release(); }

static bool passes(void (*test)(void)) {
    volatile bool passed = false;
    is_running = true;
    if (setjmp(next_test) == 0) {
        test();
        passed = true;
    }
    is_running = false;
    tm_call_abandon();
    tm_test_end();
    return passed;
}

int tm_test_main(int count, char **arguments) {
    size_t passed = 0, failed = 0;
    for (size_t i = 0; i < test_count; i++) {
        if (count > 1 && !strstr(tests[i].name, arguments[1])) continue;
        bool is_fine = passes(tests[i].run);
        *(is_fine ? &passed : &failed) += 1;
        printf("%s %zu - %s\n", is_fine ? "ok" : "not ok", passed + failed, tests[i].name);
        fflush(stdout);
    }
    printf("1..%zu\n%zu passed, %zu failed\n", passed + failed, passed, failed);
    return failed || passed == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
