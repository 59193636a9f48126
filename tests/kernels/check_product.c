/* SPDX-License-Identifier: MIT */
/* Checks of gemm_i8_i32 and gemm_f32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Around the heights of register tiles. */
static const size_t row_sizes[] = {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16, 24, 25, 37, 48, 65};

/* ---- integers ---- */

static void naive_gemm(const struct dqg_gemm_i8 *p) {
    size_t depth = p->runs * p->k;
    for (size_t m = 0; m < p->rows; m++) {
        for (size_t n = 0; n < p->panels * 16; n++) {
            const int8_t *w = p->w + n / 16 * p->panel_stride;
            int64_t sum = 0;
            for (size_t i = 0; i < depth; i++) {
                sum += p->a[p->row[m] + p->run[i / p->k] + i % p->k] * w[i / 4 * 64 + n % 16 * 4 + i % 4];
            }
            p->c[m * p->ldc + n] = (int32_t)sum;
        }
    }
}

enum { MOST_RUNS = 9, MOST_ROWS = 65, MOST_PANELS = 9 };

/* Rows and runs begin at random places: a matrix is one run, a convolution has a run for each tap. */
static void gemm_i8_case(const struct check *check, size_t rows, size_t panels, size_t runs, size_t k) {
    size_t row[MOST_ROWS], run[MOST_RUNS] = {0}, sizes[] = {rows, panels, runs, k};
    size_t lda = k + random_below(3) * 7, ldc = panels * 16 + random_below(2) * 5;
    size_t panel_stride = runs * k * 16 + random_below(2) * 33;
    check_case("gemm_i8_i32 %s: rows %zu panels %zu runs %zu k %zu lda %zu ldc %zu panel stride %zu",
               check->tested->name, sizes[0], sizes[1], sizes[2], sizes[3], lda, ldc, panel_stride);
    for (size_t m = 0; m < rows; m++) {
        row[m] = (runs == 1 ? m : random_below(rows)) * lda;
    }
    for (size_t t = 0; t < runs && runs > 1; t++) {
        run[t] = random_below(5) * lda;
    }
    size_t a_rows = rows + (runs > 1 ? 4 : 0);
    struct buffer a = buffer_make(a_rows, k, lda, 1), w = buffer_make(panels, runs * k * 16, panel_stride, 1);
    struct buffer got = buffer_make(rows, panels * 16, ldc, 4), want = buffer_make(rows, panels * 16, ldc, 4);
    struct buffer sums = buffer_make(panels, 16, 16, 4);
    fill_small_ints(a.data, a.size);
    fill_small_ints(w.data, w.size);
    for (size_t p = 0; p < panels; p++) {
        check->scalar->sum_i8_i32((int32_t *)sums.data + p * 16, (int8_t *)w.data + p * panel_stride, runs * k);
    }
    struct dqg_gemm_i8 product = {got.data,  ldc,          a.data, row,    run,  w.data,
                                  sums.data, panel_stride, rows,   panels, runs, k};
    check->tested->gemm_i8_i32(&product);
    product.c = want.data;
    if (check_is_scalar(check)) {
        naive_gemm(&product);
    } else {
        check->scalar->gemm_i8_i32(&product);
    }
    check_equal(got.data, want.data, rows, panels * 16, ldc, 4);
    check_gaps(&got, rows, panels * 16, ldc, 4);
    struct buffer *all[] = {&a, &w, &got, &want, &sums};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

void check_gemm_i8_i32(const struct check *check) {
    static const size_t depths[] = {8, 16, 24, 56, 64, 72, 128, 504, 512, 520, 1024, 1032, 1544};
    for (size_t i = 0; i < check->cases; i++) {
        gemm_i8_case(check, RANDOM_SIZE(row_sizes), 1 + random_below(MOST_PANELS), 1, RANDOM_SIZE(depths));
        gemm_i8_case(check, RANDOM_SIZE(row_sizes), 1 + random_below(MOST_PANELS), 1 + random_below(MOST_RUNS),
                     8 * (1 + random_below(40)));
    }
    for (size_t panels = 1; panels <= MOST_PANELS; panels++) {
        for (size_t rows = 1; rows <= 14; rows++) {
            gemm_i8_case(check, rows, panels, 1, 40);
        }
    }
    gemm_i8_case(check, 1, 1, 1, 131072);
    gemm_i8_case(check, 13, 4, 9, 640);
}

void check_sum_i8_i32(const struct check *check) {
    for (size_t i = 0; i < check->cases; i++) {
        size_t k = 8 * (1 + random_below(200));
        check_case("sum_i8_i32 %s: k %zu", check->tested->name, k);
        struct buffer w = buffer_make(1, k * 16, 0, 1), got = buffer_make(1, 16, 0, 4);
        int32_t want[16] = {0};
        fill_small_ints(w.data, w.size);
        for (size_t j = 0; j < k * 16; j++) {
            want[j / 4 % 16] += ((const int8_t *)w.data)[j];
        }
        check->tested->sum_i8_i32(got.data, w.data, k);
        check_equal(got.data, want, 1, 16, 0, 4);
        buffer_free(&w);
        buffer_free(&got);
    }
}

/* ---- floats ---- */

struct float_product {
    size_t rows, columns, k, lda, ldb, ldc;
    struct buffer a, b, got;
    double *want, *norm; /* [rows][columns] */
};

static void double_product(struct float_product *p) {
    const float *a = p->a.data, *b = p->b.data;
    for (size_t i = 0; i < p->rows * p->columns; i++) {
        size_t m = i / p->columns, n = i % p->columns;
        p->want[i] = p->norm[i] = 0.0;
        for (size_t k = 0; k < p->k; k++) {
            double term = (double)a[m * p->lda + k] * b[k * p->ldb + n];
            p->want[i] += term;
            p->norm[i] += fabs(term);
        }
        p->norm[i] *= fmax(1.0, (double)p->k / 64.0); /* rounding of equal terms all goes one way */
    }
}

static void call_gemm_f32(const struct dqg_kernels *kernels, struct buffer *c, const struct float_product *p) {
    kernels->gemm_f32(c->data, p->ldc, p->a.data, p->lda, p->b.data, p->ldb, p->rows, p->columns, p->k, 0);
}

/* A row has the same bits when it is computed alone, and when its sum is cut in two. */
static void check_row_alone(const struct check *check, const struct float_product *p) {
    size_t row = random_below(p->rows);
    struct buffer alone = buffer_make(1, p->columns, p->ldc, 4);
    const float *a = (const float *)p->a.data + row * p->lda, *b = p->b.data;
    size_t first = 1 + random_below(p->k);
    check->tested->gemm_f32(alone.data, p->ldc, a, p->lda, b, p->ldb, 1, p->columns, first, 0);
    check->tested->gemm_f32(alone.data, p->ldc, a + first, p->lda, b + first * p->ldb, p->ldb, 1, p->columns,
                            p->k - first, 1);
    check_equal((const float *)p->got.data + row * p->ldc, alone.data, 1, p->columns, 0, 4);
    buffer_free(&alone);
}

void check_gemm_f32(const struct check *check) {
    static const size_t depths[] = {1, 2, 3, 4, 7, 8, 16, 31, 64, 72, 130, 257};
    for (size_t i = 0; i < check->cases; i++) {
        struct float_product p = {.rows = RANDOM_SIZE(row_sizes), .columns = 16 * (1 + random_below(4))};
        p.k = RANDOM_SIZE(depths);
        p.lda = p.k + random_below(2) * 3;
        p.ldb = p.columns + random_below(2) * 16;
        p.ldc = p.columns + random_below(2) * 7;
        check_case("gemm_f32 %s: rows %zu columns %zu k %zu lda %zu ldb %zu ldc %zu", check->tested->name, p.rows,
                   p.columns, p.k, p.lda, p.ldb, p.ldc);
        p.a = buffer_make(p.rows, p.k, p.lda, 4);
        p.b = buffer_make(p.k, p.columns, p.ldb, 4);
        p.got = buffer_make(p.rows, p.columns, p.ldc, 4);
        p.want = malloc(p.rows * p.columns * sizeof(double));
        p.norm = malloc(p.rows * p.columns * sizeof(double));
        fill_floats(p.a.data, p.a.size / 4);
        fill_floats(p.b.data, p.b.size / 4);
        double_product(&p);
        call_gemm_f32(check->tested, &p.got, &p);
        check_gaps(&p.got, p.rows, p.columns, p.ldc, 4);
        check_close(p.got.data, p.ldc, p.want, p.norm, p.rows, p.columns, check->tolerance);
        check_row_alone(check, &p);
        free(p.want);
        free(p.norm);
        buffer_free(&p.a);
        buffer_free(&p.b);
        buffer_free(&p.got);
    }
}
