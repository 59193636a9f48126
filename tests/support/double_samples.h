/* SPDX-License-Identifier: MIT */
/*
 * Included before everything else in a build of lib/sched and of its tests in which samples are double instead of
 * float: formulas and orders of convergence show there undisturbed by rounding. What uses float otherwise is included
 * first.
 */
#ifndef TESTS_DOUBLE_SAMPLES_H
#define TESTS_DOUBLE_SAMPLES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdqgen.h"
#include "support/hash.h"
#include "support/rng.h"
#include "support/support.h"

static inline void double_normals(uint64_t seed, uint32_t stream, double *out, size_t count) {
    float *drawn = malloc((count + 1) * sizeof(float));
    dqg_rng_normal(seed, stream, drawn, count);
    for (size_t i = 0; i < count; i++) {
        out[i] = drawn[i];
    }
    free(drawn);
}

#define dqg_rng_normal double_normals
#ifdef __clang__
#pragma clang diagnostic ignored "-Wkeyword-macro" /* which is the purpose of this file */
#endif
#define float double
#define DOUBLE_SAMPLES

#endif
