/* SPDX-License-Identifier: MIT */
/* CPU detection for select.c. Nothing is kept: the library has no mutable statics. */
#include "kernel/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

struct cpu_leaf {
    uint32_t a, b, c, d;
};

static struct cpu_leaf read_leaf(uint32_t leaf, uint32_t part) {
    struct cpu_leaf r = {0};
    if (!__get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d)) {
        return (struct cpu_leaf){0};
    }
    return r;
}

static int has_bits(uint32_t value, uint32_t bits) {
    return (value & bits) == bits;
}

uint32_t dqg_cpu_features(void) {
    const uint32_t os_ymm = 0x06; /* bits of XCR0: SSE and AVX state */
    const uint32_t os_zmm = 0xe6; /* and mask registers, upper halves, ZMM16-31 */
    const uint32_t avx_vnni = 1u << 4;
    struct cpu_leaf basic = read_leaf(1, 0);
    if (!has_bits(basic.c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) {
        return 0;
    }
    uint32_t saved, high;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    struct cpu_leaf extended = read_leaf(7, 0);
    if (!has_bits(saved, os_ymm) || !has_bits(extended.b, bit_AVX2)) {
        return 0;
    }
    uint32_t features = DQG_CPU_AVX2;
    if (has_bits(read_leaf(7, 1).a, avx_vnni)) {
        features |= DQG_CPU_AVX_VNNI;
    }
    if (has_bits(saved, os_zmm) && has_bits(extended.b, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ) &&
        has_bits(extended.c, bit_AVX512VNNI)) {
        features |= DQG_CPU_AVX512;
        if (has_bits(read_leaf(7, 1).a, bit_AVX512BF16)) {
            features |= DQG_CPU_AVX512_BF16;
        }
    }
    return features;
}

#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

uint32_t dqg_cpu_features(void) {
    uint32_t features = DQG_CPU_NEON;
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) {
        features |= DQG_CPU_NEON_DOT;
        features |= getauxval(AT_HWCAP2) & HWCAP2_I8MM ? DQG_CPU_NEON_MM : 0;
    }
    return features;
}

#elif defined(__aarch64__)

uint32_t dqg_cpu_features(void) {
    return DQG_CPU_NEON;
}

#else

uint32_t dqg_cpu_features(void) {
    return 0;
}

#endif
