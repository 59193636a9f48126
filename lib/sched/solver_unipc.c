/* SPDX-License-Identifier: MIT */
/*
 * UniPC (Zhao et al. 2023, arXiv 2302.04867) in its x0 form: a new output first corrects the sample that it was
 * evaluated at, from where the step before began; then the sample is moved on. history[0 ... order - 1] holds x0
 * estimates, history[order] the corrected sample that the last step began from.
 */
#include "sched/pieces.h"

#include <math.h>

enum { MOST = 3 };

static double log_ratio(const struct dqg_sched_point *point) {
    return log(fmax(point->alpha, 1e-30) / point->sigma);
}

/* Solve sum over j of r_j^k rho_j = b_k, k = 0 ... size - 1, by elimination; b becomes rho. */
static void solve_powers(const double *r, double *b, int32_t size) {
    double m[MOST][MOST];
    for (int32_t k = 0; k < size; k++) {
        for (int32_t j = 0; j < size; j++) {
            m[k][j] = k > 0 ? m[k - 1][j] * r[j] : 1;
        }
    }
    for (int32_t k = 0; k < size; k++) {
        for (int32_t i = k + 1; i < size; i++) {
            double factor = m[i][k] / m[k][k];
            for (int32_t j = k; j < size; j++) {
                m[i][j] -= factor * m[k][j];
            }
            b[i] -= factor * b[k];
        }
    }
    for (int32_t k = size - 1; k >= 0; k--) {
        for (int32_t j = k + 1; j < size; j++) {
            b[k] -= m[k][j] * b[j];
        }
        b[k] /= m[k][k];
    }
}

/* A step from -> to in which x0 is known at from (estimates[0]), at points before (estimates[1 ... order - 1]) and for
 * a corrector at to. Weights are of the sample, then of these estimates in this order. */
struct unipc_weights {
    double x, before[MOST], end;
};

static struct unipc_weights unipc(const struct dqg_solver *solver, const struct dqg_sched_point *from,
                                  const struct dqg_sched_point *to, int32_t order, bool correct) {
    double h = log_ratio(to) - log_ratio(from);
    double phi1 = dqg_decay(from, to) - 1;
    double b_h = solver->variant == DQG_UNIPC_BH1 ? -h : phi1;
    double r[MOST], rho[MOST];
    double phi = phi1 / -h - 1;
    double factorial = 1;
    for (int32_t k = 1; k <= order; k++) {
        r[k - 1] = k < order ? (log_ratio(from - k) - log_ratio(from)) / h : 1;
        rho[k - 1] = phi * factorial / b_h;
        factorial *= k + 1;
        phi = phi / -h - 1 / factorial;
    }
    int32_t size = correct ? order : order - 1;
    if (size > 1 || (correct && order > 1)) {
        solve_powers(r, rho, size);
    } else {
        rho[0] = 0.5; /* as published, in place of the solution of a single equation */
    }
    struct unipc_weights weights = {.x = to->sigma / from->sigma};
    weights.before[0] = -to->alpha * phi1;
    for (int32_t j = 0; j < size; j++) {
        double weight = -to->alpha * b_h * rho[j] / r[j];
        weights.before[0] -= weight;
        if (j + 1 < order) {
            weights.before[j + 1] = weight;
        } else {
            weights.end = weight;
        }
    }
    return weights;
}

dqg_status dqg_solver_unipc_feed(const struct dqg_step *step) {
    const struct dqg_solver *solver = step->solver;
    int32_t most = step->most;
    float *start = step->history[most];
    float *now = step->scratch;
    dqg_step_combine(step, now, 1, 0);
    if (step->kept > 0 && step->index > step->uncorrected &&
        step->from[-1].alpha > 0) { /* without signal at its start a step has no length */
        int32_t order = dqg_step_order(step, 1);
        struct unipc_weights w = unipc(solver, step->from - 1, step->from, order, true);
        dqg_combine(step->x, w.x, start, w.end, now, step->n);
        for (int32_t j = 0; j < order; j++) {
            dqg_combine(step->x, 1, step->x, w.before[j], dqg_past(step, most, j + 1), step->n);
        }
    }
    dqg_combine(start, 1, step->x, 0, step->x, step->n);
    int32_t order = dqg_step_order(step, 0);
    struct unipc_weights w = unipc(solver, step->from, step->to, order, false);
    dqg_combine(step->x, w.x, step->x, w.before[0], now, step->n);
    for (int32_t j = 1; j < order; j++) {
        dqg_combine(step->x, 1, step->x, w.before[j], dqg_past(step, most, j), step->n);
    }
    dqg_keep_scratch(step, most);
    return DQG_OK;
}
