/* SPDX-License-Identifier: MIT */
/* The quantizer's report as a table for people and as JSON for programs. */
#include "quant/quant.h"

static double bits_per_weight(const struct dqg_report_entry *entry) {
    return entry->count > 0 ? 8.0 * (double)entry->memory_bytes / (double)entry->count : 0.0;
}

/* "int4:32", "f16" */
static void format_name(char buffer[32], struct dqg_recipe recipe) {
    if (recipe.group > 0) {
        dqg_format(buffer, 32, "%s:%d", dqg_dtype_name(recipe.dtype), (int)recipe.group);
    } else {
        dqg_format(buffer, 32, "%s", dqg_dtype_name(recipe.dtype));
    }
}

static void shape_name(char buffer[128], const struct dqg_report_entry *entry, const char *separator) {
    size_t length = 0;
    buffer[0] = '\0';
    for (int32_t i = 0; i < entry->rank && length < 128; i++) {
        length +=
            dqg_format(buffer + length, 128 - length, "%s%lld", i > 0 ? separator : "", (long long)entry->shape[i]);
    }
}

/* Text padded with spaces to a column's width. */
static void cell(struct dqg_text *text, const char *content, size_t width) {
    dqg_text_add(text, "%s", content);
    for (size_t i = strlen(content); i < width; i++) {
        dqg_text_add(text, " ");
    }
    dqg_text_add(text, " ");
}

/* A number rounded to two decimals without stdio. */
static void number_cell(struct dqg_text *text, double value, size_t width) {
    char buffer[32];
    dqg_format(buffer, sizeof buffer, "%g", (double)(int64_t)(value * 100.0 + 0.5) / 100.0);
    cell(text, buffer, width);
}

static void add_totals(const struct dqg_quantizer *quantizer, uint64_t *source, uint64_t *memory, uint64_t *stored) {
    *source = *memory = *stored = 0;
    for (size_t i = 0; i < quantizer->report_count; i++) {
        *source += quantizer->report[i].source_bytes;
        *memory += quantizer->report[i].memory_bytes;
        *stored += quantizer->report[i].stored_bytes;
    }
}

static void write_text(const struct dqg_quantizer *quantizer, struct dqg_text *text) {
    char buffer[128];
    uint64_t source, memory, stored;
    cell(text, "tensor", 36);
    cell(text, "shape", 14);
    cell(text, "format", 10);
    cell(text, "bits", 6);
    cell(text, "error %", 8);
    dqg_text_add(text, "stored bytes\n");
    for (size_t i = 0; i < quantizer->report_count; i++) {
        const struct dqg_report_entry *entry = &quantizer->report[i];
        cell(text, entry->name, 36);
        shape_name(buffer, entry, "x");
        cell(text, buffer, 14);
        format_name(buffer, entry->to);
        cell(text, buffer, 10);
        number_cell(text, bits_per_weight(entry), 6);
        number_cell(text, 100.0 * entry->error, 8);
        dqg_text_add(text, "%llu\n", (unsigned long long)entry->stored_bytes);
    }
    add_totals(quantizer, &source, &memory, &stored);
    dqg_text_add(text, "total: checkpoint %llu bytes, in memory %llu, file %llu (%g of the checkpoint)\n",
                 (unsigned long long)source, (unsigned long long)memory, (unsigned long long)quantizer->file_bytes,
                 source > 0 ? (double)quantizer->file_bytes / (double)source : 0.0);
}

static void write_json(const struct dqg_quantizer *quantizer, struct dqg_text *text) {
    char buffer[128];
    uint64_t source, memory, stored;
    add_totals(quantizer, &source, &memory, &stored);
    dqg_text_add(text,
                 "{\"source_bytes\": %llu, \"memory_bytes\": %llu, \"stored_bytes\": %llu, \"file_bytes\": %llu,\n"
                 " \"tensors\": [",
                 (unsigned long long)source, (unsigned long long)memory, (unsigned long long)stored,
                 (unsigned long long)quantizer->file_bytes);
    for (size_t i = 0; i < quantizer->report_count; i++) {
        const struct dqg_report_entry *entry = &quantizer->report[i];
        dqg_text_add(text, i > 0 ? ",\n  {\"name\": " : "\n  {\"name\": ");
        dqg_text_add_json(text, entry->name);
        shape_name(buffer, entry, ", ");
        dqg_text_add(text, ", \"shape\": [%s], ", buffer);
        format_name(buffer, entry->to);
        dqg_text_add(text, "\"from\": \"%s\", \"format\": \"%s\", \"bits\": %g, \"error\": %g, ",
                     dqg_dtype_name(entry->from), buffer, bits_per_weight(entry), entry->error);
        dqg_text_add(text, "\"memory_bytes\": %llu, \"stored_bytes\": %llu}", (unsigned long long)entry->memory_bytes,
                     (unsigned long long)entry->stored_bytes);
    }
    dqg_text_add(text, "\n]}\n");
}

dqg_status dqg_quantizer_write_report(struct dqg_quantizer *quantizer, int32_t format) {
    struct dqg_text *text = &quantizer->report_text;
    text->alloc = &quantizer->context->alloc;
    dqg_text_free(text);
    if (format == DQG_REPORT_JSON) {
        write_json(quantizer, text);
    } else {
        write_text(quantizer, text);
    }
    if (text->failed) {
        dqg_text_free(text);
        return dqg_fail_memory(quantizer->context, "the report", quantizer->report_count * 256);
    }
    return DQG_OK;
}
