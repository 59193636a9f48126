/* SPDX-License-Identifier: MIT */
/*
 * Powers of 2 and e and the activations on vectors, for the float kernels. No table and no call, so that loops around
 * them stay in registers. Relies on template/vector.h.
 */
#ifndef DQG_TEMPLATE_ACTIVATION_H
#define DQG_TEMPLATE_ACTIVATION_H

#include "kernel/kernel.h"
#include "template/vector.h"

/* A polynomial of degree 5, from its constant up. */
DQG_INLINE dqg_vf dqg_vpoly5(dqg_vf x, float c0, float c1, float c2, float c3, float c4, float c5) {
    dqg_vf p = dqg_vfma(dqg_vset1(c5), x, dqg_vset1(c4));
    p = dqg_vfma(p, x, dqg_vset1(c3));
    p = dqg_vfma(p, x, dqg_vset1(c2));
    p = dqg_vfma(p, x, dqg_vset1(c1));
    return dqg_vfma(p, x, dqg_vset1(c0));
}

/*
 * 2^x with a relative error below 2e-7; 0 below -126.5, infinity above 127.5 (with AVX-512 where float ends), NaN for
 * NaN.
 *
 * x = n + f with n whole and |f| <= 1/2; 2^f = 1 + f Q(f), Q the polynomial of degree 4 whose largest relative error
 * is least (9.1e-8). AVX-512 has instructions that take f, round, and scale by 2^n at any n.
 */
DQG_INLINE dqg_vf dqg_vexp2(dqg_vf x) {
#if DQG_LANES == 16
    dqg_vf f = (dqg_vf)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    dqg_vf t = dqg_vmin(dqg_vset1(128.0f), dqg_vmax(dqg_vset1(-127.0f), x));
    dqg_vf shifted = t + 0x1.8p23f; /* the low bits hold n */
    dqg_vf f = t - (shifted - 0x1.8p23f);
#endif
    dqg_vf p = dqg_vpoly5(f, 1.0f, 0x1.62e42ap-1f, 0x1.ebf9bcp-3f, 0x1.c6b752p-5f, 0x1.3cea88p-7f, 0x1.5bba0ep-10f);
#if DQG_LANES == 16
    __m512 n = _mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return (dqg_vf)_mm512_scalef_ps((__m512)p, n);
#else
    return p * (dqg_vf)(((dqg_vu)shifted + 127u) << 23); /* n = 128 makes infinity, n = -127 makes 0 */
#endif
}

/* e^x; the rounding of x log2(e) adds |x| * 6e-8 to the relative error. */
DQG_INLINE dqg_vf dqg_vexp(dqg_vf x) {
    return dqg_vexp2(x * 0x1.715476p0f);
}

/*
 * All but ReLU are x / (1 + 2^-u), which keeps its relative accuracy where 1 + tanh would cancel:
 *
 *   SiLU        u = log2(e) x
 *   GELU quick  u = log2(e) 1.702 x
 *   GELU tanh   u = log2(e) 2 sqrt(2 / pi) (x + 0.044715 x^3)
 *   GELU erf    u = x P(x^2), fitted so that 1 / (1 + 2^-u) is the normal distribution function within 2.3e-7
 */
DQG_INLINE dqg_vf dqg_vactivate(dqg_vf x, const int32_t activation) {
    dqg_vf u; /* with its sign changed */
    if (activation == DQG_ACT_SILU) {
        u = x * -0x1.715476p0f;
    } else if (activation == DQG_ACT_GELU_QUICK) {
        u = x * (-0x1.715476p0f * 1.702f);
    } else if (activation == DQG_ACT_GELU_TANH) {
        u = x * dqg_vfma(x * x, dqg_vset1(-0x1.26aec2p1f * 0.044715f), dqg_vset1(-0x1.26aec2p1f));
    } else if (activation == DQG_ACT_GELU_ERF) {
        dqg_vf z = dqg_vmin(dqg_vset1(25.0f), x * x); /* beyond, the function is 0 or 1 within 3e-7 */
        u = x * dqg_vpoly5(z, -0x1.26ae8ap1f, -0x1.ad8a2ep-4f, 0x1.0eaa48p-13f, 0x1.310f76p-13f, -0x1.2ca498p-17f,
                           0x1.9d1956p-23f);
    } else if (activation == DQG_ACT_RELU) {
        return dqg_vmax((dqg_vf){0}, x);
    } else {
        return x;
    }
    return x / (dqg_vexp2(u) + 1.0f);
}

/* Calls loop(..., activation) with the activation as a constant. */
#define DQG_FOR_ACTIVATION(activation, loop, ...)                                                                      \
    switch (activation) {                                                                                              \
    case DQG_ACT_SILU:                                                                                                 \
        loop(__VA_ARGS__, DQG_ACT_SILU);                                                                               \
        break;                                                                                                         \
    case DQG_ACT_GELU_TANH:                                                                                            \
        loop(__VA_ARGS__, DQG_ACT_GELU_TANH);                                                                          \
        break;                                                                                                         \
    case DQG_ACT_GELU_ERF:                                                                                             \
        loop(__VA_ARGS__, DQG_ACT_GELU_ERF);                                                                           \
        break;                                                                                                         \
    case DQG_ACT_GELU_QUICK:                                                                                           \
        loop(__VA_ARGS__, DQG_ACT_GELU_QUICK);                                                                         \
        break;                                                                                                         \
    case DQG_ACT_RELU:                                                                                                 \
        loop(__VA_ARGS__, DQG_ACT_RELU);                                                                               \
        break;                                                                                                         \
    default:                                                                                                           \
        loop(__VA_ARGS__, DQG_ACT_NONE);                                                                               \
        break;                                                                                                         \
    }

#endif
