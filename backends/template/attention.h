/* SPDX-License-Identifier: MIT */
/*
 * What the attention kernels share: masks on a block of scores, transposition, and for the integer one dot products of
 * small integers and a short 2^x. Relies on template/vector.h.
 */
#ifndef DQG_TEMPLATE_ATTENTION_H
#define DQG_TEMPLATE_ATTENTION_H

#include "kernel/kernel.h"
#include "template/vector.h"

/* ---- dot products ---- */

/* sum + the products of the two signed 16-bit halves of each lane. */
DQG_INLINE dqg_vi dqg_vdot2(dqg_vi sum, dqg_vi a, dqg_vi b) {
#if DQG_LANES == 16
    /* As assembly: around the intrinsic gcc 12 copies every accumulator in each pass of a loop. */
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#elif defined(DQG_VECTOR_AVXVNNI)
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
#elif DQG_LANES == 8
    return sum + (dqg_vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(DQG_VECTOR_NEON)
    int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
    return sum + (dqg_vi)vpaddq_s32(low, high);
#else
    return sum + ((dqg_vi)((dqg_vu)a << 16) >> 16) * ((dqg_vi)((dqg_vu)b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

/* sum + the products of the four bytes of each lane, unsigned ones of a, signed ones of b. */
DQG_INLINE dqg_vi dqg_vdot4(dqg_vi sum, dqg_vi a, dqg_vi b) {
#if DQG_LANES == 16
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#elif defined(DQG_VECTOR_AVXVNNI)
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
#else
    typedef int16_t words __attribute__((vector_size(DQG_LANES * 4)));
    dqg_vi a_even = a & 0x00ff00ff, a_odd = (dqg_vi)((dqg_vu)a >> 8) & 0x00ff00ff;
    dqg_vi b_even = (dqg_vi)((words)((dqg_vu)b << 8) >> 8), b_odd = (dqg_vi)((words)b >> 8);
    return dqg_vdot2(dqg_vdot2(sum, a_even, b_even), a_odd, b_odd);
#endif
}

DQG_INLINE dqg_vi dqg_vset1_int(const void *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return x - (dqg_vi){0};
}

/* ---- scales ---- */

/* limit / largest, or 0 where that is no number; *scale is the inverse. */
DQG_INLINE dqg_vf dqg_attention_inverse(dqg_vf largest, float limit, dqg_vf *scale) {
    dqg_vf inverse = limit / largest;
    dqg_vi usable = (dqg_vi)(largest <= FLT_MAX) & (dqg_vi)(inverse <= FLT_MAX);
    *scale = (dqg_vf)((dqg_vi)(largest / limit) & usable);
    return (dqg_vf)((dqg_vi)inverse & usable);
}

/* ---- 2^x ---- */

/* 2^x with a relative error below 1e-4, enough for 8 bits; 0, or no more than 2^-125, below -125. x < 127. */
DQG_INLINE dqg_vf dqg_vexp2_short(dqg_vf x) {
#if DQG_LANES == 16
    dqg_vf f = (dqg_vf)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* x - floor(x) */
#else
    x = dqg_vmax(x, dqg_vset1(-126.0f));
    dqg_vi n = dqg_vround(x - 0.5f);
    dqg_vf f = x - dqg_vto_float(n);
#endif
    dqg_vf p = dqg_vset1(0x1.3f96a4p-4f); /* least relative error on 0..1 */
    p = dqg_vfma(p, f, dqg_vset1(0x1.cefc4cp-3f));
    p = dqg_vfma(p, f, dqg_vset1(0x1.64444cp-1f));
    p = dqg_vfma(p, f, dqg_vset1(0x1.fff632p-1f));
#if DQG_LANES == 16
    return (dqg_vf)_mm512_scalef_ps((__m512)p, (__m512)x);
#else
    return (dqg_vf)((dqg_vu)p + ((dqg_vu)n << 23));
#endif
}

/* ---- transposition ---- */

/* to[c][r] = from[r][c] for up to 16 rows and columns. */
#if DQG_LANES == 16
/* Blocks of 4 x 4 in each 128-bit lane, then the lanes. Loads and stores outside are masked. */
static void dqg_transpose_block(float *to, size_t ld_to, const float *from, size_t ld_from, size_t rows,
                                size_t columns) {
    const __mmask16 row_mask = (__mmask16)((1u << rows) - 1), column_mask = (__mmask16)((1u << columns) - 1);
    __m512 r[16], t[16];
    DQG_UNROLL
    for (size_t i = 0; i < 16; i++) {
        r[i] = _mm512_maskz_loadu_ps(i < rows ? column_mask : 0, from + (i < rows ? i : 0) * ld_from);
    }
    DQG_UNROLL
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[i], r[i + 1]));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[i], r[i + 1]));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[i + 2], r[i + 3]));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[i + 2], r[i + 3]));
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    DQG_UNROLL
    for (int i = 0; i < 4; i++) {
        __m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x44), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xee);
        __m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x44), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xee);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 8] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
    DQG_UNROLL
    for (size_t i = 0; i < 16; i++) {
        _mm512_mask_storeu_ps(to + (i < columns ? i : 0) * ld_to, i < columns ? row_mask : 0, r[i]);
    }
}
#else
static void dqg_transpose_block(float *to, size_t ld_to, const float *from, size_t ld_from, size_t rows,
                                size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            to[c * ld_to + r] = from[r * ld_from + c];
        }
    }
}
#endif

