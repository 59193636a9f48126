/* SPDX-License-Identifier: MIT */
/* The ceiling loops: they count in proportion to the rounds, and do not vanish when compiled. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check_counts(const struct check *check, const char *name, uint64_t (*ceiling)(uint64_t rounds)) {
    check_case("%s %s", check->tested->name, name);
    uint64_t one = ceiling(1);
    if (ceiling(0) != 0 || one == 0 || ceiling(7) != 7 * one) {
        check_fail("operations are not in proportion to rounds");
    }
    double start = now();
    ceiling(((uint64_t)1 << 26) / one);
    if (now() - start < 1e-6) { /* no core does 2^26 of them in a microsecond */
        check_fail("the loop was removed");
    }
}

void check_ceiling_i8(const struct check *check) {
    check_counts(check, "ceiling_i8", check->tested->ceiling_i8);
}

void check_ceiling_f32(const struct check *check) {
    check_counts(check, "ceiling_f32", check->tested->ceiling_f32);
}

void check_ceiling_bf16(const struct check *check) {
    check_counts(check, "ceiling_bf16", check->tested->ceiling_bf16);
}
