/* SPDX-License-Identifier: MIT */
/* BLIS behind one function; blas.c is the only file that knows it. */
#ifndef DQG_BLAS_H
#define DQG_BLAS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * C (rows x columns, row stride ldc) = A (rows x depth, lda) * B (depth x columns, ldb), or C + A * B where add is set,
 * on the calling thread. A row's result does not depend on the number of rows. Returns false, doing nothing, when the
 * library was built without BLIS, or BLIS does not know the CPU.
 */
bool dqg_blas_sgemm(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t rows,
                    size_t columns, size_t depth, bool add);

#endif
