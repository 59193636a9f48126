/* SPDX-License-Identifier: MIT */
/* Public calls on quantizers: rules, metadata, conversion, report. lib/quant does the work. */
#include "api/api.h"
#include "quant/quant.h"

dqg_status dqg_quantizer_create(dqg_context *context, const dqg_options *options, dqg_quantizer **quantizer) {
    if (quantizer != NULL) {
        *quantizer = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, quantizer, "quantizer"));
    DQG_TRY(dqg_options_check(context, options, DQG_OPTIONS_QUANTIZER));
    struct dqg_quantizer *made = dqg_calloc(&context->alloc, 1, sizeof *made);
    if (made == NULL) {
        return dqg_fail_memory(context, "the quantizer", sizeof *made);
    }
    made->context = context;
    dqg_context_retain_(context);
    made->group = (int32_t)dqg_option(options, DQG_QUANTIZER_GROUP).integer;
    made->recipe = dqg_recipe_default(dqg_option(options, DQG_QUANTIZER_FORMAT).text,
                                      (int32_t)dqg_option(options, DQG_QUANTIZER_BITS).integer,
                                      dqg_option(options, DQG_QUANTIZER_ZERO_POINT).integer != 0, made->group);
    made->search = (int32_t)dqg_option(options, DQG_QUANTIZER_SEARCH).integer;
    made->level = (int32_t)dqg_option(options, DQG_QUANTIZER_LEVEL).integer;
    made->default_rules = dqg_option(options, DQG_QUANTIZER_DEFAULT_RULES).integer != 0;
    *quantizer = made;
    return DQG_OK;
}

void dqg_quantizer_destroy(dqg_quantizer *quantizer) {
    if (quantizer == NULL) {
        return;
    }
    struct dqg_context *context = quantizer->context;
    if (quantizer->report_text.alloc != NULL) {
        dqg_text_free(&quantizer->report_text);
    }
    dqg_free(&context->alloc, quantizer->metadata, quantizer->metadata_capacity * sizeof *quantizer->metadata);
    dqg_arena_free(&context->alloc, &quantizer->report_arena);
    dqg_arena_free(&context->alloc, &quantizer->arena);
    dqg_free(&context->alloc, quantizer, sizeof *quantizer);
    dqg_context_release_(context);
}

/* A copy of the caller's text that lives as long as the quantizer. */
static const char *keep(dqg_quantizer *quantizer, const char *text) {
    const char *copy = dqg_arena_copy(&quantizer->context->alloc, &quantizer->arena, text, strlen(text));
    if (copy == NULL) {
        dqg_fail_memory(quantizer->context, "a rule or metadata entry", strlen(text) + 1);
    }
    return copy;
}

dqg_status dqg_quantizer_add_rule(dqg_quantizer *quantizer, const char *pattern, const char *format) {
    struct dqg_recipe recipe;
    if (quantizer == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    struct dqg_context *context = quantizer->context;
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, pattern, "pattern"));
    DQG_TRY(dqg_need(context, format, "format"));
    if (!dqg_recipe_parse(format, quantizer->group, &recipe)) {
        return dqg_fail(context, DQG_ERROR_NAME,
                        "'%s' is not a format; known are %s, some of them with a group of 32, 64 or 128, as in "
                        "int4:64",
                        format, dqg_format_names);
    }
    struct dqg_rule *rule = dqg_arena_alloc(&context->alloc, &quantizer->arena, sizeof *rule);
    if (rule == NULL) {
        return dqg_fail_memory(context, "a rule", sizeof *rule);
    }
    rule->recipe = recipe;
    rule->pattern = keep(quantizer, pattern);
    if (rule->pattern == NULL) {
        return DQG_ERROR_MEMORY;
    }
    if (quantizer->last_rule != NULL) {
        quantizer->last_rule->next = rule;
    } else {
        quantizer->rules = rule;
    }
    quantizer->last_rule = rule;
    return DQG_OK;
}

