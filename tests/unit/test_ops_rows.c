/* SPDX-License-Identifier: MIT */
/*
 * Operators on rows and images against plain formulas: norms, gated units, rotary embedding, softmax, upsampling. Each
 * runs with one thread and with three, which must give the same bits.
 */
#include "ops_check.h"

/* Calls run(ops, y) with one thread and with three; the y of count floats must be equal, and are returned. */
static float *run_twice(void (*run)(const struct dqg_ops *ops, float *y), size_t count) {
    float *y[2];
    for (int i = 0; i < 2; i++) {
        struct dqg_ops ops = make_ops(i == 0 ? 1 : MOST_THREADS);
        y[i] = calloc(count, sizeof(float));
        assert_non_null(y[i]);
        run(&ops, y[i]);
        free_ops(&ops);
    }
    assert_memory_equal(y[0], y[1], count * sizeof(float));
    free(y[1]);
    return y[0];
}

/* ---- group norm ---- */

enum { G_SAMPLES = 2, G_PIXELS = 1999, G_CHANNELS = 60, G_GROUPS = 6, G_LD = 64 };
static float *g_x, *g_weight, *g_bias, *g_modulation, g_range[G_SAMPLES][2];

static void run_group_norm(const struct dqg_ops *ops, float *y) {
    size_t work = dqg_op_group_norm_work(G_SAMPLES, G_PIXELS, G_CHANNELS, G_GROUPS);
    struct dqg_group_norm args = {.x = g_x,
                                  .y = y,
                                  .weight = g_weight,
                                  .bias = g_bias,
                                  .scale = g_modulation,
                                  .shift = g_modulation + G_CHANNELS,
                                  .range = g_range[0],
                                  .work = malloc(work * sizeof(float)),
                                  .ldx = G_LD,
                                  .ldy = G_CHANNELS,
                                  .ld_modulation = 2 * G_CHANNELS,
                                  .samples = G_SAMPLES,
                                  .pixels = G_PIXELS,
                                  .channels = G_CHANNELS,
                                  .groups = G_GROUPS,
                                  .epsilon = 1e-6f,
                                  .activation = DQG_ACT_SILU};
    assert_non_null(args.work);
    assert_true(dqg_op_group_norm_scratch(G_CHANNELS) <= LANE_BYTES);
    dqg_op_group_norm(ops, &args);
    free(args.work);
}

static void check_group(const float *y, size_t sample, size_t group, double range[2]) {
    size_t width = G_CHANNELS / G_GROUPS;
    double mean = 0, variance = 0, count = (double)(G_PIXELS * width);
    const float *x = g_x + sample * G_PIXELS * G_LD + group * width;
    for (size_t i = 0; i < G_PIXELS * width; i++) {
        mean += (double)x[i / width * G_LD + i % width] / count;
    }
    for (size_t i = 0; i < G_PIXELS * width; i++) {
        variance += pow((double)x[i / width * G_LD + i % width] - mean, 2) / count;
    }
    for (size_t i = 0; i < G_PIXELS * width; i++) {
        size_t c = group * width + i % width;
        const float *modulation = g_modulation + sample * 2 * G_CHANNELS + c;
        double z = ((double)x[i / width * G_LD + i % width] - mean) / sqrt(variance + 1e-6);
        z = z * (double)g_weight[c] + (double)g_bias[c];
        z = z * (1 + (double)modulation[0]) + (double)modulation[G_CHANNELS];
        double want = z / (1 + exp(-z));
        double got = (double)y[(sample * G_PIXELS + i / width) * G_CHANNELS + c];
        assert_near(got, want, 2e-4); /* the mean is 100 times the deviation */
        range[0] = fmin(range[0], got);
        range[1] = fmax(range[1], got);
    }
}

static void test_group_norm(void **state) {
    (void)state;
    g_x = random_floats(G_SAMPLES * G_PIXELS * G_LD);
    for (size_t i = 0; i < G_SAMPLES * G_PIXELS * G_LD; i++) {
        /* Another mean in each sample, drifting over the image so that blocks differ. */
        g_x[i] = g_x[i] * 0.1f + (float)(i / (G_PIXELS * G_LD)) * 5.0f + (float)i * 1e-6f;
    }
    g_weight = random_floats(G_CHANNELS);
    g_bias = random_floats(G_CHANNELS);
    g_modulation = random_floats(G_SAMPLES * 2 * G_CHANNELS);
    float *y = run_twice(run_group_norm, G_SAMPLES * G_PIXELS * G_CHANNELS);
    for (size_t s = 0; s < G_SAMPLES; s++) {
        double range[2] = {0, 0};
        for (size_t g = 0; g < G_GROUPS; g++) {
            check_group(y, s, g, range);
        }
        assert_true((double)g_range[s][0] == range[0] && (double)g_range[s][1] == range[1]);
    }
    free(g_x);
    free(g_weight);
    free(g_bias);
    free(g_modulation);
    free(y);
}

