/* SPDX-License-Identifier: MIT */
/*
 * The random numbers of PyTorch, so that a seed gives the picture that it gives there: mt19937 of its CPU generator
 * (Matsumoto and Nishimura 1998) with a state of its own, and Philox as its CUDA kernel uses it, without a state.
 */
#ifndef DQG_RNG_TORCH_H
#define DQG_RNG_TORCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DQG_MT_WORDS = 624 };

struct dqg_torch_rng {
    uint32_t words[DQG_MT_WORDS];
    uint32_t next; /* the first of words that was not handed out */
    bool has_spare;
    double spare; /* the second of a pair; draws of fewer than 16 begin with it */
};

/* As torch.Generator().manual_seed(seed): the lower 32 bits count. */
void dqg_torch_seed(struct dqg_torch_rng *rng, uint64_t seed);

/*
 * What torch.randn(count, generator=rng) draws next: the same bits as torch on x86 with AVX2, up to the C library's sin
 * and cos below 16 values; elsewhere torch itself differs in the last bits.
 */
void dqg_torch_normal(struct dqg_torch_rng *rng, float *out, size_t count);

/* Leave rng as dqg_torch_normal() of so many does. */
void dqg_torch_skip(struct dqg_torch_rng *rng, size_t count);

/*
 * What the draw-th torch.randn(count, device="cuda") of a seed gives, draw from 0 up, to about 1e-6: the GPU takes
 * sines with fewer digits. Each value has a thread of its own, which is so on a GPU while count does not exceed its
 * threads (multiprocessors times threads of each, rounded down to 256: 125952 on an RTX 3090, 270336 on an H100);
 * beyond that the values depend on the GPU.
 */
void dqg_torch_normal_cuda(uint64_t seed, uint64_t draw, float *out, size_t count);

#endif
