/* SPDX-License-Identifier: MIT */
/* Attention as an operator and as a node of a graph: self and cross, masks, both kinds of numbers, several lanes. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "model/exec.h"

/* ---- reference ---- */

struct shape {
    size_t samples, heads, width, queries, keys;
};

static const float *bias_row(const struct dqg_attention_args *args, size_t sample, size_t head, size_t query) {
    return args->bias + sample * args->bias_sample + head * args->bias_head + query * args->bias_query;
}

/* One query of one head in double precision; p [keys]. */
static void reference_row(double *out, double *p, const struct dqg_attention_args *args, size_t sample, size_t head,
                          size_t query) {
    const float *q = args->q + (sample * args->queries + query) * args->ld_q + head * args->width;
    const float *k = args->k + sample * args->keys * args->ld_k + head * args->width;
    const float *v = args->v + sample * args->keys * args->ld_v + head * args->width;
    double largest = -INFINITY, sum = 0.0;
    for (size_t key = 0; key < args->keys; key++) {
        p[key] = args->bias != NULL ? (double)bias_row(args, sample, head, query)[key] : 0.0;
        for (size_t c = 0; c < args->width; c++) {
            p[key] += (double)q[c] * k[key * args->ld_k + c] / sqrt((double)args->width);
        }
        p[key] = args->causal && key > query ? -INFINITY : p[key];
        largest = fmax(largest, p[key]);
    }
    for (size_t key = 0; key < args->keys; key++) {
        sum += p[key] = largest > -INFINITY ? exp(p[key] - largest) : 0.0;
    }
    for (size_t c = 0; c < args->width; c++) {
        out[c] = 0.0;
        for (size_t key = 0; key < args->keys && sum > 0.0; key++) {
            out[c] += p[key] / sum * v[key * args->ld_v + c];
        }
    }
}

/* Relative error over all results. */
static double error_of(const struct dqg_attention_args *args) {
    double *p = malloc(args->keys * sizeof *p), *want = malloc(args->width * sizeof *want);
    double error = 0.0, size = 1e-30;
    for (size_t row = 0; row < args->samples * args->queries; row++) {
        for (size_t head = 0; head < args->heads; head++) {
            reference_row(want, p, args, row / args->queries, head, row % args->queries);
            for (size_t c = 0; c < args->width; c++) {
                double difference = args->out[row * args->ld_out + head * args->width + c] - want[c];
                error += difference * difference;
                size += want[c] * want[c];
            }
        }
    }
    free(p);
    free(want);
    return sqrt(error / size);
}

/* ---- operator ---- */

static float *random_floats(size_t count, uint32_t seed) {
    float *x = malloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)seed * 0x1p-30f;
    }
    return x;
}

/* Run with some lanes and check the error; returns the result. */
static float *run(struct dqg_attention_args *args, int32_t threads) {
    dqg_context *context;
    size_t shared = 0, lane = dqg_op_attention_scratch(), count = args->samples * args->queries * args->ld_out;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_context_set_threads(context, threads));
    assert_ok(dqg_parallel_prepare(context));
    assert_true(dqg_op_attention_shared(context, args->samples, args->heads, args->keys, args->width, &shared));
    struct dqg_ops ops = {.context = context, .kernels = context->kernels, .lane_bytes = lane};
    ops.scratch = dqg_malloc(&context->alloc, lane * (size_t)threads);
    ops.shared = dqg_malloc(&context->alloc, shared);
    args->out = calloc(count, sizeof(float));
    dqg_op_attention(&ops, args);
    dqg_free(&context->alloc, ops.scratch, lane * (size_t)threads);
    dqg_free(&context->alloc, ops.shared, shared);
    dqg_context_destroy(context);
    assert_true(error_of(args) < (args->int8 ? 0.02 : 1e-5));
    return args->out;
}

