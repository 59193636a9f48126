/* SPDX-License-Identifier: MIT */
/* Checks of kernels without sums over many values, and softmax: activate_f32_f32, glu_f32_f32, add_f32, rope_f32_f32,
 * softmax_f32_f32. */
#include <math.h>
#include <stdlib.h>

#include "check.h"

static const size_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 72, 100, 128, 256, 300};
static const size_t heights[] = {1, 2, 3, 5};

/* From sweeping values to where exp overflows and beyond. */
static float activation_input(size_t i) {
    switch (random_below(6)) {
    case 0:
        return random_unit() * 100.0f;
    case 1:
        return ldexpf(random_unit(), (int)random_below(250) - 125);
    case 2:
        return -86.0f - 4.0f * (float)(i % 64) / 64.0f;
    default:
        return random_unit() * 8.0f;
    }
}

void check_activate_f32_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        enum dqg_activation activation = (enum dqg_activation)(i % DQG_ACT_COUNT);
        size_t n = RANDOM_SIZE(widths);
        int in_place = random_below(3) == 0;
        check_case("activate_f32_f32 %s: n %zu activation %d in place %d", check->tested->name, n, (int)activation,
                   in_place);
        struct buffer x = buffer_make(1, n, 0, 4), y = buffer_make(1, n, 0, 4);
        double want[300], norm[300];
        for (size_t j = 0; j < n; j++) {
            float v = activation_input(j);
            ((float *)x.data)[j] = v;
            want[j] = double_activation(v, activation);
            /* e^u magnifies the rounding of u; the exact GELU is fitted to an absolute error. */
            norm[j] = activation == DQG_ACT_GELU_ERF ? fabs(v) : fabs(want[j]) * (1.0 + fmin(fabs(v), 100.0));
        }
        if (in_place) {
            buffer_copy(&y, &x);
        }
        check->tested->activate_f32_f32(y.data, in_place ? y.data : x.data, n, activation);
        check_close(y.data, n, want, norm, 1, n, check->tolerance);
        buffer_free(&x);
        buffer_free(&y);
    }
    const float special[4] = {NAN, 1e38f, -1e38f, 0.0f};
    float y[4];
    for (int32_t activation = DQG_ACT_SILU; activation < DQG_ACT_COUNT; activation++) {
        check_case("activate_f32_f32 %s: special values, activation %d", check->tested->name, (int)activation);
        check->tested->activate_f32_f32(y, special, 4, (enum dqg_activation)activation);
        if (!isnan(y[0]) || y[1] != 1e38f || y[2] != 0.0f || y[3] != 0.0f) {
            check_fail("%g %g %g %g", (double)y[0], (double)y[1], (double)y[2], (double)y[3]);
        }
    }
}

/* ---- gated units and sums ---- */

/* y = f(a, b); both kernels may write over either input. */
void check_glu_f32_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        enum dqg_activation activation = (enum dqg_activation)(i % DQG_ACT_COUNT);
        size_t n = RANDOM_SIZE(widths), place = random_below(3);
        check_case("glu_f32_f32 %s: n %zu activation %d place %zu", check->tested->name, n, (int)activation, place);
        struct buffer value = buffer_make(1, n, 0, 4), gate = buffer_make(1, n, 0, 4), y = buffer_make(1, n, 0, 4);
        double want[300], norm[300];
        fill_floats(value.data, n);
        fill_floats(gate.data, n);
        for (size_t j = 0; j < n; j++) {
            double g = ((float *)gate.data)[j], v = ((float *)value.data)[j];
            want[j] = v * double_activation(g, activation);
            norm[j] = fabs(v) * fabs(g);
        }
        struct buffer *out[] = {&y, &value, &gate};
        check->tested->glu_f32_f32(out[place]->data, value.data, gate.data, n, activation);
        check_close(out[place]->data, n, want, norm, 1, n, check->tolerance);
        buffer_free(&value);
        buffer_free(&gate);
        buffer_free(&y);
    }
}

void check_add_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        size_t n = RANDOM_SIZE(widths), place = random_below(3);
        float factor = random_below(2) ? 1.0f : random_unit();
        check_case("add_f32 %s: n %zu factor %g place %zu", check->tested->name, n, (double)factor, place);
        struct buffer a = buffer_make(1, n, 0, 4), b = buffer_make(1, n, 0, 4), y = buffer_make(1, n, 0, 4);
        double want[300], norm[300];
        fill_floats(a.data, n);
        fill_floats(b.data, n);
        for (size_t j = 0; j < n; j++) {
            double left = ((float *)a.data)[j], right = (double)((float *)b.data)[j] * factor;
            want[j] = left + right;
            norm[j] = fabs(left) + fabs(right);
        }
        struct buffer *out[] = {&y, &a, &b};
        check->tested->add_f32(out[place]->data, a.data, b.data, n, factor);
        check_close(out[place]->data, n, want, norm, 1, n, check->tolerance);
        buffer_free(&a);
        buffer_free(&b);
        buffer_free(&y);
    }
}

/* ---- softmax ---- */

