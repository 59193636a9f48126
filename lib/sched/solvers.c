/* SPDX-License-Identifier: MIT */
/*
 * The table of solvers, and the two loops over samples that they are made of. The feed functions live in
 * solver_<family>.c; sched.c calls them through the table.
 */
#include "sched/pieces.h"

const char dqg_solver_names[] = "euler|heun|ddim";

const struct dqg_solver dqg_solvers[] = {
    {.piece = {"euler", "first order: Karras et al. 2022, arXiv 2206.00364, algorithm 1 without correction"},
     .evaluations = 1,
     .k_coordinates = true,
     .feed = dqg_solver_euler_feed},
    {.piece = {"heun", "second order, two evaluations a step: Karras et al. 2022, arXiv 2206.00364, algorithm 1"},
     .buffers = 1,
     .evaluations = 2,
     .k_coordinates = true,
     .request = dqg_solver_heun_request,
     .feed = dqg_solver_heun_feed},
    {.piece = {"ddim", "first order, a share eta of fresh noise: Song et al. 2020, arXiv 2010.02502"},
     .evaluations = 1,
     .ends_at_first = true,
     .noise_families = DQG_FAMILY_VP,
     .feed = dqg_solver_ddim_feed},
};
const size_t dqg_solver_count = DQG_COUNT_OF(dqg_solvers);

void dqg_combine(float *out, double a, const float *x, double b, const float *y, size_t n) {
    float fa = (float)a;
    float fb = (float)b;
    for (size_t i = 0; i < n; i++) {
        out[i] = fa * x[i] + fb * y[i];
    }
}

void dqg_step_combine(const struct dqg_step *step, float *out, double x0_weight, double eps_weight) {
    const struct dqg_estimate *e = &step->estimate;
    dqg_combine(out, x0_weight * e->x0_x + eps_weight * e->eps_x, step->x,
                x0_weight * e->x0_output + eps_weight * e->eps_output, step->output, step->n);
}
