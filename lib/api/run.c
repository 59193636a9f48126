/* SPDX-License-Identifier: MIT */
/* Public calls on runs, with a model or with the host's own network, and their memory. lib/run does the work. */
#include "api/api.h"
#include "api/run_guidance.h"
#include "api/run_prompt.h"
#include "run/run.h"
#include "tensor/format.h"
#include "tensor/view.h"

static enum dqg_attention_mode attention_mode(const char *name) {
    return strcmp(name, "float") == 0  ? DQG_ATTENTION_FLOAT
           : strcmp(name, "int8") == 0 ? DQG_ATTENTION_INT8
                                       : DQG_ATTENTION_AUTO;
}

static enum dqg_noise noise_source(const char *name) {
    return strcmp(name, "torch-cpu") == 0    ? DQG_NOISE_TORCH_CPU
           : strcmp(name, "torch-cuda") == 0 ? DQG_NOISE_TORCH_CUDA
                                             : DQG_NOISE_NATIVE;
}

static struct dqg_cache_config cache_options(const dqg_options *options) {
    struct dqg_option_value polynomial = dqg_option(options, DQG_RUN_CACHE_POLYNOMIAL);
    struct dqg_option_value steps = dqg_option(options, DQG_RUN_CACHE_STEPS);
    return (struct dqg_cache_config){
        .kind = (enum dqg_cache_kind)dqg_choice(dqg_cache_names, dqg_option(options, DQG_RUN_CACHE).text),
        .threshold = dqg_option(options, DQG_RUN_CACHE_THRESHOLD).number,
        .polynomial = polynomial.floats,
        .polynomial_count = polynomial.count,
        .warmup = (int32_t)dqg_option(options, DQG_RUN_CACHE_WARMUP).integer,
        .interval = (int32_t)dqg_option(options, DQG_RUN_CACHE_INTERVAL).integer,
        .steps = steps.ints,
        .step_count = steps.count,
        .branch = (int32_t)dqg_option(options, DQG_RUN_CACHE_BRANCH).integer,
    };
}

static struct dqg_ras_config ras_options(const dqg_options *options) {
    struct dqg_option_value range = dqg_option(options, DQG_RUN_RAS_RANGE);
    struct dqg_option_value resets = dqg_option(options, DQG_RUN_RAS_RESETS);
    return (struct dqg_ras_config){
        .ratio = dqg_option(options, DQG_RUN_RAS_RATIO).number,
        .range = range.ints,
        .range_count = range.count,
        .resets = resets.ints,
        .reset_count = resets.count,
        .metric = (enum dqg_ras_metric)dqg_choice(dqg_ras_metrics, dqg_option(options, DQG_RUN_RAS_METRIC).text),
        .high = dqg_option(options, DQG_RUN_RAS_HIGH).number,
        .starvation = dqg_option(options, DQG_RUN_RAS_STARVATION).number,
    };
}

