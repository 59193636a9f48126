/* SPDX-License-Identifier: MIT */
/* Shared by the files of dqg_op_linear(): linear.c (quantized weights, the operator) and linear_float.c. */
#ifndef DQG_LINEAR_H
#define DQG_LINEAR_H

#include "ops/ops.h"

/* The operator for weights in F32, F16 or BF16. */
void dqg_linear_float(const struct dqg_ops *ops, const struct dqg_linear *args);
size_t dqg_linear_float_scratch(const struct dqg_weight *weight, bool bf16);

/* How many outputs there are, from args->first on. */
static inline size_t dqg_linear_outputs(const struct dqg_linear *args) {
    return args->outputs > 0 ? args->outputs : args->weight->size.rows;
}

/* Hand results [row, row + count) x [column, column + columns) to the epilogue, one sample at a time. c: [count][ldc],
 * int32 sums where integer is set, else floats. */
void dqg_linear_finish(const struct dqg_ops *ops, const struct dqg_linear *args, const void *c, size_t ldc,
                       bool integer, size_t row, size_t count, size_t column, size_t columns);

#endif
