/* SPDX-License-Identifier: MIT */
/* Shared handles of schedulers, and how models are sampled. */
#include "run/run.h"
#include "sched/interpolant.h"

void dqg_scheduler_retain_(struct dqg_scheduler *scheduler) {
    atomic_fetch_add_explicit(&scheduler->references, 1, memory_order_relaxed);
}

void dqg_scheduler_release_(struct dqg_scheduler *scheduler) {
    if (scheduler == NULL || atomic_fetch_sub_explicit(&scheduler->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct dqg_alloc alloc = scheduler->alloc;
    dqg_sched_free(&alloc, &scheduler->sched);
    dqg_free(&alloc, scheduler, sizeof *scheduler);
}

/* A handle for a plan; the plan is given up where that fails. */
static dqg_status share(struct dqg_context *context, struct dqg_sched *sched, struct dqg_scheduler **scheduler) {
    struct dqg_scheduler *made = dqg_calloc(&context->alloc, 1, sizeof *made);
    if (made == NULL) {
        dqg_sched_free(&context->alloc, sched);
        return dqg_fail_memory(context, "the scheduler", sizeof *made);
    }
    made->references = 1;
    made->alloc = context->alloc;
    made->sched = *sched;
    *scheduler = made;
    return DQG_OK;
}

dqg_status dqg_scheduler_make(struct dqg_context *context, const struct dqg_sched_config *config,
                              struct dqg_scheduler **scheduler) {
    struct dqg_sched sched;
    DQG_TRY(dqg_sched_init(context, config, &sched));
    return share(context, &sched, scheduler);
}

dqg_status dqg_scheduler_make_inverse(struct dqg_context *context, const struct dqg_scheduler *scheduler,
                                      struct dqg_scheduler **inverse) {
    struct dqg_sched sched;
    DQG_TRY(dqg_sched_invert(context, &scheduler->sched, &sched));
    return share(context, &sched, inverse);
}

dqg_status dqg_scheduler_make_interpolant(struct dqg_context *context, const dqg_interpolant *interpolant,
                                          struct dqg_scheduler **scheduler) {
    struct dqg_sched sched;
    DQG_TRY(dqg_interpolant_init(context, interpolant, &sched));
    return share(context, &sched, scheduler);
}
