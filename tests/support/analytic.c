/* SPDX-License-Identifier: MIT */
/* See analytic.h. Relies on lib/sched and lib/support through their internal headers. */
#include "analytic.h"

#include <math.h>
#include <stdlib.h>

#include "support/rng.h"

void analytic_context(struct dqg_context *context) {
    memset(context, 0, sizeof(*context));
    (void)dqg_alloc_init(&context->alloc, NULL);
}

struct dqg_sched_config analytic_config(void) {
    struct dqg_sched_config config = {
        .steps = 10,
        .shift = 1,
        .train_timesteps = 1000,
        .timestep_scale = 1000,
        .s_noise = 1,
        .time_power = 2,
        .lml = {.lambda = 0.001},
    };
    return config;
}

void analytic_gaussian_x0(const void *model, double a, double s, const float *u, double *x0, size_t n) {
    const struct analytic_gaussian *g = model;
    double gain = a * g->std * g->std / (a * a * g->std * g->std + s * s);
    for (size_t i = 0; i < n; i++) {
        x0[i] = g->mean + gain * (u[i] - a * g->mean);
    }
}

double analytic_gaussian_map(const struct analytic_gaussian *model, const struct dqg_sched_point *from,
                             const struct dqg_sched_point *to, double x) {
    double spread_from = hypot(from->alpha * model->std, from->sigma);
    double spread_to = hypot(to->alpha * model->std, to->sigma);
    return to->alpha * model->mean + spread_to / spread_from * (x - from->alpha * model->mean);
}

/* ---- mixture ---- */

const double analytic_mode_weight[ANALYTIC_MODES] = {0.5, 0.3, 0.2};
const double analytic_mode_mean[ANALYTIC_MODES][2] = {{2, 0}, {-1, 1.5}, {-0.5, -2}};
const double analytic_mode_std[ANALYTIC_MODES] = {0.25, 0.40, 0.30};

static void mixture_pair(double a, double s, const double u[2], double x0[2]) {
    double log_weight[ANALYTIC_MODES], estimate[ANALYTIC_MODES][2];
    double largest = -INFINITY;
    for (int k = 0; k < ANALYTIC_MODES; k++) {
        double variance = a * a * analytic_mode_std[k] * analytic_mode_std[k] + s * s;
        double gain = a * analytic_mode_std[k] * analytic_mode_std[k] / variance;
        double distance = 0;
        for (int j = 0; j < 2; j++) {
            double offset = u[j] - a * analytic_mode_mean[k][j];
            distance += offset * offset;
            estimate[k][j] = analytic_mode_mean[k][j] + gain * offset;
        }
        log_weight[k] = log(analytic_mode_weight[k] / variance) - distance / (2 * variance);
        largest = fmax(largest, log_weight[k]);
    }
    double total = 0;
    x0[0] = x0[1] = 0;
    for (int k = 0; k < ANALYTIC_MODES; k++) {
        double weight = exp(log_weight[k] - largest);
        total += weight;
        x0[0] += weight * estimate[k][0];
        x0[1] += weight * estimate[k][1];
    }
    x0[0] /= total;
    x0[1] /= total;
}

void analytic_mixture_x0(const void *model, double a, double s, const float *u, double *x0, size_t n) {
    (void)model;
    for (size_t i = 0; i + 1 < n; i += 2) {
        const double pair[2] = {u[i], u[i + 1]};
        mixture_pair(a, s, pair, x0 + i);
    }
}

/* dx / d ln sigma = x - D(x, sigma) in k coordinates */
static void mixture_slope(double log_sigma, const double x[2], double slope[2]) {
    mixture_pair(1, exp(log_sigma), x, slope);
    slope[0] = x[0] - slope[0];
    slope[1] = x[1] - slope[1];
}

void analytic_mixture_map(double sigma_from, double sigma_to, int32_t steps, double *x, size_t n) {
    double h = log(sigma_to / sigma_from) / steps;
    for (size_t i = 0; i + 1 < n; i += 2) {
        double *p = x + i;
        for (int32_t step = 0; step < steps; step++) {
            double at = log(sigma_from) + step * h;
            double k1[2], k2[2], k3[2], k4[2];
            mixture_slope(at, p, k1);
            mixture_slope(at + h / 2, (double[2]){p[0] + h / 2 * k1[0], p[1] + h / 2 * k1[1]}, k2);
            mixture_slope(at + h / 2, (double[2]){p[0] + h / 2 * k2[0], p[1] + h / 2 * k2[1]}, k3);
            mixture_slope(at + h, (double[2]){p[0] + h * k3[0], p[1] + h * k3[1]}, k4);
            for (int j = 0; j < 2; j++) {
                p[j] += h / 6 * (k1[j] + 2 * k2[j] + 2 * k3[j] + k4[j]);
            }
        }
    }
}

