/* SPDX-License-Identifier: MIT */
/* What the CPU and the operating system let backends use. */
#ifndef DQG_CPU_H
#define DQG_CPU_H

#include <stdint.h>

enum {
    DQG_CPU_AVX2 = 1 << 0,   /* AVX2, FMA, F16C; YMM registers saved */
    DQG_CPU_AVX512 = 1 << 1, /* AVX-512 F, BW, VL, DQ, VNNI and the above; ZMM and mask registers saved */
    DQG_CPU_NEON = 1 << 2,
    DQG_CPU_NEON_DOT = 1 << 3, /* 8-bit dot product instructions */
    DQG_CPU_NEON_MM = 1 << 4,  /* 8-bit matrix instructions, and the above */
    DQG_CPU_AVX_VNNI = 1 << 5, /* 256-bit vpdpbusd in the encoding of AVX, and AVX2 */
    DQG_CPU_AVX512_BF16 = 1 << 6 /* AVX512_BF16: products of bfloat16; comes with DQG_CPU_AVX512 */
};

/* DQG_CPU_* of this machine. Asks the CPU at every call: about a microsecond, more in a virtual machine. */
uint32_t dqg_cpu_features(void);

#endif
