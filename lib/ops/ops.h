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
    bool bf16; /* products with float weights round both factors to bfloat16 */
};

/* Rows of activations: floats, or int8 with a scale for each row. */
struct dqg_rows {
    float *f32; /* [rows][ld], or NULL */
    int8_t *q8; /* [rows][ld] */
    float *row_scale;
    size_t ld;
};

/* y = activation(x W^T + bias); out = y, or residual + gate y. */
struct dqg_linear {
    const struct dqg_weight *weight; /* outputs x inputs */
    const float *bias;               /* [outputs], or NULL */
    struct dqg_rows x;               /* q8 for quantized weights, f32 for float ones */
    float *out;
    const float *gate;     /* [samples][ld_gate], or NULL */
    const float *residual; /* [rows][ld_residual], or NULL */
    size_t ld_out, ld_gate, ld_residual;
    size_t rows, rows_per_sample;
    bool residual_repeats; /* residual is [rows_per_sample]: the same for every sample */
    enum dqg_activation activation;
};
void dqg_op_linear(const struct dqg_ops *ops, const struct dqg_linear *args);
size_t dqg_op_linear_scratch(const struct dqg_weight *weight, bool bf16);

/* Panels [first, first + panels) of a quantized weight as int8 panels, columns_padded * DQG_PANEL bytes apart; scratch
 * has room for all of them. Weights stored as int8 panels are handed out in place. */
const int8_t *dqg_panels_int8(const struct dqg_ops *ops, const struct dqg_weight *weight, size_t first, size_t panels,
                              char *scratch);

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

/* Rows of floats to int8. */
void dqg_op_quantize(const struct dqg_ops *ops, const float *x, size_t ldx, struct dqg_rows out, size_t rows,
                     size_t columns, size_t columns_padded);

/* y = activation(x), contiguous. */
void dqg_op_activate(const struct dqg_ops *ops, float *y, const float *x, size_t count, enum dqg_activation activation);

/* Self-attention on qkv rows [samples * tokens][3 * heads * width] (q, k, v one after the other). */
struct dqg_self_attention {
    const float *qkv;
    float *out; /* [samples * tokens][heads * width] */
    size_t samples, tokens, heads, width;
};
void dqg_op_self_attention(const struct dqg_ops *ops, const struct dqg_self_attention *args);
size_t dqg_op_attention_scratch(void);

/* out[s] = [cos(t f), sin(t f)], f_k = exp(-ln(10000) k / (width / 2)); (samples, width). */
void dqg_op_timestep(float *out, const double *timesteps, size_t samples, size_t width);

/* out[s] = in[s] + table[label[s]]; table is a matrix of rows x columns; a negative label takes the last row. */
void dqg_op_label(const struct dqg_ops *ops, float *out, const float *in, const struct dqg_weight *table,
                  const int32_t *labels, size_t samples);

/* Images (samples, channels, height, width) to rows of patches (samples * tokens, channels * patch * patch), the order
 * of a convolution's weights (c, p, q); and rows in the order (p, q, c) back to images. */
struct dqg_patches {
    size_t samples, channels, height, width, patch;
};
void dqg_op_patchify(float *rows, const float *images, const struct dqg_patches *args);
void dqg_op_unpatchify(float *images, const float *rows, const struct dqg_patches *args);

#endif
