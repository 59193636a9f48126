/* SPDX-License-Identifier: MIT */
/*
 * FLUX.1's graph: angles of positions, blocks that change nothing, and evaluations of some tokens, of some samples or
 * without some blocks, each against the whole. Weights are those of the golden test.
 */
#include <stdio.h>

#include "context_check.h"
#include "model/flux.h"
#include "ops_check.h"
#include "run/cache.h"

enum { SAMPLES = 2, HEIGHT = 8, WIDTH = 6, TOKENS = 12, TEXT = 5, CHANNELS = 16, PIXELS = CHANNELS * HEIGHT * WIDTH };
enum { VALUES = SAMPLES * PIXELS, BLOCKS = 4, D = 32, CONTEXT = 40, POOLED = 24 };

static dqg_model *load(void) {
    dqg_model *model;
    assert_ok(dqg_model_load(context, "tests/golden/flux/dev_original.safetensors", NULL, &model));
    return model;
}

/* ---- positions ---- */

/* A grid of patches of one pixel. */
static struct dqg_graph make_grid(size_t height, size_t width, size_t text) {
    return (struct dqg_graph){.context = context,
                              .height = height,
                              .width = width,
                              .patch = 1,
                              .tokens = height * width,
                              .context_tokens = text};
}

static void test_angles(void **state) {
    static const double omega16[] = {1, .316228, .1, .031623};
    (void)state;
    struct dqg_graph graph = make_grid(2, 3, 4);
    struct dqg_flux_angles angles = dqg_flux_angles(&graph, (size_t[]){16, 56, 56});
    const float *cosine = angles.cosine + 5 * 64, *sine = angles.sine + 5 * 64; /* row 1, column 2 */
    for (size_t i = 0; i < 8; i++) {
        assert_true(cosine[i] == 1 && sine[i] == 0);
    }
    assert_near((double)sine[8], sin(1), 1e-6);
    assert_near((double)sine[9], sin(.719686), 1e-6);
    assert_near((double)sine[8 + 27], .000139, 1e-6);
    assert_near((double)cosine[36 + 1], cos(2 * .719686), 1e-6);
    for (size_t i = 6 * 64; i < (6 + 4) * 64; i++) {
        assert_true(angles.cosine[i] == 1 && angles.sine[i] == 0);
    }
    angles = dqg_flux_angles(&graph, (size_t[]){0, 16, 0});
    for (size_t i = 0; i < 4; i++) {
        assert_near((double)angles.sine[4 * 8 + i], sin(omega16[i]), 1e-6);
    }
    dqg_graph_free(&graph);
}

/* The query of one token times the key of another, of heads that were turned; *norm: of both. */
static double turned(const struct dqg_ops *ops, const struct dqg_flux_angles *angles, const float *qk, int32_t a,
                     int32_t b, double *norm) {
    enum { HEAD = 128 };
    float y[2][2 * HEAD];
    const int32_t index[2] = {a, b};
    const struct dqg_heads heads = {.y = y[0],
                                    .x = qk,
                                    .cosine = angles->cosine,
                                    .sine = angles->sine,
                                    .index = index,
                                    .indexed = 2,
                                    .ldy = 2 * HEAD,
                                    .ldx = 2 * HEAD,
                                    .samples = 1,
                                    .rows_per_sample = 2,
                                    .heads = 1,
                                    .width = HEAD,
                                    .columns = 2 * HEAD,
                                    .neighbours = true};
    dqg_op_heads(ops, &heads);
    double sum = 0;
    *norm = 0;
    for (size_t i = 0; i < HEAD; i++) {
        sum += (double)y[0][i] * (double)y[1][HEAD + i];
        *norm += (double)y[0][i] * (double)y[0][i] + (double)y[1][HEAD + i] * (double)y[1][HEAD + i];
    }
    return sum;
}

/* Scores depend on the distance of two tokens alone, and turning keeps lengths. */
static void test_distances(void **state) {
    enum { GRID = 16, PAIRS = 20 };
    (void)state;
    struct dqg_graph graph = make_grid(GRID, GRID, 1);
    struct dqg_ops ops = make_ops(1);
    struct dqg_flux_angles angles = dqg_flux_angles(&graph, (size_t[]){16, 56, 56});
    float *qk = random_floats(4 * 128);
    double norm, first_norm;
    turned(&ops, &angles, qk, 0, 0, &first_norm);
    for (int32_t i = 0; i < PAIRS; i++) {
        int32_t a = i * 7 % 11 * GRID + i * 5 % 10, b = i * 3 % 11 * GRID + i % 10, shift = 3 * GRID + 5;
        double score = turned(&ops, &angles, qk, a, b, &norm);
        assert_near(norm, first_norm, 1e-4);
        assert_near(turned(&ops, &angles, qk, a + shift, b + shift, &norm), score, 1e-5);
        assert_true(a == b || fabs(turned(&ops, &angles, qk, a, a, &norm) - score) > 1e-3);
    }
    free(qk);
    free_ops(&ops);
    dqg_graph_free(&graph);
}

