/* SPDX-License-Identifier: MIT */
/* The ceiling loops of AVX-512: 24 independent sums hide the latency of any multiply-add; assembly, because a compiler
 * is free to shorten such a loop. */
#ifndef DQG_AVX512_CEILING_H
#define DQG_AVX512_CEILING_H

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
#define ZEROS8(a, b, c, d, e, f, g, h) ZERO(a) ZERO(b) ZERO(c) ZERO(d) ZERO(e) ZERO(f) ZERO(g) ZERO(h)
#define ZEROS                                                                                                          \
    ZEROS8(0, 1, 2, 3, 4, 5, 6, 7) ZEROS8(8, 9, 10, 11, 12, 13, 14, 15) ZEROS8(16, 17, 18, 19, 20, 21, 22, 23)

/* left rounds, more than 0, of op on 32-bit factors. Sums begin with 0: floats that are not normal may take longer. */
#define ROUNDS(op, left, factor)                                                                                       \
    __asm__ volatile("vpbroadcastd %[bits], %%zmm30\n\t"                                                               \
                     "vpbroadcastd %[bits], %%zmm31\n\t" ZEROS "1:\n\t" STEPS(op) "dec %[rounds]\n\t"                  \
                                                                                  "jnz 1b\n\t"                         \
                     : [rounds] "+r"(left)                                                                             \
                     : [bits] "m"(factor)                                                                              \
                     : "cc", REGISTERS)

#endif
