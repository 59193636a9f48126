/* SPDX-License-Identifier: MIT */
/*
 * Levenberg-Marquardt-Langevin (Wang et al. 2025, arXiv 2505.24222): each update n is turned away from the one before,
 * p, by a damped inverse Hessian of rank one, and keeps its length. With e = kappa p + (1 - kappa) n the direction is
 * o = n - e (n.e) / (lambda + |e|^2). Written as it stands that is a small difference of large numbers; here p is split
 * into its part along n and the rest q, which leaves (lambda + kappa^2 |q|^2) n - (kappa (1 - kappa) |n|^2 + kappa^2
 * (n.p)) q. Called by the solvers whose row says so.
 */
#include "sched/pieces.h"

#include <math.h>

dqg_status dqg_lml_check(struct dqg_context *context, const struct dqg_sched_parts *parts) {
    const struct dqg_lml *lml = &parts->config.lml;
    if (lml->kappa == 0 && lml->rho == 0) {
        return DQG_OK;
    }
    DQG_TRY(dqg_check_number(context, "lml_lambda", lml->lambda, 1e-9, 1e6));
    DQG_TRY(dqg_check_number(context, "lml_kappa", lml->kappa, 0, 1));
    DQG_TRY(dqg_check_number(context, "lml_rho", lml->rho, 0, 100));
    DQG_TRY(dqg_check_number(context, "lml_freeze", lml->freeze, 0, 1));
    if (lml->kappa > 0 && lml->rho > 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "scheduler: lml_kappa and lml_rho are both given; either says how strong LML is");
    }
    if (!(parts->solver->lml_families & dqg_schedule_family(parts->schedule))) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "scheduler: LML does not fit solver '%s' on schedule '%s': set lml_kappa and lml_rho to 0, or "
                        "use ddim on a discrete schedule, euler on flow, or dpm++-2m or dpm++-3m",
                        parts->solver->piece.name, parts->schedule->piece.name);
    }
    return DQG_OK;
}

struct dqg_lml_weights dqg_lml_correct(const struct dqg_lml *lml, double nn, double np, double pp) {
    struct dqg_lml_weights weights = {1, 0};
    if (!(nn > 0)) {
        return weights;
    }
    double kappa = lml->rho > 0 ? fmin(lml->rho * lml->lambda / nn, 1) : lml->kappa;
    double along = np / nn;
    double qq = fmax(pp - np * along, 0);
    double n = lml->lambda + kappa * kappa * qq;
    double q = -kappa * (1 - kappa) * nn - kappa * kappa * np;
    double scale = sqrt(nn / (n * n * nn + q * q * qq));
    weights.n = scale * (n - q * along);
    weights.p = scale * q;
    return weights;
}

static double inner(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

void dqg_lml_add(const struct dqg_step *step, double x_weight, double gain) {
    bool frozen = step->from->timestep >= step->levels->count * (1 - step->lml->freeze);
    bool corrects = step->kept > 0 && !(frozen && step->lml->freeze > 0);
    size_t n = step->n / step->samples;
    for (size_t sample = 0; sample < step->samples; sample++) {
        const float *now = step->scratch + sample * n;
        float *before = step->update + sample * n;
        float *x = step->x + sample * n;
        struct dqg_lml_weights weights = {1, 0};
        if (corrects) {
            weights = dqg_lml_correct(step->lml, inner(now, now, n), inner(now, before, n), inner(before, before, n));
        }
        for (size_t i = 0; i < n; i++) { /* in double: the two weights may be large and nearly cancel */
            double turned = weights.n * now[i] + (weights.p != 0 ? weights.p * before[i] : 0);
            x[i] = (float)(x_weight * x[i] + gain * turned);
            before[i] = now[i];
        }
    }
}
