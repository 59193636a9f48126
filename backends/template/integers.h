/* SPDX-License-Identifier: MIT */
/*
 * Vectors of small integers for the decoders. The including file sets DQG_BYTES, the bytes of a vector (16, 32 or 64);
 * arithmetic is GCC vector extensions.
 */
#ifndef DQG_TEMPLATE_INTEGERS_H
#define DQG_TEMPLATE_INTEGERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "template/unroll.h"

#ifndef DQG_BYTES
#error "set DQG_BYTES before template/integers.h"
#endif

#define DQG_BYTES_INLINE static inline __attribute__((always_inline))

typedef uint8_t dqg_v8 __attribute__((vector_size(DQG_BYTES)));
typedef int8_t dqg_vs8 __attribute__((vector_size(DQG_BYTES)));
typedef uint16_t dqg_v16 __attribute__((vector_size(DQG_BYTES)));
typedef int32_t dqg_vs32 __attribute__((vector_size(DQG_BYTES)));
typedef uint32_t dqg_v32 __attribute__((vector_size(DQG_BYTES)));
typedef uint8_t dqg_v8_narrow __attribute__((vector_size(DQG_BYTES / 4)));

DQG_BYTES_INLINE dqg_v8 dqg_v8_load(const void *p) {
    dqg_v8 v;
    memcpy(&v, p, sizeof v);
    return v;
}

DQG_BYTES_INLINE void dqg_v8_store(void *p, dqg_v8 v) {
    memcpy(p, &v, sizeof v);
}

DQG_BYTES_INLINE dqg_v8 dqg_v8_set1(uint8_t x) {
    return (dqg_v8){0} + x;
}

/* The same 16 bytes in each 16 bytes. */
DQG_BYTES_INLINE dqg_v8 dqg_v8_repeat(const void *p) {
    dqg_v8 v;
    for (size_t i = 0; i < DQG_BYTES; i += 16) {
        memcpy((char *)&v + i, p, 16);
    }
    return v;
}

/* DQG_BYTES / 4 bytes, each in a lane of its own. */
DQG_BYTES_INLINE dqg_v32 dqg_v8_widen(const void *p) {
    dqg_v8_narrow v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, dqg_v32);
}

#endif