/* ---- norm of heads in packed rows ---- */

enum { H_ROWS = 37, H_HEADS = 3, H_WIDTH = 20, H_LD = 3 * H_HEADS * H_WIDTH };
static float *h_x, *h_weight;

/* RMS norm of each query head: one call for each head, in place among keys and values. */
static void run_head_norm(const struct dqg_ops *ops, float *y) {
    memcpy(y, h_x, H_ROWS * H_LD * sizeof(float));
    for (size_t h = 0; h < H_HEADS; h++) {
        struct dqg_norm args = {.x = y + h * H_WIDTH,
                                .out = {.f32 = y + h * H_WIDTH, .ld = H_LD},
                                .form = {.weight = h_weight, .eps = 1e-5f, .rms = 1},
                                .ldx = H_LD,
                                .rows = H_ROWS,
                                .rows_per_sample = H_ROWS,
                                .columns = H_WIDTH};
        dqg_op_norm(ops, &args);
    }
}

static void test_head_norm(void **state) {
    (void)state;
    h_x = random_floats(H_ROWS * H_LD);
    h_weight = random_floats(H_WIDTH);
    float *y = run_twice(run_head_norm, H_ROWS * H_LD);
    for (size_t i = 0; i < H_ROWS * H_LD; i++) {
        size_t column = i % H_LD;
        if (column >= H_HEADS * H_WIDTH) {
            assert_true(y[i] == h_x[i]);
            continue;
        }
        double squares = 0;
        for (size_t j = 0; j < H_WIDTH; j++) {
            squares += pow((double)h_x[i - column % H_WIDTH + j], 2);
        }
        double want = (double)h_x[i] / sqrt(squares / H_WIDTH + 1e-5) * (double)h_weight[column % H_WIDTH];
        assert_near((double)y[i], want, 1e-5);
    }
    free(h_x);
    free(h_weight);
    free(y);
}

/* ---- norms of heads and rotary embedding ---- */

enum { R_SAMPLES = 2, R_TOKENS = 21, R_HEADS = 2, R_WIDTH = 12, R_QUERIES = R_HEADS * R_WIDTH, R_LD = 3 * R_QUERIES };
static float *r_x, *r_factor, *r_cosine, *r_sine;
static struct dqg_heads r_form;
static bool r_in_place;

static void run_heads(const struct dqg_ops *ops, float *y) {
    struct dqg_heads args = r_form;
    args.y = y;
    args.x = r_x;
    if (r_in_place) {
        args.x = memcpy(y, r_x, R_SAMPLES * R_TOKENS * R_LD * sizeof *y);
    }
    args.ldy = args.ldx = args.columns = R_LD;
    args.samples = R_SAMPLES;
    args.rows_per_sample = R_TOKENS;
    args.heads = R_HEADS;
    args.width = R_WIDTH;
    args.epsilon = 1e-6f;
    dqg_op_heads(ops, &args);
}

/* Value i of the head that begins at x, after its norm. */
static double normed(const float *x, size_t i, const float *factor) {
    double squares = 0;
    for (size_t j = 0; j < R_WIDTH; j++) {
        squares += (double)x[j] * (double)x[j];
    }
    return factor == NULL ? (double)x[i] : (double)x[i] / sqrt(squares / R_WIDTH + 1e-6) * (double)factor[i];
}

static void check_head(const float *y, const float *x, size_t token, const float *factor) {
    size_t half = R_WIDTH / 2;
    for (size_t p = 0; p < half; p++) {
        size_t first = r_form.neighbours ? 2 * p : p, second = first + (r_form.neighbours ? 1 : half);
        double a = normed(x, first, factor), b = normed(x, second, factor), c = 1, s = 0;
        if (r_form.cosine != NULL) {
            c = (double)r_cosine[token * half + p];
            s = (double)r_sine[token * half + p];
        }
        assert_near((double)y[first], a * c - b * s, 1e-6);
        assert_near((double)y[second], b * c + a * s, 1e-6);
    }
}

