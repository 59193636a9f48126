/* SPDX-License-Identifier: MIT */
/*
 * DDIM (Song et al. 2020, arXiv 2010.02502, equations 12 and 16): x0 and eps are estimated, then mixed again at the
 * next noise level, a share eta of the noise being fresh. eta = 1 is DDPM's ancestral sampling with the small variance.
 */
#include "sched/pieces.h"

#include <math.h>

dqg_status dqg_solver_ddim_feed(const struct dqg_step *step) {
    const struct dqg_sched_point *from = step->from;
    const struct dqg_sched_point *to = step->to;
    double fresh = 0; /* amplitude of the fresh noise; none when the sample comes out clean */
    if (step->eta > 0 && to->sigma > 0) {
        double ratio = from->alpha / to->alpha;
        fresh = step->eta * to->sigma / from->sigma * sqrt(fmax(1 - ratio * ratio, 0));
    }
    double kept = sqrt(fmax(to->sigma * to->sigma - fresh * fresh, 0));
    dqg_step_combine(step, step->x, to->alpha, kept);
    if (fresh > 0) {
        step->noise(step->user, step->index, step->scratch, step->n);
        dqg_combine(step->x, 1, step->x, fresh, step->scratch, step->n);
    }
    return DQG_OK;
}
