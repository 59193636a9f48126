/* SPDX-License-Identifier: MIT */
/* Matrix products with quantized weights: what gated units and addends fuse equals the steps one after the other. */
#include "ops_check.h"

enum { ROWS = 100, DEPTH = 96, HALF = 208, OUTPUTS = 2 * HALF };

struct fixture {
    struct dqg_weight weight;
    int8_t *x;
    float *row_scale, *bias, *addend, *residual;
};

static void make_weight(const struct dqg_ops *ops, struct dqg_weight *weight, int32_t dtype, int32_t group) {
    *weight = (struct dqg_weight){
        .name = "w", .dtype = dtype, .group = group, .rank = 2, .shape = {OUTPUTS, DEPTH}, .scale = 1.0f};
    assert_true(dqg_matrix_size(dtype, group, 2, weight->shape, &weight->size));
    assert_true(dqg_format_plane_bytes(dtype, group, 2, weight->shape, weight->bytes));
    assert_ok(dqg_weight_allocate(ops->context, weight));
    for (size_t i = 0; i < weight->bytes[0]; i++) {
        ((int8_t *)weight->codes)[i] = (int8_t)(random_float() * 127.0f);
    }
    for (size_t i = 0; i < weight->size.groups * weight->size.rows_padded; i++) {
        if (dtype == DQG_DTYPE_INT8) {
            ((float *)weight->scales)[i] = 1e-3f * (2.0f + random_float());
        } else {
            ((uint16_t *)weight->scales)[i] = (uint16_t)(0x2400 + i % 200);
        }
    }
    assert_ok(dqg_weight_finish(ops->context, weight));
    assert_true(dqg_op_linear_scratch(weight, false) <= LANE_BYTES);
    dqg_op_weight_sums(ops, weight);
}

static struct fixture make_fixture(const struct dqg_ops *ops, int32_t dtype, int32_t group) {
    struct fixture f = {.x = malloc(ROWS * DEPTH),
                        .row_scale = random_floats(ROWS),
                        .bias = random_floats(OUTPUTS),
                        .addend = random_floats(ROWS * OUTPUTS),
                        .residual = random_floats(ROWS * OUTPUTS)};
    assert_non_null(f.x);
    for (size_t i = 0; i < ROWS * DEPTH; i++) {
        f.x[i] = (int8_t)(random_float() * 127.0f);
    }
    for (size_t i = 0; i < ROWS; i++) {
        f.row_scale[i] = fabsf(f.row_scale[i]) * 0.01f;
    }
    make_weight(ops, &f.weight, dtype, group);
    return f;
}

static void free_fixture(const struct dqg_ops *ops, struct fixture *f) {
    dqg_weight_free(&ops->context->alloc, &f->weight);
    free(f->x);
    free(f->row_scale);
    free(f->bias);
    free(f->addend);
    free(f->residual);
}

/* The product with everything but what the tests change. */
static struct dqg_linear make_linear(const struct fixture *f, float *out, size_t outputs) {
    return (struct dqg_linear){.weight = &f->weight,
                               .bias = f->bias,
                               .x = {.q8 = f->x, .row_scale = f->row_scale, .ld = DEPTH},
                               .out = out,
                               .ld_out = outputs,
                               .rows = ROWS,
                               .rows_per_sample = ROWS / 4};
}

static float *new_floats(size_t count) {
    float *x = calloc(count, sizeof(float));
    assert_non_null(x);
    return x;
}

static void check_gated(int32_t dtype, int32_t group, int32_t threads) {
    struct dqg_ops ops = make_ops(threads);
    struct fixture f = make_fixture(&ops, dtype, group);
    float *all = new_floats(ROWS * OUTPUTS), *want = new_floats(ROWS * HALF), *got = new_floats(ROWS * HALF);
    struct dqg_linear plain = make_linear(&f, all, OUTPUTS);
    plain.addend = f.addend;
    plain.ld_addend = OUTPUTS;
    dqg_op_linear(&ops, &plain);
    struct dqg_glu glu = {want, all, all + HALF, HALF, OUTPUTS, ROWS, HALF, DQG_ACT_GELU_ERF};
    dqg_op_glu(&ops, &glu);
    struct dqg_linear gated = make_linear(&f, got, HALF);
    gated.addend = f.addend;
    gated.ld_addend = OUTPUTS;
    gated.gated = true;
    gated.activation = DQG_ACT_GELU_ERF;
    dqg_op_linear(&ops, &gated);
    assert_memory_equal(got, want, ROWS * HALF * sizeof(float));
    free(all);
    free(want);
    free(got);
    free_fixture(&ops, &f);
    free_ops(&ops);
}

static void test_gated(void **state) {
    (void)state;
    check_gated(DQG_DTYPE_INT8, 0, 1);
    check_gated(DQG_DTYPE_INT8, 0, 3);
    check_gated(DQG_DTYPE_INT4, 32, 1);
    check_gated(DQG_DTYPE_INT4, 32, 3);
}

static void test_addend(void **state) {
    (void)state;
    struct dqg_ops ops = make_ops(3);
    struct fixture f = make_fixture(&ops, DQG_DTYPE_INT4, 32);
    float *want = new_floats(ROWS * OUTPUTS), *got = new_floats(ROWS * OUTPUTS);
    struct dqg_linear plain = make_linear(&f, want, OUTPUTS), added = make_linear(&f, got, OUTPUTS);
    dqg_op_linear(&ops, &plain);
    added.addend = f.addend;
    added.ld_addend = OUTPUTS;
    added.residual = f.residual;
    added.ld_residual = OUTPUTS;
    dqg_op_linear(&ops, &added);
    for (size_t i = 0; i < ROWS * OUTPUTS; i++) {
        want[i] = want[i] + f.addend[i] + f.residual[i];
    }
    assert_memory_equal(got, want, ROWS * OUTPUTS * sizeof(float));
    free(want);
    free(got);
    free_fixture(&ops, &f);
    free_ops(&ops);
}

/* Some outputs are those of the whole product, from a panel's middle on too; few rows take another way. */
static void check_part(int32_t dtype, int32_t group, size_t rows, size_t first, size_t outputs) {
    struct dqg_ops ops = make_ops(2);
    struct fixture f = make_fixture(&ops, dtype, group);
    float *all = new_floats(ROWS * OUTPUTS), *got = new_floats(ROWS * OUTPUTS);
    struct dqg_linear whole = make_linear(&f, all, OUTPUTS), part = make_linear(&f, got, outputs);
    whole.rows = part.rows = rows;
    whole.rows_per_sample = part.rows_per_sample = rows;
    whole.activation = part.activation = DQG_ACT_GELU_TANH;
    part.first = first;
    part.outputs = outputs;
    dqg_op_linear(&ops, &whole);
    dqg_op_linear(&ops, &part);
    for (size_t row = 0; row < rows; row++) {
        assert_memory_equal(got + row * outputs, all + row * OUTPUTS + first, outputs * sizeof *got);
    }
    free(all);
    free(got);
    free_fixture(&ops, &f);
    free_ops(&ops);
}

static void test_part(void **state) {
    static const size_t parts[][2] = {{0, 160}, {160, OUTPUTS - 160}, {0, 72}, {72, OUTPUTS - 72}, {72, 9}, {415, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        check_part(DQG_DTYPE_INT8, 0, ROWS, parts[i][0], parts[i][1]);
        check_part(DQG_DTYPE_INT4, 32, ROWS, parts[i][0], parts[i][1]);
        check_part(DQG_DTYPE_INT4, 32, 1, parts[i][0], parts[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gated), cmocka_unit_test(test_addend),
                                       cmocka_unit_test(test_part)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