static void check_heads(struct dqg_heads form) {
    r_form = form;
    r_in_place = true;
    float *same = run_twice(run_heads, R_SAMPLES * R_TOKENS * R_LD);
    r_in_place = false;
    float *y = run_twice(run_heads, R_SAMPLES * R_TOKENS * R_LD);
    assert_memory_equal(y, same, R_SAMPLES * R_TOKENS * R_LD * sizeof *y);
    free(same);
    for (size_t row = 0; row < R_SAMPLES * R_TOKENS; row++) {
        for (size_t head = 0; head < 2 * R_HEADS; head++) {
            size_t at = row * R_LD + head * R_WIDTH;
            check_head(y + at, r_x + at, row % R_TOKENS, head < R_HEADS ? form.q_factor : form.k_factor);
        }
        assert_memory_equal(y + row * R_LD + 2 * R_QUERIES, r_x + row * R_LD + 2 * R_QUERIES,
                            R_QUERIES * sizeof(float));
    }
    free(y);
}

static void test_heads(void **state) {
    (void)state;
    r_x = random_floats(R_SAMPLES * R_TOKENS * R_LD);
    r_factor = random_floats(2 * R_WIDTH);
    r_cosine = random_floats(R_TOKENS * R_WIDTH / 2);
    r_sine = random_floats(R_TOKENS * R_WIDTH / 2);
    check_heads((struct dqg_heads){.cosine = r_cosine, .sine = r_sine});
    check_heads((struct dqg_heads){.cosine = r_cosine, .sine = r_sine, .neighbours = true});
    check_heads((struct dqg_heads){.q_factor = r_factor, .k_factor = r_factor + R_WIDTH});
    check_heads((struct dqg_heads){
        .q_factor = r_factor, .k_factor = r_factor + R_WIDTH, .cosine = r_cosine, .sine = r_sine, .neighbours = true});
    free(r_x);
    free(r_factor);
    free(r_cosine);
    free(r_sine);
}

/* ---- the small ones ---- */

enum { S_ROWS = 35, S_COLUMNS = 130 };
static float *s_x;

static void run_glu(const struct dqg_ops *ops, float *y) {
    struct dqg_glu args = {y, s_x, s_x + S_COLUMNS, S_COLUMNS, 2 * S_COLUMNS, S_ROWS, S_COLUMNS, DQG_ACT_GELU_ERF};
    dqg_op_glu(ops, &args);
}

static void test_glu(void **state) {
    (void)state;
    s_x = random_floats(S_ROWS * 2 * S_COLUMNS);
    float *y = run_twice(run_glu, S_ROWS * S_COLUMNS);
    for (size_t i = 0; i < S_ROWS * S_COLUMNS; i++) {
        const float *x = s_x + i / S_COLUMNS * 2 * S_COLUMNS + i % S_COLUMNS;
        double gate = (double)x[S_COLUMNS];
        assert_near((double)y[i], (double)x[0] * 0.5 * gate * erfc(-gate / sqrt(2.0)), 1e-6);
    }
    free(s_x);
    free(y);
}

static void run_softmax(const struct dqg_ops *ops, float *y) {
    struct dqg_softmax args = {y, s_x, S_COLUMNS, S_COLUMNS, S_ROWS, S_COLUMNS, 3.0f};
    dqg_op_softmax(ops, &args);
}

static void test_softmax(void **state) {
    (void)state;
    s_x = random_floats(S_ROWS * S_COLUMNS);
    float *y = run_twice(run_softmax, S_ROWS * S_COLUMNS);
    for (size_t i = 0; i < S_ROWS * S_COLUMNS; i++) {
        double sum = 0;
        for (size_t j = 0; j < S_COLUMNS; j++) {
            sum += exp(3 * (double)s_x[i / S_COLUMNS * S_COLUMNS + j]);
        }
        assert_near((double)y[i], exp(3 * (double)s_x[i]) / sum, 1e-6);
    }
    free(s_x);
    free(y);
}

enum { A_COUNT = 9001 };

static void run_add(const struct dqg_ops *ops, float *y) {
    dqg_op_add(ops, y, s_x, s_x + A_COUNT, A_COUNT, -0.5f);
}

static void test_add(void **state) {
    (void)state;
    s_x = random_floats(2 * A_COUNT);
    float *y = run_twice(run_add, A_COUNT);
    for (size_t i = 0; i < A_COUNT; i++) {
        assert_near((double)y[i], (double)s_x[i] - 0.5 * (double)s_x[A_COUNT + i], 1e-6);
    }
    free(s_x);
    free(y);
}

enum { U_SAMPLES = 2, U_HEIGHT = 4, U_WIDTH = 6, U_CHANNELS = 3, U_OUT_HEIGHT = 7, U_OUT_WIDTH = 12 };
enum { U_PIXELS = U_SAMPLES * U_HEIGHT * U_WIDTH, U_OUT_PIXELS = U_SAMPLES * U_OUT_HEIGHT * U_OUT_WIDTH };

