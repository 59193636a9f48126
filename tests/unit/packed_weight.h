/* SPDX-License-Identifier: MIT */
/*
 * Weights in memory for the tests of operators: floats, through the quantizer, in any storage format. Expects the
 * private headers of lib/quant.
 */
#ifndef TESTS_PACKED_WEIGHT_H
#define TESTS_PACKED_WEIGHT_H

#include "check.h"

#include "quant/quant.h"

/* values, row-major, as a weight of this shape and format. Its sums are left to the caller. */
static inline void pack_weight(dqg_context *context, struct dqg_weight *weight, int32_t dtype, int32_t group,
                               int32_t rank, const int64_t *shape, const float *values, int32_t search) {
    struct dqg_tensor_desc from = {.name = "w", .dtype = DQG_DTYPE_F32, .rank = rank};
    memcpy(from.shape, shape, (size_t)rank * sizeof *shape);
    struct dqg_tensor_desc to = from;
    to.dtype = dtype;
    to.group = group;
    *weight = (struct dqg_weight){.name = "w", .dtype = dtype, .group = group, .rank = rank};
    memcpy(weight->shape, to.shape, sizeof weight->shape);
    assert_true(dqg_format_plane_bytes(dtype, group, rank, to.shape, to.plane_bytes));
    memcpy(weight->bytes, to.plane_bytes, sizeof weight->bytes);
    assert_true(dqg_matrix_size(dtype, group, rank, to.shape, &weight->size));
    assert_ok(dqg_weight_allocate(context, weight));
    struct dqg_packing packing = {.from = &from,
                                  .to = &to,
                                  .in = values,
                                  .search = search,
                                  .planes = {weight->codes, weight->scales, weight->zeros}};
    assert_ok(dqg_quantize_tensor(context, &packing));
    weight->scale = to.scale;
    assert_ok(dqg_weight_finish(context, weight));
}

#endif
