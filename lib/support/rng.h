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
 * stream 2^32 - 1 offset noise. The same bits on every machine (kernel normal_f32). In lib/kernel/normal.c; with a
 * context at hand dqg_kernels_normal() is faster.
 */
void dqg_rng_normal(uint64_t seed, uint32_t stream, float *out, size_t count);

/* The same from position first on. */
void dqg_rng_normal_from(uint64_t seed, uint32_t stream, uint64_t first, float *out, size_t count);

/* What numbers are drawn for: the last word of the counter, so that different uses never share a draw. */
enum { DQG_RNG_PLAIN = 0, DQG_RNG_GAMMA = 1, DQG_RNG_PATH = 256 /* to 511: an octave each */ };

/* One variable of the Gamma distribution with this shape > 0 and scale 1. */
double dqg_rng_gamma(uint64_t seed, uint32_t stream, double shape);

/*
 * Fresh noise from Brownian motion (lib/kernel/path.c): (W(from) - W(to)) / sqrt(from - to), from > to >= 0, which is
 * standard normal, for count independent paths W that the seed alone determines. Noise of neighbouring intervals adds
 * up to that of their union. Times below 2^-120 count as that. The paths are those from number first on. With a context
 * at hand dqg_kernels_path() is faster.
 */
void dqg_rng_path(uint64_t seed, double from, double to, uint64_t first, float *out, size_t count);

#endif
