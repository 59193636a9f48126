/* SPDX-License-Identifier: MIT */
/* Checks of norms: norm_f32_f32, norm_f32_i8, and the halves of a group norm, moments_f32 and affine_f32_f32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const size_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 72, 100, 128, 256, 300};
static const size_t heights[] = {1, 2, 3, 5};

/* ---- rows ---- */

struct norm_case {
    size_t rows, n, ldx, ldy;
    int in_place;
    struct buffer x, weight, bias, scale, shift;
    struct dqg_norm_form form;
};

static struct norm_case make_norm(void) {
    struct norm_case c = {.rows = RANDOM_SIZE(heights), .n = RANDOM_SIZE(widths)};
    c.ldx = c.n + random_below(2) * 3;
    c.ldy = c.n + random_below(2) * 5;
    c.in_place = random_below(4) == 0;
    c.x = buffer_make(c.rows, c.n, c.ldx, 4);
    for (size_t m = 0; m < c.rows; m++) {
        fill_floats((float *)c.x.data + m * c.ldx, c.n);
    }
    struct buffer *all[] = {&c.weight, &c.bias, &c.scale, &c.shift};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        *all[i] = buffer_make(1, c.n, 0, 4);
        fill_floats(all[i]->data, c.n);
    }
    int modulate = (int)random_below(2);
    c.form = (struct dqg_norm_form){.weight = random_below(2) ? c.weight.data : NULL,
                                    .bias = random_below(2) ? c.bias.data : NULL,
                                    .scale = modulate ? c.scale.data : NULL,
                                    .shift = modulate ? c.shift.data : NULL,
                                    .eps = 1e-6f,
                                    .rms = (int)random_below(2)};
    return c;
}

static void free_norm(struct norm_case *c) {
    struct buffer *all[] = {&c->x, &c->weight, &c->bias, &c->scale, &c->shift};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

static void begin_norm(const char *name, const struct check *check, const struct norm_case *c) {
    const struct dqg_norm_form *form = &c->form;
    check_case("%s %s: rows %zu n %zu ldx %zu ldy %zu weight %d bias %d modulate %d rms %d in place %d", name,
               check->tested->name, c->rows, c->n, c->ldx, c->ldy, form->weight != NULL, form->bias != NULL,
               form->scale != NULL, form->rms, c->in_place);
}

/* One row; norm is the size that errors of the mean and of the factors scale with. */
static void double_norm(double *want, double *norm, const float *x, size_t n, const struct dqg_norm_form *form) {
    double mean = 0.0, variance = 0.0, largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        mean += form->rms ? 0.0 : x[i] / (double)n;
        largest = fmax(largest, fabs(x[i]));
    }
    for (size_t i = 0; i < n; i++) {
        variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    }
    double inverse = 1.0 / sqrt(variance + form->eps);
    for (size_t i = 0; i < n; i++) {
        double weight = form->weight ? form->weight[i] : 1.0, bias = form->bias ? form->bias[i] : 0.0;
        double scale = form->scale ? form->scale[i] : 0.0, shift = form->shift ? form->shift[i] : 0.0;
        want[i] = ((x[i] - mean) * inverse * weight + bias) * (1.0 + scale) + shift;
        norm[i] = (largest * inverse * fabs(weight) + fabs(bias)) * (1.0 + fabs(scale)) + fabs(shift);
    }
}

void check_norm_f32_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases * 2; i++) {
        struct norm_case c = make_norm();
        c.ldy = c.in_place ? c.ldx : c.ldy;
        begin_norm("norm_f32_f32", check, &c);
        struct buffer y = buffer_make(c.rows, c.n, c.ldy, 4);
        double *want = malloc(c.rows * c.n * sizeof *want), *norm = malloc(c.rows * c.n * sizeof *norm);
        for (size_t m = 0; m < c.rows; m++) {
            double_norm(want + m * c.n, norm + m * c.n, (float *)c.x.data + m * c.ldx, c.n, &c.form);
        }
        if (c.in_place) {
            buffer_copy(&y, &c.x);
        }
        check->tested->norm_f32_f32(y.data, c.ldy, c.in_place ? y.data : c.x.data, c.ldx, c.rows, c.n, &c.form);
        check_close(y.data, c.ldy, want, norm, c.rows, c.n, check->tolerance);
        check_gaps(&y, c.rows, c.n, c.ldy, 4);
        free(want);
        free(norm);
        buffer_free(&y);
        free_norm(&c);
    }
}

/* Bit for bit what the norm and the quantization make one after the other. */
void check_norm_f32_i8(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        struct norm_case c = make_norm();
        size_t padded = c.n + random_below(9), ldq = padded + random_below(2) * 3;
        begin_norm("norm_f32_i8", check, &c);
        if (random_below(4) == 0) {
            ((float *)c.x.data)[random_below(c.n)] = random_below(2) ? NAN : INFINITY;
        }
        struct buffer y = buffer_make(c.rows, c.n, c.ldy, 4), scratch = buffer_make(DQG_NORM_ROWS, c.n, c.n, 4);
        struct buffer got = buffer_make(c.rows, padded, ldq, 1), want = buffer_make(c.rows, padded, ldq, 1);
        struct buffer scale = buffer_make(1, c.rows, 0, 4), want_scale = buffer_make(1, c.rows, 0, 4);
        check->tested->norm_f32_f32(y.data, c.ldy, c.x.data, c.ldx, c.rows, c.n, &c.form);
        check->tested->quantize_f32_i8(want.data, ldq, want_scale.data, y.data, c.ldy, c.rows, c.n, padded);
        check->tested->norm_f32_i8(got.data, ldq, scale.data, c.x.data, c.ldx, c.rows, c.n, padded, &c.form,
                                   scratch.data);
        check_equal(got.data, want.data, c.rows, padded, ldq, 1);
        check_equal(scale.data, want_scale.data, 1, c.rows, 0, 4);
        check_gaps(&got, c.rows, padded, ldq, 1);
        struct buffer *all[] = {&y, &scratch, &got, &want, &scale, &want_scale};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
        free_norm(&c);
    }
}

