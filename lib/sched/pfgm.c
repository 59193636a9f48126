/* SPDX-License-Identifier: MIT */
/*
 * The noise of PFGM++ (Xu et al. 2023, arXiv 2302.04265): data of N dimensions stand in a space with D more, where
 * sigma sqrt(D) is the distance from them. Noise keeps the direction of a Gaussian one, and its length is R = sigma
 * sqrt(D) sqrt(B / (1 - B)) with B of the distribution Beta(N / 2, D / 2). As D grows it becomes Gaussian.
 */
#include "sched/sched.h"
#include "support/rng.h"

#include <math.h>

/* B / (1 - B) as the quotient of two Gamma variables; held where float has no more digits for 1 - B. */
void dqg_sched_shape_noise(const struct dqg_sched *sched, uint64_t seed, float *z, size_t n) {
    double d = sched->pfgm_dimensions;
    double norm = 0;
    for (size_t i = 0; i < n; i++) {
        norm += (double)z[i] * z[i];
    }
    if (d == 0 || norm == 0) {
        return;
    }
    double inside = dqg_rng_gamma(seed, 0, 0.5 * (double)n);
    double outside = dqg_rng_gamma(seed, 1, 0.5 * d);
    double ratio = fmin(inside, 1e7 * outside) / fmax(outside, 1e-300);
    double scale = sqrt(d * ratio / norm);
    for (size_t i = 0; i < n; i++) {
        z[i] = (float)(scale * z[i]);
    }
}
