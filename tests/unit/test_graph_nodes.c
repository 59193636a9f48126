/* SPDX-License-Identifier: MIT */
/* Nodes that no family in the library uses alone: learned norms and gated units, fused and not, against the operators
 * that they stand for. */
#include "model/exec.h"
#include "ops_check.h"

enum { SAMPLES = 2, CHANNELS = 4, SIDE = 8, PATCH = 2, TOKENS = 16, COLUMNS = CHANNELS * PATCH * PATCH, DEPTH = 128 };

static void make_weight(dqg_context *context, struct dqg_weight *weight, int64_t outputs) {
    *weight = (struct dqg_weight){
        .name = "w", .dtype = DQG_DTYPE_INT8, .rank = 2, .shape = {outputs, COLUMNS}, .scale = 1.0f};
    assert_true(dqg_matrix_size(weight->dtype, 0, 2, weight->shape, &weight->size));
    assert_true(dqg_format_plane_bytes(weight->dtype, 0, 2, weight->shape, weight->bytes));
    assert_ok(dqg_weight_allocate(context, weight));
    for (size_t i = 0; i < weight->bytes[0]; i++) {
        ((int8_t *)weight->codes)[i] = (int8_t)(random_float() * 127.0f);
    }
    for (size_t i = 0; i < weight->size.rows_padded; i++) {
        ((float *)weight->scales)[i] = 1e-3f;
    }
    assert_ok(dqg_weight_finish(context, weight));
}

struct fixture {
    struct dqg_ops ops;
    struct dqg_weight weight;
    float *images, *factor, *bias;
};

static struct fixture make_fixture(int64_t outputs) {
    struct fixture f = {.ops = make_ops(2),
                        .images = random_floats(SAMPLES * CHANNELS * SIDE * SIDE),
                        .factor = random_floats(COLUMNS),
                        .bias = random_floats(COLUMNS)};
    make_weight(f.ops.context, &f.weight, outputs);
    dqg_op_weight_sums(&f.ops, &f.weight);
    return f;
}

static void free_fixture(struct fixture *f) {
    dqg_weight_free(&f->ops.context->alloc, &f->weight);
    free(f->images);
    free(f->factor);
    free(f->bias);
    free_ops(&f->ops);
}

/* Norm, product, gated unit, by a graph; the result is the image that its columns make. */
static void run_graph(const struct fixture *f, float *out, bool rms, int32_t nodes_wanted) {
    struct dqg_graph graph = {0};
    struct dqg_exec exec = {0};
    size_t columns = f->weight.size.rows / 2;
    assert_ok(dqg_graph_init(f->ops.context, &graph, 8));
    graph.samples = SAMPLES;
    graph.channels = CHANNELS;
    graph.height = graph.width = SIDE;
    graph.patch = PATCH;
    graph.tokens = TOKENS;
    graph.out_channels = columns / (PATCH * PATCH);
    int32_t x = dqg_graph_patchify(&graph, "patches", NULL);
    x = dqg_graph_norm_learned(&graph, "norm", x, f->factor, f->bias, rms, 1e-5f);
    x = dqg_graph_linear(&graph, "product", x, &f->weight, NULL);
    x = dqg_graph_glu(&graph, "gated", x, DQG_ACT_SILU);
    dqg_graph_unpatchify(&graph, "image", x);
    assert_ok(dqg_graph_fuse(&graph));
    assert_int_equal(graph.node_count, nodes_wanted);
    assert_ok(dqg_graph_plan(&graph));
    assert_ok(dqg_exec_init(f->ops.context, &graph, &exec));
    struct dqg_exec_io io = {.x = f->images, .out = out};
    dqg_status status;
    do {
        status = dqg_exec_next(&exec, &io);
    } while (status == DQG_PENDING);
    assert_int_equal(status, DQG_DONE);
    dqg_exec_free(&exec);
    dqg_graph_free(&graph);
}

/* The same by operators. */
static void run_operators(const struct fixture *f, float *out, bool rms) {
    size_t rows = SAMPLES * TOKENS, outputs = f->weight.size.rows, half = outputs / 2;
    struct dqg_patches patches = {
        .samples = SAMPLES, .channels = CHANNELS, .height = SIDE, .width = SIDE, .patch = PATCH};
    float *x = random_floats(rows * COLUMNS), *row_scale = random_floats(rows);
    float *product = random_floats(rows * outputs), *gated = random_floats(rows * half);
    int8_t *q8 = malloc(rows * DEPTH);
    assert_non_null(q8);
    dqg_op_patchify(&f->ops, x, f->images, &patches);
    struct dqg_norm norm = {.x = x,
                            .out = {.q8 = q8, .row_scale = row_scale, .ld = DEPTH},
                            .form = {.weight = f->factor, .bias = f->bias, .eps = 1e-5f, .rms = rms},
                            .ldx = COLUMNS,
                            .rows = rows,
                            .rows_per_sample = TOKENS,
                            .columns = COLUMNS,
                            .columns_padded = DEPTH};
    dqg_op_norm(&f->ops, &norm);
    struct dqg_linear linear = {.weight = &f->weight,
                                .x = norm.out,
                                .out = product,
                                .ld_out = outputs,
                                .rows = rows,
                                .rows_per_sample = TOKENS};
    dqg_op_linear(&f->ops, &linear);
    struct dqg_glu glu = {gated, product, product + half, half, outputs, rows, half, DQG_ACT_SILU};
    dqg_op_glu(&f->ops, &glu);
    patches.channels = half / (PATCH * PATCH);
    dqg_op_unpatchify(&f->ops, out, gated, &patches);
    free(x);
    free(row_scale);
    free(product);
    free(gated);
    free(q8);
}

static void check(int64_t outputs, bool rms, int32_t nodes_wanted) {
    struct fixture f = make_fixture(outputs);
    size_t count = SAMPLES * TOKENS * (size_t)outputs / 2;
    float *got = random_floats(count), *want = random_floats(count);
    run_graph(&f, got, rms, nodes_wanted);
    run_operators(&f, want, rms);
    assert_memory_equal(got, want, count * sizeof(float));
    free(got);
    free(want);
    free_fixture(&f);
}

static void test_fused(void **state) {
    (void)state;
    check(64, false, 4);
    check(64, true, 4);
}

/* Halves that panels straddle stay an operator of their own. */
static void test_alone(void **state) {
    (void)state;
    check(24, false, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fused), cmocka_unit_test(test_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
