/* SPDX-License-Identifier: MIT */
/*
 * The table of solvers, and what they have in common: the loop over samples, the split of
 * ancestral steps, fresh noise. The feed functions live in
 * solver_<family>.c; sched.c calls them through the table.
 */
#include "sched/pieces.h"

#include <math.h>

const char dqg_solver_names[] = "euler|heun|ddim|ddpm|lcm|tcd|euler-ancestral|midpoint|dpm2|dpm2-ancestral|dpm-3s|"
                                "dpm++-2s|dpm++-2s-ancestral|dpm++-sde|dpm-2m|dpm-3m|dpm++-2m|dpm++-2m-heun|"
                                "dpm++-2m-sde|dpm++-2m-sde-heun|dpm++-3m|dpm++-3m-sde|er-sde|unipc|unipc-bh1|unipc-3|"
                                "lms|deis|deis-t|kutta3|ralston3|heun3|vdh3|ssp3|rk4|ipndm|plms|pndm";

enum { BOTH = DQG_FAMILY_VP | DQG_FAMILY_FLOW };

const struct dqg_solver dqg_solvers[] = {
    {.piece = {"euler", "first order: Karras et al. 2022, arXiv 2206.00364, algorithm 1 without correction"},
     .evaluations = 1,
     .k_coordinates = true,
     .both_ways = true,
     .churns = true,
     .lml_families = DQG_FAMILY_FLOW,
     .feed = dqg_solver_euler_feed},
    {.piece = {"heun", "second order, two evaluations a step: Karras et al. 2022, arXiv 2206.00364, algorithm 1"},
     .buffers = 1,
     .evaluations = 2,
     .k_coordinates = true,
     .both_ways = true,
     .churns = true,
     .feed = dqg_solver_heun_feed},
    {.piece = {"ddim", "first order, a share eta of fresh noise: Song et al. 2020, arXiv 2010.02502"},
     .evaluations = 1,
     .ends_at_first = true,
     .noise_families = DQG_FAMILY_VP,
     .both_ways = true,
     .lml_families = DQG_FAMILY_VP,
     .feed = dqg_solver_ddim_feed},
    {.piece = {"ddpm", "ancestral sampling, to sigma 0: Ho et al. 2020, arXiv 2006.11239"},
     .evaluations = 1,
     .noise_families = BOTH,
     .own_eta = 1,
     .variances = true,
     .feed = dqg_solver_ddim_feed},
    {.piece = {"lcm", "x0 and fresh noise: latent consistency models, Luo et al. 2023, arXiv 2310.04378"},
     .evaluations = 1,
     .always_noise = true,
     .feed = dqg_solver_lcm_feed},
    {.piece = {"tcd",
               "to a point below the end, then noise: trajectory consistency, Zheng et al. 2024, arXiv 2402.19159"},
     .evaluations = 1,
     .ends_at_first = true,
     .noise_families = BOTH,
     .own_eta = 0.3,
     .feed = dqg_solver_tcd_feed,
     .middle_time = dqg_tcd_time},
    {.piece = {"euler-ancestral", "euler with fresh noise: k-diffusion; on flow for rectified flow"},
     .evaluations = 1,
     .k_coordinates = true,
     .noise_families = BOTH,
     .own_eta = 1,
     .feed = dqg_solver_euler_feed},
    {.piece = {"midpoint", "second order, slope at the middle in sigma"},
     .buffers = 1,
     .evaluations = 2,
     .k_coordinates = true,
     .churns = true,
     .feed = dqg_solver_dpm2_feed,
     .middle = dqg_even_middle},
    {.piece = {"dpm2", "second order, slope at the middle in ln sigma: DPM-Solver-2, Lu et al. 2022, arXiv 2206.00927"},
     .buffers = 1,
     .evaluations = 2,
     .k_coordinates = true,
     .churns = true,
     .feed = dqg_solver_dpm2_feed,
     .middle = dqg_log_middle},
    {.piece = {"dpm2-ancestral", "dpm2 with fresh noise: k-diffusion"},
     .buffers = 1,
     .evaluations = 2,
     .k_coordinates = true,
     .noise_families = BOTH,
     .own_eta = 1,
     .feed = dqg_solver_dpm2_feed,
     .middle = dqg_log_middle},
    {.piece = {"dpm-3s", "third order, slopes at thirds in ln sigma: DPM-Solver-3, Lu et al. 2022, arXiv 2206.00927"},
     .buffers = 2,
     .evaluations = 3,
     .k_coordinates = true,
     .feed = dqg_solver_dpm3_feed,
     .middle = dqg_log_middle},
    {.piece = {"dpm++-2s", "second order, x0 at the middle: DPM-Solver++ 2S, Lu et al. 2022, arXiv 2211.01095"},
     .buffers = 1,
     .evaluations = 2,
     .k_coordinates = true,
     .feed = dqg_solver_dpmpp_single_feed,
     .middle = dqg_log_middle},
    {.piece = {"dpm++-2s-ancestral", "dpm++-2s with fresh noise: k-diffusion"},
     .buffers = 1,
     .evaluations = 2,
     .k_coordinates = true,
     .noise_families = BOTH,
     .own_eta = 1,
     .feed = dqg_solver_dpmpp_single_feed,
     .middle = dqg_log_middle},
    {.piece = {"dpm++-sde", "dpm++-2s with fresh noise at the middle, too: k-diffusion"},
     .buffers = 1,
     .evaluations = 2,
     .variant = DQG_SINGLE_NOISY_MIDDLE,
     .k_coordinates = true,
     .noise_families = BOTH,
     .own_eta = 1,
     .feed = dqg_solver_dpmpp_single_feed,
     .middle = dqg_log_middle},
    {.piece = {"dpm-2m", "second order from eps of two steps: DPM-Solver, Lu et al. 2022, arXiv 2206.00927"},
     .buffers = 1,
     .order = 2,
     .most_order = 3,
     .evaluations = 1,
     .k_coordinates = true,
     .lower_final = DQG_LOWER_FEW_STEPS,
     .feed = dqg_solver_dpm_multi_feed},
    {.piece = {"dpm-3m", "eps extrapolated from three steps: DPM-Solver, Lu et al. 2022, arXiv 2206.00927"},
     .buffers = 2,
     .order = 3,
     .variant = DQG_DPMPP_HEUN,
     .evaluations = 1,
     .k_coordinates = true,
     .lower_final = DQG_LOWER_FEW_STEPS,
     .feed = dqg_solver_dpm_multi_feed},
    {.piece = {"dpm++-2m", "second order from two steps: DPM-Solver++ 2M, Lu et al. 2022, arXiv 2211.01095"},
     .buffers = 1,
     .order = 2,
     .most_order = 3,
     .evaluations = 1,
     .k_coordinates = true,
     .log_sigma = true,
     .lower_final = DQG_LOWER_FEW_STEPS,
     .lml_families = BOTH,
     .feed = dqg_solver_dpmpp_multi_feed},
    {.piece = {"dpm++-2m-heun", "dpm++-2m with the other form of second order: Lu et al. 2022, arXiv 2211.01095"},
     .buffers = 1,
     .order = 2,
     .most_order = 3,
     .variant = DQG_DPMPP_HEUN,
     .evaluations = 1,
     .k_coordinates = true,
     .log_sigma = true,
     .lower_final = DQG_LOWER_FEW_STEPS,
     .lml_families = BOTH,
     .feed = dqg_solver_dpmpp_multi_feed},
    {.piece = {"dpm++-2m-sde", "dpm++-2m with fresh noise: k-diffusion"},
     .buffers = 1,
     .order = 2,
     .evaluations = 1,
     .k_coordinates = true,
     .noise_families = BOTH,
     .own_eta = 1,
     .feed = dqg_solver_dpmpp_multi_feed},
    {.piece = {"dpm++-2m-sde-heun", "likewise with the other form of second order: k-diffusion"},
     .buffers = 1,
     .order = 2,
     .variant = DQG_DPMPP_HEUN,
     .evaluations = 1,
     .k_coordinates = true,
     .noise_families = BOTH,
     .own_eta = 1,
     .feed = dqg_solver_dpmpp_multi_feed},
    {.piece = {"dpm++-3m", "x0 extrapolated from three steps: DPM-Solver++ 3M, Lu et al. 2022, arXiv 2211.01095"},
     .buffers = 2,
     .order = 3,
     .variant = DQG_DPMPP_HEUN,
     .evaluations = 1,
     .k_coordinates = true,
     .log_sigma = true,
     .lower_final = DQG_LOWER_FEW_STEPS,
     .lml_families = BOTH,
     .feed = dqg_solver_dpmpp_multi_feed},
    {.piece = {"dpm++-3m-sde", "dpm++-3m with fresh noise: k-diffusion"},
     .buffers = 2,
     .order = 3,
     .variant = DQG_DPMPP_HEUN,
     .evaluations = 1,
     .k_coordinates = true,
     .noise_families = BOTH,
     .own_eta = 1,
     .feed = dqg_solver_dpmpp_multi_feed},
    {.piece = {"er-sde", "stochastic, from three steps: ER-SDE-Solver-3, Cui et al. 2023, arXiv 2309.06169"},
     .buffers = 2,
     .order = 3,
     .evaluations = 1,
     .k_coordinates = true,
     .always_noise = true,
     .feed = dqg_solver_er_sde_feed},
    {.piece = {"unipc", "predictor and corrector from two steps, B2: Zhao et al. 2023, arXiv 2302.04867"},
     .buffers = 3,
     .order = 2,
     .most_order = 3,
     .variant = DQG_UNIPC_BH2,
     .evaluations = 1,
     .k_coordinates = true,
     .lower_final = DQG_LOWER_ALWAYS,
     .corrects = true,
     .feed = dqg_solver_unipc_feed},
    {.piece = {"unipc-bh1", "likewise with B1, for few steps: Zhao et al. 2023, arXiv 2302.04867"},
     .buffers = 3,
     .order = 2,
     .most_order = 3,
     .variant = DQG_UNIPC_BH1,
     .evaluations = 1,
     .k_coordinates = true,
     .lower_final = DQG_LOWER_ALWAYS,
     .corrects = true,
     .feed = dqg_solver_unipc_feed},
    {.piece = {"unipc-3", "likewise from three steps, B2: Zhao et al. 2023, arXiv 2302.04867"},
     .buffers = 4,
     .order = 3,
     .variant = DQG_UNIPC_BH2,
     .evaluations = 1,
     .k_coordinates = true,
     .lower_final = DQG_LOWER_ALWAYS,
     .corrects = true,
     .feed = dqg_solver_unipc_feed},
    {.piece = {"lms", "four steps, polynomial in sigma: linear multistep, k-diffusion"},
     .buffers = 3,
     .order = 4,
     .evaluations = 1,
     .k_coordinates = true,
     .feed = dqg_solver_adams_feed,
     .weights = dqg_lms_weights},
    {.piece = {"deis", "three steps, polynomial in ln sigma: DEIS, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 2,
     .order = 3,
     .evaluations = 1,
     .k_coordinates = true,
     .feed = dqg_solver_adams_feed,
     .weights = dqg_deis_weights},
    {.piece = {"deis-t", "four steps, polynomial in time: DEIS's tAB, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 3,
     .order = 4,
     .evaluations = 1,
     .k_coordinates = true,
     .feed = dqg_solver_adams_feed,
     .weights = dqg_deis_time_weights},
    {.piece = {"kutta3", "Runge-Kutta of order 3, Kutta's rule: DEIS's rho-RK, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 3,
     .evaluations = 3,
     .variant = DQG_RK_KUTTA,
     .k_coordinates = true,
     .feed = dqg_solver_rk_feed,
     .middle = dqg_rk_middle},
    {.piece = {"ralston3",
               "Runge-Kutta of order 3, Ralston's rule: DEIS's rho-RK, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 3,
     .evaluations = 3,
     .variant = DQG_RK_RALSTON,
     .k_coordinates = true,
     .feed = dqg_solver_rk_feed,
     .middle = dqg_rk_middle},
    {.piece = {"heun3", "Runge-Kutta of order 3, Heun's rule: DEIS's rho-RK, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 3,
     .evaluations = 3,
     .variant = DQG_RK_HEUN,
     .k_coordinates = true,
     .feed = dqg_solver_rk_feed,
     .middle = dqg_rk_middle},
    {.piece = {"vdh3",
               "Runge-Kutta of order 3, van der Houwen's rule: DEIS's rho-RK, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 3,
     .evaluations = 3,
     .variant = DQG_RK_VDH,
     .k_coordinates = true,
     .feed = dqg_solver_rk_feed,
     .middle = dqg_rk_middle},
    {.piece =
         {"ssp3",
          "Runge-Kutta of order 3, strong stability preserving: DEIS's rho-RK, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 3,
     .evaluations = 3,
     .variant = DQG_RK_SSP,
     .k_coordinates = true,
     .feed = dqg_solver_rk_feed,
     .middle = dqg_rk_middle},
    {.piece = {"rk4",
               "Runge-Kutta of order 4, the classical rule: DEIS's rho-RK, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 4,
     .evaluations = 4,
     .variant = DQG_RK_FOURTH,
     .k_coordinates = true,
     .feed = dqg_solver_rk_feed,
     .middle = dqg_rk_middle},
    {.piece = {"ipndm", "four steps, weights of even ones: improved PNDM, Zhang and Chen 2022, arXiv 2204.13902"},
     .buffers = 3,
     .order = 4,
     .evaluations = 1,
     .k_coordinates = true,
     .feed = dqg_solver_adams_feed,
     .weights = dqg_pndm_weights},
    {.piece = {"plms", "ipndm with Heun's first step: PNDM without Runge-Kutta, Liu et al. 2022, arXiv 2202.09778"},
     .buffers = 4,
     .evaluations = 2,
     .order = 4,
     .k_coordinates = true,
     .ends_at_first = true,
     .feed = dqg_solver_plms_feed,
     .weights = dqg_pndm_weights},
    {.piece = {"pndm", "plms after three steps of Runge and Kutta: PNDM, Liu et al. 2022, arXiv 2202.09778"},
     .buffers = 5,
     .evaluations = 4,
     .order = 4,
     .k_coordinates = true,
     .ends_at_first = true,
     .feed = dqg_solver_pndm_feed,
     .middle_time = dqg_pndm_time,
     .weights = dqg_pndm_weights},
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

void dqg_keep_scratch(const struct dqg_step *step, int32_t count) {
    if (count > 0) {
        dqg_combine(dqg_keep(step, count), 1, step->scratch, 0, step->scratch, step->n);
    }
}

void dqg_step_slope(const struct dqg_step *step, float *slope) {
    dqg_step_combine(step, slope, step->from->alpha == 1 ? 0 : -1, 1);
}

struct dqg_split dqg_ancestral_split(const struct dqg_sched_point *from, const struct dqg_sched_point *to, double eta) {
    struct dqg_split split = {*to, 1, 0};
    if (eta == 0) {
        return split;
    }
    if (from->alpha == 1) {
        double renewed = eta * to->sigma * sqrt(fmax(1 - to->sigma / from->sigma * (to->sigma / from->sigma), 0));
        split.fresh = fmin(to->sigma, renewed);
        split.down.sigma = sqrt(fmax(to->sigma * to->sigma - split.fresh * split.fresh, 0));
    } else {
        split.down.sigma = to->sigma * (1 + (to->sigma / from->sigma - 1) * eta);
        split.down.alpha = 1 - split.down.sigma;
        split.scale = to->alpha / split.down.alpha;
        double left = split.down.sigma * split.scale;
        split.fresh = sqrt(fmax(to->sigma * to->sigma - left * left, 0));
    }
    return split;
}

void dqg_step_draw(const struct dqg_step *step, int32_t draw) {
    bool halfway = step->phase == 0 && step->solver->evaluations > 1 && dqg_solver_middles(step->solver) > 0;
    const struct dqg_sched_point *end = halfway ? step->middle : step->to;
    struct dqg_draw request = {step->index + draw * DQG_SECOND_DRAW, step->from->sigma, end->sigma};
    step->noise(step->user, &request, step->scratch, step->n);
}

void dqg_step_noise(const struct dqg_step *step, int32_t draw, double fresh) {
    if (fresh > 0) {
        dqg_step_draw(step, draw);
        dqg_combine(step->x, 1, step->x, fresh, step->scratch, step->n);
    }
}
