/* SPDX-License-Identifier: MIT */
/*
 * Region-adaptive sampling below the run: which steps and tokens, against published numbers; and a network of which
 * some tokens are computed, against the same network of which all are.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "model/model.h"
#include "model_fixture.h"
#include "run/ras.h"
#include "support/rng.h"

enum { CHANNELS = 4, SIDE = 8, TOKENS = 16, PIXELS = CHANNELS * SIDE * SIDE };

/* ---- steps ---- */

static void check_steps(struct dqg_ras *ras, int32_t steps, const char *want) {
    for (int32_t i = 0; i < steps; i++) {
        assert_int_equal(dqg_ras_wants(ras, i, steps), want[i] == 'R');
    }
}

static void test_steps(void **state) {
    int64_t resets[] = {12, 20};
    struct dqg_ras ras = {.ratio = 0.5, .resets = resets, .reset_count = 2};
    (void)state;
    check_steps(&ras, 28, "DDDDRRRRRRRRDRRRRRRRDRRRRRRR");
    double work = 0;
    for (int32_t i = 0; i < 28; i++) {
        work += dqg_ras_wants(&ras, i, 28) ? ras.ratio : 1;
    }
    assert_true(work == 17.0);
    ras.range_count = 2;
    ras.range[0] = 2;
    ras.range[1] = 5;
    ras.reset_count = 0;
    check_steps(&ras, 8, "DDRRRRDD");
    ras.ratio = 0;
    check_steps(&ras, 8, "DDDDDDDD");
}

/* ---- tokens ---- */

struct selection {
    struct dqg_ras ras;
    int32_t active[TOKENS], left_out[TOKENS];
    struct dqg_ras_rank ranks[TOKENS];
    char cached[TOKENS];
    float update[PIXELS];
};

static void make_selection(struct selection *s, double ratio, double high) {
    size_t lowest, highest;
    memset(s, 0, sizeof *s);
    dqg_ras_counts(TOKENS, ratio, high, &lowest, &highest);
    s->ras = (struct dqg_ras){.ratio = ratio,
                              .high = high,
                              .samples = 1,
                              .images = 1,
                              .channels = CHANNELS,
                              .height = SIDE,
                              .width = SIDE,
                              .patch = 2,
                              .tokens = TOKENS,
                              .active_count = TOKENS - lowest - highest,
                              .active = s->active,
                              .left_out = s->left_out,
                              .ranks = s->ranks,
                              .cached = s->cached};
    for (int c = 0; c < CHANNELS; c++) {
        for (int y = 0; y < SIDE; y++) {
            for (int x = 0; x < SIDE; x++) {
                s->update[(c * SIDE + y) * SIDE + x] = (float)(sin(.7 * c + .9 * y) * cos(.5 * x + .3 * c * y));
            }
        }
    }
}

static void test_changes(void **state) {
    static const double want[TOKENS] = {.380125, .169892, .283092, .391518, .417145, .367828, .437252, .429124,
                                        .567284, .489487, .492989, .568355, .597874, .506343, .434542, .594243};
    struct selection s;
    (void)state;
    make_selection(&s, .5, 1);
    dqg_ras_changes(&s.ras, s.update, s.ranks);
    for (int i = 0; i < TOKENS; i++) {
        assert_int_equal(s.ranks[i].token, i);
        assert_float_equal(s.ranks[i].change, want[i], 1e-6);
    }
    /* Norms: of a picture that is 3, 4, 0, 0 in every pixel of the second token and 0 elsewhere. */
    memset(s.update, 0, sizeof s.update);
    for (int pixel = 0; pixel < 4; pixel++) {
        int at = pixel / 2 * SIDE + 2 + pixel % 2;
        s.update[at] = 3;
        s.update[SIDE * SIDE + at] = 4;
    }
    s.ras.metric = DQG_RAS_L2;
    dqg_ras_changes(&s.ras, s.update, s.ranks);
    assert_float_equal(s.ranks[1].change, 5, 1e-12);
    assert_float_equal(s.ranks[0].change, 0, 1e-12);
}

static void check_active(struct selection *s, struct dqg_context *context, const int32_t *want, size_t count) {
    dqg_ras_select(&s->ras, context, s->update);
    assert_int_equal(s->ras.active_count, count);
    assert_memory_equal(s->active, want, count * sizeof *want);
}

static void test_selection(void **state) {
    static const int32_t low[] = {0, 1, 2, 3, 4, 5, 7, 14}, mixed[] = {4, 6, 7, 8, 9, 10, 11, 13, 14};
    static const int32_t high[] = {6, 8, 9, 10, 11, 12, 13, 15}, returned[] = {6, 8, 9, 10, 11, 12, 13, 15};
    struct dqg_context *context = ((const struct model_fixture *)*state)->context;
    struct selection s;
    make_selection(&s, .5, 1);
    check_active(&s, context, low, 8);
    make_selection(&s, .5, .3);
    check_active(&s, context, mixed, 9);
    make_selection(&s, .5, 0);
    check_active(&s, context, high, 8);
    make_selection(&s, .1, .5); /* floor(14.4) is cached, 7 of each kind */
    dqg_ras_select(&s.ras, context, s.update);
    assert_int_equal(s.ras.active_count, 2);

    /* With a strong starvation below 0 those left out for their change return, above 0 they never do. */
    make_selection(&s, .5, 1);
    s.ras.starvation = -10;
    check_active(&s, context, low, 8);
    check_active(&s, context, returned, 8);
    check_active(&s, context, low, 8);
    make_selection(&s, .5, 1);
    s.ras.starvation = 10;
    check_active(&s, context, low, 8);
    check_active(&s, context, low, 8);
    for (int i = 0; i < TOKENS; i++) {
        assert_int_equal(s.left_out[i], s.cached[i] ? 2 : 0);
    }

    /* Not numbers rank lowest and harm nobody. */
    make_selection(&s, .5, 1);
    for (int i = 0; i < PIXELS; i++) {
        s.update[i] = i % 3 ? NAN : INFINITY;
    }
    check_active(&s, context, (const int32_t[]){0, 1, 2, 3, 4, 5, 6, 7}, 8);
}

