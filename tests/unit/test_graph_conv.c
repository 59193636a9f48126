/* SPDX-License-Identifier: MIT */
/*
 * A graph of convolutions built by hand, the shape of a residual block with time embedding, skip and doubling: the
 * executor's result, for one to three threads, against the operators called one by one, in float and in 4 bits.
 */
#include <stdlib.h>

#include "check.h"
#include "model/exec.h"
#include "packed_weight.h"

enum { SAMPLES = 2, SIDE = 6, IN = 4, WIDTH = 40, TIME = 16, PIXELS = SAMPLES * SIDE * SIDE };

static dqg_context *context;

static float noise(size_t i) {
    uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    return (float)(z >> 40) * 0x1p-23f - 1.0f;
}

static void make_weight(struct dqg_weight *weight, int32_t dtype, int64_t outputs, int64_t channels, int64_t kernel) {
    const int64_t shape[] = {outputs, channels, kernel, kernel};
    size_t count = (size_t)(outputs * channels * kernel * kernel);
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = noise(i + (size_t)outputs * 1000) * 0.1f;
    }
    pack_weight(context, weight, dtype, dtype == DQG_DTYPE_INT4 ? 32 : 0, 4, shape, values, 1);
    free(values);
    if (dqg_dtype_is_quantized(dtype)) {
        struct dqg_ops ops = {.context = context, .kernels = context->kernels};
        ops.scratch = malloc(DQG_PANEL * weight->size.columns_padded);
        dqg_op_weight_sums(&ops, weight); /* one lane: see setup() */
        free(ops.scratch);
    }
}

struct network {
    struct dqg_weight first, time, skip, second, last;
    struct dqg_conv_shape small, doubled, wide;
};

static void make_network(struct network *net, int32_t dtype) {
    make_weight(&net->first, DQG_DTYPE_F16, WIDTH, IN, 3);
    make_weight(&net->time, DQG_DTYPE_F32, WIDTH, TIME, 1);
    make_weight(&net->skip, dtype, WIDTH, WIDTH, 1);
    make_weight(&net->second, dtype, WIDTH, WIDTH, 3);
    make_weight(&net->last, dtype, IN, WIDTH, 3);
    net->small = dqg_conv_square(SAMPLES, IN, SIDE, SIDE, 3);
    net->wide = dqg_conv_square(SAMPLES, WIDTH, SIDE, SIDE, 3);
    net->doubled = net->wide;
    net->doubled.upsample = true;
}

static void free_network(struct network *net) {
    struct dqg_weight *weights[] = {&net->first, &net->time, &net->skip, &net->second, &net->last};
    for (size_t i = 0; i < DQG_COUNT_OF(weights); i++) {
        dqg_weight_free(&context->alloc, weights[i]);
    }
}

/* out = last(doubled(skip(x) + silu(second(x) + time))), x = first(image) */
static void build(const struct network *net, struct dqg_graph *graph) {
    *graph = (struct dqg_graph){.context = context,
                                .samples = SAMPLES,
                                .channels = IN,
                                .out_channels = IN,
                                .height = SIDE,
                                .width = SIDE,
                                .patch = 1,
                                .tokens = SIDE * SIDE};
    assert_ok(dqg_graph_init(context, graph, 16));
    int32_t t = dqg_graph_timestep(graph, "time", TIME);
    t = dqg_graph_linear(graph, "embedding", t, &net->time, NULL);
    int32_t x = dqg_graph_patchify(graph, "pixels", NULL);
    x = dqg_graph_conv(graph, "first", x, &net->small, &net->first, NULL, DQG_NO_VALUE, 0);
    struct dqg_conv_shape point = dqg_conv_square(SAMPLES, WIDTH, SIDE, SIDE, 1);
    int32_t skip = dqg_graph_conv(graph, "skip", x, &point, &net->skip, NULL, DQG_NO_VALUE, 0);
    int32_t y = dqg_graph_conv(graph, "second", x, &net->wide, &net->second, NULL, t, 0);
    y = dqg_graph_activate(graph, "act", y, DQG_ACT_SILU);
    x = dqg_graph_add(graph, "sum", skip, DQG_NO_VALUE, 0, y);
    x = dqg_graph_conv(graph, "last", x, &net->doubled, &net->last, NULL, DQG_NO_VALUE, 0);
    assert_int_equal(graph->values[x].rows, 4 * PIXELS);
    assert_ok(dqg_graph_fuse(graph));
    assert_ok(dqg_graph_plan(graph));
}

static void convolve(const struct dqg_ops *ops, const struct dqg_conv_shape *shape, const struct dqg_weight *weight,
                     struct dqg_conv args, float *x, float *out) {
    struct dqg_conv_image image;
    void *block = NULL;
    args.shape = shape;
    args.weight = weight;
    args.x = x;
    args.ldx = shape->channels;
    args.out = out;
    args.ld_out = weight->size.rows;
    if (dqg_dtype_is_quantized(weight->dtype)) {
        size_t bytes;
        assert_true(dqg_conv_image_bytes(shape, weight, &bytes));
        block = malloc(bytes);
        image = dqg_conv_image_at(shape, weight, block);
        dqg_op_conv_image(ops, shape, &image, x, args.ldx);
        args.image = &image;
    }
    dqg_op_conv(ops, &args);
    free(block);
}

