/* SPDX-License-Identifier: MIT */
/*
 * What the programs that time other libraries share. Each reads shapes from standard input, one a line,
 *
 *     matmul M N K
 *     conv SAMPLES HEIGHT WIDTH INPUTS OUTPUTS KERNEL STRIDE      height and width of the result; padding keeps them
 *
 * and prints a line of JSON for each that it can do: {"shape": "matmul 256 1152 1152", "seconds_min": ..., ...}.
 * Times are taken as dqgen bench takes them: calls are repeated until PEER_SECONDS are spent, three at least.
 */
#ifndef DQG_BENCH_PEER_H
#define DQG_BENCH_PEER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PEER_TIMES = 512, PEER_FEWEST = 3 };
#define PEER_SECONDS 0.15

struct peer_shape {
    char text[128]; /* the line */
    int64_t m, n, k;
    int64_t samples, height, width, inputs, outputs, kernel, stride; /* conv, where kernel > 0 */
};

static inline double peer_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The next shape of standard input; 0 at its end. */
static inline int peer_next(struct peer_shape *shape) {
    *shape = (struct peer_shape){0};
    if (fgets(shape->text, sizeof(shape->text), stdin) == NULL) {
        return 0;
    }
    shape->text[strcspn(shape->text, "\n")] = '\0';
    long long v[7];
    if (sscanf(shape->text, "matmul %lld %lld %lld", &v[0], &v[1], &v[2]) == 3) {
        shape->m = v[0];
        shape->n = v[1];
        shape->k = v[2];
    } else if (sscanf(shape->text, "conv %lld %lld %lld %lld %lld %lld %lld", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
                      &v[6]) == 7) {
        shape->samples = v[0];
        shape->height = v[1];
        shape->width = v[2];
        shape->inputs = v[3];
        shape->outputs = v[4];
        shape->kernel = v[5];
        shape->stride = v[6];
    } else {
        fprintf(stderr, "not a shape: %s\n", shape->text);
        exit(2);
    }
    return 1;
}

static inline void *peer_alloc(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static inline float *peer_floats(size_t count) {
    float *values = peer_alloc(count * sizeof(float));
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)state * 0x1p-31f;
    }
    return values;
}

/* lowest .. lowest + 255 - 1, as unsigned or signed bytes */
static inline void *peer_bytes(size_t count, int lowest) {
    uint8_t *values = peer_alloc(count);
    uint32_t state = 7;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (uint8_t)(lowest + (int)((state >> 16) % 255));
    }
    return values;
}

static inline int peer_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Time call(user) and print the result. */
static inline void peer_time(const char *name, const struct peer_shape *shape, void (*call)(void *user), void *user) {
    double seconds[PEER_TIMES], spent = 0;
    size_t count = 0;
    call(user);
    while (count < PEER_TIMES && (count < PEER_FEWEST || spent < PEER_SECONDS)) {
        double start = peer_now();
        call(user);
        seconds[count] = peer_now() - start;
        spent += seconds[count++];
    }
    qsort(seconds, count, sizeof(*seconds), peer_compare);
    printf("{\"peer\": \"%s\", \"shape\": \"%s\", \"seconds_min\": %.9g, \"seconds_median\": %.9g, "
           "\"seconds_max\": %.9g}\n",
           name, shape->text, seconds[0], seconds[count / 2], seconds[count - 1]);
    fflush(stdout);
}

#endif
