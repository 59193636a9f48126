/* SPDX-License-Identifier: MIT */
/*
 * Convolutions against plain loops: float weights in double precision, quantized ones bit for bit against integer sums
 * over the same codes. Every backend, several numbers of threads, guard bytes behind each lane's scratch and in the
 * gaps of the output.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "ops/conv.h"
#include "packed_weight.h"
#include "support/rng.h"

enum { GUARD = 64, PATTERN = 0x5a, GAP = 3, MOST_OUTPUTS = 130 };

static dqg_context *context;
static uint64_t state_of_random = 1;

static uint64_t random_bits(void) {
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return state_of_random >> 33;
}

static float random_float(void) {
    return (float)random_bits() * 0x1p-30f - 1.0f;
}

/* One problem: weights, input, what the epilogue reads, and memory for the result. */
struct problem {
    struct dqg_conv_shape shape;
    struct dqg_weight weight;
    struct dqg_conv args;
    struct dqg_conv_image image;
    struct dqg_ops ops;
    char *block; /* of the image */
    size_t block_bytes, outputs, lanes, scratch_bytes, pixels;
    float *x, *out, *rows; /* rows: bias, then addend and gate of each sample */
};

static void *filled(size_t bytes) {
    void *memory = malloc(bytes);
    assert_non_null(memory);
    memset(memory, PATTERN, bytes);
    return memory;
}

static void assert_guard(const char *from, size_t bytes) {
    bool whole = true;
    for (size_t i = 0; i < bytes; i++) {
        whole = whole && from[i] == PATTERN;
    }
    assert_true(whole);
}

static float *random_floats(size_t count) {
    float *values = filled(count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = random_float();
    }
    return values;
}

/* Random weights in the storage format. */
static void make_weight(struct problem *p, int32_t dtype, int32_t group) {
    const struct dqg_conv_shape *shape = &p->shape;
    const int64_t sizes[] = {(int64_t)p->outputs, (int64_t)shape->channels, (int64_t)shape->kernel[0],
                             (int64_t)shape->kernel[1], (int64_t)shape->kernel[2]};
    size_t taps = shape->kernel[0] * shape->kernel[1] * shape->kernel[2];
    float *values = random_floats(p->outputs * shape->channels * taps);
    pack_weight(context, &p->weight, dtype, group, 5, sizes, values, 1);
    free(values);
}

static void make_problem(struct problem *p, const struct dqg_conv_shape *shape, size_t outputs, int32_t dtype,
                         int32_t group) {
    *p = (struct problem){.shape = *shape, .outputs = outputs, .lanes = dqg_concurrency(context)};
    make_weight(p, dtype, group);
    assert_true(dqg_conv_valid(shape, &p->weight));
    p->pixels = dqg_conv_out_pixels(shape);
    p->scratch_bytes = dqg_op_conv_scratch(&p->weight);
    p->ops = (struct dqg_ops){.context = context, .kernels = context->kernels};
    p->ops.lane_bytes = dqg_round_up(p->scratch_bytes + GUARD, DQG_ALIGNMENT);
    p->ops.scratch = filled(p->lanes * p->ops.lane_bytes);
    size_t in_pixels = shape->samples * shape->size[0] * shape->size[1] * shape->size[2];
    size_t ldx = shape->channels + random_bits() % 2 * GAP;
    p->x = random_floats(in_pixels * ldx);
    p->rows = random_floats(outputs * (1 + 2 * shape->samples));
    p->out = filled(p->pixels * (outputs + GAP) * sizeof(float));
    p->args = (struct dqg_conv){.shape = &p->shape,
                                .weight = &p->weight,
                                .x = p->x,
                                .out = p->out,
                                .bias = p->rows,
                                .ldx = ldx,
                                .ld_out = outputs + GAP};
    if (dqg_dtype_is_quantized(dtype)) {
        assert_true(dqg_conv_image_bytes(shape, &p->weight, &p->block_bytes));
        p->block = filled(p->block_bytes + GUARD);
        p->image = dqg_conv_image_at(shape, &p->weight, p->block);
        p->args.image = &p->image;
        char *scratch = malloc(p->lanes * DQG_PANEL * p->weight.size.columns_padded);
        struct dqg_ops ops = p->ops;
        ops.scratch = scratch;
        ops.lane_bytes = DQG_PANEL * p->weight.size.columns_padded;
        dqg_op_weight_sums(&ops, &p->weight);
        free(scratch);
    }
}

