/* SPDX-License-Identifier: MIT */
/*
 * Layer 3, ops: operators. Each splits its output into tiles, spreads them over the context's lanes and calls kernels.
 * No operator allocates, fails or splits a sum between lanes, so that results do not depend on the number of lanes.
 * The graph has checked every shape.
 */
#ifndef DQG_OPS_H
#define DQG_OPS_H

#include "tensor/weight.h"

/* What every operator needs: kernels, lanes and a scratch area for each lane. */
struct dqg_ops {
    struct dqg_context *context;
    const struct dqg_kernels *kernels;
    char *scratch; /* dqg_concurrency() areas of lane_bytes */
    size_t lane_bytes;
    char *shared; /* one area for what lanes make for each other, as large as the operator says */
    bool bf16;    /* products with float weights round both factors to bfloat16 */
};

/* Rows of activations: floats, or int8 with a scale for each row. */
struct dqg_rows {
    float *f32; /* [rows][ld], or NULL */
    int8_t *q8; /* [rows][ld] */
    float *row_scale;
    size_t ld;
};

/*
 * y = activation(x W^T + bias + addend); out = y, or residual + gate y. gated: a gated unit (GEGLU, SwiGLU), quantized
 * weights only: the first half of the outputs is multiplied by the activation of the second, each half a multiple of
 * DQG_PANEL.
 */
struct dqg_linear {
    const struct dqg_weight *weight; /* outputs x inputs */
    const float *bias;               /* [outputs], or NULL */
    struct dqg_rows x;               /* q8 for quantized weights, f32 for float ones */
    float *out;
    const float *addend;   /* [rows][ld_addend], or NULL: a low-rank branch */
    const float *gate;     /* [samples][ld_gate], or NULL */
    const float *residual; /* [rows][ld_residual], or NULL */
    size_t ld_out, ld_addend, ld_gate, ld_residual;
    size_t rows, rows_per_sample;
    size_t first, outputs; /* only these outputs of the weight, not gated; outputs 0: all of them */
    bool residual_repeats; /* residual is [rows_per_sample]: the same for every sample */
    bool gated;
    enum dqg_activation activation;
};
void dqg_op_linear(const struct dqg_ops *ops, const struct dqg_linear *args);
size_t dqg_op_linear_scratch(const struct dqg_weight *weight, bool bf16);

/* Panels [first, first + panels) of a quantized weight as int8 panels, columns_padded * DQG_PANEL bytes apart; scratch
 * has room for all of them. Weights stored as int8 panels are handed out in place. */
const int8_t *dqg_panels_int8(const struct dqg_ops *ops, const struct dqg_weight *weight, size_t first, size_t panels,
                              char *scratch);

/* The product with panels [first, first + product->panels). They are decoded to scratch where product->w is NULL, which
 * then points to them for the next rows; few rows may do without. */
void dqg_panels_multiply(const struct dqg_ops *ops, const struct dqg_weight *weight, size_t first,
                         struct dqg_gemm_i8 *product, char *scratch);

/* Fill weight->sums, spread over the lanes; scratch as for dqg_panels_int8() of one panel. */
void dqg_op_weight_sums(const struct dqg_ops *ops, struct dqg_weight *weight);

/* Layer or RMS norm of rows, with learned weights or modulated by a row for each sample or both; to floats or to int8.
 * A norm of each head takes the heads as rows of their own where nothing else lies between them. */
struct dqg_norm {
    const float *x;
    struct dqg_rows out;
    struct dqg_norm_form form; /* scale and shift are [samples][ld_modulation] here */
    size_t ldx, ld_modulation;
    size_t rows, rows_per_sample, columns, columns_padded; /* padded: of the int8 output */
};
void dqg_op_norm(const struct dqg_ops *ops, const struct dqg_norm *args);
size_t dqg_op_norm_scratch(size_t columns);

/*
 * Group norm of images in NHWC (samples, pixels, channels) with learned weights, or modulated by a row for each sample,
 * or both, and an activation. work holds dqg_op_group_norm_work() floats.
 */
