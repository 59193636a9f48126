/* SPDX-License-Identifier: MIT */
/* A second run from where one stands. Everything that changes is in the block, so that its bytes are the copy. */
#include "run/run.h"

dqg_status dqg_run_fork_(struct dqg_run *run, struct dqg_run **out) {
    struct dqg_context *context = run->context;
    struct dqg_run *copy = dqg_calloc(&context->alloc, 1, sizeof *copy);
    if (copy == NULL) {
        return dqg_fail_memory(context, "the run", sizeof *copy);
    }
    size_t skipped = offsetof(struct dqg_run, context);
    memcpy((char *)copy + skipped, (const char *)run + skipped, sizeof *copy - skipped);
    copy->block = NULL;
    copy->offset = NULL;
    copy->graph = copy->plain = copy->perturbed = copy->sparse = (struct dqg_graph){0};
    copy->exec = (struct dqg_exec){0};
    copy->evaluating = false;
    dqg_context_retain_(context);
    context->runs++;
    dqg_scheduler_retain_(run->scheduler);
    dqg_status status = DQG_OK;
    if (run->pipeline != NULL) {
        dqg_model_retain_(run->pipeline);
    }
    if (run->model != NULL) {
        dqg_model_retain_(run->model);
        copy->cache.graph = copy->cache.cut.graph = &copy->graph;
        status = dqg_run_copy_passes(run, copy);
        status = status >= 0 ? dqg_run_plan_sparse(copy) : status;
        status = status >= 0 ? dqg_run_init_passes(copy) : status;
    }
    status = status >= 0 ? dqg_run_allocate(copy) : status;
    if (status < 0) {
        dqg_run_free(copy);
        return status;
    }
    memcpy(copy->block, run->block, run->block_bytes);
    if (run->offset != NULL) {
        size_t bytes = run->size * sizeof(float);
        copy->offset = dqg_malloc(&context->alloc, bytes);
        if (copy->offset == NULL) {
            dqg_run_free(copy);
            return dqg_fail_memory(context, "the run's offset", bytes);
        }
        memcpy(copy->offset, run->offset, bytes);
    }
    *out = copy;
    return DQG_OK;
}
