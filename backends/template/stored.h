/* SPDX-License-Identifier: MIT */
/*
 * Stored float weights (F32, F16, BF16; row-major) as vectors of floats, and squares of them transposed in registers.
 * Shared by the kernels that read such weights. Relies on vector.h; conversions are exact.
 */
#ifndef DQG_TEMPLATE_STORED_H
#define DQG_TEMPLATE_STORED_H

#include "template/vector.h"

typedef uint16_t dqg_vh __attribute__((vector_size(DQG_LANES * 2)));

/* DQG_LANES stored values at any address. */
DQG_INLINE dqg_vf dqg_vload_stored(const char *source, const int32_t dtype) {
    if (dtype == DQG_DTYPE_F32) {
        dqg_vf v;
        memcpy(&v, source, sizeof v);
        return v;
    }
    uint16_t halves[DQG_LANES];
    memcpy(halves, source, sizeof halves);
    if (dtype == DQG_DTYPE_F16) {
        return dqg_vload_half(halves);
    }
    dqg_vh v;
    memcpy(&v, halves, sizeof v);
    return (dqg_vf)(__builtin_convertvector(v, dqg_vu) << 16);
}

/* The first count of them, zeros in the other lanes. */
DQG_INLINE dqg_vf dqg_vload_stored_part(const char *source, size_t count, const int32_t dtype) {
    char whole[DQG_LANES * sizeof(float)] = {0};
    memcpy(whole, source, count * (dtype == DQG_DTYPE_F32 ? 4 : 2));
    return dqg_vload_stored(whole, dtype);
}

/* Within each 128-bit lane: elements i0, i1 of a, then j0, j1 of b. */
#if DQG_LANES == 4
#define DQG_IN_LANES(a, b, i0, i1, j0, j1) __builtin_shufflevector(a, b, i0, i1, j0 + 4, j1 + 4)
#elif DQG_LANES == 8
#define DQG_IN_LANES(a, b, i0, i1, j0, j1)                                                                             \
    __builtin_shufflevector(a, b, i0, i1, j0 + 8, j1 + 8, i0 + 4, i1 + 4, j0 + 12, j1 + 12)
#define DQG_EVEN_LANES(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define DQG_ODD_LANES(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define DQG_IN_LANES(a, b, i0, i1, j0, j1)                                                                             \
    __builtin_shufflevector(a, b, i0, i1, j0 + 16, j1 + 16, i0 + 4, i1 + 4, j0 + 20, j1 + 20, i0 + 8, i1 + 8, j0 + 24, \
                            j1 + 24, i0 + 12, i1 + 12, j0 + 28, j1 + 28)
#define DQG_EVEN_LANES(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define DQG_ODD_LANES(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#endif

/* A 4 by 4 transposition in every 128-bit lane of four vectors. */
DQG_INLINE void dqg_transpose_lanes(dqg_vf r[4]) {
    dqg_vf low01 = DQG_IN_LANES(r[0], r[1], 0, 1, 0, 1), high01 = DQG_IN_LANES(r[0], r[1], 2, 3, 2, 3);
    dqg_vf low23 = DQG_IN_LANES(r[2], r[3], 0, 1, 0, 1), high23 = DQG_IN_LANES(r[2], r[3], 2, 3, 2, 3);
    r[0] = DQG_IN_LANES(low01, low23, 0, 2, 0, 2);
    r[1] = DQG_IN_LANES(low01, low23, 1, 3, 1, 3);
    r[2] = DQG_IN_LANES(high01, high23, 0, 2, 0, 2);
    r[3] = DQG_IN_LANES(high01, high23, 1, 3, 1, 3);
}

/* r[i][j] becomes r[j][i]. */
DQG_INLINE void dqg_transpose(dqg_vf r[DQG_LANES]) {
    DQG_UNROLL
    for (int i = 0; i < DQG_LANES; i += 4) {
        dqg_transpose_lanes(r + i);
    }
#if DQG_LANES > 4
    DQG_UNROLL
    for (int c = 0; c < 4; c++) {
        dqg_vf even = DQG_EVEN_LANES(r[c], r[4 + c]), odd = DQG_ODD_LANES(r[c], r[4 + c]);
#if DQG_LANES == 8
        r[c] = even;
        r[4 + c] = odd;
#else
        dqg_vf even2 = DQG_EVEN_LANES(r[8 + c], r[12 + c]), odd2 = DQG_ODD_LANES(r[8 + c], r[12 + c]);
        r[c] = DQG_EVEN_LANES(even, even2);
        r[4 + c] = DQG_EVEN_LANES(odd, odd2);
        r[8 + c] = DQG_ODD_LANES(even, even2);
        r[12 + c] = DQG_ODD_LANES(odd, odd2);
#endif
    }
#endif
}

/* Ask for the rows of a square some way ahead: there are more of them than the CPU follows by itself. An address past
 * the end of the weights does no harm. */
DQG_INLINE void dqg_prefetch_square(const char *source, size_t ldw) {
    DQG_UNROLL
    for (int i = 0; i < DQG_LANES; i++) {
        __builtin_prefetch(source + (size_t)i * ldw + 256);
    }
}

/* square[k][n] = weight of output n, input k, for DQG_LANES of each from source on; filled outputs and depth inputs
 * exist, the others are zero. ldw in bytes. */
DQG_INLINE void dqg_load_square(dqg_vf square[DQG_LANES], const char *source, size_t ldw, const int32_t dtype,
                                size_t filled, size_t depth) {
    if (filled >= DQG_LANES && depth >= DQG_LANES) {
        DQG_UNROLL
        for (int i = 0; i < DQG_LANES; i++) {
            square[i] = dqg_vload_stored(source + (size_t)i * ldw, dtype);
        }
    } else {
        size_t count = depth < DQG_LANES ? depth : DQG_LANES;
        DQG_UNROLL
        for (int i = 0; i < DQG_LANES; i++) {
            square[i] = (dqg_vf){0};
            if ((size_t)i < filled) {
                square[i] = dqg_vload_stored_part(source + (size_t)i * ldw, count, dtype);
            }
        }
    }
    dqg_transpose(square);
}

#endif
