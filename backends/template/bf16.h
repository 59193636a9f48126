/* SPDX-License-Identifier: MIT */
/*
 * bfloat16 for the kernels that compute with it: rounding of floats, and the product of pairs. Two values in 32 bits,
 * the first in the low half. The including file may set DQG_VECTOR_BF16 to use the instructions of AVX512_BF16;
 * elsewhere the same in integer operations and fused multiply-adds. Relies on vector.h.
 */
#ifndef DQG_TEMPLATE_BF16_H
#define DQG_TEMPLATE_BF16_H

#include "template/vector.h"

#ifdef DQG_VECTOR_BF16

DQG_INLINE dqg_vu dqg_vround_bf16(dqg_vf v) {
    return (dqg_vu)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)v));
}

DQG_INLINE dqg_vf dqg_vdot_bf16(dqg_vu a, dqg_vu b, dqg_vf c) {
    return (dqg_vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
}

#else

/* To nearest, half to even, in the low halves. Subnormal floats become zero and NaN quiet, as by the instruction. */
DQG_INLINE dqg_vu dqg_vround_bf16(dqg_vf v) {
    dqg_vu bits = (dqg_vu)v, magnitude = bits & 0x7fffffffu;
    dqg_vu rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    rounded = (dqg_vu)dqg_vselect((dqg_vi)(magnitude > 0x7f800000u), (dqg_vf)(bits | 0x400000u), (dqg_vf)rounded);
    rounded = (dqg_vu)dqg_vselect((dqg_vi)(magnitude < 0x800000u), (dqg_vf)(bits & 0x80000000u), (dqg_vf)rounded);
    return rounded >> 16;
}

/* The second product first, as the instruction is specified. */
DQG_INLINE dqg_vf dqg_vdot_bf16(dqg_vu a, dqg_vu b, dqg_vf c) {
    c = dqg_vfma((dqg_vf)(a & 0xffff0000u), (dqg_vf)(b & 0xffff0000u), c);
    return dqg_vfma((dqg_vf)(a << 16), (dqg_vf)(b << 16), c);
}

#endif
#endif
