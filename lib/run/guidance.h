/* SPDX-License-Identifier: MIT */
/* Guidance as arithmetic on the network's outputs for one image: no run, no network. docs/guidance.md has the formulas.
 */
#ifndef DQG_GUIDANCE_H
#define DQG_GUIDANCE_H

#include "support/support.h"

enum dqg_guidance_form { DQG_GUIDANCE_CFG, DQG_GUIDANCE_APG, DQG_GUIDANCE_APG_FROM_U, DQG_GUIDANCE_CFG_ZERO };
extern const char dqg_guidance_forms[]; /* names in this order, for the option table */

/* Settings: plain data without padding, saved with a run. */
struct dqg_guidance {
    double scale;
    double low, high; /* noise levels between which the scale holds: above low, up to high; high 0: any */
    double rescale;
    double momentum, norm, parallel;   /* of APG; norm 0: no limit */
    double threshold, threshold_limit; /* a quantile, 0: off; the most that it may be */
    double perturbed_scale;
    double perturbed_start, perturbed_end; /* shares of the steps */
    int32_t form;                          /* enum dqg_guidance_form */
    int32_t channels;                      /* guided ones; 0: all */
    int32_t zero_steps;
    int32_t reserved;
};

/* What goes into one image. unconditional and perturbed are NULL where they have no part in it. */
struct dqg_guidance_image {
    const float *conditional, *unconditional, *perturbed; /* [n] outputs of the network */
    const float *x;                                       /* [n] the sample; not read where x0[0] is 0 */
    double x0[2];                                         /* x0 estimate = x0[0] x + x0[1] output */
    float *momentum; /* [n] running difference, in and out, or NULL: none is kept */
    double scale;    /* dqg_guidance_scale() */
    size_t n;
    size_t guided; /* the first elements, which are guided; the rest stays the conditional's */
};

/* The scale in force at a noise level, 1 outside the interval; whether the perturbed evaluation has a part in a step.
 */
double dqg_guidance_scale(const struct dqg_guidance *guidance, double level);
bool dqg_guidance_perturbs(const struct dqg_guidance *guidance, int32_t step, int32_t steps);

bool dqg_guidance_keeps_momentum(const struct dqg_guidance *guidance);

/* Does it depend on the step, or on the step before, besides the noise level? */
bool dqg_guidance_counts_steps(const struct dqg_guidance *guidance);

/* out [n], which may be the perturbed output and none of the others. */
void dqg_guidance_mix(const struct dqg_guidance *guidance, const struct dqg_guidance_image *terms, float *out);

#endif