static dqg_status grow_metadata(dqg_quantizer *quantizer) {
    const struct dqg_alloc *alloc = &quantizer->context->alloc;
    size_t capacity = quantizer->metadata_capacity > 0 ? 2 * quantizer->metadata_capacity : 8;
    struct dqg_metadata *grown = dqg_calloc(alloc, capacity, sizeof *grown);
    if (grown == NULL) {
        return dqg_fail_memory(quantizer->context, "metadata", capacity * sizeof *grown);
    }
    if (quantizer->metadata_count > 0) {
        memcpy(grown, quantizer->metadata, quantizer->metadata_count * sizeof *grown);
    }
    dqg_free(alloc, quantizer->metadata, quantizer->metadata_capacity * sizeof *grown);
    quantizer->metadata = grown;
    quantizer->metadata_capacity = capacity;
    return DQG_OK;
}

dqg_status dqg_quantizer_set_metadata(dqg_quantizer *quantizer, const char *key, const char *value) {
    if (quantizer == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    struct dqg_context *context = quantizer->context;
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, key, "key"));
    DQG_TRY(dqg_need(context, value, "value"));
    if (key[0] == '\0' || strlen(key) > 1024) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "a metadata key has 1 to 1024 bytes");
    }
    struct dqg_metadata entry = {keep(quantizer, key), keep(quantizer, value)};
    if (entry.key == NULL || entry.value == NULL) {
        return DQG_ERROR_MEMORY;
    }
    for (size_t i = 0; i < quantizer->metadata_count; i++) {
        if (strcmp(quantizer->metadata[i].key, key) == 0) {
            quantizer->metadata[i].value = entry.value;
            return DQG_OK;
        }
    }
    if (quantizer->metadata_count == quantizer->metadata_capacity) {
        DQG_TRY(grow_metadata(quantizer));
    }
    quantizer->metadata[quantizer->metadata_count++] = entry;
    return DQG_OK;
}

dqg_status dqg_quantizer_add_tokenizer(dqg_quantizer *quantizer, const char *role, const char *path) {
    if (quantizer == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    struct dqg_context *context = quantizer->context;
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, path, "path"));
    struct dqg_tokenizer_path *entry = dqg_arena_alloc(&context->alloc, &quantizer->arena, sizeof *entry);
    if (entry == NULL) {
        return dqg_fail_memory(context, "a tokenizer's path", sizeof *entry);
    }
    entry->path = keep(quantizer, path);
    entry->role = role != NULL ? keep(quantizer, role) : NULL;
    if (entry->path == NULL || (role != NULL && entry->role == NULL)) {
        return DQG_ERROR_MEMORY;
    }
    entry->next = quantizer->tokenizers;
    quantizer->tokenizers = entry;
    return DQG_OK;
}

dqg_status dqg_quantizer_run(dqg_quantizer *quantizer, const char *input_path, const char *output_path) {
    if (quantizer == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(quantizer->context);
    DQG_TRY(dqg_need(quantizer->context, input_path, "input_path"));
    DQG_TRY(dqg_need(quantizer->context, output_path, "output_path"));
    return dqg_quantizer_convert(quantizer, input_path, output_path);
}

dqg_status dqg_quantizer_report(dqg_quantizer *quantizer, int32_t format, const char **text) {
    if (text != NULL) {
        *text = NULL;
    }
    if (quantizer == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    struct dqg_context *context = quantizer->context;
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, text, "text"));
    if (format != DQG_REPORT_TEXT && format != DQG_REPORT_JSON) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "format: %d is not one of DQG_REPORT_*", (int)format);
    }
    if (quantizer->report_count == 0) {
        return dqg_fail(context, DQG_ERROR_STATE, "nothing was quantized yet");
    }
    DQG_TRY(dqg_quantizer_write_report(quantizer, format));
    *text = quantizer->report_text.data;
    return DQG_OK;
}
