/* SPDX-License-Identifier: MIT */
/* Operators that move rows and columns, what an evaluation is given beside an image, and norms of images, by a graph
 * against sums written out here. */
#include "model/exec.h"
#include "ops_check.h"
#include "packed_weight.h"

enum { SAMPLES = 2, TOKENS = 5, WIDTH = 8, CONTEXT = 3, ROWS = 8 /* of the table */, SIDE = 4, GROUPS = 2 };

static struct dqg_ops ops;
static float *table_values, *positions, *context_rows, *pooled_rows;
static const int32_t tokens[SAMPLES * TOKENS] = {0, 7, 3, 3, 1, 2, 9, 5, 4, -1}, picks[SAMPLES] = {4, 1};

static void begin(struct dqg_graph *graph, size_t count) {
    *graph = (struct dqg_graph){0};
    assert_ok(dqg_graph_init(ops.context, graph, 16));
    graph->samples = SAMPLES;
    graph->tokens = count;
    graph->context_tokens = CONTEXT;
}

static void finish(struct dqg_graph *graph, const struct dqg_exec_io *io) {
    struct dqg_exec exec = {0};
    assert_false(graph->failed);
    assert_ok(dqg_graph_fuse(graph));
    assert_ok(dqg_graph_plan(graph));
    assert_ok(dqg_exec_init(ops.context, graph, &exec));
    dqg_status status = DQG_PENDING;
    while (status == DQG_PENDING) {
        status = dqg_exec_next(&exec, io);
    }
    assert_int_equal(status, DQG_DONE);
    dqg_exec_free(&exec);
    dqg_graph_free(graph);
}

/* Token row of a sample with its position: values outside of the table take its last row. */
static float embedded(size_t sample, size_t row, size_t column) {
    int32_t token = tokens[sample * TOKENS + row];
    size_t from = token >= 0 && token < ROWS ? (size_t)token : ROWS - 1;
    return table_values[from * WIDTH + column] + positions[row * WIDTH + column];
}

/* Context and tokens joined, the last six rows of it, beside themselves. */
static void test_rows(void **state) {
    (void)state;
    struct dqg_weight table;
    const int64_t shape[2] = {ROWS, WIDTH};
    pack_weight(ops.context, &table, DQG_DTYPE_F32, 0, 2, shape, table_values, 1);
    struct dqg_graph graph;
    begin(&graph, TOKENS);
    int32_t x = dqg_graph_tokens(&graph, "tokens", &table);
    x = dqg_graph_add_table(&graph, "positions", x, positions);
    int32_t context = dqg_graph_input(&graph, "context", DQG_INPUT_CONTEXT, WIDTH);
    int32_t joined = dqg_graph_join(&graph, "joined", context, x);
    int32_t part = dqg_graph_slice(&graph, "part", joined, 2, 6);
    part = dqg_graph_concat(&graph, "pair", part, part);
    int32_t picked = dqg_graph_pick(&graph, "picked", x);
    int32_t pooled = dqg_graph_input(&graph, "pooled", DQG_INPUT_POOLED, WIDTH);
    picked = dqg_graph_add(&graph, "sum", pooled, DQG_NO_VALUE, 0, picked);
    dqg_graph_result(&graph, "rows", part, 0);
    dqg_graph_result(&graph, "row", picked, 1);
    float out[SAMPLES * 6 * 2 * WIDTH], row[SAMPLES * WIDTH];
    const struct dqg_exec_io io = {.context = context_rows,
                                   .pooled = pooled_rows,
                                   .tokens = tokens,
                                   .picks = picks,
                                   .out = out,
                                   .pooled_out = row};
    finish(&graph, &io);
    for (size_t s = 0; s < SAMPLES; s++) {
        for (size_t c = 0; c < WIDTH; c++) {
            for (size_t r = 0; r < 6; r++) {
                float want = r == 0 ? context_rows[(s * CONTEXT + 2) * WIDTH + c] : embedded(s, r - 1, c);
                assert_true(out[(s * 6 + r) * 2 * WIDTH + c] == want);
                assert_true(out[(s * 6 + r) * 2 * WIDTH + WIDTH + c] == want);
            }
            assert_true(row[s * WIDTH + c] == embedded(s, (size_t)picks[s], c) + pooled_rows[s * WIDTH + c]);
        }
    }
    dqg_weight_free(&ops.context->alloc, &table);
}