static struct dqg_run_config read_options(const dqg_options *options) {
    struct dqg_option_value seeds = dqg_option(options, DQG_RUN_SEEDS);
    struct dqg_option_value variations = dqg_option(options, DQG_RUN_VARIATION_SEEDS);
    struct dqg_option_value classes = dqg_option(options, DQG_RUN_CLASSES);
    struct dqg_option_value weights = dqg_option(options, DQG_RUN_CONDITION_WEIGHTS);
    struct dqg_option_value blocks = dqg_option(options, DQG_RUN_PERTURBED_BLOCKS);
    return (struct dqg_run_config){
        .count = (int32_t)dqg_option(options, DQG_RUN_COUNT).integer,
        .seed = dqg_option(options, DQG_RUN_SEED).integer,
        .seeds = seeds.ints,
        .seed_count = seeds.count,
        .noise = noise_source(dqg_option(options, DQG_RUN_NOISE).text),
        .variation_seeds = variations.ints,
        .variation_seed_count = variations.count,
        .variation_strength = dqg_option(options, DQG_RUN_VARIATION_STRENGTH).number,
        .temperature = dqg_option(options, DQG_RUN_TEMPERATURE).number,
        .offset_noise = dqg_option(options, DQG_RUN_OFFSET_NOISE).number,
        .time_axes = (int32_t)dqg_option(options, DQG_RUN_TIME_AXES).integer,
        .noise_path = strcmp(dqg_option(options, DQG_RUN_NOISE_PATH).text, "brownian") == 0,
        .classes = classes.ints,
        .class_count = classes.count,
        .conditions = (int32_t)dqg_option(options, DQG_RUN_CONDITIONS).integer,
        .condition_weights = weights.floats,
        .condition_weight_count = weights.count,
        .perturbation = {.kind = strcmp(dqg_option(options, DQG_RUN_PERTURBATION).text, "skip") == 0
                                     ? DQG_PERTURB_SKIP
                                     : DQG_PERTURB_ATTENTION,
                         .blocks = blocks.ints,
                         .count = blocks.count},
        .guidance = dqg_option_guidance(options),
        .height = (int32_t)dqg_option(options, DQG_RUN_HEIGHT).integer,
        .width = (int32_t)dqg_option(options, DQG_RUN_WIDTH).integer,
        .context_tokens = (int32_t)dqg_option(options, DQG_RUN_CONTEXT_TOKENS).integer,
        .attention = attention_mode(dqg_option(options, DQG_RUN_ATTENTION).text),
        .memory_limit = (uint64_t)dqg_option(options, DQG_RUN_MEMORY_LIMIT).integer,
        .bf16 = strcmp(dqg_option(options, DQG_RUN_FLOAT_COMPUTE).text, "bf16") == 0,
        .entropy_scale = dqg_option(options, DQG_RUN_ATTENTION_SCALE).integer == 1,
        .train_tokens = dqg_option(options, DQG_RUN_TRAIN_TOKENS).integer,
        .cache = cache_options(options),
        .ras = ras_options(options),
    };
}

dqg_status dqg_model_memory(dqg_context *context, const dqg_model *model, const dqg_scheduler *scheduler,
                            const dqg_options *options, dqg_memory_info *info) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, info, "info"));
    DQG_TRY(dqg_options_check(context, options, DQG_OPTIONS_RUN));
    struct dqg_run_config config = read_options(options);
    struct dqg_run_prompt prompt;
    DQG_TRY(dqg_run_prompt_read(context, model, options, &prompt));
    config.context_tokens = prompt.rows > 0 ? (int32_t)prompt.rows : config.context_tokens;
    dqg_memory_info filled = {.model_bytes = dqg_model_loaded_bytes(model)};
    /* Counting needs references for a moment; handles are not changed otherwise. */
    union {
        const dqg_model *in;
        dqg_model *out;
    } shared_model = {model};
    union {
        const dqg_scheduler *in;
        dqg_scheduler *out;
    } shared_scheduler = {scheduler};
    dqg_scheduler *own = NULL;
    DQG_TRY(scheduler != NULL ? DQG_OK : dqg_scheduler_own(context, model, options, &own));
    dqg_status status =
        dqg_run_memory(context, shared_model.out, own != NULL ? own : shared_scheduler.out, &config, &filled.run_bytes);
    dqg_scheduler_release_(own);
    DQG_TRY(status);
    filled.run_bytes = dqg_model_use_bytes(model, filled.run_bytes + prompt.bytes);
    return dqg_record_return(context, info, &filled, sizeof filled);
}

/* A denoiser that is read for the run belongs to it alone; the model whose file it is of decodes its pictures. */
static dqg_status make_run(struct dqg_context *context, dqg_model *model, dqg_scheduler *scheduler,
                           const struct dqg_run_config *config, dqg_run **run) {
    struct dqg_held held;
    DQG_TRY(dqg_model_need_denoiser(context, model));
    DQG_TRY(dqg_model_hold(context, model, &held));
    dqg_status status = dqg_run_make(context, held.own != NULL ? held.own : model, scheduler, config, run);
    if (status >= 0) {
        (*run)->pipeline = model;
        dqg_model_retain_(model);
    }
    dqg_model_release_(held.own); /* the run keeps it */
    return status;
}

dqg_status dqg_run_create(dqg_context *context, dqg_model *model, dqg_scheduler *scheduler, const dqg_options *options,
                          dqg_run **run) {
    if (run != NULL) {
        *run = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, run, "run"));
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_options_check(context, options, DQG_OPTIONS_RUN));
    struct dqg_run_config config = read_options(options);
    struct dqg_run_prompt prompt;
    DQG_TRY(dqg_run_prompt_encode(context, model, options, &prompt));
    config.context_tokens = prompt.rows > 0 ? (int32_t)prompt.rows : config.context_tokens;
    dqg_scheduler *own = NULL;
    dqg_status status = scheduler != NULL ? DQG_OK : dqg_scheduler_own(context, model, options, &own);
    if (status >= 0) {
        status = make_run(context, model, own != NULL ? own : scheduler, &config, run);
    }
    if (status >= 0 && prompt.rows > 0) {
        status = dqg_run_prompt_apply(*run, &prompt);
        if (status < 0) {
            dqg_run_free(*run);
            *run = NULL;
        }
    }
    dqg_scheduler_release_(own);
    dqg_run_prompt_free(context, &prompt);
    return status;
}

