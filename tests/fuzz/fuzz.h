/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share: a context whose memory is counted, and the promises that every input must keep. Each
 * target is one file with LLVMFuzzerTestOneInput(), linked either with libFuzzer or with replay.c.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "failing_alloc.h"
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stop with a message: a promise was broken. */
#define FUZZ_REQUIRE(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct fuzz_context {
    struct failing_alloc memory;
    dqg_context *context;
};

static inline void fuzz_begin(struct fuzz_context *fuzz) {
    dqg_allocator allocator;
    failing_alloc_init(&fuzz->memory, &allocator);
    FUZZ_REQUIRE(dqg_context_create(&allocator, &fuzz->context) == DQG_OK);
    FUZZ_REQUIRE(dqg_context_set_threads(fuzz->context, 1) == DQG_OK);
}

/* A failure has words, and is never the library's own fault. */
static inline void fuzz_check_status(const struct fuzz_context *fuzz, dqg_status status) {
    FUZZ_REQUIRE(status == DQG_OK || strlen(dqg_context_error(fuzz->context)) > 10);
    FUZZ_REQUIRE(status != DQG_ERROR_INTERNAL && status != DQG_ERROR_ARGUMENT && status != DQG_ERROR_STATE);
}

/* Everything was given back, and small inputs took little memory. */
static inline void fuzz_end(struct fuzz_context *fuzz, size_t size) {
    dqg_context_destroy(fuzz->context);
    FUZZ_REQUIRE(failing_alloc_errors(&fuzz->memory) == 0);
    FUZZ_REQUIRE(atomic_load(&fuzz->memory.peak_bytes) <= (int64_t)(2 * size) + 16 * 1024 * 1024);
}

/* Open, read every plane of up to 16 MiB, verify: what the statuses say must agree. */
static inline dqg_status fuzz_source(struct fuzz_context *fuzz, const uint8_t *data, size_t size) {
    enum { MOST = 16 * 1024 * 1024 };
    struct dqg_source source;
    struct dqg_input input;
    dqg_error_clear(fuzz->context);
    dqg_input_open_memory(data, size, &input);
    dqg_status status = dqg_source_open(fuzz->context, &input, &source);
    fuzz_check_status(fuzz, status);
    if (status < 0) {
        return status;
    }
    bool all = true;
    for (size_t i = 0; i < source.tensor_count && status >= 0; i++) {
        FUZZ_REQUIRE(dqg_source_find(&source, source.tensors[i].name) == (int64_t)i);
        for (int plane = 0; plane < DQG_PLANE_COUNT && status >= 0; plane++) {
            size_t bytes = (size_t)source.tensors[i].plane_bytes[plane];
            if (source.tensors[i].plane_bytes[plane] > MOST) {
                all = false;
                continue;
            }
            uint8_t *buffer = malloc(bytes > 0 ? bytes : 1);
            status = dqg_source_read(&source, i, (enum dqg_plane)plane, 0, buffer, bytes);
            free(buffer);
        }
    }
    fuzz_check_status(fuzz, status);
    dqg_error_clear(fuzz->context);
    dqg_status verified = dqg_source_verify(&source);
    fuzz_check_status(fuzz, verified);
    FUZZ_REQUIRE(!all || status == verified);
    dqg_source_close(&source);
    return verified;
}

#endif
