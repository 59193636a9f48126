/* SPDX-License-Identifier: MIT */
/*
 * Guidance: from what a network says with a condition, without one, and perturbed, to the output that the solver is
 * fed. Sums are double, in order of the elements. docs/guidance.md has formulas and sources. Called by combine.c for
 * runs and by lib/api for hosts with a loop of their own.
 */
#include "run/guidance.h"

#include <math.h>

const char dqg_guidance_forms[] = "cfg|apg|apg-unconditional|cfg-zero";

double dqg_guidance_scale(const struct dqg_guidance *guidance, double level) {
    return level > guidance->low && (guidance->high == 0 || level <= guidance->high) ? guidance->scale : 1.0;
}

bool dqg_guidance_perturbs(const struct dqg_guidance *guidance, int32_t step, int32_t steps) {
    double start = guidance->perturbed_start, end = guidance->perturbed_end;
    return guidance->perturbed_scale != 0 && (start == 0 || step > start * steps) && (end == 1 || step < end * steps);
}

static bool is_projected(const struct dqg_guidance *guidance) {
    return guidance->form == DQG_GUIDANCE_APG || guidance->form == DQG_GUIDANCE_APG_FROM_U;
}

/* ---- forms ---- */

bool dqg_guidance_keeps_momentum(const struct dqg_guidance *guidance) {
    return is_projected(guidance) && guidance->momentum != 0;
}

bool dqg_guidance_counts_steps(const struct dqg_guidance *guidance) {
    bool part = guidance->perturbed_start != 0 || guidance->perturbed_end != 1;
    return dqg_guidance_keeps_momentum(guidance) || guidance->zero_steps > 0 ||
           (guidance->perturbed_scale != 0 && part);
}

/* Element i: what it is guided to, and away from what the perturbed network says. out may be perturbed. */
static float leave_perturbed(const struct dqg_guidance *guidance, const struct dqg_guidance_image *terms, size_t i,
                             float guided) {
    const float *c = terms->conditional, *p = terms->perturbed;
    return p != NULL ? guided + (float)guidance->perturbed_scale * (c[i] - p[i]) : guided;
}

/* u + scale (c - u). */
static void classifier_free(const struct dqg_guidance *guidance, const struct dqg_guidance_image *terms, float *out) {
    const float *c = terms->conditional, *u = terms->unconditional;
    float scale = (float)terms->scale;
    for (size_t i = 0; i < terms->guided; i++) {
        out[i] = leave_perturbed(guidance, terms, i, u[i] + scale * (c[i] - u[i]));
    }
}

/* The same with s u in the place of u, s u being the projection of c on u. */
static void classifier_free_zero(const struct dqg_guidance *guidance, const struct dqg_guidance_image *terms,
                                 float *out) {
    const float *c = terms->conditional, *u = terms->unconditional;
    double cu = 0, uu = 0;
    for (size_t i = 0; i < terms->guided; i++) {
        cu += (double)c[i] * u[i];
        uu += (double)u[i] * u[i];
    }
    double s = uu > 0 ? cu / uu : 0;
    for (size_t i = 0; i < terms->guided; i++) {
        double guided = s * u[i] + terms->scale * (c[i] - s * u[i]);
        out[i] = leave_perturbed(guidance, terms, i, (float)guided);
    }
}

/*
 * Adaptive projected guidance. Lengths and directions are those of x0 estimates: there a difference is x0[1] times that
 * of outputs, and goes back divided by it.
 */
static void projected(const struct dqg_guidance *guidance, const struct dqg_guidance_image *terms, float *out) {
    const float *c = terms->conditional, *u = terms->unconditional;
    double of_x = terms->x0[0], of_output = terms->x0[1];
    double dd = 0, dy = 0, yy = 0;
    for (int pass = 0; pass < 2; pass++) {
        double shrink = guidance->norm > 0 && dd > guidance->norm * guidance->norm ? guidance->norm / sqrt(dd) : 1;
        double along = yy > 0 ? (guidance->parallel - 1) * shrink * dy / yy : 0;
        for (size_t i = 0; i < terms->guided; i++) {
            double y = of_output * c[i] + (of_x != 0 ? of_x * terms->x[i] : 0);
            double d = of_output * ((double)c[i] - u[i]);
            if (terms->momentum != NULL) {
                float *running = &terms->momentum[i];
                d = *running = pass == 0 ? (float)(d + guidance->momentum * *running) : *running;
            }
            if (pass == 0) {
                dd += d * d;
                dy += d * y;
                yy += y * y;
                continue;
            }
            double update = (shrink * d + along * y) / of_output;
            bool from_u = guidance->form == DQG_GUIDANCE_APG_FROM_U;
            double guided = from_u ? u[i] + terms->scale * update : c[i] + (terms->scale - 1) * update;
            out[i] = leave_perturbed(guidance, terms, i, (float)guided);
        }
    }
}

