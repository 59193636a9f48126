/* SPDX-License-Identifier: MIT */
/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
 * A draw depends on (seed, stream, position) alone, so that any part of a sequence can be had at any time.
 */
#ifndef DQG_RNG_H
#define DQG_RNG_H

#include <stddef.h>
#include <stdint.h>

void dqg_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/*
 * count standard normals for (seed, stream). Stream 0 is the initial latent, stream i + 1 the fresh noise of step i,
 * stream 2^32 - 1 offset noise.
 * Box-Muller in double on pairs of 32-bit draws, rounded to float.
 */
void dqg_rng_normal(uint64_t seed, uint32_t stream, float *out, size_t count);

/* The same from position first on. */
void dqg_rng_normal_from(uint64_t seed, uint32_t stream, uint64_t first, float *out, size_t count);

#endif
