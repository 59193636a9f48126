/* SPDX-License-Identifier: MIT */
/* Checks of the decoders from stored codes to int8 panels. */
#include <math.h>
#include <string.h>

#include "check.h"

/* ---- one panel of random codes ---- */

struct code_case {
    struct dqg_codes args;
    size_t bases; /* rows of scales that a group has */
    int hostile;
    struct buffer codes, scales, zeros, levels, inverse, got, want;
};

/* Set k, group, bits, bases and hostile before; table: entries of levels, or 0. */
static void code_case_make(struct code_case *c, size_t table, int with_zeros) {
    struct dqg_codes *args = &c->args;
    size_t groups = (args->k + args->group - 1) / args->group * c->bases;
    args->scale_stride = 16 + random_below(20);
    c->codes = buffer_make(1, args->k * 2 * (size_t)args->bits, 0, 1);
    c->scales = buffer_make(groups, 16, args->scale_stride, 2);
    c->zeros = buffer_make(groups, 16, args->scale_stride, 1);
    c->levels = buffer_make(1, table > 0 ? table : 1, 0, 1);
    c->inverse = buffer_make(1, 16, 0, 4);
    c->got = buffer_make(1, args->k * 16, 0, 1);
    c->want = buffer_make(1, args->k * 16, 0, 1);
    for (size_t i = 0; i < c->codes.size; i++) {
        ((uint8_t *)c->codes.data)[i] = (uint8_t)random_bits();
    }
    for (size_t i = 0; i < c->scales.size / 2; i++) {
        ((uint16_t *)c->scales.data)[i] = c->hostile ? random_half() : (uint16_t)(0x2000 + random_below(0x1800));
    }
    for (size_t i = 0; i < c->zeros.size; i++) {
        ((uint8_t *)c->zeros.data)[i] = (uint8_t)(c->hostile ? random_bits() : random_below(1u << args->bits));
    }
    for (size_t i = 0; i < c->levels.size; i++) {
        ((int8_t *)c->levels.data)[i] = (int8_t)((int)random_below(c->hostile ? 256 : 255) - (c->hostile ? 128 : 127));
    }
    for (size_t n = 0; n < 16; n++) {
        ((float *)c->inverse.data)[n] = random_unit() * 8000.0f + 8000.0f;
    }
    args->codes = c->codes.data;
    args->scales = c->scales.data;
    args->zeros = with_zeros ? c->zeros.data : NULL;
    args->levels = table > 0 ? c->levels.data : NULL;
    args->inverse = c->inverse.data;
}

