/* SPDX-License-Identifier: MIT */
/* Names, layers and tables that families share; see layer_parts.h. */
#include "model/layer_parts.h"

#include <math.h>

enum { NAME_MAX_BYTES = 160 };

/* Where the rest of name begins that from does not cover, or NULL; *number: the digits that "#" stands for. */
static const char *match(const char *from, const char *name, const char **number, size_t *digits) {
    char last = 0;
    for (; *from != '\0'; last = *from++) {
        if (*from != '#') {
            if (*from != *name++) {
                return NULL;
            }
            continue;
        }
        for (*number = name, *digits = 0; *name >= '0' && *name <= '9'; name++) {
            ++*digits;
        }
        if (*digits == 0) {
            return NULL;
        }
    }
    return last == '.' || last == '_' || *name == '\0' ? name : NULL;
}

/* format with the number in the place of "#", then rest; false where there is no room. */
static bool expand(char *out, size_t size, const char *format, const char *number, size_t digits, const char *rest) {
    size_t used = 0;
    for (; *format != '\0' && used + digits + 1 < size; format++) {
        if (*format == '#') {
            memcpy(out + used, number, digits);
            used += digits;
        } else {
            out[used++] = *format;
        }
    }
    return *format == '\0' && dqg_format(out + used, size - used, "%s", rest) < size - used;
}

bool dqg_layer_rename(const struct dqg_layer_name *names, size_t count, const char *name, struct dqg_rename *to) {
    for (size_t i = 0; i < count; i++) {
        const char *number = "";
        size_t digits = 0;
        const char *rest = match(names[i].from, name, &number, &digits);
        if (rest != NULL) {
            to->part = names[i].part;
            to->parts = names[i].parts > 0 ? names[i].parts : 1;
            to->transposed = names[i].transposed;
            return expand(to->name, sizeof to->name, names[i].to, number, digits, rest);
        }
    }
    return false;
}

static void make_name(char name[NAME_MAX_BYTES], const char *format, size_t number, const char *part) {
    char digits[24];
    dqg_format(digits, sizeof digits, "%zu", number);
    expand(name, NAME_MAX_BYTES, format, digits, strlen(digits), part);
}

const struct dqg_weight *dqg_layer_find(const struct dqg_model *model, const char *format, size_t number,
                                        const char *part) {
    char name[NAME_MAX_BYTES];
    make_name(name, format, number, part);
    return dqg_model_find(model, name);
}

const char *dqg_layer_keep(struct dqg_graph *graph, const char *format, size_t number) {
    char name[NAME_MAX_BYTES];
    make_name(name, format, number, "");
    return dqg_graph_name(graph, name);
}

dqg_status dqg_layer_need(struct dqg_context *context, const struct dqg_model *model, const char *format, size_t number,
                          size_t rows, size_t columns, bool biased) {
    char name[NAME_MAX_BYTES];
    make_name(name, format, number, ".weight");
    DQG_TRY(dqg_model_need(context, model, name, rows, columns));
    make_name(name, format, number, ".bias");
    return biased ? dqg_model_need(context, model, name, rows, 0) : DQG_OK;
}

size_t dqg_layer_count(const struct dqg_model *model, const char *format) {
    size_t count = 0;
    while (count < 4096 && dqg_layer_find(model, format, count, "") != NULL) {
        count++;
    }
    return count;
}

static const float *vector(const struct dqg_model *model, const char *format, size_t number, const char *part) {
    const struct dqg_weight *weight = dqg_layer_find(model, format, number, part);
    return weight != NULL ? weight->codes : NULL;
}

int32_t dqg_layer_linear(const struct dqg_model *model, struct dqg_graph *graph, const char *format, size_t number,
                         int32_t x) {
    return dqg_graph_linear(graph, dqg_layer_keep(graph, format, number), x,
                            dqg_layer_find(model, format, number, ".weight"), vector(model, format, number, ".bias"));
}

int32_t dqg_layer_norm(const struct dqg_model *model, struct dqg_graph *graph, const char *format, size_t number,
                       int32_t x, bool rms, float epsilon) {
    return dqg_graph_norm_learned(graph, dqg_layer_keep(graph, format, number), x,
                                  vector(model, format, number, ".weight"), vector(model, format, number, ".bias"), rms,
                                  epsilon);
}

const float *dqg_layer_table(struct dqg_graph *graph, const struct dqg_weight *table, size_t rows) {
    size_t count;
    float *floats = NULL;
    void *scratch = dqg_arena_alloc(&graph->context->alloc, &graph->arena, dqg_weight_scratch(table));
    if (scratch != NULL && dqg_mul_size(rows, table->size.columns * sizeof *floats, &count)) {
        floats = dqg_arena_alloc(&graph->context->alloc, &graph->arena, count);
    }
    if (floats == NULL) {
        graph->failed = true;
        return NULL;
    }
    dqg_weight_decode_rows(table, 0, rows, floats, scratch);
    return floats;
}

/* [sin(p w), cos(p w)], w_k = 10000^(-k / (width / 2)). */
static void encode_position(float *out, double position, size_t width) {
    for (size_t k = 0; k < width / 2; k++) {
        double angle = position * pow(10000.0, -(double)k / ((double)width / 2.0));
        out[k] = (float)sin(angle);
        out[width / 2 + k] = (float)cos(angle);
    }
}

const float *dqg_layer_positions(struct dqg_graph *graph, size_t width, double reach_rows, double reach_columns) {
    size_t rows = graph->height / graph->patch, columns = graph->width / graph->patch, bytes;
    float *table = NULL;
    if (dqg_mul_size(graph->tokens, width * sizeof *table, &bytes)) {
        table = dqg_arena_alloc(&graph->context->alloc, &graph->arena, bytes);
    }
    graph->failed = graph->failed || table == NULL;
    for (size_t token = 0; table != NULL && token < graph->tokens; token++) {
        float *out = table + token * width;
        encode_position(out, (double)(token % columns) * reach_columns / (double)columns, width / 2);
        encode_position(out + width / 2, (double)(token / columns) * reach_rows / (double)rows, width / 2);
    }
    return table;
}
