/* SPDX-License-Identifier: MIT */
/*
 * Vectors for the float kernels that are written once and compiled for each instruction set. The including file sets
 * DQG_LANES (4, 8 or 16 floats) and may use the matching intrinsics; arithmetic is GCC vector extensions, and what
 * those cannot say well (maximum, rounding, narrow loads) is here, once for each instruction set.
 *
 * dqg_vmax(a, b) and dqg_vmin(a, b) give b where either is NaN.
 */
#ifndef DQG_TEMPLATE_VECTOR_H
#define DQG_TEMPLATE_VECTOR_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef DQG_LANES
#error "set DQG_LANES before template/vector.h"
#endif
#if DQG_LANES > 4
#include <immintrin.h>
#elif defined(DQG_VECTOR_NEON)
#include <arm_neon.h>
#endif

#include "template/unroll.h"

#define DQG_INLINE static inline __attribute__((always_inline))

typedef float dqg_vf __attribute__((vector_size(DQG_LANES * 4)));
typedef int32_t dqg_vi __attribute__((vector_size(DQG_LANES * 4)));
typedef uint32_t dqg_vu __attribute__((vector_size(DQG_LANES * 4)));
typedef uint64_t dqg_vl __attribute__((vector_size(DQG_LANES * 4)));
typedef int8_t dqg_vb __attribute__((vector_size(DQG_LANES)));
typedef int16_t dqg_vs __attribute__((vector_size(DQG_LANES * 2)));
typedef float dqg_vf_memory __attribute__((vector_size(DQG_LANES * 4), aligned(4), may_alias));
typedef int32_t dqg_vi_memory __attribute__((vector_size(DQG_LANES * 4), aligned(4), may_alias));

DQG_INLINE dqg_vf dqg_vset1(float x) {
    return x - (dqg_vf){0};
}

DQG_INLINE dqg_vf dqg_vload(const float *p) {
    return *(const dqg_vf_memory *)p;
}

DQG_INLINE void dqg_vstore(float *p, dqg_vf v) {
    *(dqg_vf_memory *)p = v;
}

DQG_INLINE dqg_vi dqg_vload_int(const int32_t *p) {
    return *(const dqg_vi_memory *)p;
}

DQG_INLINE dqg_vf dqg_vto_float(dqg_vi v) {
    return __builtin_convertvector(v, dqg_vf);
}

/* Bits of |v|: as integers they order NaN above infinity above all numbers. */
DQG_INLINE dqg_vi dqg_magnitude(dqg_vf v) {
    return (dqg_vi)v & 0x7fffffff;
}

/* Low halves of integers within int16. */
DQG_INLINE dqg_vs dqg_vnarrow_words(dqg_vi v) {
#if DQG_LANES == 16
    return (dqg_vs)_mm512_cvtepi32_epi16((__m512i)v);
#else
    return __builtin_convertvector(v, dqg_vs);
#endif
}

/* mask is all ones or all zeros in each lane: a where set, else b. */
DQG_INLINE dqg_vf dqg_vselect(dqg_vi mask, dqg_vf a, dqg_vf b) {
    return (dqg_vf)(((dqg_vi)a & mask) | ((dqg_vi)b & ~mask));
}

/* dqg_vfma(a, b, c) is a * b + c, fused where the instruction set has it: said explicitly, because a compiler that may
 * choose fuses in one loop and not in its twin, and then a result depends on which of them made it. */
#if DQG_LANES == 16