static void dqg_transpose(float *to, size_t ld_to, const float *from, size_t ld_from, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r += 16) {
        for (size_t c = 0; c < columns; c += 16) {
            dqg_transpose_block(to + c * ld_to + r, ld_to, from + r * ld_from + c, ld_from,
                                rows - r < 16 ? rows - r : 16, columns - c < 16 ? columns - c : 16);
        }
    }
}

/* ---- results ---- */

/* out[q][c] = sums[c][q] / sum[q], zeros where sum is 0: the query saw no key. */
static void dqg_attention_end(float *out, size_t ld_out, float *sums, size_t ld, const float *sum, size_t queries,
                              size_t width) {
    for (size_t lane = 0; lane < queries; lane += DQG_LANES) {
        dqg_vf total = dqg_vload(sum + lane);
        dqg_vf inverse = dqg_vselect((dqg_vi)(total == 0.0f), (dqg_vf){0}, 1.0f / total);
        for (size_t c = 0; c < width; c++) {
            dqg_vstore(sums + c * ld + lane, dqg_vload(sums + c * ld + lane) * inverse);
        }
    }
    dqg_transpose(out, ld_out, sums, ld, width, queries);
}

/* ---- masks ---- */

/* Keys that some query of the call sees. */
static size_t dqg_attention_keys(const struct dqg_attention *a) {
    return a->visible > 0 && a->visible + a->queries - 1 < a->keys ? a->visible + a->queries - 1 : a->keys;
}

/* Scores of up to 16 keys and the bias of each query, which lies the other way. */
static void dqg_attention_bias(float *score, size_t ld, const float *bias, size_t ld_bias, size_t queries, size_t keys,
                               float unit) {
    float part[16 * DQG_ATTENTION_QUERIES] = {0};
    dqg_transpose(part, DQG_ATTENTION_QUERIES, bias, ld_bias, queries, keys);
    for (size_t k = 0; k < keys; k++) {
        for (size_t q = 0; q < queries; q += DQG_LANES) {
            float *at = score + k * ld + q;
            dqg_vstore(at, dqg_vload(at) + dqg_vload(part + k * DQG_ATTENTION_QUERIES + q) * unit);
        }
    }
}

/* A block of scores [keys][ld], of the queries from first and keys from key: add the bias, in the scores' unit, and
 * hide the keys that a query does not see. */
static void dqg_attention_mask(float *score, size_t ld, const struct dqg_attention *a, size_t first, size_t queries,
                               size_t key, size_t keys, float unit) {
    const float *bias = a->bias ? a->bias + first * a->ld_bias + key : NULL;
    for (size_t k = 0; bias && a->ld_bias > 0 && k < keys; k += 16) {
        dqg_attention_bias(score + k * ld, ld, bias + k, a->ld_bias, queries, keys - k < 16 ? keys - k : 16, unit);
    }
    for (size_t k = 0; bias && a->ld_bias == 0 && k < keys; k++) {
        for (size_t q = 0; q < queries; q += DQG_LANES) {
            dqg_vstore(score + k * ld + q, dqg_vload(score + k * ld + q) + bias[k] * unit);
        }
    }
    for (size_t q = 0; q < queries && a->visible > 0; q++) {
        size_t seen = a->visible + first + q;
        for (size_t k = seen > key ? seen - key : 0; k < keys; k++) {
            score[k * ld + q] = -__builtin_inff();
        }
    }
}

#endif