dqg_status dqg_run_create_custom(dqg_context *context, dqg_scheduler *scheduler, const int64_t *shape, int32_t rank,
                                 const dqg_options *options, dqg_run **run) {
    if (run != NULL) {
        *run = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, run, "run"));
    DQG_TRY(dqg_need(context, scheduler, "scheduler"));
    DQG_TRY(dqg_need(context, shape, "shape"));
    if (rank < 1 || rank > DQG_MAX_RANK) {
        return dqg_fail(context, DQG_ERROR_RANGE, "rank: %d is outside 1..%d", (int)rank, (int)DQG_MAX_RANK);
    }
    DQG_TRY(dqg_options_check(context, options, DQG_OPTIONS_RUN));
    struct dqg_run_config config = read_options(options);
    return dqg_run_make_custom(context, scheduler, shape, rank, &config, run);
}

void dqg_run_destroy(dqg_run *run) {
    if (run != NULL) {
        dqg_run_free(run);
    }
}

/* Clear the error text; fails where the run has no model but needs one, or the other way round. */
static dqg_status begin_run(dqg_run *run, bool with_model) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    if ((run->model != NULL) != with_model) {
        return dqg_fail(run->context, DQG_ERROR_STATE,
                        with_model ? "a run without a model is driven by dqg_run_request() and dqg_run_submit()"
                                   : "a run with a model is driven by dqg_run_step() or dqg_run_advance()");
    }
    return DQG_OK;
}

dqg_status dqg_run_step(dqg_run *run) {
    DQG_TRY(begin_run(run, true));
    return dqg_run_work(run, -1);
}

dqg_status dqg_run_advance(dqg_run *run, int64_t budget_us) {
    DQG_TRY(begin_run(run, true));
    if (budget_us < 0) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "budget_us: %lld is negative", (long long)budget_us);
    }
    return dqg_run_work(run, budget_us);
}

void dqg_run_cancel(dqg_run *run) {
    if (run != NULL) {
        atomic_store_explicit(&run->cancelled, true, memory_order_release);
    }
}

dqg_status dqg_run_get_info(const dqg_run *run, dqg_run_info *info) {
    if (run == NULL || info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    const struct dqg_sched *sched = &run->scheduler->sched;
    const struct dqg_sched_point *point = &sched->points[run->state.step];
    dqg_run_info filled = {
        .step = run->state.step,
        .steps = sched->steps,
        .evaluations = run->evaluations,
        .operator_index = dqg_run_operators_done(run),
        .operators = dqg_run_operators(run),
        .sigma = point->sigma,
        .timestep = point->timestep,
        .computed = run->cache.computed,
        .skipped = run->cache.skipped,
    };
    return dqg_record_return(NULL, info, &filled, sizeof filled);
}

/* ---- latents ---- */

dqg_status dqg_run_pick(const dqg_run *run, int32_t source, const float **from) {
    if (source != DQG_SOURCE_LATENT && source != DQG_SOURCE_X0) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "source: %d is not one of DQG_SOURCE_*", (int)source);
    }
    *from = source == DQG_SOURCE_LATENT ? run->latent : run->x0;
    return DQG_OK;
}

dqg_status dqg_run_read(dqg_run *run, int32_t source, const dqg_tensor_view *view) {
    const float *from = NULL;
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_run_pick(run, source, &from));
    DQG_TRY(dqg_view_check(run->context, view, "view", run->rank, run->shape));
    dqg_view_write(view, from);
    return DQG_OK;
}

dqg_status dqg_run_write(dqg_run *run, const dqg_tensor_view *view) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_search_refuse(run));
    DQG_TRY(dqg_view_check(run->context, view, "view", run->rank, run->shape));
    dqg_view_read(view, run->latent);
    dqg_run_restart_step(run);
    return DQG_OK;
}