static void free_problem(struct problem *p) {
    dqg_weight_free(&context->alloc, &p->weight);
    free(p->ops.scratch);
    free(p->block);
    free(p->x);
    free(p->rows);
    free(p->out);
}

static void add_epilogue(struct problem *p) {
    p->args.addend = p->rows + p->outputs;
    p->args.gate = p->rows + p->outputs * (1 + p->shape.samples);
    p->args.residual = p->out; /* 0x5a5a5a5a is 1.5e16: small numbers instead */
    p->args.ld_addend = p->args.ld_gate = p->outputs;
    p->args.ld_residual = p->outputs + GAP;
    for (size_t i = 0; i < p->pixels; i++) {
        for (size_t n = 0; n < p->outputs; n++) {
            p->out[i * p->args.ld_out + n] = (float)((i + n) % 7) - 3.0f;
        }
    }
}

static void run(struct problem *p) {
    if (p->block != NULL) {
        dqg_op_conv_image(&p->ops, &p->shape, &p->image, p->x, p->args.ldx);
        assert_guard(p->block + p->block_bytes, GUARD);
    }
    dqg_op_conv(&p->ops, &p->args);
    for (size_t lane = 0; lane < p->lanes; lane++) {
        assert_guard(p->ops.scratch + lane * p->ops.lane_bytes + p->scratch_bytes,
                     p->ops.lane_bytes - p->scratch_bytes);
    }
    for (size_t i = 0; i < p->pixels; i++) {
        assert_guard((const char *)(p->out + i * p->args.ld_out + p->outputs), GAP * sizeof(float));
    }
}

/* ---- plain loops ---- */

/* Position of the doubled, padded axis to an input pixel, by walking back into the image; -1 for zero. */
static ptrdiff_t naive_source(const struct dqg_conv_shape *shape, int axis, ptrdiff_t at) {
    ptrdiff_t size = (ptrdiff_t)shape->size[axis] * (shape->upsample && axis > 0 ? 2 : 1);
    while (at < 0 || at >= size) {
        if (shape->padding == DQG_PAD_ZERO) {
            return -1;
        }
        if (shape->padding == DQG_PAD_CIRCULAR) {
            at += at < 0 ? size : -size;
        } else {
            at = at < 0 ? -at : 2 * size - 2 - at;
        }
    }
    return shape->upsample && axis > 0 ? at / 2 : at;
}

/* The input pixel under a tap of a result's window, or SIZE_MAX. */
static size_t naive_pixel(const struct dqg_conv_shape *shape, size_t pixel, size_t tap) {
    size_t sample = pixel / dqg_conv_out(shape, 2) / dqg_conv_out(shape, 1) / dqg_conv_out(shape, 0);
    size_t found[3];
    for (int axis = 2; axis >= 0; axis--) {
        ptrdiff_t at = (ptrdiff_t)(pixel % dqg_conv_out(shape, axis) * shape->stride[axis] +
                                   tap % shape->kernel[axis] * shape->dilation[axis]) -
                       (ptrdiff_t)shape->before[axis];
        at = naive_source(shape, axis, at);
        if (at < 0) {
            return SIZE_MAX;
        }
        found[axis] = (size_t)at;
        pixel /= dqg_conv_out(shape, axis);
        tap /= shape->kernel[axis];
    }
    return ((sample * shape->size[0] + found[0]) * shape->size[1] + found[1]) * shape->size[2] + found[2];
}

/* What the image holds for an input pixel. */
static const int8_t *codes_of(const struct problem *p, size_t pixel) {
    const struct dqg_conv_shape *shape = &p->shape;
    size_t at[3] = {0, 0, 0}, sample = pixel;
    for (int axis = 2; axis >= 0; axis--) {
        at[axis] = sample % shape->size[axis] + p->image.border[axis];
        sample /= shape->size[axis];
    }
    return p->image.codes + sample * p->image.sample +
           ((at[0] * p->image.size[1] + at[1]) * p->image.size[2] + at[2]) * p->image.pixel;
}