/* Equal bits for one, two and three lanes. */
static void check_lanes(struct dqg_attention_args args) {
    for (int int8 = 0; int8 < 2; int8++) {
        args.int8 = int8 != 0;
        size_t bytes = args.samples * args.queries * args.ld_out * sizeof(float);
        float *one = run(&args, 1);
        for (int32_t threads = 2; threads < 4; threads++) {
            float *more = run(&args, threads);
            assert_memory_equal(one, more, bytes);
            free(more);
        }
        free(one);
    }
}

static void check_shape(const struct shape *shape, bool causal, int bias) {
    size_t columns = shape->heads * shape->width;
    size_t biases = shape->samples * shape->heads * shape->queries * shape->keys;
    struct dqg_attention_args args = {.ld_q = columns + 4,
                                      .ld_k = 2 * columns,
                                      .ld_v = 2 * columns,
                                      .ld_out = columns + 3,
                                      .samples = shape->samples,
                                      .heads = shape->heads,
                                      .width = shape->width,
                                      .queries = shape->queries,
                                      .keys = shape->keys,
                                      .causal = causal};
    float *q = random_floats(shape->samples * shape->queries * args.ld_q, 1);
    float *kv = random_floats(shape->samples * shape->keys * args.ld_k, 2), *b = random_floats(biases, 3);
    for (size_t i = 0; i < biases; i++) {
        b[i] = b[i] > 1.0f ? -INFINITY : b[i]; /* of -2..2 */
    }
    args.q = q;
    args.k = kv;
    args.v = kv + columns;
    if (bias > 0) {
        args.bias = b;
        args.bias_query = bias > 1 ? shape->keys : 0;
        args.bias_head = bias > 2 ? shape->keys * shape->queries : 0;
        args.bias_sample = bias > 3 ? shape->keys * shape->queries * shape->heads : shape->keys;
    }
    check_lanes(args);
    free(q);
    free(kv);
    free(b);
}

static void test_operator(void **state) {
    static const struct shape shapes[] = {{1, 2, 40, 65, 65}, {3, 4, 16, 33, 77}, {2, 3, 72, 130, 5}, {5, 1, 9, 1, 70}};
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(shapes); i++) {
        check_shape(&shapes[i], false, 0);
        check_shape(&shapes[i], true, 0);
        for (int bias = 1; bias < 5; bias++) {
            check_shape(&shapes[i], bias == 4, bias);
        }
    }
}

/* ---- graph ---- */

enum { SAMPLES = 2, SIDE = 16, PATCH = 4, CHANNELS = 4, TOKENS = 16, COLUMNS = CHANNELS * PATCH * PATCH };

/* What the tap saw, by name. */
struct seen {
    char name[8];
    float *data;
    size_t columns;
};

struct record {
    struct seen seen[8];
    int count;
};

static int32_t record(void *user, const char *name, const dqg_tensor_view *view) {
    struct record *record = user;
    struct seen *seen = &record->seen[record->count++];
    size_t bytes = (size_t)view->shape[0] * (size_t)view->shape[1] * sizeof(float);
    strcpy(seen->name, name);
    seen->columns = (size_t)view->shape[1];
    seen->data = malloc(bytes);
    memcpy(seen->data, view->data, bytes);
    return 0;
}

static const struct seen *find(const struct record *record, const char *name) {
    for (int i = 0; i < record->count; i++) {
        if (strcmp(record->seen[i].name, name) == 0) {
            return &record->seen[i];
        }
    }
    fail_msg("no value '%s'", name);
    return NULL;
}