void check_softmax_f32_f32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        size_t rows = RANDOM_SIZE(heights), n = RANDOM_SIZE(widths);
        size_t ldx = n + random_below(2) * 3;
        float scale = random_below(2) ? 1.0f : 30.0f;
        check_case("softmax_f32_f32 %s: rows %zu n %zu ldx %zu scale %g", check->tested->name, rows, n, ldx,
                   (double)scale);
        struct buffer x = buffer_make(rows, n, ldx, 4);
        double *want = malloc(rows * n * sizeof *want), *norm = malloc(rows * n * sizeof *norm);
        for (size_t m = 0; m < rows; m++) {
            float *row = (float *)x.data + m * ldx;
            double most = -INFINITY, sum = 0.0, offset = random_below(2) ? 0.0 : -1000.0;
            fill_floats(row, n);
            for (size_t j = 0; j < n; j++) {
                row[j] = fmaxf(-50.0f, fminf(50.0f, row[j])) + (float)offset;
                row[j] = j > 0 && random_below(8) == 0 ? -INFINITY : row[j];
                most = fmax(most, row[j]);
            }
            for (size_t j = 0; j < n; j++) {
                sum += exp(scale * (row[j] - most));
            }
            for (size_t j = 0; j < n; j++) { /* e^u magnifies the rounding of u */
                double u = scale * (row[j] - most);
                want[m * n + j] = exp(u) / sum;
                norm[m * n + j] = want[m * n + j] * (1.0 + fmin(-u, 100.0) * 0.1);
            }
        }
        check->tested->softmax_f32_f32(x.data, ldx, x.data, ldx, rows, n, scale);
        check_close(x.data, ldx, want, norm, rows, n, check->tolerance);
        check_gaps(&x, rows, n, ldx, 4);
        free(want);
        free(norm);
        buffer_free(&x);
    }
}

/* ---- rotary embedding ---- */

static void double_rope(double *want, double *norm, const struct dqg_rope *r) {
    size_t half = r->width / 2, columns = r->heads * r->width;
    for (size_t i = 0; i < r->rows * r->heads * half; i++) {
        size_t m = i / (r->heads * half), h = i / half % r->heads, p = i % half;
        size_t at = h * r->width + (r->neighbours ? 2 * p : p), step = r->neighbours ? 1 : half;
        double a = r->x[m * r->ldx + at], b = r->x[m * r->ldx + at + step];
        double c = r->cosine[m * r->ld_table + p], s = r->sine[m * r->ld_table + p];
        want[m * columns + at] = a * c - b * s;
        want[m * columns + at + step] = b * c + a * s;
        norm[m * columns + at] = norm[m * columns + at + step] = (fabs(a) + fabs(b)) * (fabs(c) + fabs(s));
    }
}

void check_rope_f32_f32(const struct check *check) {
    static const size_t head_widths[] = {2, 6, 16, 30, 34, 64, 72, 96, 128, 256};
    for (size_t i = 0; i < check->cases; i++) {
        struct dqg_rope r = {.rows = RANDOM_SIZE(heights),
                             .heads = 1 + random_below(3),
                             .width = RANDOM_SIZE(head_widths),
                             .neighbours = (int)random_below(2)};
        size_t columns = r.heads * r.width;
        r.ldx = columns + random_below(2) * columns;
        int in_place = (int)random_below(2);
        r.ldy = in_place ? r.ldx : columns + random_below(2) * 3;
        r.ld_table = r.width / 2 + random_below(2) * 5;
        check_case("rope_f32_f32 %s: rows %zu heads %zu width %zu ldx %zu ldy %zu neighbours %d in place %d",
                   check->tested->name, r.rows, r.heads, r.width, r.ldx, r.ldy, r.neighbours, in_place);
        struct buffer x = buffer_make(r.rows, columns, r.ldx, 4), y = buffer_make(r.rows, columns, r.ldy, 4);
        struct buffer cosine = buffer_make(r.rows, r.width / 2, r.ld_table, 4);
        struct buffer sine = buffer_make(r.rows, r.width / 2, r.ld_table, 4);
        double *want = malloc(r.rows * columns * sizeof *want), *norm = malloc(r.rows * columns * sizeof *norm);
        for (size_t m = 0; m < r.rows; m++) {
            fill_floats((float *)x.data + m * r.ldx, columns);
            fill_floats((float *)cosine.data + m * r.ld_table, r.width / 2);
            fill_floats((float *)sine.data + m * r.ld_table, r.width / 2);
        }
        r.x = x.data;
        r.cosine = cosine.data;
        r.sine = sine.data;
        double_rope(want, norm, &r);
        r.y = in_place ? x.data : y.data;
        check->tested->rope_f32_f32(&r);
        check_close(r.y, r.ldy, want, norm, r.rows, columns, check->tolerance);
        check_gaps(in_place ? &x : &y, r.rows, columns, r.ldy, 4);
        free(want);
        free(norm);
        struct buffer *all[] = {&x, &y, &cosine, &sine};
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            buffer_free(all[j]);
        }
    }
}
