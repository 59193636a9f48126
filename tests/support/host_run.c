/* SPDX-License-Identifier: MIT */
/* See host_run.h. Relies on cmocka, which tells of what fails here, too. */
#include "host_run.h"

#include <math.h>
#include <stdlib.h>

dqg_scheduler *host_scheduler(dqg_context *context, const char *solver, const char *schedule, const char *spacing,
                              int32_t steps) {
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler = NULL;
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SOLVER, solver));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, schedule));
    assert_ok(dqg_options_set_text(options, DQG_SCHEDULER_SPACING, spacing));
    assert_ok(dqg_options_set_int(options, DQG_SCHEDULER_STEPS, steps));
    if (dqg_scheduler_create(context, options, &scheduler) < 0) {
        fail_msg("%s", dqg_context_error(context));
    }
    dqg_options_destroy(options);
    return scheduler;
}

void host_start(struct host *host, dqg_context *context, dqg_scheduler *scheduler, int64_t seed, int32_t time_axes) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_set_int(options, DQG_RUN_SEED, seed));
    assert_ok(dqg_options_set_int(options, DQG_RUN_TIME_AXES, time_axes));
    assert_ok(dqg_run_create_custom(context, scheduler, host->shape, host->rank, options, &host->run));
    dqg_options_destroy(options);
}

size_t host_size(const struct host *host) {
    size_t size = 1;
    for (int32_t i = 0; i < host->rank; i++) {
        size *= (size_t)host->shape[i];
    }
    return size;
}

static dqg_tensor_view host_view(const struct host *host, float *data) {
    const int64_t *shape = host->shape;
    return view_f32(data, shape[0], host->rank > 1 ? shape[1] : 0, host->rank > 2 ? shape[2] : 0,
                    host->rank > 3 ? shape[3] : 0);
}

/* x [n] in, the network's output out; at its own noise level. */
static void answer(const struct host *host, double sigma, float *x, double *x0, size_t n) {
    double length = host->path == HOST_K ? hypot(1, sigma) : 1;
    double s = sigma / length;
    double a = host->path == HOST_FLOW ? 1 - s : host->path == HOST_VP ? sqrt(1 - s * s) : 1 / length;
    if (host->denoiser != NULL) {
        host->denoiser(host->model, a, s, x, x0, n);
    }
    for (size_t i = 0; i < n; i++) {
        double eps = s > 0 ? (x[i] - a * x0[i]) / s : 0; /* the score is finite there */
        x[i] = host->denoiser == NULL ? 0.5f * x[i] + 0.1f : (float)(host->path == HOST_FLOW ? eps - x0[i] : eps);
    }
}

dqg_status host_evaluate(const struct host *host) {
    size_t size = host_size(host);
    int32_t parts = dqg_run_times(host->run);
    size_t n = size / (size_t)parts;
    float *data = malloc(size * sizeof *data);
    double *x0 = malloc(n * sizeof *x0);
    double *sigmas = malloc((size_t)parts * sizeof *sigmas);
    dqg_tensor_view view = host_view(host, data);
    dqg_request request;
    DQG_INIT(&request);
    dqg_status status = dqg_run_request(host->run, &request, &view);
    if (status == DQG_OK) {
        assert_ok(dqg_run_get_times(host->run, NULL, NULL, sigmas, parts));
        for (int32_t i = 0; i < parts; i++) {
            answer(host, sigmas[i], data + (size_t)i * n, x0, n);
        }
        status = dqg_run_submit(host->run, &view);
    }
    free(sigmas);
    free(x0);
    free(data);
    assert_true(status >= 0);
    return status;
}

void host_advance(const struct host *host, int32_t steps) {
    dqg_run_info info;
    DQG_INIT(&info);
    dqg_status status = DQG_OK;
    assert_ok(dqg_run_get_info(host->run, &info));
    while (status != DQG_DONE && (steps < 0 || info.step < steps)) {
        status = host_evaluate(host);
        assert_ok(dqg_run_get_info(host->run, &info));
    }
}

void host_read(const struct host *host, int32_t source, float *out) {
    dqg_tensor_view view = host_view(host, out);
    assert_ok(dqg_run_read(host->run, source, &view));
}

void host_write(const struct host *host, const float *x) {
    size_t size = host_size(host);
    float *copy = malloc(size * sizeof *copy);
    memcpy(copy, x, size * sizeof *copy);
    dqg_tensor_view view = host_view(host, copy);
    assert_ok(dqg_run_write(host->run, &view));
    free(copy);
}

bool host_solver(int32_t index, char name[32]) {
    dqg_option_info row;
    DQG_INIT(&row);
    for (int32_t i = 0; row.key != DQG_SCHEDULER_SOLVER; i++) {
        assert_ok(dqg_option_at(DQG_OPTIONS_SCHEDULER, i, &row));
    }
    const char *rest = row.choices;
    for (; index > 0 && *rest != '\0'; index--) {
        rest += strcspn(rest, "|");
        rest += *rest == '|';
    }
    size_t length = strcspn(rest, "|");
    assert_true(length < 32);
    memcpy(name, rest, length);
    name[length] = '\0';
    return length > 0;
}
