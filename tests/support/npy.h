/* SPDX-License-Identifier: MIT */
/* Reads the golden arrays: .npy of float32 in C order. */
#ifndef TESTS_NPY_H
#define TESTS_NPY_H

#include <stdint.h>

struct npy {
    float *data; /* free() */
    int rank;
    int64_t shape[8];
    int64_t count;
};

/* 0 on success. */
int npy_read(const char *path, struct npy *array);

#endif