/* The same by operators. */
static void evaluate(const struct network *net, const struct dqg_ops *ops, const float *image, const double *timesteps,
                     float *out) {
    static float pixels[PIXELS * IN], x[PIXELS * WIDTH], y[PIXELS * WIDTH], t[SAMPLES * TIME], c[SAMPLES * WIDTH];
    static int8_t codes[PIXELS * 128];
    static float scales[PIXELS];
    const struct dqg_patches patches = {.samples = SAMPLES, .channels = IN, .height = SIDE, .width = SIDE, .patch = 1};
    dqg_op_timestep(t, timesteps, SAMPLES, 1, TIME);
    struct dqg_linear time = {.weight = &net->time, .x = {.f32 = t, .ld = TIME}, .out = c, .ld_out = WIDTH};
    time.rows = SAMPLES;
    time.rows_per_sample = 1;
    dqg_op_linear(ops, &time);
    dqg_op_patchify(ops, pixels, image, &patches);
    convolve(ops, &net->small, &net->first, (struct dqg_conv){0}, pixels, x);
    struct dqg_linear skip = {.weight = &net->skip, .x = {.f32 = x, .ld = WIDTH}, .out = y, .ld_out = WIDTH};
    skip.rows = PIXELS;
    skip.rows_per_sample = SIDE * SIDE;
    if (dqg_dtype_is_quantized(net->skip.dtype)) {
        skip.x = (struct dqg_rows){.q8 = codes, .row_scale = scales, .ld = 128};
        dqg_op_quantize(ops, x, WIDTH, skip.x, PIXELS, WIDTH, 128);
    }
    dqg_op_linear(ops, &skip);
    struct dqg_conv sum = {.addend = c, .ld_addend = WIDTH, .activation = DQG_ACT_SILU, .residual = y};
    sum.ld_residual = WIDTH;
    convolve(ops, &net->wide, &net->second, sum, x, y);
    convolve(ops, &net->doubled, &net->last, (struct dqg_conv){0}, y, out);
}

/* The graph with some threads; want: by operators, made here when threads is 1. */
static void check_graph(const struct network *net, int32_t threads, const float *image, float *want) {
    const double timesteps[SAMPLES] = {3.0, 700.0};
    struct dqg_graph graph;
    struct dqg_exec exec = {0};
    assert_ok(dqg_context_set_threads(context, threads));
    build(net, &graph);
    /* time, embedding, pixels, first, skip, second with act and sum, last; an input quantized for each of three */
    assert_int_equal(graph.node_count, dqg_dtype_is_quantized(net->last.dtype) ? 7 + 3 : 7);
    assert_ok(dqg_exec_init(context, &graph, &exec));
    const struct dqg_exec_io io = {.x = image, .timesteps = timesteps};
    while (dqg_exec_next(&exec, &io) == DQG_PENDING) {
    }
    if (threads == 1) {
        evaluate(net, &exec.ops, image, timesteps, want); /* lends the executor's scratch, not its values */
    }
    const struct dqg_value *last = &graph.values[graph.nodes[graph.node_count - 1].out];
    assert_memory_equal(exec.memory + last->offset, want, 4 * PIXELS * IN * sizeof *want);
    dqg_exec_free(&exec);
    dqg_graph_free(&graph);
}

static void check(int32_t dtype) {
    static float image[SAMPLES * IN * SIDE * SIDE], want[4 * PIXELS * IN];
    const struct dqg_kernels *best = context->kernels;
    for (size_t i = 0; i < DQG_COUNT_OF(image); i++) {
        image[i] = noise(i);
    }
    for (int32_t i = 0; (context->kernels = dqg_kernels_at(i)) != NULL; i++) {
        struct network net;
        assert_ok(dqg_context_set_threads(context, 1));
        make_network(&net, dtype);
        for (int32_t threads = 1; threads <= 3; threads++) {
            check_graph(&net, threads, image, want);
        }
        free_network(&net);
    }
    context->kernels = best;
}

static void test_float(void **state) {
    (void)state;
    check(DQG_DTYPE_BF16);
}

static void test_quantized(void **state) {
    (void)state;
    check(DQG_DTYPE_INT4);
}

/* A shape that the weights do not allow is reported by name. */
static void test_refused(void **state) {
    struct network net;
    struct dqg_graph graph;
    (void)state;
    make_network(&net, DQG_DTYPE_F32);
    graph = (struct dqg_graph){.context = context, .samples = SAMPLES, .channels = IN, .patch = 1};
    graph.tokens = SIDE * SIDE;
    assert_ok(dqg_graph_init(context, &graph, 4));
    int32_t x = dqg_graph_patchify(&graph, "pixels", NULL);
    dqg_graph_conv(&graph, "bad", x, &net.wide, &net.first, NULL, DQG_NO_VALUE, 0);
    assert_true(graph.failed);
    assert_int_equal(graph.status, DQG_ERROR_RANGE);
    assert_non_null(strstr(dqg_context_error(context), "'bad' cannot be applied"));
    dqg_error_clear(context);
    dqg_graph_free(&graph);
    free_network(&net);
}

static int setup(void **state) {
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    return dqg_context_set_threads(context, 1);
}

static int teardown(void **state) {
    (void)state;
    dqg_context_destroy(context);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_float), cmocka_unit_test(test_quantized),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