struct dqg_group_norm {
    const float *x;             /* [samples * pixels][ldx] */
    float *y;                   /* [samples * pixels][ldy]; may be x */
    const float *weight, *bias; /* [channels], or NULL */
    const float *scale, *shift; /* [samples][ld_modulation], or both NULL: * (1 + scale) + shift */
    const double *given;        /* [samples][groups][2]: mean and variance to take for its own, or NULL */
    float *range;               /* [samples][2], or NULL: of y, as affine_f32_f32 says; y may be NULL then */
    float *work;
    size_t ldx, ldy, ld_modulation;
    size_t samples, pixels, channels, groups;
    float epsilon;
    enum dqg_activation activation;
};
void dqg_op_group_norm(const struct dqg_ops *ops, const struct dqg_group_norm *args);
size_t dqg_op_group_norm_work(size_t samples, size_t pixels, size_t channels, size_t groups);
size_t dqg_op_group_norm_scratch(size_t channels);

/* Moments of the groups of a part of an image, for norms of images that are not in memory as a whole. */
struct dqg_group_moments {
    const float *x; /* [pixels of the image][ldx] */
    size_t ldx, channels, groups;
    size_t width;                                /* of the image */
    size_t first_row, first_column, rows, columns; /* the part */
    float *work;                                 /* [rows][groups][2] */
    double *sums; /* [groups][3]: values, their mean, sum of squared differences from it; the part is added */
};
void dqg_op_group_moments(const struct dqg_ops *ops, const struct dqg_group_moments *args);

/* Rows of floats to int8. */
void dqg_op_quantize(const struct dqg_ops *ops, const float *x, size_t ldx, struct dqg_rows out, size_t rows,
                     size_t columns, size_t columns_padded);

/* y = activation(x), contiguous. */
void dqg_op_activate(const struct dqg_ops *ops, float *y, const float *x, size_t count, enum dqg_activation activation);

/* A gated unit on its own: y = value * activation(gate); y may be value or gate where strides agree. */
struct dqg_glu {
    float *y;                  /* [rows][ldy] */
    const float *value, *gate; /* [rows][ldx] */
    size_t ldy, ldx, rows, columns;
    enum dqg_activation activation;
};
void dqg_op_glu(const struct dqg_ops *ops, const struct dqg_glu *args);

/* y = a + b * factor, contiguous; y may be a or b. */
void dqg_op_add(const struct dqg_ops *ops, float *y, const float *a, const float *b, size_t count, float factor);

/* Some rows of each sample together, or apart again to where they belong among all. Both have the same rows behind
 * those that index tells of: a sample's last packed - indexed. */
struct dqg_row_move {
    float *y;             /* [samples * full or packed][ldy] */
    const float *x;       /* [samples * packed or full][ldx] */
    const int32_t *index; /* [samples][indexed] numbers of rows, from 0 in each sample; any where indexed is 0 */
    size_t ldy, ldx, columns;
    size_t samples, packed, full, indexed;
};
void dqg_op_gather_rows(const struct dqg_ops *ops, const struct dqg_row_move *args);
void dqg_op_scatter_rows(const struct dqg_ops *ops, const struct dqg_row_move *args);

/* y = softmax(scale * x) of each row; y may be x. */
struct dqg_softmax {
    float *y;       /* [rows][ldy] */
    const float *x; /* [rows][ldx] */
    size_t ldy, ldx, rows, columns;
    float scale;
};
void dqg_op_softmax(const struct dqg_ops *ops, const struct dqg_softmax *args);

/*
 * Packed rows of queries, keys and whatever follows them (values): an RMS norm with learned weights of each head of the
 * queries and keys, rotary position embedding of both, the rest copied. Pairs of columns are neighbours (2 i, 2 i + 1)
 * or half a head apart (i, i + width / 2).
 */
struct dqg_heads {
    float *y;                         /* [samples * rows_per_sample][ldy]; x or apart from it */
    const float *x;                   /* [samples * rows_per_sample][ldx] */
    const float *q_factor, *k_factor; /* [width], or NULL: no norm */
    const float *cosine, *sine;       /* [table rows][width / 2], or NULL: no rotation */
    const int32_t *index; /* [samples][indexed]: table rows of the first rows of a sample, or NULL: all in order */
    size_t indexed, first_after; /* the others follow in order from table row first_after on */
    size_t ldy, ldx, samples, rows_per_sample;
    size_t heads, width, columns; /* columns: of a row, at least 2 * heads * width */
    float epsilon;
    bool neighbours;
};
void dqg_op_heads(const struct dqg_ops *ops, const struct dqg_heads *args);