/* Two numbers of each sample, embedded one after the other. */
static void test_numbers(void **state) {
    (void)state;
    const double sizes[SAMPLES * 2] = {64, 96, 96, 0.5};
    struct dqg_graph graph;
    begin(&graph, 1);
    dqg_graph_result(&graph, "result", dqg_graph_numbers(&graph, "sizes", DQG_INPUT_SIZES, 2, 3, WIDTH), 0);
    float out[SAMPLES * 2 * WIDTH];
    const struct dqg_exec_io io = {.sizes = sizes, .out = out};
    finish(&graph, &io);
    for (size_t i = 0; i < SAMPLES * 2; i++) {
        for (size_t k = 0; k < WIDTH / 2; k++) {
            double angle = 3 * sizes[i] * pow(10000, -(double)k / (WIDTH / 2));
            assert_near((double)out[i * WIDTH + k], cos(angle), 1e-6);
            assert_near((double)out[i * WIDTH + WIDTH / 2 + k], sin(angle), 1e-6);
        }
    }
}

/* The mean and the spread of a sample's group. */
static void moments(const float *x, size_t group, double *mean, double *deviation) {
    enum { WIDE = WIDTH / GROUPS };
    double sum = 0, squares = 0;
    for (size_t i = 0; i < SIDE * SIDE * WIDE; i++) {
        double value = (double)x[i / WIDE * WIDTH + group * WIDE + i % WIDE];
        sum += value;
        squares += value * value;
    }
    *mean = sum / (SIDE * SIDE * WIDE);
    *deviation = sqrt(squares / (SIDE * SIDE * WIDE) - *mean * *mean + 1e-5);
}

/* Group norm, modulated by a row for each sample, then SiLU, then to half the size. */
static void test_images(void **state) {
    (void)state;
    float *images = random_floats(SAMPLES * SIDE * SIDE * WIDTH), *rows = random_floats(SAMPLES * 2 * WIDTH);
    struct dqg_graph graph;
    begin(&graph, 1);
    graph.context_tokens = SIDE * SIDE;
    int32_t x = dqg_graph_input(&graph, "image", DQG_INPUT_CONTEXT, WIDTH);
    int32_t modulation = dqg_graph_input(&graph, "modulation", DQG_INPUT_POOLED, 2 * WIDTH);
    x = dqg_graph_group_norm_modulated(&graph, "norm", x, GROUPS, positions, positions + WIDTH, 1e-5f, DQG_ACT_SILU,
                                       modulation, 0, WIDTH);
    dqg_graph_result(&graph, "normed", x, 1);
    x = dqg_graph_pool(&graph, "half", x, SIDE, SIDE);
    x = dqg_graph_resize(&graph, "large", x, SIDE / 2, SIDE / 2, SIDE + 1, SIDE);
    dqg_graph_result(&graph, "image", x, 0);
    float out[SAMPLES * (SIDE + 1) * SIDE * WIDTH], normed[SAMPLES * SIDE * SIDE * WIDTH];
    const struct dqg_exec_io io = {.context = images, .pooled = rows, .out = out, .pooled_out = normed};
    finish(&graph, &io);
    for (size_t i = 0; i < SAMPLES * SIDE * SIDE * WIDTH; i++) {
        size_t sample = i / (SIDE * SIDE * WIDTH), c = i % WIDTH;
        double mean, deviation;
        moments(images + sample * SIDE * SIDE * WIDTH, c / (WIDTH / GROUPS), &mean, &deviation);
        double y = ((double)images[i] - mean) / deviation * (double)positions[c] + (double)positions[WIDTH + c];
        const float *row = rows + sample * 2 * WIDTH;
        y = y * (1 + (double)row[WIDTH + c]) + (double)row[c];
        assert_near((double)normed[i], y / (1 + exp(-y)), 1e-5);
    }
    for (size_t i = 0; i < SAMPLES * (SIDE + 1) * SIDE * WIDTH; i++) {
        size_t column = i / WIDTH % SIDE, line = i / WIDTH / SIDE % (SIDE + 1), s = i / WIDTH / SIDE / (SIDE + 1);
        size_t from = (s * SIDE + line * (SIDE / 2) / (SIDE + 1) * 2) * SIDE + column / 2 * 2;
        const float *y = normed + from * WIDTH + i % WIDTH;
        assert_near((double)out[i],
                    ((double)y[0] + (double)y[WIDTH] + (double)y[SIDE * WIDTH] + (double)y[(SIDE + 1) * WIDTH]) / 4,
                    1e-6);
    }
    free(images);
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_images),
    };
    ops = make_ops(2);
    table_values = random_floats(ROWS * WIDTH);
    positions = random_floats(TOKENS * WIDTH);
    context_rows = random_floats(SAMPLES * CONTEXT * WIDTH);
    pooled_rows = random_floats(SAMPLES * WIDTH);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(table_values);
    free(positions);
    free(context_rows);
    free(pooled_rows);
    free_ops(&ops);
    return failed;
}
