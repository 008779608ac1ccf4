// JSON to and from the host: state, documents, settings. What the world that is compiled has not is left out, as its imports
// would be refused.

#include "json_tree.h"

#ifdef TM_WITH_STATE

tm_outcome tm_state_get_json(tm_text key, tm_json **value) {
    tm_text text;
    *value = NULL;
    TM_TRY(tm_state_get(key, &text));
    if (!tm_exists(text)) return tm_done();
    return tm_json_read_from(text, tm_format("the state's value of `%.*s`", TM_ARG(key)).ptr, TM_UNFIT, value);
}

tm_outcome tm_state_put_json(tm_text key, const tm_json *value) { return tm_state_put(key, tm_json_write(value)); }

tm_outcome tm_state_add(tm_text key, int64_t amount, int64_t *total) {
    tm_json *value;
    int64_t sum = 0;
    TM_TRY(tm_state_get_json(key, &value));
    if (value) TM_TRY(tm_json_integer_at(value, "", &sum));
    if (amount > 0 ? sum > INT64_MAX - amount : sum < INT64_MIN - amount) {
        return tm_json_misfit(NULL, tm_format("the state's value of `%.*s`: %lld and %lld are more than 64 bits hold", TM_ARG(key),
                                      (long long)sum, (long long)amount));
    }
    sum += amount;
    if (total) *total = sum;
    return tm_state_put_json(key, tm_json_from_integer(sum));
}

#endif

#ifdef TM_WITH_DOCUMENTS

tm_outcome tm_read_model_get_json(tm_text collection, tm_text key, tm_json **body) {
    tm_text text;
    *body = NULL;
    TM_TRY(tm_read_model_get(collection, key, &text));
    if (!tm_exists(text)) return tm_done();
    tm_text what = tm_format("the document `%.*s` of the collection `%.*s`", TM_ARG(key), TM_ARG(collection));
    return tm_json_read_from(text, what.ptr, TM_UNFIT, body);
}

tm_outcome tm_read_model_put_json(tm_text collection, tm_text key, const tm_json *body) {
    return tm_read_model_put(collection, key, tm_json_write(body));
}

#endif

// A setting as JSON, NULL where there is none. A text that looks like a number is one, as the host gives it without quotes.
static tm_json *setting(tm_text key) {
    tm_text text = tm_config_get(key);
    tm_json *value = NULL;
    if (tm_exists(text) && tm_json_read(text, "the setting", &value).code != TM_DONE) return tm_json_from_text(text);
    return value;
}

static tm_outcome wrong_setting(tm_text key, const char *expected) {
    return tm_json_misfit(NULL, tm_format("the setting `%.*s`: expected %s", TM_ARG(key), expected));
}

tm_outcome tm_config_integer(tm_text key, int64_t otherwise, int64_t *integer) {
    const tm_json *value = setting(key);
    *integer = otherwise;
    return !value || tm_json_integer(value, integer) ? tm_done() : wrong_setting(key, "an integer");
}

tm_outcome tm_config_number(tm_text key, double otherwise, double *number) {
    const tm_json *value = setting(key);
    *number = otherwise;
    return !value || tm_json_number(value, number) ? tm_done() : wrong_setting(key, "a number");
}

tm_outcome tm_config_bool(tm_text key, bool otherwise, bool *truth) {
    const tm_json *value = setting(key);
    *truth = otherwise;
    return !value || tm_json_bool(value, truth) ? tm_done() : wrong_setting(key, "true or false");
}