/* Integer sums over the image's codes and the int8 panels; totals: sums of the weights alone. */
static void sum_integers(const struct problem *p, int32_t *sums, int32_t *totals) {
    const struct dqg_matrix_size *size = &p->weight.size;
    char *scratch = malloc(size->rows_padded * size->columns_padded);
    const int8_t *w = dqg_panels_int8(&p->ops, &p->weight, 0, size->rows_padded / DQG_PANEL, scratch);
    memset(totals, 0, p->outputs * sizeof *totals);
    for (size_t n = 0; n < p->outputs; n++) {
        const int8_t *panel = w + n / DQG_PANEL * DQG_PANEL * size->columns_padded;
        for (size_t k = 0; k < size->columns_padded; k++) {
            totals[n] += panel[(k / 4 * DQG_PANEL + n % DQG_PANEL) * 4 + k % 4];
        }
    }
    for (size_t pixel = 0; pixel < p->pixels; pixel++, sums += p->outputs) {
        int32_t zero = p->image.zero[pixel / (p->pixels / p->shape.samples)];
        memset(sums, 0, p->outputs * sizeof *sums);
        for (size_t tap = 0; tap < size->taps; tap++) {
            size_t from = naive_pixel(&p->shape, pixel, tap);
            for (size_t n = 0; n < p->outputs; n++) {
                const int8_t *panel = w + n / DQG_PANEL * DQG_PANEL * size->columns_padded;
                for (size_t c = 0; c < size->tap_padded; c++) {
                    size_t k = tap * size->tap_padded + c;
                    int32_t code = from == SIZE_MAX ? zero : codes_of(p, from)[c];
                    sums[n] += code * panel[(k / 4 * DQG_PANEL + n % DQG_PANEL) * 4 + k % 4];
                }
            }
        }
    }
    free(scratch);
}

/* Results from those sums and the backend's own epilogue; want holds the residual where there is one. */
static void expect_integer(const struct problem *p, const int32_t *sums, const int32_t *totals, float *want) {
    for (size_t pixel = 0; pixel < p->pixels; pixel++, sums += p->outputs, want += p->args.ld_out) {
        size_t sample = pixel / (p->pixels / p->shape.samples);
        float bias[MOST_OUTPUTS];
        for (size_t n = 0; n < p->outputs; n++) {
            float unit = p->weight.column_scale[n] * p->image.scale[sample];
            bias[n] = p->rows[n] + (p->args.addend != NULL ? p->args.addend[sample * p->outputs + n] : 0.0f);
            bias[n] -= (float)p->image.zero[sample] * (float)totals[n] * unit;
        }
        for (size_t n = 0; n < p->outputs; n += DQG_BLOCK_COLUMNS) {
            struct dqg_epilogue epilogue = {.row_scale = &p->image.scale[sample],
                                            .column_scale = p->weight.column_scale + n,
                                            .bias = bias + n,
                                            .activation = p->args.activation};
            if (p->args.residual != NULL) {
                epilogue.gate = p->args.gate + sample * p->outputs + n;
                epilogue.residual = want + n;
            }
            p->ops.kernels->epilogue_i32_f32(want + n, p->args.ld_out, sums + n, p->outputs, 1,
                                             dqg_min_size(DQG_BLOCK_COLUMNS, p->outputs - n), &epilogue);
        }
    }
}

/* Sums in double precision over the weights' exact values, with bias, and sums of magnitudes. */
static void sum_doubles(const struct problem *p, double *sums, double *norms) {
    const struct dqg_matrix_size *size = &p->weight.size;
    float *w = malloc(size->rows * size->columns * sizeof *w);
    void *scratch = malloc(dqg_weight_scratch(&p->weight));
    dqg_weight_decode_rows(&p->weight, 0, size->rows, w, scratch);
    for (size_t pixel = 0; pixel < p->pixels; pixel++, sums += p->outputs, norms += p->outputs) {
        for (size_t n = 0; n < p->outputs; n++) {
            sums[n] = p->rows[n];
            norms[n] = fabs(sums[n]);
        }
        for (size_t tap = 0; tap < size->taps; tap++) {
            size_t from = naive_pixel(&p->shape, pixel, tap);
            for (size_t c = 0; c < p->shape.channels && from != SIZE_MAX; c++) {
                double x = p->x[from * p->args.ldx + c];
                for (size_t n = 0; n < p->outputs; n++) {
                    double product = x * w[n * size->columns + c * size->taps + tap];
                    sums[n] += product;
                    norms[n] += fabs(product);
                }
            }
        }
    }
    free(scratch);
    free(w);
}

