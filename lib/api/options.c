/* SPDX-License-Identifier: MIT */
/* Option handles: typed setters that check against the table, text parsing, reading back. */
#include <math.h>

#include "api/api.h"

static const char *const type_names[] = {"",       "an integer",         "a number",
                                         "a text", "a list of integers", "a list of numbers"};

dqg_status dqg_option_at(int32_t kind, int32_t index, dqg_option_info *info) {
    if (info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    for (int32_t i = 0; index >= 0 && i < dqg_option_row_count; i++) {
        const struct dqg_option_row *row = &dqg_option_rows[i];
        if (row->kind != kind || index-- > 0) {
            continue;
        }
        dqg_option_info filled = {.key = row->key,
                                  .kind = row->kind,
                                  .type = row->type,
                                  .name = row->name,
                                  .choices = row->choices,
                                  .help = row->help,
                                  .minimum = row->minimum,
                                  .maximum = row->maximum,
                                  .default_value = row->default_value,
                                  .default_text = row->default_text};
        return dqg_record_return(NULL, info, &filled, sizeof filled);
    }
    return DQG_ERROR_RANGE;
}

/* ---- life ---- */

dqg_status dqg_options_create(dqg_context *context, int32_t kind, dqg_options **options) {
    if (options != NULL) {
        *options = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, options, "options"));
    if (kind < DQG_OPTIONS_MODEL || kind > DQG_OPTIONS_SEARCH) {
        return dqg_fail(context, DQG_ERROR_RANGE, "there are no options of kind %d", (int)kind);
    }
    size_t bytes = (size_t)dqg_option_row_count * sizeof(struct dqg_option_value);
    struct dqg_options *made = dqg_calloc(&context->alloc, 1, sizeof *made + bytes);
    if (made == NULL) {
        return dqg_fail_memory(context, "options", sizeof *made + bytes);
    }
    made->context = context;
    made->kind = kind;
    made->values = (struct dqg_option_value *)(made + 1);
    for (int32_t i = 0; i < dqg_option_row_count; i++) {
        made->values[i].integer = (int64_t)dqg_option_rows[i].default_value;
        made->values[i].number = dqg_option_rows[i].default_value;
    }
    dqg_context_retain_(context);
    *options = made;
    return DQG_OK;
}

/* Give back what a value owns. */
static void free_value(const struct dqg_alloc *alloc, struct dqg_option_value *value) {
    dqg_free_text(alloc, value->text);
    dqg_free(alloc, value->ints, (size_t)value->count * sizeof *value->ints);
    dqg_free(alloc, value->floats, (size_t)value->count * sizeof *value->floats);
    value->text = NULL;
    value->ints = NULL;
    value->floats = NULL;
    value->count = 0;
}

void dqg_options_destroy(dqg_options *options) {
    if (options == NULL) {
        return;
    }
    struct dqg_context *context = options->context;
    for (int32_t i = 0; i < dqg_option_row_count; i++) {
        free_value(&context->alloc, &options->values[i]);
    }
    dqg_free(&context->alloc, options,
             sizeof *options + (size_t)dqg_option_row_count * sizeof(struct dqg_option_value));
    dqg_context_release_(context);
}

/* ---- lookup ---- */

struct dqg_option_value dqg_option(const struct dqg_options *options, int32_t key) {
    for (int32_t i = 0; i < dqg_option_row_count; i++) {
        const struct dqg_option_row *row = &dqg_option_rows[i];
        if (row->key != key) {
            continue;
        }
        struct dqg_option_value value = {.integer = (int64_t)row->default_value, .number = row->default_value};
        if (options != NULL) {
            value = options->values[i];
        }
        if (value.text == NULL && row->default_text != NULL && row->default_text[0] != '\0') {
            /* Defaults are never written through: only set values are owned and freed. */
            union {
                const char *in;
                char *out;
            } text = {row->default_text};
            value.text = text.out;
        }
        return value;
    }
    return (struct dqg_option_value){0};
}

dqg_status dqg_options_check(struct dqg_context *context, const struct dqg_options *options, int32_t kind) {
    if (options != NULL && options->kind != kind) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "these options are of kind %d, wanted is kind %d",
                        (int)options->kind, (int)kind);
    }
    return DQG_OK;
}

