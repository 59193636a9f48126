/* SPDX-License-Identifier: MIT */
/* What this processor can reach with the instruction of gemm_bf16_f32 on registers alone. */
#include "avx512/avx512.h"
#include "avx512/ceiling.h"

static const uint32_t factors = 0x3f3b3eda; /* 0.73 and 0.43 */

uint64_t dqg_ceiling_bf16_avx512_bf16(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        ROUNDS("vdpbf16ps", left, factors);
    }
    return rounds * 24 * 32 * 2;
}