static void run_resize(const struct dqg_ops *ops, float *y) {
    struct dqg_resize args = {y, s_x, U_SAMPLES, U_CHANNELS, U_HEIGHT, U_WIDTH, U_OUT_HEIGHT, U_OUT_WIDTH};
    dqg_op_resize(ops, &args);
}

static void run_pool(const struct dqg_ops *ops, float *y) {
    struct dqg_resize args = {y, s_x, U_SAMPLES, U_CHANNELS, U_HEIGHT, U_WIDTH, U_HEIGHT / 2, U_WIDTH / 2};
    dqg_op_pool(ops, &args);
}

static void test_resize(void **state) {
    (void)state;
    s_x = random_floats(U_PIXELS * U_CHANNELS);
    float *y = run_twice(run_resize, U_OUT_PIXELS * U_CHANNELS);
    for (size_t i = 0; i < U_OUT_PIXELS * U_CHANNELS; i++) {
        size_t column = i / U_CHANNELS % U_OUT_WIDTH, line = i / U_CHANNELS / U_OUT_WIDTH;
        size_t from = line / U_OUT_HEIGHT * U_HEIGHT + line % U_OUT_HEIGHT * U_HEIGHT / U_OUT_HEIGHT;
        assert_true(y[i] == s_x[(from * U_WIDTH + column / 2) * U_CHANNELS + i % U_CHANNELS]);
    }
    free(y);
    y = run_twice(run_pool, U_PIXELS * U_CHANNELS / 4);
    for (size_t i = 0; i < U_PIXELS * U_CHANNELS / 4; i++) {
        size_t column = i / U_CHANNELS % (U_WIDTH / 2), line = i / U_CHANNELS / (U_WIDTH / 2);
        const float *x = s_x + (2 * line * U_WIDTH + 2 * column) * U_CHANNELS + i % U_CHANNELS;
        double sum = (double)x[0] + (double)x[U_CHANNELS] + (double)x[U_WIDTH * U_CHANNELS] +
                     (double)x[(U_WIDTH + 1) * U_CHANNELS];
        assert_near((double)y[i], sum / 4, 1e-6);
    }
    free(s_x);
    free(y);
}

/* Rows of equal times are copied; they must be what they would be alone. */
static void test_timestep(void **state) {
    (void)state;
    const double times[4] = {999.0, 999.0, 12.5, 999.0};
    float all[4 * 10], alone[10];
    dqg_op_timestep(all, times, 4, 1, 10);
    for (size_t s = 0; s < 4; s++) {
        dqg_op_timestep(alone, times + s, 1, 1, 10);
        assert_memory_equal(all + s * 10, alone, sizeof alone);
    }
    assert_near((double)alone[1], cos(999.0 * pow(10000.0, -1.0 / 5.0)), 1e-7);
}

/* ---- patches ---- */

/* Both orders of a patch give the image back, and differ by which index runs fastest. */
static void test_patches(void **state) {
    enum { P_SAMPLES = 2, P_CHANNELS = 3, P_HEIGHT = 4, P_WIDTH = 6, PATCH = 2, P_VALUES = 144, PIXELS = 4 };
    float *image = random_floats(P_VALUES), rows[2][P_VALUES], back[P_VALUES];
    struct dqg_ops ops = make_ops(2);
    (void)state;
    for (int order = 0; order < 2; order++) {
        const struct dqg_patches patches = {.samples = P_SAMPLES,
                                            .channels = P_CHANNELS,
                                            .height = P_HEIGHT,
                                            .width = P_WIDTH,
                                            .patch = PATCH,
                                            .pixel_padded = order == 0 ? P_CHANNELS : 0,
                                            .by_channels = order == 1};
        memset(back, 0, sizeof back);
        dqg_op_patchify(&ops, rows[order], image, &patches);
        dqg_op_unpatchify(&ops, back, rows[order], &patches);
        assert_memory_equal(back, image, sizeof back);
    }
    for (size_t i = 0; i < P_VALUES; i++) {
        size_t patch = i / (PIXELS * P_CHANNELS), pixel = i / P_CHANNELS % PIXELS, channel = i % P_CHANNELS;
        assert_true(rows[0][i] == rows[1][patch * PIXELS * P_CHANNELS + channel * PIXELS + pixel]);
    }
    free(image);
    free_ops(&ops);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_norm), cmocka_unit_test(test_head_norm), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_glu),        cmocka_unit_test(test_softmax),   cmocka_unit_test(test_add),
        cmocka_unit_test(test_resize),     cmocka_unit_test(test_timestep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