/* What every setter and getter begins with: the row of a key of these options and type, and its value. */
static dqg_status find(const struct dqg_options *options, int32_t key, int32_t type, const struct dqg_option_row **row,
                       struct dqg_option_value **value) {
    if (options == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(options->context);
    for (int32_t i = 0; i < dqg_option_row_count; i++) {
        if (dqg_option_rows[i].key != key || dqg_option_rows[i].kind != options->kind) {
            continue;
        }
        *row = &dqg_option_rows[i];
        *value = &options->values[i];
        if ((*row)->type != type) {
            return dqg_fail(options->context, DQG_ERROR_NAME, "option '%s' is %s, not %s", (*row)->name,
                            type_names[(*row)->type], type_names[type]);
        }
        return DQG_OK;
    }
    return dqg_fail(options->context, DQG_ERROR_NAME, "there is no option with key %d among those of kind %d", (int)key,
                    (int)options->kind);
}

static dqg_status check_number(const struct dqg_options *options, const struct dqg_option_row *row, double value) {
    if (!(value >= row->minimum && value <= row->maximum)) {
        return dqg_fail(options->context, DQG_ERROR_RANGE, "option '%s': %g is outside %g..%g", row->name, value,
                        row->minimum, row->maximum);
    }
    return DQG_OK;
}

/* ---- setters ---- */

dqg_status dqg_options_set_int(dqg_options *options, int32_t key, int64_t value) {
    const struct dqg_option_row *row = NULL;
    struct dqg_option_value *slot = NULL;
    DQG_TRY(find(options, key, DQG_TYPE_INT, &row, &slot));
    DQG_TRY(check_number(options, row, (double)value));
    if ((key == DQG_QUANTIZER_BITS && value > 6 && value != 8 && value != 16) ||
        (key == DQG_QUANTIZER_GROUP && value != 32 && value != 64 && value != 128)) {
        return dqg_fail(options->context, DQG_ERROR_RANGE, "option '%s': %lld is not among %s", row->name,
                        (long long)value, key == DQG_QUANTIZER_BITS ? "2..6, 8, 16" : "32, 64, 128");
    }
    slot->integer = value;
    return DQG_OK;
}

dqg_status dqg_options_set_float(dqg_options *options, int32_t key, double value) {
    const struct dqg_option_row *row = NULL;
    struct dqg_option_value *slot = NULL;
    DQG_TRY(find(options, key, DQG_TYPE_FLOAT, &row, &slot));
    DQG_TRY(check_number(options, row, value));
    slot->number = value;
    return DQG_OK;
}

dqg_status dqg_options_set_text(dqg_options *options, int32_t key, const char *value) {
    const struct dqg_option_row *row = NULL;
    struct dqg_option_value *slot = NULL;
    DQG_TRY(find(options, key, DQG_TYPE_TEXT, &row, &slot));
    struct dqg_context *context = options->context;
    DQG_TRY(dqg_need(context, value, "value"));
    if (row->choices != NULL && strcmp(value, row->default_text) != 0 && dqg_choice(row->choices, value) < 0) {
        return dqg_fail(context, DQG_ERROR_RANGE, "option '%s': '%s' is not among %s", row->name, value, row->choices);
    }
    char *copy = dqg_strdup(&context->alloc, value);
    if (copy == NULL) {
        return dqg_fail_memory(context, row->name, strlen(value) + 1);
    }
    free_value(&context->alloc, slot);
    if (value[0] != '\0') {
        slot->text = copy;
    } else {
        dqg_free_text(&context->alloc, copy);
    }
    return DQG_OK;
}

/* Shared by both kinds of arrays; exactly one of ints and floats is given where count > 0. */
static dqg_status set_array(struct dqg_options *options, int32_t key, const int64_t *ints, const double *floats,
                            int32_t count, int32_t type) {
    const struct dqg_option_row *row = NULL;
    struct dqg_option_value *slot = NULL;
    DQG_TRY(find(options, key, type, &row, &slot));
    struct dqg_context *context = options->context;
    const void *from = type == DQG_TYPE_INTS ? (const void *)ints : (const void *)floats;
    if (count < 0 || count > 1 << 20 || (count > 0 && from == NULL)) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "option '%s': %d values cannot be read", row->name, (int)count);
    }
    for (int32_t i = 0; i < count; i++) {
        DQG_TRY(check_number(options, row, ints != NULL ? (double)ints[i] : floats[i]));
    }
    void *copy = NULL;
    if (count > 0) {
        size_t bytes = (size_t)count * sizeof(int64_t); /* a double has the same size */
        copy = dqg_malloc(&context->alloc, bytes);
        if (copy == NULL) {
            return dqg_fail_memory(context, row->name, bytes);
        }
        memcpy(copy, from, bytes);
    }
    free_value(&context->alloc, slot);
    slot->count = count;
    slot->ints = type == DQG_TYPE_INTS ? copy : NULL;
    slot->floats = type == DQG_TYPE_INTS ? NULL : copy;
    return DQG_OK;
}

