/* SPDX-License-Identifier: MIT */
/*
 * What this processor can reach with the instructions of gemm_i8_i32 and gemm_f32 on registers alone. 24 independent
 * sums hide the latency; assembly, because a compiler is free to shorten such a loop.
 */
#include "avx512/avx512.h"

#define REGISTERS                                                                                                      \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm30",    \
        "xmm31"

/* One instruction for each of the 24 sums. */
#define STEP(op, n) op " %%zmm30, %%zmm31, %%zmm" #n "\n\t"
#define STEPS8(op, a, b, c, d, e, f, g, h)                                                                             \
    STEP(op, a) STEP(op, b) STEP(op, c) STEP(op, d) STEP(op, e) STEP(op, f) STEP(op, g) STEP(op, h)
#define STEPS(op)                                                                                                      \
    STEPS8(op, 0, 1, 2, 3, 4, 5, 6, 7)                                                                                 \
    STEPS8(op, 8, 9, 10, 11, 12, 13, 14, 15)                                                                           \
    STEPS8(op, 16, 17, 18, 19, 20, 21, 22, 23)
#define ZERO(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"

/* Factors that are neither zero nor equal: what they cost in power is what data costs. */
static const uint32_t bytes = 0x5b1d7e23; /* 35, 126, 29, 91 */
static const float factor = 0.7310586f;

uint64_t dqg_ceiling_i8_avx512(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile("vpbroadcastd %[bytes], %%zmm30\n\t"
                         "vpbroadcastd %[bytes], %%zmm31\n\t"
                         "1:\n\t" /* the sums may begin with anything */
                         STEPS("vpdpbusd") "dec %[left]\n\t"
                                           "jnz 1b\n\t"
                         : [left] "+r"(left)
                         : [bytes] "m"(bytes)
                         : "cc", REGISTERS);
    }
    return rounds * 24 * 64 * 2;
}

uint64_t dqg_ceiling_f32_avx512(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile("vbroadcastss %[factor], %%zmm30\n\t"
                         "vbroadcastss %[factor], %%zmm31\n\t" ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6)
                             ZERO(7) ZERO(8) ZERO(9) ZERO(10) ZERO(11) ZERO(12) ZERO(13) ZERO(14) ZERO(15) ZERO(16)
                                 ZERO(17) ZERO(18) ZERO(19) ZERO(20) ZERO(21) ZERO(22) ZERO(23) "1:\n\t"
                         STEPS("vfmadd231ps") "dec %[left]\n\t"
                                              "jnz 1b\n\t"
                         : [left] "+r"(left)
                         : [factor] "m"(factor)
                         : "cc", REGISTERS);
    }
    return rounds * 24 * 16 * 2;
}
