/* SPDX-License-Identifier: MIT */
/* What this processor can reach with the byte dot product of gemm_i8_i32 on registers alone: 12 independent sums.
 * Assembly, because a compiler is free to shorten such a loop. */
#include "avx2/avx2.h"

#define STEP(sum) "%{vex%} vpdpbusd %%ymm14, %%ymm14, %%ymm" #sum "\n\t"

/* Factors that are neither zero nor equal: what they cost in power is what data costs. */
static const uint32_t bytes = 0x5b1d7e23; /* 35, 126, 29, 91 */

uint64_t dqg_ceiling_i8_avxvnni(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile("vpbroadcastd %[bytes], %%ymm14\n\t"
                         "1:\n\t" /* the sums may begin with anything */
                         STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10)
                             STEP(11) "dec %[left]\n\t"
                                      "jnz 1b\n\t"
                                      "vzeroupper"
                         : [left] "+r"(left)
                         : [bytes] "m"(bytes)
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                           "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    }
    return rounds * 12 * 32 * 2;
}