/* ---- groups ---- */

static void double_moments(double *want, double *norm, const float *x, size_t ldx, size_t pixels, size_t groups,
                           size_t width) {
    for (size_t g = 0; g < groups; g++) {
        double mean = 0.0, squares = 0.0, size = 0.0, count = (double)(pixels * width);
        for (size_t i = 0; i < pixels * width; i++) {
            float v = x[i / width * ldx + g * width + i % width];
            mean += v / count;
            size += fabs(v);
        }
        for (size_t i = 0; i < pixels * width; i++) {
            double d = x[i / width * ldx + g * width + i % width] - mean;
            squares += d * d;
        }
        want[2 * g] = mean;
        norm[2 * g] = size / count;
        want[2 * g + 1] = squares;
        /* The mean is rounded: that moves every difference. */
        norm[2 * g + 1] = squares + size * size / count * 1e-6;
    }
}

void check_moments_f32(const struct check *check) {
    static const size_t group_widths[] = {1, 2, 4, 10, 16, 20, 40};
    static const size_t pixel_counts[] = {1, 2, 7, 33, 64};
    for (size_t i = 0; i < check->cases; i++) {
        size_t width = RANDOM_SIZE(group_widths), groups = 1 + random_below(9), pixels = RANDOM_SIZE(pixel_counts);
        size_t channels = groups * width, ldx = channels + random_below(2) * 3;
        check_case("moments_f32 %s: pixels %zu groups %zu width %zu ldx %zu", check->tested->name, pixels, groups,
                   width, ldx);
        struct buffer x = buffer_make(pixels, channels, ldx, 4), got = buffer_make(groups, 2, 2, 4);
        struct buffer scratch = buffer_make(2, channels, channels, 4);
        double want[18], norm[18];
        for (size_t p = 0; p < pixels; p++) {
            fill_floats((float *)x.data + p * ldx, channels);
        }
        double_moments(want, norm, x.data, ldx, pixels, groups, width);
        check->tested->moments_f32(got.data, x.data, ldx, pixels, groups, width, scratch.data);
        check_close(got.data, 2, want, norm, groups, 2, check->tolerance);
        buffer_free(&x);
        buffer_free(&got);
        buffer_free(&scratch);
    }
}

/* The range must be that of what was written. */
static void check_range(const float range[2], const struct dqg_affine *a) {
    float want[2] = {0.0f, 0.0f};
    for (size_t i = 0; i < a->rows * a->n; i++) {
        float y = a->y[i / a->n * a->ldy + i % a->n];
        if (!isfinite(y)) {
            want[0] = -INFINITY;
            want[1] = INFINITY;
            break;
        }
        want[0] = fminf(want[0], y);
        want[1] = fmaxf(want[1], y);
    }
    if (range[0] != want[0] || range[1] != want[1] || signbit(range[1])) {
        check_fail("range %g %g, expected %g %g", (double)range[0], (double)range[1], (double)want[0], (double)want[1]);
    }
}

void check_affine_f32_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases * 2; i++) {
        struct dqg_affine a = {.rows = RANDOM_SIZE(heights), .n = RANDOM_SIZE(widths)};
        a.ldx = a.n + random_below(2) * 3;
        a.ldy = a.n + random_below(2) * 5;
        a.activation = (enum dqg_activation)(i % DQG_ACT_COUNT);
        check_case("affine_f32_f32 %s: rows %zu n %zu ldx %zu ldy %zu activation %d", check->tested->name, a.rows, a.n,
                   a.ldx, a.ldy, (int)a.activation);
        struct buffer x = buffer_make(a.rows, a.n, a.ldx, 4), y = buffer_make(a.rows, a.n, a.ldy, 4);
        struct buffer factor = buffer_make(1, a.n, 0, 4), offset = buffer_make(1, a.n, 0, 4);
        double *want = malloc(a.rows * a.n * sizeof *want), *norm = malloc(a.rows * a.n * sizeof *norm);
        fill_floats(factor.data, a.n);
        fill_floats(offset.data, a.n);
        for (size_t m = 0; m < a.rows; m++) {
            fill_floats((float *)x.data + m * a.ldx, a.n);
        }
        if (random_below(4) == 0) {
            ((float *)x.data)[random_below(a.n)] = random_below(2) ? NAN : INFINITY;
        }
        for (size_t j = 0; j < a.rows * a.n; j++) {
            double product = (double)((float *)x.data)[j / a.n * a.ldx + j % a.n] * ((float *)factor.data)[j % a.n];
            double added = ((float *)offset.data)[j % a.n];
            want[j] = double_activation(product + added, a.activation);
            norm[j] = fabs(product) + fabs(added);
        }
        float range[2], alone[2];
        a.x = x.data;
        a.factor = factor.data;
        a.offset = offset.data;
        check->tested->affine_f32_f32(alone, &a);
        a.y = y.data;
        check->tested->affine_f32_f32(range, &a);
        check_range(range, &a);
        check_equal(alone, range, 1, 2, 0, 4);
        check_close(y.data, a.ldy, want, norm, a.rows, a.n, check->tolerance);
        check_gaps(&y, a.rows, a.n, a.ldy, 4);
        free(want);
        free(norm);
        struct buffer *all[] = {&x, &y, &factor, &offset};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
    }
}
