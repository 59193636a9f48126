/* SPDX-License-Identifier: MIT */
/*
 * DeepCache on a small U-Net made by hand: two levels of convolutions with skip connections. Between full steps the
 * part below a skip connection gives what it gave before, everything outside it is computed; fewer operators run.
 */
#include <stdlib.h>

#include "check.h"
#include "packed_weight.h"
#include "run/run.h"

enum { SAMPLES = 2, SIDE = 8, CHANNELS = 4, WIDTH = 16, SIZE = SAMPLES * CHANNELS * SIDE * SIDE, LAYERS = 6 };

struct network {
    dqg_context *context;
    struct dqg_weight layers[LAYERS];
};

static float noise(size_t i) {
    uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    return (float)(z >> 40) * 0x1p-23f - 1.0f;
}

static void open_network(struct network *net) {
    assert_ok(dqg_context_create(NULL, &net->context));
    for (size_t l = 0; l < LAYERS; l++) {
        const int64_t shape[] = {l == LAYERS - 1 ? CHANNELS : WIDTH, l == 0 ? CHANNELS : WIDTH, 3, 3};
        float values[WIDTH * WIDTH * 9];
        for (size_t i = 0; i < DQG_COUNT_OF(values); i++) {
            values[i] = noise(i + l * 10000) * 0.2f;
        }
        pack_weight(net->context, &net->layers[l], DQG_DTYPE_F32, 0, 4, shape, values, 1);
    }
}

static void close_network(struct network *net) {
    for (size_t l = 0; l < LAYERS; l++) {
        dqg_weight_free(&net->context->alloc, &net->layers[l]);
    }
    dqg_context_destroy(net->context);
}

/* out = last(x0 + up(x1 + inner(x1))), x0 = first(image), x1 = down(x0): branch 0 is below x0, branch 1 below x1. */
static void build(struct network *net, struct dqg_graph *graph) {
    *graph = (struct dqg_graph){.context = net->context,
                                .samples = SAMPLES,
                                .channels = CHANNELS,
                                .out_channels = CHANNELS,
                                .height = SIDE,
                                .width = SIDE,
                                .patch = 1,
                                .tokens = SIDE * SIDE};
    assert_ok(dqg_graph_init(net->context, graph, 16));
    struct dqg_conv_shape first = dqg_conv_square(SAMPLES, CHANNELS, SIDE, SIDE, 3);
    struct dqg_conv_shape same = dqg_conv_square(SAMPLES, WIDTH, SIDE, SIDE, 3);
    struct dqg_conv_shape down = same, half = dqg_conv_square(SAMPLES, WIDTH, SIDE / 2, SIDE / 2, 3), up = half;
    down.stride[1] = down.stride[2] = 2;
    up.upsample = true;
    int32_t x0 = dqg_graph_patchify(graph, "pixels", NULL);
    x0 = dqg_graph_conv(graph, "first", x0, &first, &net->layers[0], NULL, DQG_NO_VALUE, 0);
    int32_t x1 = dqg_graph_conv(graph, "down", x0, &down, &net->layers[1], NULL, DQG_NO_VALUE, 0);
    int32_t y = dqg_graph_conv(graph, "inner", x1, &half, &net->layers[2], NULL, DQG_NO_VALUE, 0);
    y = dqg_graph_activate(graph, "inner.act", y, DQG_ACT_SILU);
    dqg_graph_branch(graph, x1, y);
    int32_t merged = dqg_graph_conv(graph, "merge", y, &half, &net->layers[3], NULL, DQG_NO_VALUE, 0);
    y = dqg_graph_add(graph, "merge.add", x1, DQG_NO_VALUE, 0, merged);
    y = dqg_graph_conv(graph, "up", y, &up, &net->layers[4], NULL, DQG_NO_VALUE, 0);
    dqg_graph_branch(graph, x0, y);
    y = dqg_graph_activate(graph, "out.act", y, DQG_ACT_SILU);
    y = dqg_graph_conv(graph, "last", y, &same, &net->layers[5], NULL, DQG_NO_VALUE, 0);
    dqg_graph_unpatchify(graph, "output", y);
    assert_false(graph->failed);
    assert_ok(dqg_graph_fuse(graph));
    assert_ok(dqg_graph_plan(graph));
}

struct session {
    struct dqg_graph graph;
    struct dqg_exec exec;
    struct dqg_cache cache;
    void *block;
};

static void open_session(struct session *session, struct network *net, const struct dqg_cache_config *config) {
    size_t bytes = 0;
    memset(session, 0, sizeof *session);
    build(net, &session->graph);
    assert_ok(dqg_exec_init(net->context, &session->graph, &session->exec));
    assert_ok(dqg_cache_init(net->context, config, &session->graph, &session->cache));
    assert_true(dqg_cache_lay_out(&session->cache, NULL, &bytes));
    session->block = aligned_alloc(DQG_ALIGNMENT, bytes + DQG_ALIGNMENT);
    bytes = 0;
    assert_true(dqg_cache_lay_out(&session->cache, session->block, &bytes));
    dqg_cache_fill(&session->cache, config);
}