/* ---- network ---- */

enum { SAMPLES = 2, VALUES = SAMPLES * PIXELS };

struct network {
    struct dqg_graph graph;
    struct dqg_exec exec;
    float out[VALUES];
};

static void make_network(struct network *net, const struct model_fixture *fixture, size_t active,
                         enum dqg_attention_mode attention) {
    struct dqg_graph_config config = {
        .samples = SAMPLES, .attention = attention, .active_tokens = active, .keep_keys = true};
    memset(net, 0, sizeof *net);
    assert_ok(dqg_model_graph(fixture->context, fixture->model, &config, &net->graph));
    assert_ok(dqg_exec_init(fixture->context, &net->graph, &net->exec));
}

static void free_network(struct network *net) {
    dqg_exec_free(&net->exec);
    dqg_graph_free(&net->graph);
}

static void evaluate(struct network *net, const float *x, const int32_t *active, float *kept) {
    const double timesteps[SAMPLES] = {300, 300};
    const int32_t labels[SAMPLES] = {1, -1};
    const struct dqg_exec_io io = {
        .x = x, .timesteps = timesteps, .labels = labels, .out = net->out, .active = active, .kept = kept};
    dqg_status status;
    do {
        status = dqg_exec_next(&net->exec, &io);
    } while (status == DQG_PENDING);
    assert_int_equal(status, DQG_DONE);
}

static bool is_active(const int32_t *active, size_t count, size_t pixel) {
    size_t sample = pixel / PIXELS, y = pixel / SIDE % SIDE, x = pixel % SIDE;
    int32_t token = (int32_t)(y / 2 * (SIDE / 2) + x / 2);
    for (size_t i = 0; i < count; i++) {
        if (active[sample * count + i] == token) {
            return true;
        }
    }
    return false;
}

/* The same input again: whichever tokens are computed, they see what they saw, and say the same bits. */
static void check_network(const struct model_fixture *fixture, enum dqg_attention_mode attention, bool keeps) {
    enum { ACTIVE = 5 };
    static const int32_t active[SAMPLES * ACTIVE] = {0, 3, 7, 8, 15, 1, 2, 3, 4, 14};
    struct network dense, sparse;
    float x[VALUES], want[VALUES];
    dqg_rng_normal(5, 0, x, VALUES);
    make_network(&dense, fixture, 0, attention);
    make_network(&sparse, fixture, ACTIVE, attention);
    assert_int_equal(dense.graph.kept_floats, sparse.graph.kept_floats);
    assert_int_equal(dense.graph.kept_floats, 2 * SAMPLES * TOKENS * 2 * 64); /* blocks, tokens, K and V */
    float *kept = calloc(dense.graph.kept_floats, sizeof *kept);
    float *before = calloc(dense.graph.kept_floats, sizeof *before);
    assert_non_null(kept);
    assert_non_null(before);
    evaluate(&dense, x, NULL, NULL);
    memcpy(want, dense.out, sizeof want);
    evaluate(&dense, x, NULL, kept);
    assert_memory_equal(dense.out, want, sizeof want);
    memcpy(before, kept, dense.graph.kept_floats * sizeof *kept);
    if (!keeps) {
        memset(kept, 0, dense.graph.kept_floats * sizeof *kept);
    }
    for (int i = 0; i < VALUES; i++) {
        sparse.out[i] = -7;
    }
    evaluate(&sparse, x, active, kept);
    bool same = true;
    for (size_t i = 0; i < VALUES; i++) {
        bool computed = is_active(active, ACTIVE, i);
        same = same && sparse.out[i] == (computed ? want[i] : -7);
    }
    assert_true(same == keeps);
    assert_true((memcmp(kept, before, dense.graph.kept_floats * sizeof *kept) == 0) == keeps);
    free(kept);
    free(before);
    free_network(&dense);
    free_network(&sparse);
}

static void test_network(void **state) {
    check_network(*state, DQG_ATTENTION_FLOAT, true);
    check_network(*state, DQG_ATTENTION_INT8, true);
    check_network(*state, DQG_ATTENTION_FLOAT, false); /* they do look at what was kept */
}

/* All tokens active, in any number of lanes. */
static void test_all_active(void **state) {
    const struct model_fixture *fixture = *state;
    int32_t active[SAMPLES * TOKENS];
    float x[VALUES];
    for (int i = 0; i < SAMPLES * TOKENS; i++) {
        active[i] = i % TOKENS;
    }
    dqg_rng_normal(6, 0, x, VALUES);
    for (int32_t threads = 1; threads <= 3; threads++) {
        struct network dense, sparse;
        assert_ok(dqg_context_set_threads(fixture->context, threads));
        make_network(&dense, fixture, 0, DQG_ATTENTION_AUTO);
        make_network(&sparse, fixture, TOKENS, DQG_ATTENTION_AUTO);
        float *kept = calloc(dense.graph.kept_floats, sizeof *kept);
        assert_non_null(kept);
        evaluate(&dense, x, NULL, NULL);
        evaluate(&sparse, x, active, kept);
        assert_memory_equal(dense.out, sparse.out, sizeof dense.out);
        free(kept);
        free_network(&dense);
        free_network(&sparse);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),   cmocka_unit_test(test_changes),    cmocka_unit_test(test_selection),
        cmocka_unit_test(test_network), cmocka_unit_test(test_all_active),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