DQG_INLINE dqg_vf dqg_vfma(dqg_vf a, dqg_vf b, dqg_vf c) {
    return (dqg_vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

DQG_INLINE dqg_vf dqg_vmax(dqg_vf a, dqg_vf b) {
    return (dqg_vf)_mm512_max_ps((__m512)a, (__m512)b);
}

DQG_INLINE dqg_vf dqg_vmin(dqg_vf a, dqg_vf b) {
    return (dqg_vf)_mm512_min_ps((__m512)a, (__m512)b);
}

DQG_INLINE dqg_vi dqg_vmax_int(dqg_vi a, dqg_vi b) {
    return (dqg_vi)_mm512_max_epi32((__m512i)a, (__m512i)b);
}

DQG_INLINE dqg_vf dqg_vsqrt(dqg_vf v) {
    return (dqg_vf)_mm512_sqrt_ps((__m512)v);
}

/* The lower 32 bits of each lane times factor; the upper ones may hold anything. */
DQG_INLINE dqg_vl dqg_vmul_even(dqg_vl v, uint32_t factor) {
    return (dqg_vl)_mm512_mul_epu32((__m512i)v, _mm512_set1_epi64(factor));
}

/* To the nearest integer, half to even; anything for values outside int32. */
DQG_INLINE dqg_vi dqg_vround(dqg_vf v) {
    return (dqg_vi)_mm512_cvtps_epi32((__m512)v);
}

/* Low bytes of integers within int8. */
DQG_INLINE dqg_vb dqg_vnarrow(dqg_vi v) {
    return (dqg_vb)_mm512_cvtepi32_epi8((__m512i)v);
}

DQG_INLINE dqg_vf dqg_vload_half(const uint16_t *p) {
    return (dqg_vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

/* Is a lane of a mask set? */
DQG_INLINE int dqg_vany(dqg_vi mask) {
    return _mm512_movepi32_mask((__m512i)mask) != 0;
}

/* The largest lane. */
DQG_INLINE int32_t dqg_vlargest(dqg_vi v) {
    return _mm512_reduce_max_epi32((__m512i)v);
}

/* The first count lanes, zeros in the others. */
DQG_INLINE dqg_vf dqg_vload_part(const float *p, size_t count) {
    return (dqg_vf)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}

DQG_INLINE dqg_vi dqg_vload_int_part(const int32_t *p, size_t count) {
    return (dqg_vi)_mm512_maskz_loadu_epi32((__mmask16)((1u << count) - 1), p);
}

DQG_INLINE void dqg_vstore_part(float *p, dqg_vf v, size_t count) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
}

#else

#if DQG_LANES == 8

DQG_INLINE dqg_vf dqg_vfma(dqg_vf a, dqg_vf b, dqg_vf c) {
    return (dqg_vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

DQG_INLINE dqg_vf dqg_vmax(dqg_vf a, dqg_vf b) {
    return (dqg_vf)_mm256_max_ps((__m256)a, (__m256)b);
}

DQG_INLINE dqg_vf dqg_vmin(dqg_vf a, dqg_vf b) {
    return (dqg_vf)_mm256_min_ps((__m256)a, (__m256)b);
}

DQG_INLINE dqg_vi dqg_vmax_int(dqg_vi a, dqg_vi b) {
    return (dqg_vi)_mm256_max_epi32((__m256i)a, (__m256i)b);
}

DQG_INLINE dqg_vf dqg_vsqrt(dqg_vf v) {
    return (dqg_vf)_mm256_sqrt_ps((__m256)v);
}

DQG_INLINE dqg_vl dqg_vmul_even(dqg_vl v, uint32_t factor) {
    return (dqg_vl)_mm256_mul_epu32((__m256i)v, _mm256_set1_epi64x(factor));
}

DQG_INLINE dqg_vi dqg_vround(dqg_vf v) {
    return (dqg_vi)_mm256_cvtps_epi32((__m256)v);
}

DQG_INLINE dqg_vb dqg_vnarrow(dqg_vi v) {
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    __m128i bytes = _mm_packs_epi16(words, words);
    dqg_vb narrow;
    memcpy(&narrow, &bytes, sizeof narrow);
    return narrow;
}

DQG_INLINE dqg_vf dqg_vload_half(const uint16_t *p) {
    return (dqg_vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

#else

DQG_INLINE dqg_vf dqg_vmax(dqg_vf a, dqg_vf b) {
    return dqg_vselect((dqg_vi)(a > b), a, b);
}

DQG_INLINE dqg_vf dqg_vmin(dqg_vf a, dqg_vf b) {
    return dqg_vselect((dqg_vi)(a < b), a, b);
}

DQG_INLINE dqg_vi dqg_vmax_int(dqg_vi a, dqg_vi b) {
    return (dqg_vi)dqg_vselect((dqg_vi)(a > b), (dqg_vf)a, (dqg_vf)b);
}

DQG_INLINE dqg_vb dqg_vnarrow(dqg_vi v) {
    return __builtin_convertvector(v, dqg_vb);
}

#ifdef DQG_VECTOR_NEON

DQG_INLINE dqg_vf dqg_vfma(dqg_vf a, dqg_vf b, dqg_vf c) {
    return (dqg_vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

DQG_INLINE dqg_vf dqg_vsqrt(dqg_vf v) {
    return (dqg_vf)vsqrtq_f32((float32x4_t)v);
}

DQG_INLINE dqg_vl dqg_vmul_even(dqg_vl v, uint32_t factor) {
    return (dqg_vl)vmull_u32(vmovn_u64((uint64x2_t)v), vdup_n_u32(factor));
}

DQG_INLINE dqg_vi dqg_vround(dqg_vf v) {
    return (dqg_vi)vcvtnq_s32_f32((float32x4_t)v);
}

DQG_INLINE dqg_vf dqg_vload_half(const uint16_t *p) {
    return (dqg_vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

#else

DQG_INLINE dqg_vf dqg_vfma(dqg_vf a, dqg_vf b, dqg_vf c) {
    return a * b + c;
}

DQG_INLINE dqg_vf dqg_vsqrt(dqg_vf v) {
    DQG_EACH(lane, DQG_LANES) {
        v[lane] = __builtin_sqrtf(v[lane]);
    }
    return v;
}

DQG_INLINE dqg_vl dqg_vmul_even(dqg_vl v, uint32_t factor) {
    return (v & UINT32_MAX) * factor;
}

/* Adding 1.5 * 2^23 leaves the rounded integer in the low bits; right for |v| < 2^22, anything beyond. */
DQG_INLINE dqg_vi dqg_vround(dqg_vf v) {
    return (dqg_vi)((dqg_vu)(v + 0x1.8p23f) - 0x4b400000u);
}

/* Subnormal halves go through an integer conversion, which is exact. Signalling NaNs become quiet, as hardware does. */
DQG_INLINE dqg_vf dqg_vload_half(const uint16_t *p) {
    dqg_vu half = {p[0], p[1], p[2], p[3]};
    dqg_vu magnitude = half & 0x7fffu;
    dqg_vu sign = (half & 0x8000u) << 16;
    dqg_vf subnormal = dqg_vto_float((dqg_vi)magnitude) * 0x1p-24f;
    dqg_vf normal = (dqg_vf)((magnitude << 13) + (112u << 23));
    dqg_vu special = 0x7f800000u | magnitude << 13 | ((dqg_vu)(magnitude > 0x7c00u) & 0x400000u);
    dqg_vf value = dqg_vselect((dqg_vi)(magnitude < 0x400u), subnormal, normal);
    value = dqg_vselect((dqg_vi)(magnitude >= 0x7c00u), (dqg_vf)special, value);
    return (dqg_vf)((dqg_vu)value | sign);
}

#endif
#endif

DQG_INLINE int dqg_vany(dqg_vi mask) {
    int64_t pairs[DQG_LANES / 2], any = 0;
    memcpy(pairs, &mask, sizeof pairs);
    for (int i = 0; i < DQG_LANES / 2; i++) {
        any |= pairs[i];
    }
    return any != 0;
}

DQG_INLINE int32_t dqg_vlargest(dqg_vi v) {
    int32_t most = v[0];
    for (int lane = 1; lane < DQG_LANES; lane++) {
        most = v[lane] > most ? v[lane] : most;
    }
    return most;
}

DQG_INLINE dqg_vf dqg_vload_part(const float *p, size_t count) {
    dqg_vf v = {0};
    for (size_t i = 0; i < count; i++) {
        v[i] = p[i];
    }
    return v;
}

DQG_INLINE dqg_vi dqg_vload_int_part(const int32_t *p, size_t count) {
    dqg_vi v = {0};
    for (size_t i = 0; i < count; i++) {
        v[i] = p[i];
    }
    return v;
}

DQG_INLINE void dqg_vstore_part(float *p, dqg_vf v, size_t count) {
    for (size_t i = 0; i < count; i++) {
        p[i] = v[i];
    }
}

#endif
/*
 * Loops take several full vectors at a time, then the rest one by one, where count says how many lanes are there:
 * vector v of a span, or the only one.
 */
DQG_INLINE dqg_vf dqg_span_load(const float *p, int v, size_t count) {
    return count == DQG_LANES ? dqg_vload(p + v * DQG_LANES) : dqg_vload_part(p, count);
}

DQG_INLINE void dqg_span_store(float *p, int v, dqg_vf value, size_t count) {
    if (count == DQG_LANES) {
        dqg_vstore(p + v * DQG_LANES, value);
    } else {
        dqg_vstore_part(p, value, count);
    }
}

/* Calls span(i, count, vectors, ...) for the columns 0..n-1: spans of 4 vectors, then one vector or less at a time. */
#define DQG_FOR_SPANS(n, span, ...)                                                                                    \
    do {                                                                                                               \
        size_t at_ = 0;                                                                                                \
        for (; at_ + 4 * DQG_LANES <= (n); at_ += 4 * DQG_LANES) {                                                     \
            span(at_, DQG_LANES, 4, __VA_ARGS__);                                                                      \
        }                                                                                                              \
        for (; at_ < (n); at_ += DQG_LANES) {                                                                          \
            span(at_, (n) - at_ < DQG_LANES ? (n) - at_ : DQG_LANES, 1, __VA_ARGS__);                                  \
        }                                                                                                              \
    } while (0)

#endif
