/* SPDX-License-Identifier: MIT */
/*
 * Error against evaluations of every solver on the mixture of tests/support/analytic.h, as a table with tabs between;
 * tests/bench/plot_solvers.py makes pictures and tables of it. Deterministic solvers: median distance from the exact
 * end of the path through the same start. Stochastic ones: sliced Wasserstein distance of what they sample.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "analytic.h"
#include "mixture.h"
#include "sched/pieces.h"

enum { PATHS = 256, CHAINS = 8192, MOST_EVALUATIONS = 100 };

static const int32_t step_counts[] = {2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100};

static const struct setup {
    const char *path, *schedule, *spacing;
    double shift;
} setups[] = {
    {"vp", "scaled-linear", "trailing", 1},  {"vp", "scaled-linear", "linspace", 1},
    {"vp", "scaled-linear", "karras", 1},    {"vp", "scaled-linear", "exponential", 1},
    {"vp", "scaled-linear", "beta", 1},      {"vp", "scaled-linear", "kl-optimal", 1},
    {"flow", "flow", "linspace", 1},         {"flow", "flow", "linspace", 3},
    {"flow", "flow", "karras", 1},           {"flow", "flow", "beta", 1},
    {"flow", "flow", "linear-quadratic", 1},
};

struct bench {
    struct dqg_context context;
    struct mixture_sliced sliced;
    float *start; /* normals, [2 * CHAINS]; the first PATHS pairs are those of the deterministic solvers */
    float *x;
    double *exact; /* [2 * PATHS] ends of the paths from start, for these levels: */
    double from, to;
};

/* sigma / alpha; a flow begins without signal. */
static double level(const struct dqg_sched_point *point) {
    const double largest = 1e4;
    return point->sigma < largest * point->alpha ? point->sigma / point->alpha : largest;
}

/* Ends of the exact paths from where the plan begins to where it ends, sigma 0 or above. */
static void find_exact(struct bench *bench, const struct dqg_sched *sched) {
    const struct dqg_sched_point *first = &sched->points[0];
    double from = level(first);
    double to = fmax(level(&sched->points[sched->steps]), 1e-3);
    if (from == bench->from && to == bench->to) {
        return;
    }
    bench->from = from;
    bench->to = to;
    static const double mean[2] = {0.6, 0.05};
    for (int i = 0; i < 2 * PATHS; i++) {
        double x = sched->initial_scale * bench->start[i];
        bench->exact[i] = first->alpha > 0 ? x / first->alpha : mean[i % 2] + from * x;
    }
    analytic_mixture_map(from, to, 400, bench->exact, 2 * PATHS);
}

static double measure(struct bench *bench, const struct dqg_sched *sched, bool noisy, int32_t *evaluations) {
    uint64_t seed = 5;
    size_t pairs = noisy ? CHAINS : PATHS;
    for (size_t i = 0; i < 2 * pairs; i++) {
        bench->x[i] = (float)(sched->initial_scale * bench->start[i]);
    }
    struct analytic_job job = {.sched = sched,
                               .denoiser = analytic_mixture_x0,
                               .x = bench->x,
                               .n = 2 * pairs,
                               .noise = analytic_normal_noise,
                               .user = &seed};
    *evaluations = analytic_run(&job);
    if (noisy) {
        return mixture_sliced_distance(&bench->sliced, bench->x);
    }
    find_exact(bench, sched);
    double alpha = sched->points[sched->steps].alpha;
    for (size_t i = 0; i < 2 * pairs; i++) {
        bench->x[i] = (float)(bench->x[i] / alpha);
    }
    return mixture_median_distance(bench->x, bench->exact, pairs);
}

static void measure_setup(struct bench *bench, const struct setup *setup, int32_t steps) {
    struct dqg_sched_piece solver;
    struct dqg_sched_config config = analytic_config();
    config.schedule = setup->schedule;
    config.spacing = setup->spacing;
    config.shift = setup->shift;
    config.steps = steps;
    config.eta = DQG_ETA_OWN;
    for (size_t i = 0; dqg_sched_solver_at(i, &solver); i++) {
        struct dqg_sched sched;
        int32_t evaluations;
        config.solver = solver.name;
        if (steps * solver.evaluations > MOST_EVALUATIONS || dqg_sched_init(&bench->context, &config, &sched) < 0) {
            continue;
        }
        bool noisy = sched.eta > 0 || sched.solver->always_noise;
        double error = measure(bench, &sched, noisy, &evaluations);
        printf("%s\t%s\t%g\t%s\t%s\t%d\t%d\t%.4g\n", setup->path, setup->spacing, setup->shift, solver.name,
               noisy ? "stochastic" : "deterministic", (int)steps, (int)evaluations, error);
        dqg_sched_free(&bench->context.alloc, &sched);
    }
}

int main(void) {
    struct bench bench = {.start = malloc(2 * CHAINS * sizeof(float)),
                          .x = malloc(2 * CHAINS * sizeof(float)),
                          .exact = malloc(2 * PATHS * sizeof(double))};
    analytic_context(&bench.context);
    mixture_sliced_create(&bench.sliced, CHAINS);
    mixture_halton_normals(bench.start, CHAINS);
    printf("path\tspacing\tshift\tsolver\tkind\tsteps\tevaluations\terror\n");
    for (size_t i = 0; i < sizeof(setups) / sizeof(setups[0]); i++) {
        for (size_t j = 0; j < sizeof(step_counts) / sizeof(step_counts[0]); j++) {
            measure_setup(&bench, &setups[i], step_counts[j]);
        }
    }
    mixture_sliced_destroy(&bench.sliced);
    free(bench.start);
    free(bench.x);
    free(bench.exact);
    return 0;
}
