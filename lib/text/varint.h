/* SPDX-License-Identifier: MIT */
/* Reading bytes of unknown worth: numbers of 7 bits a byte, low ones first, as in protobuf; floats; stretches. */
#ifndef DQG_VARINT_H
#define DQG_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dqg_bytes {
    const uint8_t *at, *end;
    bool failed; /* something was cut off or too large; what was read since is 0 */
};

static inline uint64_t dqg_bytes_number(struct dqg_bytes *bytes) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && bytes->at < bytes->end && !bytes->failed; shift += 7) {
        uint8_t byte = *bytes->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    bytes->failed = true;
    return 0;
}

/* A number that must be below limit. */
static inline uint32_t dqg_bytes_below(struct dqg_bytes *bytes, uint32_t limit) {
    uint64_t value = dqg_bytes_number(bytes);
    bytes->failed = bytes->failed || value >= limit;
    return bytes->failed ? 0 : (uint32_t)value;
}

static inline const uint8_t *dqg_bytes_take(struct dqg_bytes *bytes, uint64_t size) {
    if (bytes->failed || size > (uint64_t)(bytes->end - bytes->at)) {
        bytes->failed = true;
        return NULL;
    }
    bytes->at += size;
    return bytes->at - size;
}

static inline uint32_t dqg_bytes_u32(struct dqg_bytes *bytes) {
    const uint8_t *at = dqg_bytes_take(bytes, 4);
    return at == NULL ? 0 : (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline float dqg_bytes_f32(struct dqg_bytes *bytes) {
    uint32_t bits = dqg_bytes_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
