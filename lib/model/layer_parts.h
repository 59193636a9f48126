/* SPDX-License-Identifier: MIT */
/* What families made of numbered layers share, text encoders and transformers: names by other programs, layers with
 * learned weights, tables. Used by arch_*.c and names_*.c. */
#ifndef DQG_LAYER_PARTS_H
#define DQG_LAYER_PARTS_H

#include "model/model.h"

/*
 * Names that begin like from, "#" standing for a number, go on as to with the same number; the rest stays. Where from
 * ends with a letter there is no rest.
 */
struct dqg_layer_name {
    const char *from, *to;
    size_t part, parts; /* as in struct dqg_rename; parts 0: the whole */
    bool transposed;
};
bool dqg_layer_rename(const struct dqg_layer_name *names, size_t count, const char *name, struct dqg_rename *to);

/* A name with its number, "encoder.layers.3.fc1": of a weight, and kept as long as the graph. */
const struct dqg_weight *dqg_layer_find(const struct dqg_model *model, const char *format, size_t number,
                                        const char *part);
const char *dqg_layer_keep(struct dqg_graph *graph, const char *format, size_t number);

/* Fails unless "<name>.weight" has this size and, where biased, "<name>.bias" has as many rows; columns 0: vectors. */
dqg_status dqg_layer_need(struct dqg_context *context, const struct dqg_model *model, const char *format, size_t number,
                          size_t rows, size_t columns, bool biased);

/* How many layers have a tensor of this name. */
size_t dqg_layer_count(const struct dqg_model *model, const char *format);

/* The product with "<name>.weight" and "<name>.bias" if there is one, and the norm with them. */
int32_t dqg_layer_linear(const struct dqg_model *model, struct dqg_graph *graph, const char *format, size_t number,
                         int32_t x);
int32_t dqg_layer_norm(const struct dqg_model *model, struct dqg_graph *graph, const char *format, size_t number,
                       int32_t x, bool rms, float epsilon);

/* Rows of a table (rows, columns) of any storage format as floats that live as long as the graph; NULL where memory is
 * short, which fails the graph. */
const float *dqg_layer_table(struct dqg_graph *graph, const struct dqg_weight *table, size_t rows);

/*
 * Sines and cosines of the places of the image's tokens, (tokens, width): [sin(p w), cos(p w)] of the column, then of
 * the row, w_k = 10000^(-k / (width / 4)). Columns go from 0 to reach_columns, which is that of the next one after the
 * last; rows likewise. NULL where memory is short, which fails the graph.
 */
const float *dqg_layer_positions(struct dqg_graph *graph, size_t width, double reach_rows, double reach_columns);

/* The first tokens of a relative position table of heads columns, (heads, tokens, tokens), as attention scores. */
const float *dqg_t5_scores(struct dqg_graph *graph, const struct dqg_weight *table, size_t tokens);

/* Row of the table for a key so many places after its query. */
size_t dqg_t5_bucket(int64_t distance);

#endif
