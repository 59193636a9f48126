/* SPDX-License-Identifier: MIT */
/*
 * Runge-Kutta rules of three and four stages in sigma: in k coordinates DEIS's rho-RK (Zhang and Chen 2022, arXiv
 * 2204.13902, appendix), where sigma is rho and the slope is eps. history[0] holds the sample at the step's start,
 * those after it the slopes; meanwhile x is the sample at the stage that the network sees next.
 */
#include "sched/pieces.h"

enum { MOST_STAGES = 4 };

/* Stage i lies at[i] of the step away from its start; take[i - 1] leads to it, the last row to the step's end. */
struct tableau {
    double at[MOST_STAGES];
    double take[MOST_STAGES][MOST_STAGES];
};

static const struct tableau tableaus[] = {
    [DQG_RK_KUTTA] = {{0, 1 / 2.0, 1}, {{1 / 2.0}, {-1, 2}, {1 / 6.0, 4 / 6.0, 1 / 6.0}}},
    [DQG_RK_RALSTON] = {{0, 1 / 2.0, 3 / 4.0}, {{1 / 2.0}, {0, 3 / 4.0}, {2 / 9.0, 1 / 3.0, 4 / 9.0}}},
    [DQG_RK_HEUN] = {{0, 1 / 3.0, 2 / 3.0}, {{1 / 3.0}, {0, 2 / 3.0}, {1 / 4.0, 0, 3 / 4.0}}},
    [DQG_RK_VDH] = {{0, 8 / 15.0, 2 / 3.0}, {{8 / 15.0}, {1 / 4.0, 5 / 12.0}, {1 / 4.0, 0, 3 / 4.0}}},
    [DQG_RK_SSP] = {{0, 1, 1 / 2.0}, {{1}, {1 / 4.0, 1 / 4.0}, {1 / 6.0, 1 / 6.0, 2 / 3.0}}},
    [DQG_RK_FOURTH] = {{0, 1 / 2.0, 1 / 2.0, 1},
                       {{1 / 2.0}, {0, 1 / 2.0}, {0, 0, 1}, {1 / 6.0, 1 / 3.0, 1 / 3.0, 1 / 6.0}}},
};

double dqg_rk_middle(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                     const struct dqg_sched_point *to, double eta, int32_t phase) {
    (void)eta;
    double part = tableaus[solver->variant].at[phase];
    return (1 - part) * from->sigma + part * to->sigma;
}

dqg_status dqg_solver_rk_feed(const struct dqg_step *step) {
    const double *take = tableaus[step->solver->variant].take[step->phase];
    double h = step->to->sigma - step->from->sigma;
    bool last = step->phase == step->solver->evaluations - 1;
    float *slope = last ? step->scratch : step->history[1 + step->phase];
    dqg_step_slope(step, slope);
    if (step->phase == 0) {
        dqg_combine(step->history[0], 1, step->x, 0, step->x, step->n);
    }
    dqg_combine(step->x, 1, step->history[0], h * take[step->phase], slope, step->n);
    for (int32_t j = 0; j < step->phase; j++) {
        dqg_combine(step->x, 1, step->x, h * take[j], step->history[1 + j], step->n);
    }
    return last ? DQG_OK : DQG_PENDING;
}