/* ---- checks ---- */

static const struct {
    int32_t dtype, group;
    double error; /* of results, against exact weights and floats: here sums do not average errors out */
} formats[] = {
    {DQG_DTYPE_F32, 0, 2e-6},   {DQG_DTYPE_F16, 0, 2e-6},   {DQG_DTYPE_BF16, 0, 2e-6}, {DQG_DTYPE_INT8, 0, 0.02},
    {DQG_DTYPE_INT4, 32, 0.03}, {DQG_DTYPE_INT4Z, 64, 0.03}, {DQG_DTYPE_INT4, 128, 0.03},
    {DQG_DTYPE_INT3Z, 32, 0.03}, {DQG_DTYPE_BIN2, 64, 0.03}, {DQG_DTYPE_E4M3, 0, 0.03}, {DQG_DTYPE_VQ2, 0, 0.03},
    {DQG_DTYPE_VQ4, 0, 0.03},
};

static void check_floats(const struct problem *p, const double *sums, const double *norms, double limit) {
    for (size_t i = 0; i < p->pixels * p->outputs; i++) {
        float got = p->out[i / p->outputs * p->args.ld_out + i % p->outputs];
        assert_true(fabs(sums[i] - got) <= limit * norms[i]);
    }
}

/* All backends on one problem, quantized ones with and without what an epilogue adds. */
static void check_problem(const struct dqg_conv_shape *shape, size_t outputs, size_t format) {
    struct problem p;
    make_problem(&p, shape, outputs, formats[format].dtype, formats[format].group);
    size_t count = p.pixels * outputs, bytes = p.pixels * p.args.ld_out * sizeof(float);
    double *sums = malloc(count * sizeof *sums), *norms = malloc(count * sizeof *norms);
    int32_t *integers = malloc(count * sizeof *integers), totals[MOST_OUTPUTS];
    float *want = filled(bytes);
    sum_doubles(&p, sums, norms);
    for (int32_t i = 0; (p.ops.kernels = dqg_kernels_at(i)) != NULL; i++) {
        p.args.addend = p.args.residual = p.args.gate = NULL;
        p.args.activation = DQG_ACT_NONE;
        run(&p);
        check_floats(&p, sums, norms, formats[format].error);
        if (p.block == NULL) {
            continue;
        }
        if (i == 0) {
            sum_integers(&p, integers, totals);
        }
        expect_integer(&p, integers, totals, want);
        assert_memory_equal(p.out, want, bytes);
        add_epilogue(&p);
        p.args.activation = DQG_ACT_SILU;
        memcpy(want, p.out, bytes);
        run(&p);
        expect_integer(&p, integers, totals, want);
        assert_memory_equal(p.out, want, bytes);
    }
    free(sums);
    free(norms);
    free(integers);
    free(want);
    free_problem(&p);
}

static struct dqg_conv_shape random_shape(void) {
    static const size_t channels[] = {3, 4, 5, 8, 20, 40}, kernels[] = {1, 2, 3, 4, 5, 7};
    struct dqg_conv_shape shape = {.samples = 1 + random_bits() % 2, .channels = channels[random_bits() % 6]};
    shape.padding = (enum dqg_padding)(random_bits() % 3);
    shape.upsample = random_bits() % 3 == 0;
    bool volume = random_bits() % 3 == 0;
    for (int axis = 0; axis < 3; axis++) {
        bool flat = axis == 0 && !volume;
        shape.size[axis] = flat ? 1 : 3 + random_bits() % 7;
        shape.kernel[axis] = flat ? 1 : kernels[random_bits() % (axis == 0 ? 3 : 6)];
        shape.stride[axis] = shape.upsample || flat ? 1 : 1 + random_bits() % 3;
        shape.dilation[axis] = 1 + (random_bits() % 3 == 0);
        shape.before[axis] = flat ? 0 : random_bits() % (shape.kernel[axis] / 2 + 2);
        shape.after[axis] = flat ? 0 : random_bits() % (shape.kernel[axis] / 2 + 2);
    }
    return shape;
}

