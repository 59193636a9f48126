/* SPDX-License-Identifier: MIT */
/*
 * How far samples are from the mixture of analytic.h: start points that are the same everywhere, the exact quantiles of
 * its projections, and from them a sliced Wasserstein distance. Used by the benchmark of solvers.
 */
#ifndef TESTS_MIXTURE_H
#define TESTS_MIXTURE_H

#include <stddef.h>

/* Pairs of standard normals from Halton's points of bases 2 and 3, [2 * pairs]. */
void mixture_halton_normals(float *z, size_t pairs);

/* Exact quantiles of projections on evenly spread directions, to measure many sets of so many pairs. */
struct mixture_sliced {
    size_t pairs;
    double *quantiles; /* [MIXTURE_DIRECTIONS][pairs] */
    double *scratch;   /* [pairs] */
};
enum { MIXTURE_DIRECTIONS = 16 };

void mixture_sliced_create(struct mixture_sliced *sliced, size_t pairs);
void mixture_sliced_destroy(struct mixture_sliced *sliced);

/* Root mean square over directions of the 2-Wasserstein distance of projections; x [2 * pairs] is left alone. */
double mixture_sliced_distance(const struct mixture_sliced *sliced, const float *x);

/* Median distance between the pairs of x and those of exact, both [2 * pairs]. */
double mixture_median_distance(const float *x, const double *exact, size_t pairs);

#endif
