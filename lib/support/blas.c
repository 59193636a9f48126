/* SPDX-License-Identifier: MIT */
/*
 * Single-precision matrix products through BLIS: its typed expert interface with one thread for each call, so that the
 * library's own lanes decide about threads. Callers have checked the shapes: BLIS does not report errors.
 */
#include "support/blas.h"

#ifdef DQG_HAVE_BLIS
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <blis.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

bool dqg_blas_sgemm(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t rows,
                    size_t columns, size_t depth, bool add) {
    bli_init();
    if (bli_arch_query_id() == BLIS_ARCH_GENERIC) {
        return false; /* a CPU that this BLIS does not know: plain C, slower than gemm_f32 of the scalar backend */
    }
    float one = 1.0f;
    float beta = add ? 1.0f : 0.0f;
    rntm_t runtime = BLIS_RNTM_INITIALIZER;
    bli_rntm_set_num_threads(1, &runtime);
    bli_rntm_disable_l3_sup(&runtime); /* another order of summation for few rows than for many */
    /* BLIS takes pointers to non-const data and does not write to a and b. */
    union {
        const float *in;
        float *out;
    } a_pointer = {a}, b_pointer = {b};
    bli_sgemm_ex(BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, (dim_t)rows, (dim_t)columns, (dim_t)depth, &one, a_pointer.out,
                 (inc_t)lda, 1, b_pointer.out, (inc_t)ldb, 1, &beta, c, (inc_t)ldc, 1, NULL, &runtime);
    return true;
}

#else

bool dqg_blas_sgemm(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t rows,
                    size_t columns, size_t depth, bool add) {
    (void)c, (void)ldc, (void)a, (void)lda, (void)b, (void)ldb, (void)rows, (void)columns, (void)depth;
    (void)add;
    return false;
}

#endif