/* ---- after guidance ---- */

/* Unbiased, of all elements together. */
static double deviation(const float *values, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
    }
    for (size_t i = 0; i < n; i++) {
        squares += (values[i] - sum / (double)n) * (values[i] - sum / (double)n);
    }
    return n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

static void rescale(const struct dqg_guidance *guidance, const float *conditional, float *out, size_t n) {
    double now = deviation(out, n);
    double factor = now > 0 ? guidance->rescale * deviation(conditional, n) / now + 1 - guidance->rescale : 1;
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(factor * out[i]);
    }
}

static uint32_t magnitude(double value) {
    float single = (float)fabs(value);
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    return bits; /* in the order of magnitudes, infinities and NaNs above all others */
}

static double estimate(const struct dqg_guidance_image *terms, const float *out, size_t i) {
    return terms->x0[1] * out[i] + (terms->x0[0] != 0 ? terms->x0[0] * terms->x[i] : 0);
}

/* The magnitude of x0 that index others do not exceed: its bytes from the top, by counting those that begin alike. */
static double select_magnitude(const struct dqg_guidance_image *terms, const float *out, size_t index) {
    uint32_t found = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t counts[256] = {0};
        for (size_t i = 0; i < terms->n; i++) {
            uint32_t bits = magnitude(estimate(terms, out, i));
            counts[bits >> shift & 255] += ((uint64_t)(bits ^ found) >> (shift + 8)) == 0;
        }
        uint32_t byte = 0;
        for (; byte < 255 && index >= counts[byte]; byte++) {
            index -= counts[byte];
        }
        found |= byte << shift;
    }
    float value;
    memcpy(&value, &found, sizeof value);
    return value;
}

/* Clip x0 to a quantile of its magnitudes, at least 1, and divide by that. */
static void clip(const struct dqg_guidance *guidance, const struct dqg_guidance_image *terms, float *out) {
    double place = guidance->threshold * (double)(terms->n - 1);
    size_t below = (size_t)place;
    double s = select_magnitude(terms, out, below);
    if (below + 1 < terms->n) {
        s += (place - (double)below) * (select_magnitude(terms, out, below + 1) - s);
    }
    s = fmin(fmax(s, 1), guidance->threshold_limit);
    for (size_t i = 0; i < terms->n; i++) {
        double x0 = estimate(terms, out, i);
        double clipped = fmin(fmax(x0, -s), s) / s;
        if (clipped != x0 && !isnan(x0)) {
            double rest = terms->x0[0] != 0 ? terms->x0[0] * terms->x[i] : 0;
            out[i] = (float)((clipped - rest) / terms->x0[1]);
        }
    }
}

void dqg_guidance_mix(const struct dqg_guidance *guidance, const struct dqg_guidance_image *terms, float *out) {
    const float *c = terms->conditional;
    bool guided = terms->unconditional != NULL && terms->scale != 1;
    bool has_x0 = isfinite(terms->x0[0]) && isfinite(terms->x0[1]) && terms->x0[1] != 0;
    if (!guided) {
        for (size_t i = 0; i < terms->guided; i++) {
            out[i] = leave_perturbed(guidance, terms, i, c[i]);
        }
    } else if (is_projected(guidance) && has_x0) {
        projected(guidance, terms, out);
    } else if (guidance->form == DQG_GUIDANCE_CFG_ZERO) {
        classifier_free_zero(guidance, terms, out);
    } else {
        classifier_free(guidance, terms, out);
    }
    if (guidance->rescale > 0 && (guided || terms->perturbed != NULL)) {
        rescale(guidance, c, out, terms->guided);
    }
    memcpy(out + terms->guided, c + terms->guided, (terms->n - terms->guided) * sizeof *out);
    if (guidance->threshold > 0 && has_x0) {
        clip(guidance, terms, out);
    }
}
