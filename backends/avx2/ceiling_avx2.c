/* SPDX-License-Identifier: MIT */
/*
 * What this processor can reach with the instructions of gemm_i8_i32 and gemm_f32 on registers alone: multiply bytes
 * and add pairs, add pairs again, add to one of 8 sums; or one of 12 fused sums. Assembly, because a compiler is free
 * to shorten such a loop.
 */
#include "avx2/avx2.h"

#define REGISTERS                                                                                                      \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15"

/* ymm14: bytes, ymm13: 16-bit ones; the temporary takes turns so that nothing waits for it. */
#define INT_STEP(sum, temporary)                                                                                       \
    "vpmaddubsw %%ymm14, %%ymm14, %%ymm" #temporary "\n\t"                                                             \
    "vpmaddwd %%ymm13, %%ymm" #temporary ", %%ymm" #temporary "\n\t"                                                   \
    "vpaddd %%ymm" #temporary ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define FLOAT_STEP(sum) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #sum "\n\t"
#define ZERO(n) "vpxor %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n\t"

/* Factors that are neither zero nor equal: what they cost in power is what data costs. */
static const uint32_t bytes = 0x5b1d7e23; /* 35, 126, 29, 91 */
static const uint32_t ones = 0x00010001;
static const float factor = 0.7310586f;

uint64_t dqg_ceiling_i8_avx2(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile("vpbroadcastd %[bytes], %%ymm14\n\t"
                         "vpbroadcastd %[ones], %%ymm13\n\t"
                         "1:\n\t" /* the sums may begin with anything */
                         INT_STEP(0, 8) INT_STEP(1, 9) INT_STEP(2, 10) INT_STEP(3, 11) INT_STEP(4, 8) INT_STEP(5, 9)
                             INT_STEP(6, 10) INT_STEP(7, 11) "dec %[left]\n\t"
                                                             "jnz 1b\n\t"
                                                             "vzeroupper"
                         : [left] "+r"(left)
                         : [bytes] "m"(bytes), [ones] "m"(ones)
                         : "cc", REGISTERS);
    }
    return rounds * 8 * 32 * 2;
}

uint64_t dqg_ceiling_f32_avx2(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile("vbroadcastss %[factor], %%ymm14\n\t"
                         "vbroadcastss %[factor], %%ymm15\n\t" ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6)
                             ZERO(7) ZERO(8) ZERO(9) ZERO(10) ZERO(11) "1:\n\t" FLOAT_STEP(0) FLOAT_STEP(1)
                                 FLOAT_STEP(2) FLOAT_STEP(3) FLOAT_STEP(4) FLOAT_STEP(5) FLOAT_STEP(6) FLOAT_STEP(7)
                                     FLOAT_STEP(8) FLOAT_STEP(9) FLOAT_STEP(10) FLOAT_STEP(11) "dec %[left]\n\t"
                                                                                               "jnz 1b\n\t"
                                                                                               "vzeroupper"
                         : [left] "+r"(left)
                         : [factor] "m"(factor)
                         : "cc", REGISTERS);
    }
    return rounds * 12 * 8 * 2;
}
