/* SPDX-License-Identifier: MIT */
/*
 * exp and the activations on vectors, for the float kernels. No table and no call, so that loops around them stay in
 * registers. Relies on template/vector.h.
 */
#ifndef DQG_TEMPLATE_ACTIVATION_H
#define DQG_TEMPLATE_ACTIVATION_H

#include "kernel/kernel.h"
#include "template/vector.h"

/*
 * e^x with a relative error below 2e-7; 0 below -86 (before anything turns subnormal), infinity above 88.73, NaN
 * for NaN.
 *
 * x = n ln 2 + r, |r| <= ln 2 / 2; e^r by a polynomial of degree 6 fitted at Chebyshev nodes (error 1.1e-8). The first
 * part of ln 2 has 15 bits, so n times it is exact. 2^n is made in two steps because n may be 128.
 */
DQG_INLINE dqg_vf dqg_vexp(dqg_vf x) {
    dqg_vf t = dqg_vmin(dqg_vset1(89.0f), dqg_vmax(dqg_vset1(-86.0f), x));
    dqg_vi n = dqg_vround(t * 0x1.715476p0f);
    dqg_vf whole = dqg_vto_float(n);
    dqg_vf r = dqg_vfma(whole, dqg_vset1(-0x1.62e4p-1f), t);
    r = dqg_vfma(whole, dqg_vset1(-0x1.7f7d1cp-20f), r);
    dqg_vf p = dqg_vset1(0x1.6d113cp-10f);
    p = dqg_vfma(p, r, dqg_vset1(0x1.120ba2p-7f));
    p = dqg_vfma(p, r, dqg_vset1(0x1.55551ap-5f));
    p = dqg_vfma(p, r, dqg_vset1(0x1.5554dcp-3f));
    p = dqg_vfma(p, r, dqg_vset1(0.5f));
    p = dqg_vfma(p, r, dqg_vset1(1.0f));
    p = dqg_vfma(p, r, dqg_vset1(1.0f));
    dqg_vf y = p * (dqg_vf)(((dqg_vu)n + 126u) << 23);
    y = y + y;
    return dqg_vselect((dqg_vi)(x < -86.0f), (dqg_vf){0}, y);
}

/* Both activations are x / (1 + e^-u), which keeps its relative accuracy where 1 + tanh would cancel. */
DQG_INLINE dqg_vf dqg_vactivate(dqg_vf x, const int32_t activation) {
    if (activation == DQG_ACT_SILU) {
        return x / (dqg_vexp(-x) + 1.0f);
    }
    if (activation == DQG_ACT_GELU_TANH) { /* u = 2 sqrt(2 / pi) (x + 0.044715 x^3) */
        dqg_vf u = x * (x * x * (0x1.9884534p0f * 0.044715f) + 0x1.9884534p0f);
        return x / (dqg_vexp(-u) + 1.0f);
    }
    return x;
}

#endif
