/* SPDX-License-Identifier: MIT */
/* Little-endian numbers at any address, on hosts of either byte order. Used by everything in lib/io that knows a file
 * format. */
#ifndef DQG_BYTES_H
#define DQG_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t dqg_get_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t dqg_get_u64(const uint8_t *at) {
    return (uint64_t)dqg_get_u32(at) | (uint64_t)dqg_get_u32(at + 4) << 32;
}

static inline float dqg_get_f32(const uint8_t *at) {
    uint32_t bits = dqg_get_u32(at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint8_t *dqg_put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
    return at + 4;
}

static inline uint8_t *dqg_put_u64(uint8_t *at, uint64_t value) {
    dqg_put_u32(at, (uint32_t)value);
    return dqg_put_u32(at + 4, (uint32_t)(value >> 32));
}

static inline uint8_t *dqg_put_f32(uint8_t *at, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return dqg_put_u32(at, bits);
}

static inline uint8_t *dqg_put_bytes(uint8_t *at, const void *data, size_t size) {
    memcpy(at, data, size);
    return at + size;
}

#endif
