// Building and changing JSON.

#include "json_tree.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

tm_json *tm_json_make(tm_json_kind kind, const tm_json_origin *from) {
    tm_json *made = tm_alloc(sizeof(tm_json));
    made->kind = kind;
    made->from = from;
    return made;
}

bool tm_json_is_box(const tm_json *value) {
    return value && (value->kind == TM_JSON_LIST || value->kind == TM_JSON_OBJECT);
}

void tm_json_add(tm_json *box, tm_json *value) {
    value->inside = box;
    if (box->parts.last) box->parts.last->next = value;
    else box->parts.first = value;
    box->parts.last = value;
    box->parts.length++;
}

tm_json *tm_json_null(void) { return tm_json_make(TM_JSON_NULL, NULL); }

tm_json *tm_json_object(void) { return tm_json_make(TM_JSON_OBJECT, NULL); }

tm_json *tm_json_list(void) { return tm_json_make(TM_JSON_LIST, NULL); }

static tm_json *with_text(tm_json_kind kind, tm_text text) {
    tm_json *value = tm_json_make(kind, NULL);
    value->text = text;
    return value;
}

tm_json *tm_json_from_text(tm_text text) { return tm_exists(text) ? with_text(TM_JSON_TEXT, tm_copy(text)) : tm_json_null(); }

tm_json *tm_json_from_chars(const char *chars) { return tm_json_from_text(tm_text_of(chars)); }

tm_json *tm_json_from_integer(int64_t integer) {
    char digits[20], *at = digits + sizeof digits;
    uint64_t size = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    do *--at = (char)('0' + size % 10);
    while (size /= 10);
    if (integer < 0) *--at = '-';
    return with_text(TM_JSON_NUMBER, tm_copy((tm_text){ at, (size_t)(digits + sizeof digits - at) }));
}

tm_json *tm_json_from_number(double number) {
    if (!isfinite(number)) return tm_json_null();
    if (number == floor(number) && fabs(number) < 1e15) return tm_json_from_integer((int64_t)number);
    for (int digits = DBL_DIG;; digits++) {  // as few digits as give the same number back
        tm_text text = tm_format("%.*g", digits, number);
        if (digits == DBL_DIG + 2 || strtod(text.ptr, NULL) == number) return with_text(TM_JSON_NUMBER, text);
    }
}

tm_json *tm_json_from_bool(bool truth) {
    tm_json *value = tm_json_make(TM_JSON_BOOL, NULL);
    value->truth = truth;
    return value;
}

// The value itself, if it lies nowhere yet; otherwise a copy that can lie elsewhere.
static tm_json *loose(const tm_json *value) {
    if (!value) return tm_json_null();
    if (!value->inside) return (tm_json *)value;
    tm_json *copy = tm_json_make(value->kind, value->from);
    copy->truth = value->truth;
    if (!tm_json_is_box(value)) {
        copy->text = value->text;
        return copy;
    }
    tm_json_each(each, value) {
        tm_json *part = loose(each);
        part->name = each->name;
        tm_json_add(copy, part);
    }
    return copy;
}

static void expect_box(const tm_json *box, tm_json_kind kind, const char *call) {
    if (tm_json_kind_of(box) != kind) {
        tm_panic("%s wants %s, found %s", call, kind == TM_JSON_LIST ? "a list" : "an object", tm_json_describe(box).ptr);
    }
}

void tm_json_append_value(tm_json *list, tm_json *value) {
    expect_box(list, TM_JSON_LIST, "tm_json_append");
    tm_json_add(list, loose(value));
}

static void remove_member(tm_json *object, tm_text name) {
    tm_json *kept = object->parts.first;
    object->parts.first = object->parts.last = NULL;
    object->parts.length = 0;
    for (tm_json *next; kept; kept = next) {
        next = kept->next;
        kept->next = NULL;
        if (!tm_equal(kept->name, name)) tm_json_add(object, kept);
    }
}

void tm_json_remove(tm_json *object, const char *name) {
    expect_box(object, TM_JSON_OBJECT, "tm_json_remove");
    remove_member(object, tm_text_of(name));
}

void tm_json_set_value(tm_json *object, tm_text name, tm_json *value) {
    expect_box(object, TM_JSON_OBJECT, "tm_json_set");
    tm_json *set = loose(value);
    tm_json *known = NULL, *before = NULL;
    tm_json_each(each, object) {
        if (tm_equal(each->name, name)) known = each;
        if (!known) before = each;
    }
    if (!known) {
        set->name = tm_copy(name);
        tm_json_add(object, set);
        return;
    }
    set->name = known->name;
    set->inside = object;
    set->next = known->next;
    *(before ? &before->next : &object->parts.first) = set;
    if (object->parts.last == known) object->parts.last = set;
    known->inside = known->next = NULL;
}
