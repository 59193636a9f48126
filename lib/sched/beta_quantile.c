/* SPDX-License-Identifier: MIT */
/*
 * Quantiles for spacings. That of the Beta distribution: the regularised incomplete beta function by its continued
 * fraction (DLMF 8.17.22, evaluated by Lentz's rule), inverted by bisection. That of the normal one likewise.
 */
#include "sched/pieces.h"

#include <math.h>

/* I_x(a, b) for x below the mean or so, where the fraction converges fast. front: 1 / (a B(a, b)). */
static double lower_part(double x, double a, double b, double front) {
    const double tiny = 1e-300;
    double c = 1;
    double d = 1 / (1 - (a + b) / (a + 1) * x);
    double fraction = d;
    for (int m = 1; m < 200; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / fmax(1 + even * d, tiny);
        c = fmax(1 + even / c, tiny);
        fraction *= c * d;
        d = 1 / fmax(1 + odd * d, tiny);
        c = fmax(1 + odd / c, tiny);
        fraction *= c * d;
        if (fabs(c * d - 1) < 1e-15) {
            break;
        }
    }
    return pow(x, a) * pow(1 - x, b) * front * fraction;
}

double dqg_beta_quantile(double p, double a, double b) {
    double inverse = tgamma(a + b) / (tgamma(a) * tgamma(b)); /* 1 / B(a, b) */
    double low = 0;
    double high = 1;
    for (int i = 0; i < 200 && high - low > 1e-16 * high; i++) {
        double x = 0.5 * (low + high);
        bool lower = x < (a + 1) / (a + b + 2);
        double share = lower ? lower_part(x, a, b, inverse / a) : 1 - lower_part(1 - x, b, a, inverse / b);
        if (fabs(share - p) <= 1e-15 * p) {
            return x; /* the middle of a symmetric one is 1/2 to the bit */
        }
        if (share < p) {
            low = x;
        } else {
            high = x;
        }
    }
    return 0.5 * (low + high);
}

double dqg_normal_quantile(double p) {
    double low = -40; /* where a double has no smaller probability */
    double high = 0;
    double tail = fmin(p, 1 - p);
    for (int i = 0; i < 100 && high - low > 1e-16; i++) {
        double z = 0.5 * (low + high);
        bool below = 0.5 * erfc(-z * 0.70710678118654752440) < tail;
        low = below ? z : low;
        high = below ? high : z;
    }
    return p < 0.5 ? high : -high;
}
