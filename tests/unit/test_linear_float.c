/* SPDX-License-Identifier: MIT */
/* dqg_op_linear() with weights in F32, F16 and BF16: right, and the same bits for any number of rows and threads. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "failing_alloc.h"
#include "kernel/kernel.h"
#include "ops/ops.h"
#include "tensor/half.h"

enum { ROWS = 401, MOST = 1030 };

static float x[ROWS * MOST], bias[MOST], whole[ROWS * MOST], part[ROWS * MOST];
static char codes[MOST * 200 * sizeof(float)];

struct shape {
    size_t outputs, inputs;
};

static float weight_at(const struct dqg_weight *weight, size_t i) {
    uint16_t half = weight->dtype == DQG_DTYPE_F32 ? 0 : ((const uint16_t *)weight->codes)[i];
    return weight->dtype == DQG_DTYPE_F32   ? ((const float *)weight->codes)[i]
           : weight->dtype == DQG_DTYPE_F16 ? dqg_f16_to_f32(half)
                                            : dqg_bf16_to_f32(half);
}

static struct dqg_weight make_weight(struct shape shape, int32_t dtype) {
    struct dqg_weight weight = {
        .dtype = dtype, .size = {.rows = shape.outputs, .columns = shape.inputs}, .codes = codes};
    for (size_t i = 0; i < shape.outputs * shape.inputs; i++) {
        float value = (float)rand() / (float)RAND_MAX - 0.5f;
        if (dtype == DQG_DTYPE_F32) {
            ((float *)(void *)codes)[i] = value;
        } else {
            ((uint16_t *)(void *)codes)[i] = dtype == DQG_DTYPE_F16 ? dqg_f32_to_f16(value) : dqg_f32_to_bf16(value);
        }
    }
    return weight;
}

/* Rows first .. first + rows - 1 to out. */
static void multiply(dqg_context *context, const struct dqg_weight *weight, bool bf16, size_t first, size_t rows,
                     float *out) {
    size_t lane_bytes = dqg_round_up(dqg_op_linear_scratch(weight, bf16), DQG_ALIGNMENT);
    struct dqg_ops ops = {.context = context, .kernels = context->kernels, .lane_bytes = lane_bytes, .bf16 = bf16};
    ops.scratch = aligned_alloc(DQG_ALIGNMENT, lane_bytes * dqg_concurrency(context));
    assert_non_null(ops.scratch);
    struct dqg_linear args = {.weight = weight,
                              .bias = bias,
                              .x = {.f32 = x + first * MOST, .ld = MOST},
                              .out = out + first * MOST,
                              .ld_out = MOST,
                              .rows = rows,
                              .rows_per_sample = rows};
    dqg_op_linear(&ops, &args);
    free(ops.scratch);
}

/* Against double precision: rounding to bfloat16 has an error of up to 2^-8 for each factor. */
static void check_values(const struct dqg_weight *weight, bool bf16) {
    for (size_t row = 0; row < ROWS; row += 57) {
        for (size_t n = 0; n < weight->size.rows; n++) {
            double sum = (double)bias[n], norm = 1e-30;
            for (size_t k = 0; k < weight->size.columns; k++) {
                double term = (double)x[row * MOST + k] * (double)weight_at(weight, n * weight->size.columns + k);
                sum += term;
                norm += fabs(term);
            }
            assert_true(fabs((double)whole[row * MOST + n] - sum) <= norm * (bf16 ? 0x1.1p-7 : 1e-5) + 1e-6);
        }
    }
}

static void check_shape(dqg_context *one, dqg_context *three, struct shape shape, int32_t dtype, bool bf16) {
    struct dqg_weight weight = make_weight(shape, dtype);
    multiply(one, &weight, bf16, 0, ROWS, whole);
    check_values(&weight, bf16);
    multiply(three, &weight, bf16, 0, ROWS, part);
    size_t first = 0;
    for (size_t rows = 1; first + rows <= ROWS; first += rows, rows = rows < 12 ? rows + 1 : rows * 2) {
        multiply(three, &weight, bf16, first, rows, part);
        for (size_t row = first; row < first + rows; row++) {
            assert_memory_equal(whole + row * MOST, part + row * MOST, shape.outputs * sizeof(float));
        }
    }
}

static void test_rows(void **state) {
    static const struct shape shapes[] = {{1, 1}, {5, 7}, {64, 16}, {130, 70}, {200, 513}, {65, 1030}, {1030, 40}};
    static const int32_t dtypes[] = {DQG_DTYPE_F32, DQG_DTYPE_F16, DQG_DTYPE_BF16};
    dqg_context *one, *three;
    (void)state;
    assert_ok(dqg_context_create(NULL, &one));
    assert_ok(dqg_context_create(NULL, &three));
    assert_ok(dqg_context_set_threads(one, 1));
    assert_ok(dqg_context_set_threads(three, 3));
    assert_ok(dqg_parallel_prepare(three));
    for (size_t i = 0; i < ROWS * MOST; i++) {
        x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        bias[i % MOST] = x[i];
    }
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        assert_ok(dqg_context_set_backend(one, dqg_backend_name(i)));
        assert_ok(dqg_context_set_backend(three, dqg_backend_name(i)));
        for (size_t j = 0; j < sizeof shapes / sizeof shapes[0] * 6; j++) {
            check_shape(one, three, shapes[j / 6], dtypes[j % 3], j / 3 % 2 != 0);
        }
    }
    dqg_context_destroy(one);
    dqg_context_destroy(three);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests_name("linear float", tests, NULL, NULL);
}
