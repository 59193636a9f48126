/* SPDX-License-Identifier: MIT */
/*
 * Streams of normals cut anywhere, from kernels that make whole blocks of four. All backends give the same bits:
 * dqg_rng_normal() takes the scalar one, for callers that have no context. Called by lib/run and lib/measure.
 */
#include <string.h>

#include "kernel/kernel.h"
#include "support/rng.h"

const struct dqg_kernels *dqg_backend_scalar(void);

void dqg_kernels_normal(const struct dqg_kernels *kernels, uint64_t seed, uint32_t stream, uint64_t first, float *out,
                        size_t count) {
    for (size_t i = 0, taken; i < count; i += taken) {
        uint64_t block = (first + i) / 4;
        size_t skip = (first + i) % 4, left = count - i;
        if (skip == 0 && left >= 4) {
            taken = left / 4 * 4;
            kernels->normal_f32(out + i, seed, stream, DQG_RNG_PLAIN, block, left / 4);
        } else {
            float four[4];
            taken = left < 4 - skip ? left : 4 - skip;
            kernels->normal_f32(four, seed, stream, DQG_RNG_PLAIN, block, 1);
            memcpy(out + i, four + skip, taken * sizeof *out);
        }
    }
}

void dqg_rng_normal_from(uint64_t seed, uint32_t stream, uint64_t first, float *out, size_t count) {
    dqg_kernels_normal(dqg_backend_scalar(), seed, stream, first, out, count);
}

void dqg_rng_normal(uint64_t seed, uint32_t stream, float *out, size_t count) {
    dqg_rng_normal_from(seed, stream, 0, out, count);
}