static void test_random(void **state) {
    (void)state;
    int tried = 0;
    for (int found = 0; found < 180; tried++) {
        struct dqg_conv_shape shape = random_shape();
        size_t outputs = 1 + random_bits() % 40, format = random_bits() % DQG_COUNT_OF(formats);
        struct dqg_weight weight = {.rank = 5, .shape = {1, (int64_t)shape.channels}};
        weight.size.rows = outputs;
        weight.size.taps = shape.kernel[0] * shape.kernel[1] * shape.kernel[2];
        if (dqg_conv_valid(&shape, &weight)) {
            check_problem(&shape, outputs, format);
            found++;
        }
    }
    assert_true(tried < 900);
}

/* Several blocks of columns and pixels, lines longer than a tile, an odd number of results in a doubled image. */
static void test_large(void **state) {
    (void)state;
    struct dqg_conv_shape shape = dqg_conv_square(2, 320, 9, 7, 3);
    check_problem(&shape, 130, 4);
    shape = dqg_conv_square(1, 16, 3, 70, 3);
    shape.padding = DQG_PAD_REFLECT;
    check_problem(&shape, 65, 3);
    check_problem(&shape, 65, 1);
    shape.upsample = true;
    shape.after[1] = shape.after[2] = 0;
    check_problem(&shape, 20, 3);
    check_problem(&shape, 20, 0);
    shape = dqg_conv_square(1, 100, 20, 21, 3); /* more than a block and a part of float weights */
    check_problem(&shape, 3, 0);
}

/* The same bits for any number of lanes, and for a sample alone and among others. */
static void test_invariance(void **state) {
    struct dqg_conv_shape shape = dqg_conv_square(3, 24, 20, 19, 3);
    (void)state;
    for (size_t format = 0; format < DQG_COUNT_OF(formats); format += 4) {
        float *first = NULL;
        size_t bytes = 0;
        for (int32_t threads = 1; threads <= 4; threads += 3) {
            assert_ok(dqg_context_set_threads(context, threads));
            assert_ok(dqg_parallel_prepare(context));
            state_of_random = 77;
            struct problem p;
            make_problem(&p, &shape, 70, formats[format].dtype, formats[format].group);
            run(&p);
            bytes = p.pixels * p.args.ld_out * sizeof(float);
            if (first == NULL) {
                first = malloc(bytes);
                memcpy(first, p.out, bytes);
            }
            assert_memory_equal(first, p.out, bytes);
            p.shape.samples = 1; /* the last one alone */
            p.pixels /= 3;
            p.x += 2 * 20 * 19 * p.args.ldx;
            p.args.x = p.x;
            run(&p);
            assert_memory_equal((const char *)first + bytes / 3 * 2, p.out, bytes / 3);
            p.x -= 2 * 20 * 19 * p.args.ldx;
            free_problem(&p);
        }
        free(first);
    }
    assert_ok(dqg_context_set_threads(context, 2));
    assert_ok(dqg_parallel_prepare(context));
}

