/* SPDX-License-Identifier: MIT */
/*
 * PyTorch's normals. On the CPU there are two ways: fewer than 16 values are pairs of Box-Muller in double; from 16 up
 * blocks of 16 uniforms become 8 radii and 8 angles in float, with Cephes' polynomials for log, sin and cos. The
 * roundings of these are part of the result, so that multiplications and additions fuse here exactly where they do
 * there. Called by lib/run.
 */
#include "support/rng_torch.h"

#include <math.h>

#include "support/rng.h"

enum { SHIFT = 397, BLOCK = 16 };

/* ---- mt19937 ---- */

void dqg_torch_seed(struct dqg_torch_rng *rng, uint64_t seed) {
    *rng = (struct dqg_torch_rng){.next = DQG_MT_WORDS};
    rng->words[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < DQG_MT_WORDS; i++) {
        uint32_t last = rng->words[i - 1];
        rng->words[i] = 1812433253u * (last ^ (last >> 30)) + i;
    }
}

static void renew(struct dqg_torch_rng *rng) {
    uint32_t *w = rng->words;
    for (uint32_t i = 0; i < DQG_MT_WORDS; i++) {
        uint32_t mixed = (w[i] & 0x80000000u) | (w[(i + 1) % DQG_MT_WORDS] & 0x7fffffffu);
        w[i] = w[(i + SHIFT) % DQG_MT_WORDS] ^ (mixed >> 1) ^ (mixed & 1 ? 0x9908b0dfu : 0);
    }
    rng->next = 0;
}

static uint32_t next_word(struct dqg_torch_rng *rng) {
    if (rng->next == DQG_MT_WORDS) {
        renew(rng);
    }
    uint32_t y = rng->words[rng->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static void skip_words(struct dqg_torch_rng *rng, size_t count) {
    while (count > DQG_MT_WORDS - rng->next) {
        count -= DQG_MT_WORDS - rng->next;
        renew(rng);
    }
    rng->next += (uint32_t)count;
}

/* ---- fewer than 16 ---- */

static double uniform_double(struct dqg_torch_rng *rng) {
    uint64_t high = next_word(rng);
    uint64_t low = next_word(rng);
    return (double)((high << 32 | low) & ((1ull << 53) - 1)) * 0x1p-53;
}

static float next_single(struct dqg_torch_rng *rng) {
    if (rng->has_spare) {
        rng->has_spare = false;
        return (float)rng->spare;
    }
    const double two_pi = 6.28318530717958647692;
    double angle = two_pi * uniform_double(rng);
    double radius = sqrt(-2.0 * log1p(-uniform_double(rng)));
    rng->spare = radius * sin(angle);
    rng->has_spare = true;
    return (float)(radius * cos(angle));
}

/* ---- 16 and more ---- */

/* Natural logarithm, 2^-24 <= x <= 1. */
static float log_float(float x) {
    static const float terms[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                                  -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                                  2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
    int exponent;
    float m = frexpf(x, &exponent);
    if (m < 0.707106781186547524f) {
        m += m;
        exponent--;
    }
    m -= 1.0f;
    float e = (float)exponent;
    float square = m * m;
    float y = terms[0];
    for (size_t i = 1; i < sizeof terms / sizeof terms[0]; i++) {
        y = fmaf(y, m, terms[i]);
    }
    y = fmaf(y * m, square, e * -2.12194440e-4f); /* ln 2 in two parts */
    y = fmaf(-0.5f, square, y);
    return fmaf(e, 0.693359375f, m + y);
}

/* 0 <= x <= 2 pi. */
static void sine_cosine(float x, float *sine, float *cosine) {
    uint32_t octant = ((uint32_t)(x * 1.27323954473516f) + 1) & ~1u;
    float turns = (float)octant;
    float r = fmaf(turns, -0.78515625f, x); /* pi / 4 in three parts */
    r = fmaf(turns, -2.4187564849853515625e-4f, r);
    r = fmaf(turns, -3.77489497744594108e-8f, r);
    float square = r * r;
    float c = fmaf(2.443315711809948e-5f, square, -1.388731625493765e-3f);
    c = fmaf(c, square, 4.166664568298827e-2f);
    c = fmaf(c * square, square, -0.5f * square) + 1.0f;
    float s = fmaf(-1.9515295891e-4f, square, 8.3321608736e-3f);
    s = fmaf(s, square, -1.6666654611e-1f);
    s = fmaf(s * square, r, r);
    bool swapped = (octant & 2) != 0;
    *sine = swapped ? c : s;
    *cosine = swapped ? s : c;
    if (octant & 4) {
        *sine = -*sine;
    }
    if ((octant + 2) & 4) {
        *cosine = -*cosine;
    }
}

static void fill_uniform(struct dqg_torch_rng *rng, float *out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(next_word(rng) & 0xffffffu) * 0x1p-24f;
    }
}

/* Uniforms to normals, in place. Adding 0 turns -0 into 0. */
static void transform_block(float *block) {
    for (size_t i = 0; i < BLOCK / 2; i++) {
        const float two_pi = 6.28318530717958647692f;
        float radius = sqrtf(-2.0f * log_float(1.0f - block[i]));
        float sine, cosine;
        sine_cosine(two_pi * block[i + BLOCK / 2], &sine, &cosine);
        block[i] = radius * cosine + 0.0f;
        block[i + BLOCK / 2] = radius * sine + 0.0f;
    }
}

void dqg_torch_normal(struct dqg_torch_rng *rng, float *out, size_t count) {
    if (count < BLOCK) {
        for (size_t i = 0; i < count; i++) {
            out[i] = next_single(rng);
        }
        return;
    }
    fill_uniform(rng, out, count);
    for (size_t i = 0; i + BLOCK <= count; i += BLOCK) {
        transform_block(out + i);
    }
    if (count % BLOCK != 0) { /* the last 16 are made anew, from further uniforms */
        fill_uniform(rng, out + count - BLOCK, BLOCK);
        transform_block(out + count - BLOCK);
    }
}

void dqg_torch_skip(struct dqg_torch_rng *rng, size_t count) {
    float unused[BLOCK];
    if (count < BLOCK) {
        dqg_torch_normal(rng, unused, count);
        return;
    }
    skip_words(rng, count);
    skip_words(rng, count % BLOCK != 0 ? BLOCK : 0);
}

/* ---- CUDA ---- */

void dqg_torch_normal_cuda(uint64_t seed, uint64_t draw, float *out, size_t count) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const float two_pi = 6.2831855f;
    for (size_t i = 0; i < count; i++) {
        uint64_t thread = i;
        const uint32_t counter[4] = {(uint32_t)draw, (uint32_t)(draw >> 32), (uint32_t)thread,
                                     (uint32_t)(thread >> 32)};
        uint32_t word[4]; /* of four normals that these make a thread keeps the first */
        dqg_philox(counter, key, word);
        float u = fmaf((float)word[0], 0x1p-32f, 0x1p-33f);
        float angle = fmaf((float)word[1], 0x1p-32f * two_pi, 0x1p-33f * two_pi);
        float radius = sqrtf(-2.0f * (float)log((double)u));
        out[i] = radius * (float)sin((double)angle);
    }
}
