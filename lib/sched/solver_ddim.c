/* SPDX-License-Identifier: MIT */
/*
 * DDIM (Song et al. 2020, arXiv 2010.02502, equations 12 and 16): x0 and eps are estimated, then mixed again at the
 * next noise level, a share eta of the noise being fresh. eta = 1 is DDPM's ancestral sampling with the small variance.
 * And its relatives: the large variance of DDPM, the samplers of consistency models.
 */
#include "sched/pieces.h"

#include <math.h>

/*
 * Fresh noise of a variance that the network chose for each element between the small and the large one, on a
 * logarithmic scale (Nichol and Dhariwal 2021, arXiv 2102.09672, equation 15).
 */
static void add_learned_noise(const struct dqg_step *step, double smallest) {
    double range = log(step->from->sigma / step->to->sigma);
    dqg_step_draw(step, 0);
    for (size_t i = 0; i < step->n; i++) {
        double share = 0.5 * (1 + (double)step->share[i]);
        step->x[i] += (float)(smallest * exp(share * range)) * step->scratch[i];
    }
}

dqg_status dqg_solver_ddim_feed(const struct dqg_step *step) {
    const struct dqg_sched_point *from = step->from;
    const struct dqg_sched_point *to = step->to;
    double ratio = from->alpha / to->alpha;
    double fresh = step->eta > 0 ? step->eta * to->sigma / from->sigma * sqrt(fmax(1 - ratio * ratio, 0)) : 0;
    double kept = sqrt(fmax(to->sigma * to->sigma - fresh * fresh, 0));
    if (step->lml != NULL) { /* corrects the direction, not x0 */
        dqg_step_combine(step, step->scratch, 0, 1);
        dqg_step_combine(step, step->x, to->alpha, 0);
        dqg_lml_add(step, 1, kept);
    } else {
        dqg_step_combine(step, step->x, to->alpha, kept);
    }
    if (step->variance == DQG_VARIANCE_LEARNED && fresh > 0) {
        add_learned_noise(step, fresh);
        return DQG_OK;
    }
    dqg_step_noise(step, 0, step->variance == DQG_VARIANCE_LARGE ? fresh * from->sigma / to->sigma : fresh);
    return DQG_OK;
}

/* Strategic stochastic sampling (Zheng et al. 2024, arXiv 2402.19159): to a point below the step's end, then noise. */
double dqg_tcd_time(const struct dqg_sched_point *from, const struct dqg_sched_point *to, double eta, int32_t phase,
                    bool discrete) {
    (void)from;
    (void)phase;
    double t = (1 - eta) * to->timestep;
    return discrete && eta > 0 ? floor(t) : t;
}

dqg_status dqg_solver_tcd_feed(const struct dqg_step *step) {
    const struct dqg_sched_point *to = step->to;
    const struct dqg_sched_point *below = step->eta > 0 ? step->middle : to;
    double ratio = to->alpha / below->alpha;
    double kept = ratio * below->sigma;
    dqg_step_combine(step, step->x, to->alpha, kept);
    dqg_step_noise(step, 0, sqrt(fmax(to->sigma * to->sigma - kept * kept, 0)));
    return DQG_OK;
}

/* Consistency: the estimate, with noise all fresh. The boundary terms of the paper are below float at its timesteps. */
dqg_status dqg_solver_lcm_feed(const struct dqg_step *step) {
    dqg_step_combine(step, step->x, step->to->alpha, 0);
    dqg_step_noise(step, 0, step->to->sigma);
    return DQG_OK;
}