static void test_axes(void **state) {
    static const size_t want[][4] = {
        {128, 16, 56, 56}, {64, 8, 28, 28}, {32, 4, 14, 14}, {16, 4, 6, 6}, {24, 4, 10, 10}};
    static const char *const refused[] = {"[16,56]", "[15,57,56]", "[16,56,58]", "16", "[16,56,\"x\"]"};
    struct dqg_metadata metadata = {"axes_dims_rope", NULL};
    struct dqg_model model = {.alloc = context->alloc, .metadata = &metadata};
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(want); i++) {
        assert_ok(dqg_flux_axes(context, &model, want[i][0]));
        assert_memory_equal(model.hyper.axes, want[i] + 1, sizeof model.hyper.axes);
    }
    model.metadata_count = 1;
    for (size_t i = 0; i < DQG_COUNT_OF(refused); i++) {
        metadata.value = refused[i];
        assert_fails(context, dqg_flux_axes(context, &model, 128), DQG_ERROR_FORMAT);
        dqg_error_clear(context);
    }
    metadata = (struct dqg_metadata){"transformer/config.json", "{\"a\": [1], \"axes_dims_rope\": [32, 48, 48]}"};
    assert_ok(dqg_flux_axes(context, &model, 128));
    assert_memory_equal(model.hyper.axes, ((size_t[]){32, 48, 48}), sizeof model.hyper.axes);
    metadata.value = "{\"a\": [1]}";
    assert_ok(dqg_flux_axes(context, &model, 128));
    assert_int_equal(model.hyper.axes[0], 16);
    dqg_arena_free(&model.alloc, &model.arena);
}

/* ---- evaluations ---- */

struct network {
    struct dqg_graph graph;
    struct dqg_exec exec;
    struct dqg_exec_io io;
    float out[VALUES];
};

static float x[VALUES], text[SAMPLES * TEXT * CONTEXT], pooled[SAMPLES * POOLED];
static const double timesteps[SAMPLES] = {.9, .3}, guidance[SAMPLES] = {3.5, 2};

static void make_network(struct network *net, const dqg_model *model, struct dqg_graph_config config) {
    memset(net, 0, sizeof *net);
    config.samples = SAMPLES;
    config.height = HEIGHT;
    config.width = WIDTH;
    config.context_tokens = TEXT;
    assert_ok(dqg_model_graph(context, model, &config, &net->graph));
    assert_ok(dqg_exec_init(context, &net->graph, &net->exec));
    net->io = (struct dqg_exec_io){
        .x = x, .timesteps = timesteps, .guidance = guidance, .context = text, .pooled = pooled, .out = net->out};
}

static void free_network(struct network *net) {
    dqg_exec_free(&net->exec);
    dqg_graph_free(&net->graph);
}

/* Up to the operator end. */
static void run_to(struct network *net, int32_t end) {
    dqg_status status = DQG_PENDING;
    while (status == DQG_PENDING && net->exec.next != end) {
        status = dqg_exec_next(&net->exec, &net->io);
    }
    assert_true(status >= 0);
}

static void evaluate(struct network *net) {
    run_to(net, -1);
}

/* Modulation of 0: every block is the identity, bit for bit. */
static void test_identity(void **state) {
    static const int64_t all[BLOCKS] = {0, 1, 2, 3};
    const struct dqg_perturbation skip = {DQG_PERTURB_SKIP, all, BLOCKS};
    struct network whole, empty;
    (void)state;
    dqg_model *model = load();
    make_network(&whole, model, (struct dqg_graph_config){0});
    make_network(&empty, model, (struct dqg_graph_config){.perturbation = &skip});
    evaluate(&whole);
    evaluate(&empty);
    assert_memory_not_equal(whole.out, empty.out, sizeof whole.out);
    for (size_t i = 0; i < model->weight_count; i++) {
        if (strstr(model->weights[i].name, "mod.lin") != NULL ||
            strstr(model->weights[i].name, "modulation.lin") != NULL) {
            memset(model->weights[i].codes, 0, (size_t)model->weights[i].bytes[0]);
        }
    }
    evaluate(&whole);
    assert_memory_equal(whole.out, empty.out, sizeof whole.out);
    free_network(&whole);
    free_network(&empty);
    dqg_model_release(model);
}