static void code_case_free(struct code_case *c) {
    struct buffer *all[] = {&c->codes, &c->scales, &c->zeros, &c->levels, &c->inverse, &c->got, &c->want};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

/* Scalar against the plain formula where that is given, the others against scalar. */
static void code_case_run(struct code_case *c, const struct check *check, dqg_decode_i8_fn *tested,
                          dqg_decode_i8_fn *scalar, int (*formula)(const struct code_case *c, size_t n, size_t input)) {
    tested(c->got.data, &c->args);
    if (!check_is_scalar(check)) {
        scalar(c->want.data, &c->args);
        check_equal(c->got.data, c->want.data, 1, c->args.k * 16, 0, 1);
    } else if (!c->hostile) {
        for (size_t i = 0; i < c->args.k * 16; i++) {
            ((int8_t *)c->want.data)[i] = (int8_t)(uint8_t)formula(c, i / 4 % 16, i / 64 * 4 + i % 4);
        }
        check_equal(c->got.data, c->want.data, 1, c->args.k * 16, 0, 1);
    }
    code_case_free(c);
}

/* ---- plain formulas ---- */

/* kernel.h: field t of byte (q, n, i) of a plane of w bits is output n, input (32 / w) q + 4 t + i. */
static int plane_bits(const uint8_t *plane, size_t w, size_t n, size_t input) {
    size_t q = input / (32 / w), t = input % (32 / w) / 4, i = input % 4;
    return plane[(q * 16 + n) * 4 + i] >> (t * w) & ((1 << w) - 1);
}

static int code_at(const struct code_case *c, size_t n, size_t input) {
    static const size_t widths[7][2] = {{0}, {1, 0}, {2, 0}, {2, 1}, {4, 0}, {4, 1}, {4, 2}};
    const size_t *width = widths[c->args.bits];
    const uint8_t *block = c->args.codes + input / 32 * 64 * (size_t)c->args.bits;
    int code = plane_bits(block, width[0], n, input % 32);
    return width[1] ? code + (plane_bits(block + 64 * width[0], width[1], n, input % 32) << width[0]) : code;
}

/* Nearest-even by the C library. Not for scales that are negative or not finite. */
static double multiplier(const struct code_case *c, size_t row, size_t n) {
    float product = (float)half_value(c->args.scales[row * c->args.scale_stride + n]) * c->args.inverse[n];
    return nearbyint(product < 16256.0f ? (double)product : 16256.0);
}

static int group_formula(const struct code_case *c, size_t n, size_t input) {
    size_t g = input / c->args.group;
    int code = code_at(c, n, input), zero = 1 << (c->args.bits - 1);
    if (c->args.zeros) {
        zero = c->args.zeros[g * c->args.scale_stride + n];
    }
    int level = c->args.levels ? c->args.levels[code] : code - zero;
    return (int)floor((level * 256.0 * multiplier(c, g, n) + 16384.0) / 32768.0);
}

static int sign_formula(const struct code_case *c, size_t n, size_t input) {
    int code = code_at(c, n, input);
    double sum = 0.0;
    for (size_t b = 0; b < c->bases; b++) {
        double r = multiplier(c, input / c->args.group * c->bases + b, n);
        sum += code >> b & 1 ? r : -r;
    }
    return (int)floor((sum + 64.0) / 128.0);
}

static int f8_formula(const struct code_case *c, size_t n, size_t input) {
    int code = c->args.codes[input / 4 * 64 + n * 4 + input % 4];
    int level = code % 128 < 48 ? 0 : c->args.levels[code % 128 - 48];
    return code < 128 ? level : -level;
}

static int vector_formula(const struct code_case *c, size_t n, size_t input) {
    size_t d = c->args.bits == 2 ? 4 : 2;
    return c->args.levels[c->args.codes[(input / 4 * 16 + n) * (4 / d) + input % 4 / d] * d + input % d];
}

/* ---- the checks ---- */

static const size_t depths[] = {32, 64, 96, 128, 160, 256, 544};
static const size_t groups[] = {32, 64, 128};

static void worked_example(const struct check *check) {
    /* r: 0.5 * 1000 = 500; 0.5 * 1001 = 500.5 to the even 500; 0.5 * 1003 = 501.5 to the even 502; 0 */
    static const float inverse[16] = {1000.0f, 1001.0f, 1003.0f, 0.0f};
    static const int8_t want[8][4] = {
        /* code 15: 7 * 256 * 500 = 896000, + 16384, / 32768 = 27.84; 502: 27.95 */
        {27, 27, 27, 0}, {-31, -31, -31, 0},                   /* code 0: -8 * 256 * 500 = -1024000: -30.75, down */
        {0, 0, 0, 0},                                          /* code 8 */
        {4, 4, 4, 0},                                          /* code 9: 128000 + 16384 = 4.41 */
        {-4, -4, -4, 0},                                       /* code 7: -128000 + 16384 = -3.41, down */
        {8, 8, 8, 0},    {12, 12, 12, 0},    {-8, -8, -8, 0}}; /* codes 10: 8.31, 11: 12.22, 6: -7.31 */
    static const uint8_t code[8] = {15, 0, 8, 9, 7, 10, 11, 6};
    uint8_t codes[256];
    uint16_t scales[16];
    int8_t panel[512];
    for (int i = 0; i < 256; i++) {
        codes[i] = (uint8_t)(code[i % 4] | code[4 + i % 4] << 4);
        scales[i % 16] = 0x3800; /* 0.5 */
    }
    struct dqg_codes args = {
        .codes = codes, .bits = 4, .scales = scales, .scale_stride = 16, .inverse = inverse, .k = 32, .group = 32};
    check_case("decode_group_i8 %s: worked example", check->tested->name);
    check->tested->decode_group_i8(panel, &args);
    for (int i = 0; i < 32; i++) {
        for (int n = 0; n < 4; n++) {
            int got = panel[i / 4 * 64 + n * 4 + i % 4];
            if (got != want[i % 8][n]) {
                check_fail("input %d output %d: %d, expected %d", i, n, got, want[i % 8][n]);
            }
        }
    }
}

static struct code_case group_case(const struct check *check, const char *kernel, size_t i) {
    struct code_case c = {.bases = 1, .hostile = random_below(4) == 0};
    int with_zeros = (int)random_below(2), with_table = random_below(3) == 0;
    c.args.bits = with_table ? 4 : 2 + (int32_t)(i % 5);
    c.args.k = RANDOM_SIZE(depths);
    c.args.group = RANDOM_SIZE(groups);
    check_case("%s %s: bits %d k %zu group %zu table %d zeros %d hostile %d", kernel, check->tested->name,
               (int)c.args.bits, c.args.k, c.args.group, with_table, with_zeros, c.hostile);
    code_case_make(&c, with_table ? 16 : 0, with_zeros);
    return c;
}

void check_decode_group_i8(const struct check *check) {
    worked_example(check);
    for (size_t i = 0; i < check->cases; i++) {
        struct code_case c = group_case(check, "decode_group_i8", i);
        code_case_run(&c, check, check->tested->decode_group_i8, check->scalar->decode_group_i8, group_formula);
    }
}

/* Against the scalar product with the scalar panel. */
void check_gemm_group_i32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        struct code_case c = group_case(check, "gemm_group_i32", i);
        size_t rows = 1 + i % DQG_FEW_ROWS, lda = c.args.k + random_below(3) * 5, ldc = 16 + random_below(2) * 3;
        size_t row[DQG_FEW_ROWS], run = 0;
        struct buffer a = buffer_make(rows, c.args.k, lda, 1), sums = buffer_make(1, 16, 0, 4);
        struct buffer got = buffer_make(rows, 16, ldc, 4), want = buffer_make(rows, 16, ldc, 4);
        for (size_t m = 0; m < rows; m++) {
            row[m] = m * lda;
        }
        fill_small_ints(a.data, a.size);
        check->scalar->decode_group_i8(c.want.data, &c.args);
        check->scalar->sum_i8_i32(sums.data, c.want.data, c.args.k);
        struct dqg_gemm_i8 product = {.c = want.data,
                                      .ldc = ldc,
                                      .a = a.data,
                                      .row = row,
                                      .run = &run,
                                      .w = c.want.data,
                                      .sums = sums.data,
                                      .rows = rows,
                                      .panels = 1,
                                      .runs = 1,
                                      .k = c.args.k};
        check->scalar->gemm_i8_i32(&product);
        product.c = got.data;
        product.w = NULL;
        check->tested->gemm_group_i32(&product, &c.args);
        check_equal(got.data, want.data, rows, 16, ldc, 4);
        check_gaps(&got, rows, 16, ldc, 4);
        struct buffer *all[] = {&a, &sums, &got, &want};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
        code_case_free(&c);
    }
}