/* count rows of each sample, from x_first of x_rows to y_first of y_rows. */
struct dqg_row_copy {
    float *y;       /* [samples][y_rows][ldy] */
    const float *x; /* [samples][x_rows][ldx] */
    size_t ldy, ldx;
    size_t samples, y_rows, y_first, x_rows, x_first, count, columns;
};
void dqg_op_copy_rows(const struct dqg_ops *ops, const struct dqg_row_copy *args);

/* y = x, all rows from ldx to ldy. */
void dqg_op_copy_columns(const struct dqg_ops *ops, float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
                         size_t columns);

/* Images in NHWC to another height and width by the nearest pixel; or to half of both by averages of four pixels. */
struct dqg_resize {
    float *y;       /* [samples][out_height][out_width][channels] */
    const float *x; /* [samples][height][width][channels] */
    size_t samples, channels, height, width, out_height, out_width;
};
void dqg_op_resize(const struct dqg_ops *ops, const struct dqg_resize *args);
void dqg_op_pool(const struct dqg_ops *ops, const struct dqg_resize *args);

/* softmax(q k^T * scale + bias) v for each head of each sample. A row holds the heads one after the other. */
struct dqg_attention_args {
    const float *q;     /* [samples * queries][ld_q], heads * width of it */
    const float *k, *v; /* [samples * keys][ld_k], [ld_v] */
    float *out;         /* [samples * queries][ld_out] */
    size_t ld_q, ld_k, ld_v, ld_out;
    size_t samples, heads, width, queries, keys;
    size_t head_columns; /* from one head of q, k and v to the next; 0: width */
    float scale;         /* 0: 1 / sqrt(width) */
    const float *bias; /* added to scaled scores, -infinity hides a key: [samples][heads][queries][keys], or NULL */
    size_t bias_sample, bias_head, bias_query; /* its strides in floats; 0: the same for all */
    const int32_t *counts; /* [samples]: only so many of the keys are there, 1..keys; NULL: all */
    bool causal;                               /* query i sees keys 0..i */
    bool int8;                                 /* integer kernels, which need shared memory */
};
void dqg_op_attention(const struct dqg_ops *ops, const struct dqg_attention_args *args);
size_t dqg_op_attention_scratch(void);

/* Shared memory that int8 needs: packed keys and values of some heads. False on overflow. */
bool dqg_op_attention_shared(const struct dqg_context *context, size_t samples, size_t heads, size_t keys, size_t width,
                             size_t *bytes);

/* out[i] = [cos(t f), sin(t f)], t = factor * numbers[i], f_k = exp(-ln(10000) k / (width / 2)); (count, width). */
void dqg_op_timestep(float *out, const double *numbers, size_t count, double factor, size_t width);

/* Rows of a table, out[i] = table[tokens[i]], or of those behind it; tokens that neither has take the table's last row.
 * Scratch of a lane: dqg_weight_scratch(). */
struct dqg_tokens {
    float *out; /* [count][columns of the table] */
    const struct dqg_weight *table;
    const float *added; /* [added_count][columns]: rows for the ids behind the table's */
    size_t added_count;
    const int32_t *tokens; /* [count] */
    size_t count;
};
void dqg_op_tokens(const struct dqg_ops *ops, const struct dqg_tokens *args);

/* out[s] = in[s] + table[label[s]]; table is a matrix of rows x columns; a negative label takes row null, or adds
 * nothing where there is no such row. */
void dqg_op_label(const struct dqg_ops *ops, float *out, const float *in, const struct dqg_weight *table, size_t null,
                  const int32_t *labels, size_t samples);

/* Images (samples, channels, height, width) to rows of patches (samples * tokens, columns) in the order of a
 * convolution's weights: (c, p, q) of float ones; (p, q, c) of quantized ones, each pixel padded with zeros. And rows
 * in the order (p, q, c), or (c, p, q), back to images. */
struct dqg_patches {
    size_t samples, channels, height, width, patch;
    size_t pixel_padded; /* columns of a pixel in the order (p, q, c), or 0 for the order (c, p, q); patchify only */
    bool by_channels;    /* rows are in the order (c, p, q); unpatchify only */
    const int32_t *tokens; /* [samples][token_count] that there are rows of; NULL: of all; unpatchify only */
    size_t token_count;
};
void dqg_op_patchify(const struct dqg_ops *ops, float *rows, const float *images, const struct dqg_patches *args);
void dqg_op_unpatchify(const struct dqg_ops *ops, float *images, const float *rows, const struct dqg_patches *args);

#endif
