/* SPDX-License-Identifier: MIT */
/* safetensors files of F32 tensors, put together in memory: adapters, and models with chosen weights. */
#ifndef TESTS_TENSOR_FILE_H
#define TESTS_TENSOR_FILE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

enum { TENSOR_FILE_HEADER = 1 << 17 };

struct tensor_file {
    char header[TENSOR_FILE_HEADER];
    size_t used;
    float *data; /* free with tensor_file_free() */
    size_t count;
    unsigned char *bytes; /* the file, after tensor_file_close() */
    size_t size;
};

/* Zero is an empty file. Adds a tensor and returns its numbers, zeros at first; valid until the next call. */
static inline float *tensor_file_add(struct tensor_file *file, const char *name, int rank, const int64_t *shape) {
    size_t count = 1;
    file->used += (size_t)snprintf(file->header + file->used, sizeof file->header - file->used,
                                   "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", file->used > 0 ? "," : "", name);
    for (int i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
        file->used += (size_t)snprintf(file->header + file->used, sizeof file->header - file->used,
                                       i > 0 ? ",%lld" : "%lld", (long long)shape[i]);
    }
    file->used +=
        (size_t)snprintf(file->header + file->used, sizeof file->header - file->used, "],\"data_offsets\":[%zu,%zu]}",
                         file->count * sizeof(float), (file->count + count) * sizeof(float));
    assert_true(file->used < sizeof file->header - 16);
    file->data = realloc(file->data, (file->count + count + 1) * sizeof(float));
    assert_non_null(file->data);
    float *added = file->data + file->count;
    memset(added, 0, count * sizeof(float));
    file->count += count;
    return added;
}

/* Numbers that follow from a seed, of about this size. */
static inline void tensor_fill(float *data, size_t count, unsigned seed, float size) {
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = size * ((float)(state >> 8) / 8388608.0f - 1.0f);
    }
}

/* A matrix with such numbers. */
static inline void tensor_file_matrix(struct tensor_file *file, const char *name, int64_t rows, int64_t columns,
                                      unsigned seed, float size) {
    const int64_t shape[2] = {rows, columns};
    tensor_fill(tensor_file_add(file, name, 2, shape), (size_t)(rows * columns), seed, size);
}

static inline void tensor_file_close(struct tensor_file *file) {
    uint64_t length = (file->used + 2 + 7) / 8 * 8;
    file->size = 8 + (size_t)length + file->count * sizeof(float);
    file->bytes = calloc(1, file->size);
    assert_non_null(file->bytes);
    memcpy(file->bytes, &length, sizeof length);
    memset(file->bytes + 8, ' ', (size_t)length);
    file->bytes[8] = '{';
    memcpy(file->bytes + 9, file->header, file->used);
    file->bytes[9 + file->used] = '}';
    if (file->count > 0) {
        memcpy(file->bytes + 8 + length, file->data, file->count * sizeof(float));
    }
}

static inline void tensor_file_free(struct tensor_file *file) {
    free(file->data);
    free(file->bytes);
    memset(file, 0, sizeof *file);
}

#endif