static void close_session(struct session *session) {
    free(session->block);
    dqg_exec_free(&session->exec);
    dqg_graph_free(&session->graph);
}

/* One evaluation of a step; returns how many operators ran. stale: the value of node, taken out of its memory. */
static int evaluate(struct session *session, int32_t step, float *out, const char *node, float *taken, bool put) {
    static float image[SIZE];
    for (size_t i = 0; i < SIZE; i++) {
        image[i] = noise(i + (size_t)step * SIZE);
    }
    struct dqg_exec_io io = {.x = image, .out = out};
    int operators = 0;
    dqg_status status = DQG_PENDING;
    dqg_cache_begin(&session->cache, step, 100);
    while (status == DQG_PENDING) {
        int32_t at = session->exec.next;
        status = dqg_cache_next(&session->cache, &session->exec, &io);
        operators++;
        const struct dqg_value *value = &session->graph.values[session->graph.nodes[at].out];
        if (taken != NULL && strcmp(session->graph.nodes[at].name, node) == 0) {
            float *memory = (float *)(session->exec.memory + value->offset);
            memcpy(put ? memory : taken, put ? taken : memory, value->rows * value->columns * sizeof(float));
        }
    }
    assert_int_equal(status, DQG_DONE);
    return operators;
}

static const struct dqg_cache_config none = {.kind = DQG_CACHE_NONE};

/* Steps of a cached network against an uncached one into which the value of the last full step is put by hand. */
static void check(int32_t branch, const char *node, int operators, int left_out) {
    static const int64_t full[] = {0, 1, 4};
    static float got[SIZE], want[SIZE], value[SAMPLES * WIDTH * SIDE * SIDE];
    struct network net;
    struct session cached, plain;
    open_network(&net);
    for (int list = 0; list < 2; list++) {
        struct dqg_cache_config config = {
            .kind = DQG_CACHE_DEEPCACHE, .threshold = -1, .interval = 3, .branch = branch};
        config.steps = full;
        config.step_count = list * 3;
        open_session(&cached, &net, &config);
        open_session(&plain, &net, &none);
        for (int32_t step = 0; step < 7; step++) {
            bool whole = list == 1 ? step == 0 || step == 1 || step == 4 : step % 3 == 0;
            assert_int_equal(evaluate(&plain, step, want, node, value, !whole), operators);
            assert_int_equal(evaluate(&cached, step, got, NULL, NULL, false), whole ? operators : operators - left_out);
            assert_memory_equal(got, want, sizeof want);
        }
        assert_int_equal(cached.cache.computed, 3 * SAMPLES);
        assert_int_equal(cached.cache.skipped, 4 * SAMPLES);
        close_session(&cached);
        close_session(&plain);
    }
    close_network(&net);
}

/* pixels, first, down, inner, merge, up, act, last, output: "down" to "up" lie below the outer connection. */
static void test_outer(void **state) {
    (void)state;
    check(0, "up", 9, 4);
}

static void test_inner(void **state) {
    (void)state;
    check(1, "inner", 9, 1);
}

static void test_interval_one(void **state) {
    static float got[SIZE], want[SIZE];
    const struct dqg_cache_config configs[] = {
        {.kind = DQG_CACHE_DEEPCACHE, .threshold = -1, .interval = 1},
        {.kind = DQG_CACHE_DEEPCACHE, .threshold = 0, .interval = 3},
    };
    struct network net;
    struct session cached, plain;
    (void)state;
    open_network(&net);
    for (size_t i = 0; i < DQG_COUNT_OF(configs); i++) {
        open_session(&cached, &net, &configs[i]);
        open_session(&plain, &net, &none);
        for (int32_t step = 0; step < 4; step++) {
            evaluate(&cached, step, got, NULL, NULL, false);
            evaluate(&plain, step, want, NULL, NULL, false);
            assert_memory_equal(got, want, sizeof want);
        }
        assert_int_equal(cached.cache.skipped, 0);
        close_session(&cached);
        close_session(&plain);
    }
    close_network(&net);
}

/* A range whose inner values are read behind it cannot be left out. */
static void test_open_range(void **state) {
    struct network net;
    struct dqg_graph graph;
    struct dqg_cut cut;
    (void)state;
    open_network(&net);
    build(&net, &graph);
    int32_t x0 = graph.nodes[1].out, inner = graph.nodes[3].out;
    assert_fails(net.context, dqg_cut_make(net.context, &graph, x0, x0, inner, &cut), DQG_ERROR_UNSUPPORTED);
    dqg_graph_free(&graph);
    close_network(&net);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_outer), cmocka_unit_test(test_inner),
                                       cmocka_unit_test(test_interval_one), cmocka_unit_test(test_open_range)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