/* ---- host ---- */

/* What a network of this prediction type says, having found x0 in u = a x0 + s eps; d: deviation of EDM's data. */
static float network_output(enum dqg_prediction prediction, double d, double a, double s, double u, double x0) {
    double eps = (u - a * x0) / s;
    switch (prediction) {
    case DQG_PREDICT_EPSILON:
        return (float)eps;
    case DQG_PREDICT_V:
        return (float)(a * eps - s * x0);
    case DQG_PREDICT_X0:
        return (float)x0;
    case DQG_PREDICT_EDM: /* x0 = c_skip u / a + c_out output, c_skip = (d a)^2, c_out = s d; a is c_in, s sigma c_in */
        return (float)((x0 - d * d * a * u) / (s * d));
    case DQG_PREDICT_FLOW:
    default:
        return (float)(eps - x0);
    }
}

static void evaluate(const struct analytic_job *job, const struct dqg_sched_point *point, float *output,
                     double *clean) {
    double a = point->alpha * point->input_scale;
    double s = point->sigma * point->input_scale;
    float *input = output;
    for (size_t i = 0; i < job->n; i++) {
        input[i] = (float)point->input_scale * job->x[i];
    }
    job->denoiser(job->model, a, s, input, clean, job->n);
    for (size_t i = 0; i < job->n; i++) {
        output[i] = network_output(job->sched->prediction, point->data, a, s, input[i], clean[i]);
    }
}

static bool same_point(const struct dqg_sched_point *a, const struct dqg_sched_point *b) {
    return memcmp(a, b, sizeof(*a)) == 0;
}

int32_t analytic_run(const struct analytic_job *job) {
    enum { OUTPUT, X0, SCRATCH, HISTORY, COUNT = HISTORY + DQG_SOLVER_BUFFERS };
    size_t n = job->n > 0 ? job->n : 1;
    float *buffers = malloc(COUNT * n * sizeof(float));
    double *clean = malloc(n * sizeof(double));
    struct dqg_sched_state state = {0};
    for (int32_t i = 0; i < dqg_sched_buffers(job->sched); i++) {
        state.history[i] = buffers + (size_t)(HISTORY + i) * n;
    }
    int32_t wanted = job->steps > 0 ? job->steps : job->sched->steps;
    int32_t evaluations = 0;
    while (state.step < wanted && evaluations >= 0) {
        float *raised = buffers + SCRATCH * n;
        if (dqg_sched_begin(job->sched, &state, job->x, raised, job->n, job->noise, job->user) != DQG_OK) {
            evaluations = -1;
            break;
        }
        struct dqg_sched_point point = dqg_sched_request(job->sched, &state);
        struct dqg_sched_point again = dqg_sched_request(job->sched, &state);
        int32_t step = state.step;
        evaluate(job, &point, buffers + OUTPUT * n, clean);
        dqg_status status = dqg_sched_feed(job->sched, &state, job->x, buffers + OUTPUT * n, buffers + X0 * n,
                                           buffers + SCRATCH * n, job->n, job->noise, job->user);
        bool kept =
            status == DQG_PENDING ? state.step == step && state.phase > 0 : state.step == step + 1 && state.phase == 0;
        bool done = state.step == job->sched->steps;
        bool told = status == DQG_PENDING || status == (done ? DQG_DONE : DQG_OK);
        evaluations = same_point(&point, &again) && kept && told ? evaluations + 1 : -1;
    }
    if (job->x0 != NULL) {
        memcpy(job->x0, buffers + X0 * n, job->n * sizeof(float));
    }
    free(clean);
    free(buffers);
    return evaluations;
}

void analytic_cosine_noise(void *user, const struct dqg_draw *draw, float *buffer, size_t n) {
    int32_t *draws = user;
    (void)draw;
    double z = cos(++*draws);
    for (size_t i = 0; i < n; i++) {
        buffer[i] = (float)z;
    }
}

void analytic_normal_noise(void *user, const struct dqg_draw *draw, float *buffer, size_t n) {
    const uint64_t *seed = user;
    dqg_rng_normal(*seed, (uint32_t)draw->index + 1, buffer, n);
}
