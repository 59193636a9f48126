/* SPDX-License-Identifier: MIT */
/* Files of other programs put together byte by byte, for tests of their readers. */
#ifndef TESTS_FILE_BUILDER_H
#define TESTS_FILE_BUILDER_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "io_check.h"

struct builder {
    uint8_t bytes[16384];
    size_t size;
};

static inline void put(struct builder *file, const void *data, size_t size) {
    assert_true(size <= sizeof(file->bytes) - file->size);
    memcpy(file->bytes + file->size, data, size);
    file->size += size;
}

#define put_literal(file, text) put(file, text, sizeof(text) - 1)

static inline void put_number(struct builder *file, uint64_t value, int bytes) {
    assert_in_range(bytes, 0, 8);
    for (int i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i);
        put(file, &byte, 1);
    }
}

static inline void put_float(struct builder *file, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_number(file, bits, 4);
}

static inline void put_zeros_to(struct builder *file, size_t size) {
    while (file->size < size) {
        put_number(file, 0, 1);
    }
}

/* Hexadecimal digits as bytes. */
static inline void put_hex(struct builder *file, const char *hex) {
    unsigned byte;
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2) {
        put_number(file, byte, 1);
    }
}

static inline uint32_t crc32_of(const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    return ~crc;
}

/* Loading and verifying give the same status. The bytes are copied to where a sanitizer sees one too many. */
static inline dqg_status load(struct io_fixture *fixture, const struct builder *file) {
    uint8_t *copy = malloc(file->size > 0 ? file->size : 1);
    memcpy(copy, file->bytes, file->size);
    dqg_status status = io_load_bytes(fixture, copy, file->size);
    assert_int_equal(io_verify_bytes(fixture, copy, file->size), status);
    free(copy);
    return status;
}

#endif
