/* SPDX-License-Identifier: MIT */
/* How far floats are from others: the length of the difference over that of b. */
#ifndef TESTS_RELATIVE_H
#define TESTS_RELATIVE_H

#include <math.h>
#include <stdint.h>

static inline double relative(const float *a, const float *b, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

#endif
