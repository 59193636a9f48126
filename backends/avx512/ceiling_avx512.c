/* SPDX-License-Identifier: MIT */
/* What this processor can reach with the instructions of gemm_i8_i32 and gemm_f32 on registers alone. */
#include "avx512/avx512.h"
#include "avx512/ceiling.h"

/* Factors that are neither zero nor equal: what they cost in power is what data costs. */
static const uint32_t bytes = 0x5b1d7e23; /* 35, 126, 29, 91 */
static const float factor = 0.7310586f;

uint64_t dqg_ceiling_i8_avx512(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        ROUNDS("vpdpbusd", left, bytes);
    }
    return rounds * 24 * 64 * 2;
}

uint64_t dqg_ceiling_f32_avx512(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        ROUNDS("vfmadd231ps", left, factor);
    }
    return rounds * 24 * 16 * 2;
}