dqg_status dqg_options_set_ints(dqg_options *options, int32_t key, const int64_t *values, int32_t count) {
    return set_array(options, key, values, NULL, count, DQG_TYPE_INTS);
}

dqg_status dqg_options_set_floats(dqg_options *options, int32_t key, const double *values, int32_t count) {
    return set_array(options, key, NULL, values, count, DQG_TYPE_FLOATS);
}

/* ---- text ---- */

static dqg_status parse_list(struct dqg_options *options, const struct dqg_option_row *row, const char *value) {
    struct dqg_context *context = options->context;
    size_t count = 1;
    for (const char *c = value; *c != '\0'; c++) {
        count += *c == ',';
    }
    size_t bytes = count * sizeof(int64_t);
    int64_t *ints = dqg_malloc(&context->alloc, bytes);
    double *floats = dqg_malloc(&context->alloc, bytes);
    dqg_status status = DQG_OK;
    if (ints == NULL || floats == NULL || count > 1 << 20) {
        status = dqg_fail_memory(context, row->name, bytes);
    }
    for (size_t i = 0; status >= 0 && i < count; i++) {
        const char *comma = strchr(value, ',');
        size_t length = comma != NULL ? (size_t)(comma - value) : strlen(value);
        bool read = row->type == DQG_TYPE_INTS ? dqg_parse_int64(value, length, &ints[i])
                                               : dqg_parse_double(value, length, &floats[i]);
        if (!read) {
            status = dqg_fail(context, DQG_ERROR_ARGUMENT, "option '%s': '%s' is not %s", row->name, value,
                              type_names[row->type]);
        }
        value = comma != NULL ? comma + 1 : value;
    }
    if (status >= 0) {
        status = row->type == DQG_TYPE_INTS ? dqg_options_set_ints(options, row->key, ints, (int32_t)count)
                                            : dqg_options_set_floats(options, row->key, floats, (int32_t)count);
    }
    dqg_free(&context->alloc, ints, bytes);
    dqg_free(&context->alloc, floats, bytes);
    return status;
}

dqg_status dqg_options_parse(dqg_options *options, const char *name, const char *value) {
    if (options == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    struct dqg_context *context = options->context;
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, name, "name"));
    DQG_TRY(dqg_need(context, value, "value"));
    for (int32_t i = 0; i < dqg_option_row_count; i++) {
        const struct dqg_option_row *row = &dqg_option_rows[i];
        int64_t integer;
        double number;
        if (row->kind != options->kind || strcmp(row->name, name) != 0) {
            continue;
        }
        if (row->type == DQG_TYPE_TEXT) {
            return dqg_options_set_text(options, row->key, value);
        }
        if (row->type == DQG_TYPE_INTS || row->type == DQG_TYPE_FLOATS) {
            return parse_list(options, row, value);
        }
        if (row->type == DQG_TYPE_INT && dqg_parse_int64(value, strlen(value), &integer)) {
            return dqg_options_set_int(options, row->key, integer);
        }
        if (row->type == DQG_TYPE_FLOAT && dqg_parse_double(value, strlen(value), &number)) {
            return dqg_options_set_float(options, row->key, number);
        }
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "option '%s': '%s' is not %s", name, value, type_names[row->type]);
    }
    return dqg_fail(context, DQG_ERROR_NAME, "there is no option '%s'", name);
}

/* ---- getters ---- */

dqg_status dqg_options_get_int(const dqg_options *options, int32_t key, int64_t *value) {
    const struct dqg_option_row *row = NULL;
    struct dqg_option_value *slot = NULL;
    if (value == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    *value = 0;
    DQG_TRY(find(options, key, DQG_TYPE_INT, &row, &slot));
    *value = slot->integer;
    return DQG_OK;
}

dqg_status dqg_options_get_float(const dqg_options *options, int32_t key, double *value) {
    const struct dqg_option_row *row = NULL;
    struct dqg_option_value *slot = NULL;
    if (value == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    *value = 0.0;
    DQG_TRY(find(options, key, DQG_TYPE_FLOAT, &row, &slot));
    *value = slot->number;
    return DQG_OK;
}

dqg_status dqg_options_get_text(const dqg_options *options, int32_t key, const char **value) {
    const struct dqg_option_row *row = NULL;
    struct dqg_option_value *slot = NULL;
    if (value == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    *value = NULL;
    DQG_TRY(find(options, key, DQG_TYPE_TEXT, &row, &slot));
    *value = slot->text != NULL ? slot->text : row->default_text;
    return DQG_OK;
}
