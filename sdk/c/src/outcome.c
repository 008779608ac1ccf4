// Texts, outcomes and fields: what needs no host.

#include "memory.h"

#include <stdarg.h>
#include <stdio.h>

// Most texts are short: they are made once, beside the arena, and copied. Only a long one is made twice.
static tm_text format_list(const char *format, va_list arguments) {
    char room[256];
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(room, sizeof room, format, again);
    va_end(again);
    if (length < 0) tm_panic("printf cannot make anything of the format `%s`", format);
    if ((size_t)length < sizeof room) return tm_copy((tm_text){ room, (size_t)length });
    char *text = tm_memory_take((size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    return (tm_text){ text, (size_t)length };
}

// What stands between `va_start` and `va_end`, for each function that takes a format.
#define FORMATTED(text, format)          \
    va_list arguments;                   \
    va_start(arguments, format);         \
    tm_text text = format_list(format, arguments); \
    va_end(arguments)

tm_text tm_format(const char *format, ...) {
    FORMATTED(text, format);
    return text;
}

tm_outcome tm_reject(const char *format, ...) {
    FORMATTED(reason, format);
    return (tm_outcome){ TM_REJECT, 0, reason };
}

tm_outcome tm_retry(const char *format, ...) {
    FORMATTED(reason, format);
    return (tm_outcome){ TM_RETRY, 0, reason };
}

tm_outcome tm_retry_after(uint32_t milliseconds, const char *format, ...) {
    FORMATTED(reason, format);
    return (tm_outcome){ TM_RETRY, milliseconds, reason };
}

tm_outcome tm_unknown(const tm_question *question) {
    return tm_reject("there is no query `%.*s`", TM_ARG(question->name));
}

void tm_panic_at(const char *file, int line, const char *format, ...) {
    FORMATTED(message, format);
    tm_log(TM_ERROR, tm_format("panicked at %s:%d: %.*s", file, line, TM_ARG(message)), TM_FIELDS());
    tm_memory_panic(message);
}

tm_text tm_event_extension(const tm_event *event, const char *name) {
    for (size_t i = 0; i < event->extensions.len; i++) {
        if (tm_is(event->extensions.ptr[i].name, name)) return event->extensions.ptr[i].value;
    }
    return (tm_text){ NULL, 0 };
}

tm_attribute tm_field_text(const char *name, tm_text value) { return (tm_attribute){ tm_text_of(name), value }; }

tm_attribute tm_field_chars(const char *name, const char *value) { return tm_field_text(name, tm_text_of(value)); }

tm_attribute tm_field_integer(const char *name, int64_t value) {
    return tm_field_text(name, tm_format("%lld", (long long)value));
}

tm_attribute tm_field_number(const char *name, double value) { return tm_field_text(name, tm_format("%.15g", value)); }

tm_attribute tm_field_bool(const char *name, bool value) {
    return tm_field_text(name, value ? TM("true") : TM("false"));
}