static bool is_active(const int32_t *active, size_t count, size_t at) {
    size_t sample = at / PIXELS, row = at / WIDTH % HEIGHT, column = at % WIDTH;
    for (size_t i = 0; i < count; i++) {
        if ((size_t)active[sample * count + i] == row / 2 * (WIDTH / 2) + column / 2) {
            return true;
        }
    }
    return false;
}

/* Some tokens once more with the same input: they turn by their own positions, see what they saw, say the same bits. */
static void test_active_tokens(void **state) {
    enum { ACTIVE = 5 };
    static const int32_t active[SAMPLES * ACTIVE] = {0, 1, 4, 7, 11, 2, 3, 8, 9, 10};
    struct network dense, sparse;
    (void)state;
    dqg_model *model = load();
    make_network(&dense, model, (struct dqg_graph_config){.keep_keys = true});
    make_network(&sparse, model, (struct dqg_graph_config){.keep_keys = true, .active_tokens = ACTIVE});
    assert_int_equal(dense.graph.kept_floats, BLOCKS * SAMPLES * (TOKENS + TEXT) * 2 * D);
    float *kept = calloc(dense.graph.kept_floats, sizeof *kept);
    assert_non_null(kept);
    dense.io.kept = sparse.io.kept = kept;
    sparse.io.active = active;
    evaluate(&dense);
    memset(sparse.out, 0, sizeof sparse.out);
    evaluate(&sparse);
    for (size_t i = 0; i < VALUES; i++) {
        assert_true(sparse.out[i] == (is_active(active, ACTIVE, i) ? dense.out[i] : 0));
    }
    free(kept);
    free_network(&dense);
    free_network(&sparse);
    dqg_model_release(model);
}

/* All blocks but the first for the second sample only, as step caches do: it says the same bits. */
static void test_samples_left_out(void **state) {
    static const int32_t computes[] = {1};
    struct network whole, part;
    (void)state;
    dqg_model *model = load();
    make_network(&whole, model, (struct dqg_graph_config){0});
    make_network(&part, model, (struct dqg_graph_config){.fewer_samples = true});
    for (int kind = DQG_CACHE_FIRST_BLOCK; kind < DQG_CACHE_DEEPCACHE; kind++) {
        const struct dqg_cache_config config = {.kind = (enum dqg_cache_kind)kind};
        struct dqg_cache cache;
        assert_ok(dqg_cache_init(context, &config, &part.graph, &cache));
        assert_int_equal(cache.stored_floats, kind == DQG_CACHE_EASYCACHE ? 2 * PIXELS : TOKENS * D);
        char *side = malloc(cache.cut.side_bytes + 1);
        assert_non_null(side);
        evaluate(&whole);
        memset(part.out, 0, sizeof part.out);
        run_to(&part, cache.cut.begin);
        dqg_cut_shrink(&cache.cut, &part.exec, computes, 1, side);
        run_to(&part, cache.cut.end);
        dqg_cut_grow(&cache.cut, &part.exec, computes, 1, side);
        evaluate(&part);
        assert_memory_equal(part.out + PIXELS, whole.out + PIXELS, PIXELS * sizeof *part.out);
        free(side);
    }
    free_network(&whole);
    free_network(&part);
    dqg_model_release(model);
}

/* Blocks are numbered through; attention that passes values through leaves another result than all the others. */
static void test_perturbed(void **state) {
    struct network nets[1 + 2 * BLOCKS];
    (void)state;
    dqg_model *model = load();
    make_network(&nets[0], model, (struct dqg_graph_config){0});
    evaluate(&nets[0]);
    for (int64_t i = 0; i < 2 * BLOCKS; i++) {
        int64_t block = i / 2;
        const struct dqg_perturbation one = {i % 2 == 0 ? DQG_PERTURB_ATTENTION : DQG_PERTURB_SKIP, &block, 1};
        make_network(&nets[1 + i], model, (struct dqg_graph_config){.perturbation = &one});
        evaluate(&nets[1 + i]);
        for (int64_t k = 0; k < 1 + i; k++) {
            assert_memory_not_equal(nets[k].out, nets[1 + i].out, sizeof nets[k].out);
        }
    }
    for (size_t i = 0; i < DQG_COUNT_OF(nets); i++) {
        free_network(&nets[i]);
    }
    dqg_model_release(model);
}

static void fill(float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        values[i] = random_float();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_angles),    cmocka_unit_test(test_distances),     cmocka_unit_test(test_axes),
        cmocka_unit_test(test_identity),  cmocka_unit_test(test_active_tokens), cmocka_unit_test(test_samples_left_out),
        cmocka_unit_test(test_perturbed),
    };
    fill(x, VALUES);
    fill(text, DQG_COUNT_OF(text));
    fill(pooled, DQG_COUNT_OF(pooled));
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
