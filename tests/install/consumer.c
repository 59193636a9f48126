/* SPDX-License-Identifier: MIT */
/*
 * A program of a stranger, built against the installed library through pkg-config; compiled as C and as C++.
 * Runs a custom denoiser for two steps, so that more than symbol lookup is proved.
 */
#include <libdqgen.h>
#include <stdio.h>

int main(void) {
    dqg_context *context;
    dqg_scheduler *scheduler;
    dqg_run *run;
    dqg_tensor_view view;
    dqg_request request;
    float sample[4], velocity[4] = {0.5f, 0.5f, 0.5f, 0.5f};
    const int64_t shape[2] = {1, 4};
    dqg_status status = dqg_context_create(NULL, &context);
    if (status == DQG_OK) {
        status = dqg_scheduler_create(context, NULL, &scheduler);
    }
    if (status == DQG_OK) {
        status = dqg_run_create_custom(context, scheduler, shape, 2, NULL, &run);
    }
    if (status != DQG_OK) {
        printf("failed: %s\n", dqg_status_text(status));
        return 1;
    }
    DQG_INIT(&view);
    DQG_INIT(&request);
    view.data = sample;
    view.dtype = DQG_DTYPE_F32;
    view.rank = 2;
    view.shape[0] = 1;
    view.shape[1] = 4;
    while (status == DQG_OK && (status = dqg_run_request(run, &request, &view)) == DQG_OK) {
        view.data = velocity;
        status = dqg_run_submit(run, &view);
        view.data = sample;
    }
    printf("libdqgen %d, backend %s: %s\n", (int)dqg_version(), dqg_context_backend(context), dqg_status_text(status));
    dqg_run_destroy(run);
    dqg_scheduler_release(scheduler);
    dqg_context_destroy(context);
    return status == DQG_DONE ? 0 : 1;
}
