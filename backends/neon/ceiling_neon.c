/* SPDX-License-Identifier: MIT */
/*
 * What this processor can reach with the instructions of the NEON products on registers alone: multiply bytes to 16
 * bits twice and add pairs to a sum; byte dot products; products of small matrices; fused sums. Assembly, because a
 * compiler is free to shorten such a loop, and because this file is compiled without the extensions.
 */
#include "neon/neon.h"

#define REGISTERS                                                                                                      \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",       \
        "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v30", "v31"

#define INT_STEP(sum, temporary)                                                                                       \
    "smull v" #temporary ".8h, v30.8b, v31.8b\n\t"                                                                     \
    "smlal v" #temporary ".8h, v31.8b, v30.8b\n\t"                                                                     \
    "sadalp v" #sum ".4s, v" #temporary ".8h\n\t"
#define DOT_STEP(sum) "sdot v" #sum ".4s, v30.16b, v31.16b\n\t"
#define MATRIX_STEP(sum) "smmla v" #sum ".4s, v30.16b, v31.16b\n\t"
#define FLOAT_STEP(sum) "fmla v" #sum ".4s, v30.4s, v31.4s\n\t"
#define ALL(STEP)                                                                                                      \
    STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11) STEP(12)         \
        STEP(13) STEP(14) STEP(15) STEP(16) STEP(17) STEP(18) STEP(19) STEP(20) STEP(21) STEP(22) STEP(23)
#define ZERO(n) "movi v" #n ".4s, #0\n\t"

/* Factors that are neither zero nor equal: what they cost in power is what data costs. */
static const uint32_t bytes = 0x5b1d7e23; /* 35, 126, 29, 91 */
static const float factor = 0.7310586f;

uint64_t dqg_ceiling_i8_neon(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile("dup v30.4s, %w[bytes]\n\t"
                         "dup v31.4s, %w[bytes]\n\t"
                         "1:\n\t" /* the sums may begin with anything */
                         INT_STEP(0, 8) INT_STEP(1, 9) INT_STEP(2, 10) INT_STEP(3, 11) INT_STEP(4, 12) INT_STEP(5, 13)
                             INT_STEP(6, 14) INT_STEP(7, 15) "subs %[left], %[left], #1\n\t"
                                                             "b.ne 1b"
                         : [left] "+r"(left)
                         : [bytes] "r"(bytes)
                         : "cc", REGISTERS);
    }
    return rounds * 8 * 16 * 2;
}

uint64_t dqg_ceiling_i8_neon_dot(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile(".arch armv8.2-a+dotprod\n\t"
                         "dup v30.4s, %w[bytes]\n\t"
                         "dup v31.4s, %w[bytes]\n\t"
                         "1:\n\t" ALL(DOT_STEP) "subs %[left], %[left], #1\n\t"
                                                "b.ne 1b\n\t"
                                                ".arch armv8-a"
                         : [left] "+r"(left)
                         : [bytes] "r"(bytes)
                         : "cc", REGISTERS);
    }
    return rounds * 24 * 16 * 2;
}

uint64_t dqg_ceiling_i8_neon_mm(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile(".arch armv8.2-a+i8mm\n\t"
                         "dup v30.4s, %w[bytes]\n\t"
                         "dup v31.4s, %w[bytes]\n\t"
                         "1:\n\t" ALL(MATRIX_STEP) "subs %[left], %[left], #1\n\t"
                                                   "b.ne 1b\n\t"
                                                   ".arch armv8-a"
                         : [left] "+r"(left)
                         : [bytes] "r"(bytes)
                         : "cc", REGISTERS);
    }
    return rounds * 24 * 32 * 2;
}

uint64_t dqg_ceiling_f32_neon(uint64_t rounds) {
    uint64_t left = rounds;
    if (rounds > 0) {
        __asm__ volatile("dup v30.4s, %[factor].s[0]\n\t"
                         "dup v31.4s, %[factor].s[0]\n\t" ALL(ZERO) "1:\n\t" ALL(FLOAT_STEP)
                         "subs %[left], %[left], #1\n\t"
                         "b.ne 1b"
                         : [left] "+r"(left)
                         : [factor] "w"(factor)
                         : "cc", REGISTERS);
    }
    return rounds * 24 * 4 * 2;
}