/* A sample with a value that is not finite becomes its bias; the others do not notice. */
static void test_hostile(void **state) {
    static const float values[] = {NAN, INFINITY, -INFINITY, 1e-44f, 3e38f};
    struct dqg_conv_shape shape = dqg_conv_square(2, 5, 6, 6, 3);
    (void)state;
    for (size_t i = 0; i < DQG_COUNT_OF(values); i++) {
        struct problem p;
        make_problem(&p, &shape, 20, DQG_DTYPE_INT8, 0);
        size_t half = p.pixels / 2 * p.args.ld_out;
        float *want = malloc(2 * half * sizeof *want);
        run(&p);
        memcpy(want, p.out, 2 * half * sizeof *want);
        for (size_t j = 0; j < 36 * p.args.ldx; j++) {
            p.x[j] = i == 3 ? 0.0f : p.x[j];
        }
        p.x[17] = values[i];
        p.x[16] = i == 4 ? -3e38f : p.x[16]; /* with 3e38 the range is beyond floats */
        run(&p);
        assert_memory_equal(p.out + half, want + half, half * sizeof *want);
        for (size_t j = 0; j < half && i < 4; j++) {
            size_t n = j % p.args.ld_out;
            assert_true(n >= p.outputs || p.out[j] == p.rows[n]);
        }
        free(want);
        free_problem(&p);
    }
}

/* The zero point: nearly all codes are used where values have one sign, and 0 is exact. */
static void test_image(void **state) {
    struct dqg_conv_shape shape = dqg_conv_square(1, 3, 8, 8, 3);
    struct problem p;
    (void)state;
    make_problem(&p, &shape, 1, DQG_DTYPE_INT8, 0);
    for (size_t i = 0; i < 64 * p.args.ldx; i++) {
        p.x[i] = i % 5 == 0 ? 0.0f : fabsf(p.x[i]);
    }
    p.x[1] = 2.52f;
    p.x[2] = -0.02f;
    dqg_op_conv_image(&p.ops, &p.shape, &p.image, p.x, p.args.ldx);
    assert_true(fabsf(p.image.scale[0] - 2.54f / 252.0f) < 1e-6f);
    assert_int_equal(p.image.zero[0], -124);
    for (size_t pixel = 0; pixel < 64; pixel++) {
        const int8_t *codes = codes_of(&p, pixel);
        for (size_t c = 0; c < p.image.pixel; c++) {
            float x = c < 3 ? p.x[pixel * p.args.ldx + c] : 0.0f;
            float back = p.image.scale[0] * (float)(codes[c] - p.image.zero[0]);
            assert_true(fabsf(back - x) < 0.5001f * p.image.scale[0] && (x != 0.0f || back == 0.0f));
        }
    }
    free_problem(&p);
}

static void test_valid(void **state) {
    const struct dqg_conv_shape good = dqg_conv_square(1, 4, 5, 6, 3);
    struct dqg_weight weight = {.rank = 4, .shape = {2, 4, 3, 3}};
    (void)state;
    assert_true(dqg_matrix_size(DQG_DTYPE_INT8, 0, 4, weight.shape, &weight.size));
    assert_true(dqg_conv_valid(&good, &weight));
    for (int i = 0; i < 12; i++) {
        struct dqg_conv_shape bad = good;
        *(i == 0   ? &bad.samples
          : i == 1 ? &bad.channels
          : i == 2 ? &bad.size[1]
          : i == 3 ? &bad.kernel[2]
          : i == 4 ? &bad.stride[0]
                   : &bad.dilation[2]) = i == 1 ? 5 : 0;
        bad.dilation[2] = i >= 5 ? 1 : bad.dilation[2];
        bad.size[2] = i == 5 ? (size_t)1 << 40 : bad.size[2];
        bad.kernel[1] = i == 6 ? 9 : bad.kernel[1];
        bad.dilation[1] = i == 7 ? 4 : bad.dilation[1]; /* a window larger than the padded image */
        bad.upsample = i == 8 || i == 10;
        bad.stride[1] = i == 8 ? 2 : bad.stride[1];
        bad.padding = i == 9 || i == 10 ? DQG_PAD_REFLECT : i == 11 ? DQG_PAD_CIRCULAR : bad.padding;
        bad.before[1] = i == 9 ? 5 : i == 10 ? 2 : i == 11 ? 6 : bad.before[1];
        assert_false(dqg_conv_valid(&bad, &weight));
    }
    struct dqg_conv_shape huge = good;
    huge.samples = SIZE_MAX / 64;
    assert_false(dqg_conv_valid(&huge, &weight));
}

static int setup(void **state) {
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_context_set_threads(context, 2));
    return dqg_parallel_prepare(context);
}

static int teardown(void **state) {
    (void)state;
    dqg_context_destroy(context);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_large), cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_image), cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