void check_decode_sign_i8(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        struct code_case c = {.bases = 1 + i % 2, .hostile = random_below(4) == 0};
        c.args.bits = (int32_t)c.bases;
        c.args.k = RANDOM_SIZE(depths);
        c.args.group = RANDOM_SIZE(groups);
        check_case("decode_sign_i8 %s: bases %zu k %zu group %zu hostile %d", check->tested->name, c.bases, c.args.k,
                   c.args.group, c.hostile);
        code_case_make(&c, 0, 0);
        code_case_run(&c, check, check->tested->decode_sign_i8, check->scalar->decode_sign_i8, sign_formula);
    }
}

/* Depths are multiples of 8 here. */
void check_decode_f8_i8(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        struct code_case c = {.bases = 1, .args = {.bits = 8, .k = 8 * (1 + random_below(40)), .group = 32}};
        check_case("decode_f8_i8 %s: k %zu", check->tested->name, c.args.k);
        code_case_make(&c, 128 - DQG_F8_FIRST, 0);
        for (size_t j = 0; j < 256 && j < c.codes.size; j++) { /* each code once */
            ((uint8_t *)c.codes.data)[j] = (uint8_t)j;
        }
        code_case_run(&c, check, check->tested->decode_f8_i8, check->scalar->decode_f8_i8, f8_formula);
    }
}

void check_decode_vector_i8(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        struct code_case c = {.bases = 1,
                              .args = {.bits = i % 2 ? 4 : 2, .k = 8 * (1 + random_below(40)), .group = 32}};
        check_case("decode_vector_i8 %s: bits %d k %zu", check->tested->name, (int)c.args.bits, c.args.k);
        code_case_make(&c, 256 * 8 / (size_t)c.args.bits, 0);
        code_case_run(&c, check, check->tested->decode_vector_i8, check->scalar->decode_vector_i8, vector_formula);
    }
}