dqg_status dqg_run_seek(dqg_run *run, int32_t index) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_search_refuse(run));
    int32_t steps = run->scheduler->sched.steps;
    if (index < 0 || index > steps) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "index: %d is outside 0..%d", (int)index, (int)steps);
    }
    for (size_t part = 0; part < dqg_run_parts(run); part++) {
        dqg_run_place(run, part, index);
    }
    dqg_run_settle(run);
    run->evaluating = false;
    return DQG_OK;
}

/* ---- the host's own network ---- */

dqg_status dqg_run_request(dqg_run *run, dqg_request *request, const dqg_tensor_view *input) {
    DQG_TRY(begin_run(run, false));
    DQG_TRY(dqg_need(run->context, request, "request"));
    if (run->state.step >= run->scheduler->sched.steps) {
        return DQG_DONE;
    }
    DQG_TRY(dqg_view_check(run->context, input, "input", run->rank, run->shape));
    DQG_TRY(dqg_run_begin(run));
    struct dqg_sched_point point = dqg_run_point(run, dqg_run_rear(run));
    dqg_request filled = {.timestep = point.timestep, .sigma = point.sigma};
    DQG_TRY(dqg_record_return(run->context, request, &filled, sizeof filled));
    dqg_run_scale_input(run, run->scratch);
    dqg_view_write(input, run->scratch);
    run->evaluating = true;
    return DQG_OK;
}

/* What a network gives that says its variance, too: twice the channels. */
static dqg_status submit_twice(dqg_run *run, const dqg_tensor_view *output) {
    int64_t shape[DQG_MAX_RANK];
    memcpy(shape, run->shape, sizeof shape);
    shape[1] *= 2;
    DQG_TRY(dqg_view_check(run->context, output, "output", run->rank, shape));
    for (int half = 0; half < 2; half++) {
        dqg_tensor_view part = dqg_view_slice(output, 1, half * run->shape[1], run->shape[1]);
        dqg_view_read(&part, run->output + (half == 1 ? run->size : 0));
    }
    return dqg_run_feed(run);
}

dqg_status dqg_run_submit(dqg_run *run, const dqg_tensor_view *output) {
    DQG_TRY(begin_run(run, false));
    if (!run->evaluating) {
        return dqg_fail(run->context, DQG_ERROR_STATE, "nothing was requested: call dqg_run_request() first");
    }
    if (run->scheduler->sched.variance == DQG_VARIANCE_LEARNED) {
        return submit_twice(run, output);
    }
    if (run->scheduler->sched.outputs > 1) {
        return dqg_fail(run->context, DQG_ERROR_STATE,
                        "this scheduler needs a score beside the drift: submit both with "
                        "dqg_run_submit_fields()");
    }
    DQG_TRY(dqg_view_check(run->context, output, "output", run->rank, run->shape));
    dqg_view_read(output, run->output);
    return dqg_run_feed(run);
}

dqg_status dqg_run_submit_fields(dqg_run *run, const dqg_tensor_view *drift, const dqg_tensor_view *score) {
    DQG_TRY(begin_run(run, false));
    if (run->scheduler->sched.outputs < 2) {
        return dqg_run_submit(run, drift);
    }
    if (!run->evaluating) {
        return dqg_fail(run->context, DQG_ERROR_STATE, "nothing was requested: call dqg_run_request() first");
    }
    DQG_TRY(dqg_view_check(run->context, drift, "drift", run->rank, run->shape));
    DQG_TRY(dqg_view_check(run->context, score, "score", run->rank, run->shape));
    dqg_view_read(drift, run->output);
    dqg_view_read(score, run->output + run->size);
    return dqg_run_feed(run);
}

/* ---- state ---- */

dqg_status dqg_run_state_size(const dqg_run *run, size_t *size) {
    if (size != NULL) {
        *size = 0;
    }
    if (run == NULL || size == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    *size = dqg_run_state_bytes(run);
    return DQG_OK;
}

dqg_status dqg_run_save(dqg_run *run, void *state, size_t size) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_need(run->context, state, "state"));
    if (size < dqg_run_state_bytes(run)) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "the state needs %zu bytes, the buffer has %zu",
                        dqg_run_state_bytes(run), size);
    }
    dqg_run_state_write(run, state);
    return DQG_OK;
}

dqg_status dqg_run_restore(dqg_run *run, const void *state, size_t size) {
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    DQG_TRY(dqg_need(run->context, state, "state"));
    return dqg_run_state_read(run, state, size);
}
