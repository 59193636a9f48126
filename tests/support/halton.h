/* SPDX-License-Identifier: MIT */
/* Halton's points: numbers between 0 and 1 that fill it evenly, the same everywhere. */
#ifndef TESTS_HALTON_H
#define TESTS_HALTON_H

#include <stddef.h>

/* index 1 up; bases of different dimensions are primes. */
static inline double halton(size_t base, size_t index) {
    double value = 0;
    double share = 1.0 / (double)base;
    for (; index > 0; index /= base, share /= (double)base) {
        value += share * (double)(index % base);
    }
    return value;
}

#endif
