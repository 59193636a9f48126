/* SPDX-License-Identifier: MIT */
/* Public calls that change what a run does: search, noise of its start, size, offset. lib/run does the work. */
#include "api/api.h"
#include "run/run.h"
#include "tensor/view.h"

static struct dqg_search_config read_options(const dqg_options *options) {
    const char *interpolant = dqg_option(options, DQG_SEARCH_INTERPOLANT).text;
    const char *diffusion = dqg_option(options, DQG_SEARCH_DIFFUSION).text;
    return (struct dqg_search_config){
        .method = dqg_option(options, DQG_SEARCH_METHOD).text,
        .budget = (int32_t)dqg_option(options, DQG_SEARCH_BUDGET).integer,
        .steps = (int32_t)dqg_option(options, DQG_SEARCH_STEPS).integer,
        .interpolant = (enum dqg_particle_path)dqg_choice(dqg_interpolant_names, interpolant),
        .diffusion = (enum dqg_diffusion)dqg_choice(dqg_diffusion_names, diffusion),
        .diffusion_scale = dqg_option(options, DQG_SEARCH_DIFFUSION_SCALE).number,
        .finish = (int32_t)dqg_option(options, DQG_SEARCH_FINISH).integer,
        .chains = (int32_t)dqg_option(options, DQG_SEARCH_CHAINS).integer,
        .candidates = (int32_t)dqg_option(options, DQG_SEARCH_CANDIDATES).integer,
        .block = (int32_t)dqg_option(options, DQG_SEARCH_BLOCK).integer,
        .back = (int32_t)dqg_option(options, DQG_SEARCH_BACK).integer,
        .threshold = dqg_option(options, DQG_SEARCH_THRESHOLD).number,
        .temperature = dqg_option(options, DQG_SEARCH_TEMPERATURE).number,
    };
}

dqg_status dqg_run_search(dqg_run *run, const dqg_options *options, dqg_reward_fn reward, void *user) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_options_check(run->context, options, DQG_OPTIONS_SEARCH));
    struct dqg_search_config config = read_options(options);
    if (reward == NULL && strcmp(config.method, "sde") != 0) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "reward is NULL: method '%s' cannot choose without",
                        config.method);
    }
    return dqg_search_begin(run, &config, reward, user);
}

dqg_status dqg_run_get_search(const dqg_run *run, dqg_search_info *info) {
    dqg_search_info filled;
    if (run == NULL || info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    if (run->search == NULL) {
        return DQG_ERROR_STATE;
    }
    dqg_search_tell(run, &filled);
    return dqg_record_return(NULL, info, &filled, sizeof filled);
}

/* Clear the error text; fails where the run searches. */
static dqg_status begin_change(dqg_run *run) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    return dqg_search_refuse(run);
}

dqg_status dqg_run_find_noise(dqg_run *run, const dqg_boundary *boundary, dqg_boundary_result *result) {
    dqg_boundary_result found = {0};
    DQG_TRY(begin_change(run));
    DQG_TRY(dqg_need(run->context, boundary, "boundary"));
    DQG_TRY(dqg_need(run->context, result, "result"));
    DQG_TRY(dqg_record_return(run->context, result, &found, sizeof found));
    if (boundary->struct_size < sizeof *boundary || boundary->flags != 0) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT,
                        "boundary: not such a record (use DQG_INIT, then fill it in)");
    }
    DQG_TRY(dqg_boundary_search(run, boundary, &found));
    return dqg_record_return(run->context, result, &found, sizeof found);
}

dqg_status dqg_run_resize(dqg_run *run, int32_t height, int32_t width, dqg_scheduler *scheduler, double strength) {
    DQG_TRY(begin_change(run));
    return dqg_run_change_size(run, height, width, scheduler, strength);
}

dqg_status dqg_run_set_offset(dqg_run *run, const dqg_tensor_view *offset) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    struct dqg_context *context = run->context;
    size_t bytes = run->size * sizeof(float);
    dqg_error_clear(context);
    if (offset == NULL) {
        dqg_run_drop_offset(run);
    } else {
        DQG_TRY(dqg_view_check(context, offset, "offset", run->rank, run->shape));
        if (run->offset == NULL) {
            run->offset = dqg_malloc(&context->alloc, bytes);
        }
        if (run->offset == NULL) {
            return dqg_fail_memory(context, "the run's offset", bytes);
        }
        dqg_view_read(offset, run->offset);
    }
    dqg_run_restart_step(run);
    return DQG_OK;
}