/* Queries of one value, keys and values of another that nothing else reads, and a mask that a third makes. */
static void build(struct dqg_graph *graph) {
    assert_ok(dqg_graph_init(graph->context, graph, 8));
    int32_t kv = dqg_graph_patchify(graph, "kv", NULL);
    int32_t mask = dqg_graph_timestep(graph, "mask", TOKENS);
    int32_t one = dqg_graph_timestep(graph, "one", COLUMNS);
    int32_t q = dqg_graph_patchify(graph, "q", NULL);
    q = dqg_graph_activate(graph, "act", q, DQG_ACT_SILU);
    struct dqg_graph_attention_args cross = {
        .q = q, .k = kv, .v = kv, .q_column = 8, .k_column = 32, .v_column = 16, .width = 32, .heads = 2, .mask = mask};
    dqg_graph_attention_to(graph, "cross", &cross);
    struct dqg_graph_attention_args single = {
        .q = one, .k = kv, .v = q, .width = COLUMNS, .heads = 4, .mask = DQG_NO_VALUE, .causal = true};
    dqg_graph_attention_to(graph, "single", &single);
}

static void check_result(const struct record *record, struct dqg_attention_args args, const char *name, const char *q,
                         const char *k, const char *v, const struct dqg_node *node) {
    const struct seen *out = find(record, name);
    args.ld_q = find(record, q)->columns;
    args.ld_k = find(record, k)->columns;
    args.ld_v = find(record, v)->columns;
    args.q = find(record, q)->data + node->q_column;
    args.k = find(record, k)->data + node->k_column;
    args.v = find(record, v)->data + node->v_column;
    args.out = out->data;
    args.ld_out = out->columns;
    args.heads = node->heads;
    args.width = out->columns / node->heads;
    args.causal = node->causal;
    args.samples = SAMPLES;
    args.keys = TOKENS;
    assert_true(error_of(&args) < (node->int8 ? 0.02 : 1e-5));
}

static void check_graph(enum dqg_attention_mode mode) {
    dqg_context *context;
    struct dqg_exec exec = {0};
    struct record seen = {.count = 0};
    assert_ok(dqg_context_create(NULL, &context));
    struct dqg_graph graph = {.context = context,
                              .samples = SAMPLES,
                              .channels = CHANNELS,
                              .height = SIDE,
                              .width = SIDE,
                              .patch = PATCH,
                              .tokens = TOKENS,
                              .attention = mode};
    build(&graph);
    assert_ok(dqg_graph_fuse(&graph));
    assert_ok(dqg_graph_plan(&graph));
    assert_int_equal(graph.shared_bytes > 0, mode == DQG_ATTENTION_INT8);
    assert_ok(dqg_exec_init(context, &graph, &exec));
    float *x = random_floats(SAMPLES * CHANNELS * SIDE * SIDE, 4);
    const double timesteps[SAMPLES] = {3.0, 700.0};
    struct dqg_exec_io io = {.x = x, .timesteps = timesteps};
    exec.tap = record;
    exec.tap_user = &seen;
    while (dqg_exec_next(&exec, &io) == DQG_PENDING) {
    }
    const struct dqg_node *cross = &graph.nodes[graph.node_count - 2], *single = cross + 1;
    assert_int_equal(cross->int8, mode == DQG_ATTENTION_INT8);
    assert_int_equal(graph.values[cross->mask].last_use, graph.node_count - 2); /* what is read is alive by then */
    assert_int_equal(graph.values[single->k].last_use, graph.node_count - 1);
    assert_int_equal(graph.values[single->v].last_use, graph.node_count - 1);
    struct dqg_attention_args masked = {.queries = TOKENS, .bias = find(&seen, "mask")->data, .bias_sample = TOKENS};
    check_result(&seen, masked, "cross", "act", "kv", "kv", cross);
    check_result(&seen, (struct dqg_attention_args){.queries = 1}, "single", "one", "kv", "act", single);
    for (int i = 0; i < seen.count; i++) {
        free(seen.seen[i].data);
    }
    free(x);
    dqg_exec_free(&exec);
    dqg_graph_free(&graph);
    dqg_context_destroy(context);
}

static void test_graph(void **state) {
    (void)state;
    check_graph(DQG_ATTENTION_AUTO); /* no matrix is quantized: floats */
    check_graph(DQG_ATTENTION_FLOAT);
    check_graph(DQG_ATTENTION_INT8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operator), cmocka_unit_test(test_graph)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
