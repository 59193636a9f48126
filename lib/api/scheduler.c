/* SPDX-License-Identifier: MIT */
/* Public calls on schedulers: from options to a plan, its points, noise. lib/sched and lib/run do the work. */
#include "api/api.h"
#include "run/run.h"
#include "support/rng.h"
#include "tensor/format.h"
#include "tensor/view.h"

dqg_status dqg_scheduler_create(dqg_context *context, const dqg_options *options, dqg_scheduler **scheduler) {
    if (scheduler != NULL) {
        *scheduler = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, scheduler, "scheduler"));
    DQG_TRY(dqg_options_check(context, options, DQG_OPTIONS_SCHEDULER));
    struct dqg_option_value sigmas = dqg_option(options, DQG_SCHEDULER_SIGMAS);
    struct dqg_option_value timesteps = dqg_option(options, DQG_SCHEDULER_TIMESTEPS);
    struct dqg_option_value churn_range = dqg_option(options, DQG_SCHEDULER_CHURN_RANGE);
    struct dqg_sched_config config = {
        .solver = dqg_option(options, DQG_SCHEDULER_SOLVER).text,
        .schedule = dqg_option(options, DQG_SCHEDULER_SCHEDULE).text,
        .spacing = dqg_option(options, DQG_SCHEDULER_SPACING).text,
        .prediction = dqg_option(options, DQG_SCHEDULER_PREDICTION).text,
        .steps = (int32_t)dqg_option(options, DQG_SCHEDULER_STEPS).integer,
        .shift = dqg_option(options, DQG_SCHEDULER_SHIFT).number,
        .eta = dqg_option(options, DQG_SCHEDULER_ETA).number,
        .beta_start = dqg_option(options, DQG_SCHEDULER_BETA_START).number,
        .beta_end = dqg_option(options, DQG_SCHEDULER_BETA_END).number,
        .zero_snr = dqg_option(options, DQG_SCHEDULER_ZERO_SNR).integer != 0,
        .train_timesteps = (int32_t)dqg_option(options, DQG_SCHEDULER_TRAIN_TIMESTEPS).integer,
        .steps_offset = (int32_t)dqg_option(options, DQG_SCHEDULER_STEPS_OFFSET).integer,
        .timestep_scale = dqg_option(options, DQG_SCHEDULER_TIMESTEP_SCALE).number,
        .order = (int32_t)dqg_option(options, DQG_SCHEDULER_ORDER).integer,
        .lower_order_final = dqg_option(options, DQG_SCHEDULER_LOWER_ORDER_FINAL).text,
        .uncorrected = (int32_t)dqg_option(options, DQG_SCHEDULER_UNCORRECTED).integer,
        .variance = dqg_option(options, DQG_SCHEDULER_VARIANCE).text,
        .lambda = dqg_option(options, DQG_SCHEDULER_LAMBDA).text,
        .s_churn = dqg_option(options, DQG_SCHEDULER_S_CHURN).number,
        .s_noise = dqg_option(options, DQG_SCHEDULER_S_NOISE).number,
        .churn_range = churn_range.floats,
        .churn_range_count = churn_range.count,
        .time_power = dqg_option(options, DQG_SCHEDULER_TIME_POWER).number,
        .lml = {.lambda = dqg_option(options, DQG_SCHEDULER_LML_LAMBDA).number,
                .kappa = dqg_option(options, DQG_SCHEDULER_LML_KAPPA).number,
                .rho = dqg_option(options, DQG_SCHEDULER_LML_RHO).number,
                .freeze = dqg_option(options, DQG_SCHEDULER_LML_FREEZE).number},
        .sigma_min = dqg_option(options, DQG_SCHEDULER_SIGMA_MIN).number,
        .sigma_max = dqg_option(options, DQG_SCHEDULER_SIGMA_MAX).number,
        .sigma_data = dqg_option(options, DQG_SCHEDULER_SIGMA_DATA).number,
        .rho = dqg_option(options, DQG_SCHEDULER_RHO).number,
        .image_tokens = (int32_t)dqg_option(options, DQG_SCHEDULER_IMAGE_TOKENS).integer,
        .resolution_shift = dqg_option(options, DQG_SCHEDULER_RESOLUTION_SHIFT).text,
        .base_shift = dqg_option(options, DQG_SCHEDULER_BASE_SHIFT).number,
        .max_shift = dqg_option(options, DQG_SCHEDULER_MAX_SHIFT).number,
        .shift_power = dqg_option(options, DQG_SCHEDULER_SHIFT_POWER).number,
        .shift_terminal = dqg_option(options, DQG_SCHEDULER_SHIFT_TERMINAL).number,
        .interpolation = dqg_option(options, DQG_SCHEDULER_INTERPOLATION).text,
        .pfgm_dimensions = dqg_option(options, DQG_SCHEDULER_PFGM_DIMENSIONS).number,
        .sigmas = sigmas.floats,
        .sigma_count = sigmas.count,
        .timesteps = timesteps.floats,
        .timestep_count = timesteps.count,
    };
    return dqg_scheduler_make(context, &config, scheduler);
}

/* ---- a model's own ---- */

typedef const char *const option_pair[2];

/* Of models trained by dqgen's own example; of diffusion transformers as published. */
static option_pair own_flow[] = {{"spacing", "linspace"}, {"prediction", "flow"}, {"steps", "30"}, {NULL, NULL}};
static option_pair published[] = {{"solver", "ddim"},        {"schedule", "linear"}, {"spacing", "trailing"},
                                  {"prediction", "epsilon"}, {"steps", "50"},        {NULL, NULL}};

/* Of an image of a run. */
static int64_t image_tokens(const dqg_model *model, const dqg_options *run) {
    const struct dqg_hyper *hyper = &model->hyper;
    int64_t height = dqg_option(run, DQG_RUN_HEIGHT).integer, width = dqg_option(run, DQG_RUN_WIDTH).integer;
    height = height > 0 ? height : (int64_t)hyper->height;
    width = width > 0 ? width : (int64_t)hyper->width;
    return height / (int64_t)hyper->patch * (width / (int64_t)hyper->patch);
}

static dqg_status fill_options(dqg_options *options, const dqg_model *model) {
    const char *prediction = dqg_model_find_metadata(model, "prediction");
    const char *scale = dqg_model_find_metadata(model, "timestep_scale");
    bool flow = prediction != NULL && strcmp(prediction, "flow_velocity") == 0;
    option_pair *pairs = flow ? own_flow : model->hyper.scheduler != NULL ? model->hyper.scheduler : published;
    for (size_t i = 0; pairs[i][0] != NULL; i++) {
        DQG_TRY(dqg_options_parse(options, pairs[i][0], pairs[i][1]));
    }
    if (model->hyper.shift_by_size) {
        DQG_TRY(dqg_options_set_int(options, DQG_SCHEDULER_IMAGE_TOKENS, image_tokens(model, NULL)));
    }
    if (prediction != NULL && (strcmp(prediction, "v") == 0 || strcmp(prediction, "x0") == 0)) {
        DQG_TRY(dqg_options_set_text(options, DQG_SCHEDULER_PREDICTION, prediction));
    }
    double value;
    if (scale != NULL && dqg_parse_double(scale, strlen(scale), &value) && value > 0) {
        DQG_TRY(dqg_options_set_float(options, DQG_SCHEDULER_TIMESTEP_SCALE, value));
    }
    for (size_t i = 0; i < model->metadata_count; i++) {
        const char *key = model->metadata[i].key;
        if (strncmp(key, "scheduler.", strlen("scheduler.")) == 0) {
            DQG_TRY(dqg_options_parse(options, key + strlen("scheduler."), model->metadata[i].value));
        }
    }
    return DQG_OK;
}

dqg_status dqg_model_scheduler_options(dqg_context *context, const dqg_model *model, dqg_options **options) {
    DQG_TRY(dqg_options_create(context, DQG_OPTIONS_SCHEDULER, options));
    dqg_status status = dqg_need(context, model, "model");
    if (status >= 0) {
        status = fill_options(*options, model);
    }
    if (status < 0) {
        dqg_options_destroy(*options);
        *options = NULL;
    }
    return status;
}

dqg_status dqg_scheduler_own(dqg_context *context, const dqg_model *model, const dqg_options *run,
                             dqg_scheduler **scheduler) {
    dqg_options *options = NULL;
    DQG_TRY(dqg_model_need_denoiser(context, model));
    DQG_TRY(dqg_model_scheduler_options(context, model, &options));
    dqg_status status = DQG_OK;
    if (model->hyper.shift_by_size) {
        status = dqg_options_set_int(options, DQG_SCHEDULER_IMAGE_TOKENS, image_tokens(model, run));
    }
    if (status >= 0) {
        status = dqg_scheduler_create(context, options, scheduler);
    }
    dqg_options_destroy(options);
    return status;
}

dqg_status dqg_scheduler_piece_at(int32_t key, int32_t index, dqg_piece_info *info) {
    static const struct {
        int32_t key;
        bool (*at)(size_t index, struct dqg_sched_piece *piece);
    } tables[] = {
        {DQG_SCHEDULER_SOLVER, dqg_sched_solver_at},
        {DQG_SCHEDULER_SCHEDULE, dqg_sched_schedule_at},
        {DQG_SCHEDULER_SPACING, dqg_sched_spacing_at},
        {DQG_SCHEDULER_PREDICTION, dqg_sched_prediction_at},
    };
    if (info == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    for (size_t i = 0; i < DQG_COUNT_OF(tables); i++) {
        struct dqg_sched_piece piece;
        if (tables[i].key != key) {
            continue;
        }
        if (index < 0 || !tables[i].at((size_t)index, &piece)) {
            return DQG_ERROR_RANGE;
        }
        dqg_piece_info filled = {.key = key,
                                 .name = piece.name,
                                 .doc = piece.doc,
                                 .paths = (uint32_t)piece.families,
                                 .noise_paths = (uint32_t)piece.noise_families,
                                 .evaluations = piece.evaluations,
                                 .buffers = piece.buffers};
        return dqg_record_return(NULL, info, &filled, sizeof filled);
    }
    return DQG_ERROR_NAME;
}

void dqg_scheduler_retain(dqg_scheduler *scheduler) {
    if (scheduler != NULL) {
        dqg_scheduler_retain_(scheduler);
    }
}

void dqg_scheduler_release(dqg_scheduler *scheduler) {
    dqg_scheduler_release_(scheduler);
}

int32_t dqg_scheduler_steps(const dqg_scheduler *scheduler) {
    return scheduler != NULL ? scheduler->sched.steps : 0;
}

dqg_status dqg_scheduler_point(const dqg_scheduler *scheduler, int32_t index, dqg_point *point) {
    if (scheduler == NULL || point == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    if (index < 0 || index > scheduler->sched.steps) {
        return DQG_ERROR_RANGE;
    }
    const struct dqg_sched_point *from = &scheduler->sched.points[index];
    dqg_point filled = {
        .alpha = from->alpha, .sigma = from->sigma, .timestep = from->timestep, .input_scale = from->input_scale};
    return dqg_record_return(NULL, point, &filled, sizeof filled);
}

dqg_status dqg_scheduler_weights(const dqg_scheduler *scheduler, int32_t step, double *weights, int32_t count) {
    if (scheduler == NULL || weights == NULL || count < 0) {
        return DQG_ERROR_ARGUMENT;
    }
    memset(weights, 0, (size_t)count * sizeof *weights);
    if (step < 0 || step >= scheduler->sched.steps) {
        return DQG_ERROR_RANGE;
    }
    double known[DQG_MOST_ORDER];
    if (!dqg_sched_weights(&scheduler->sched, step, known)) {
        return DQG_ERROR_UNSUPPORTED;
    }
    for (int32_t j = 0; j < count && j < DQG_MOST_ORDER; j++) {
        weights[j] = known[j];
    }
    return DQG_OK;
}

dqg_status dqg_scheduler_invert(dqg_context *context, const dqg_scheduler *scheduler, dqg_scheduler **inverse) {
    if (inverse != NULL) {
        *inverse = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, scheduler, "scheduler"));
    DQG_TRY(dqg_need(context, inverse, "inverse"));
    return dqg_scheduler_make_inverse(context, scheduler, inverse);
}

/* ---- hosts with a loop of their own ---- */

/* A view of any shape, and how many elements it has. */
static dqg_status check_any_view(dqg_context *context, const dqg_tensor_view *view, const char *name, uint64_t *count) {
    if (view == NULL || view->struct_size < sizeof *view || view->rank < 0 || view->rank > DQG_MAX_RANK) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s: not a tensor view (use DQG_INIT, then fill it in)", name);
    }
    if (!dqg_shape_count(view->rank, view->shape, count) || *count > SIZE_MAX / 16) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s: the shape is negative or too large", name);
    }
    return dqg_view_check(context, view, name, view->rank, view->shape);
}

dqg_status dqg_scheduler_draw_noise(dqg_context *context, const dqg_scheduler *scheduler, const int64_t *seeds,
                                    int32_t seed_count, const dqg_tensor_view *noise) {
    uint64_t count;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, scheduler, "scheduler"));
    DQG_TRY(dqg_need(context, seeds, "seeds"));
    DQG_TRY(check_any_view(context, noise, "noise", &count));
    if (noise->rank < 1 || seed_count < 1 || noise->shape[0] != seed_count) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "noise: %d seeds for %lld samples: give one for each",
                        (int)seed_count, noise->rank < 1 ? 0LL : (long long)noise->shape[0]);
    }
    size_t bytes = (size_t)count * sizeof(float);
    float *values = dqg_malloc(&context->alloc, bytes);
    if (values == NULL) {
        return dqg_fail_memory(context, "a copy of the view", bytes);
    }
    size_t size = (size_t)count / (size_t)seed_count;
    for (int32_t i = 0; i < seed_count; i++) {
        dqg_rng_normal((uint64_t)seeds[i], 0, values + (size_t)i * size, size);
        dqg_sched_shape_noise(&scheduler->sched, (uint64_t)seeds[i], values + (size_t)i * size, size);
    }
    dqg_view_write(noise, values);
    dqg_free(&context->alloc, values, bytes);
    return DQG_OK;
}

/* out = x_weight * x + noise_weight * noise at a point, with the weights that the callers find in it. */
static dqg_status mix(dqg_context *context, const char *name, double x_weight, const dqg_tensor_view *x,
                      double noise_weight, const dqg_tensor_view *noise, const dqg_tensor_view *out) {
    uint64_t count;
    DQG_TRY(check_any_view(context, x, name, &count));
    DQG_TRY(dqg_view_check(context, noise, "noise", x->rank, x->shape));
    DQG_TRY(dqg_view_check(context, out, "out", x->rank, x->shape));
    size_t bytes = (size_t)count * 2 * sizeof(float);
    float *a = dqg_malloc(&context->alloc, bytes);
    if (a == NULL) {
        return dqg_fail_memory(context, "a copy of the views", bytes);
    }
    float *b = a + count;
    dqg_view_read(x, a);
    dqg_view_read(noise, b);
    for (uint64_t i = 0; i < count; i++) {
        a[i] = (float)(x_weight * a[i] + noise_weight * b[i]);
    }
    dqg_view_write(out, a);
    dqg_free(&context->alloc, a, bytes);
    return DQG_OK;
}

static dqg_status find_point(dqg_context *context, const dqg_scheduler *scheduler, int32_t index,
                             const struct dqg_sched_point **point) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, scheduler, "scheduler"));
    if (index < 0 || index > scheduler->sched.steps) {
        return dqg_fail(context, DQG_ERROR_RANGE, "index: %d is outside 0..%d", (int)index,
                        (int)scheduler->sched.steps);
    }
    *point = &scheduler->sched.points[index];
    return DQG_OK;
}

dqg_status dqg_scheduler_add_noise(dqg_context *context, const dqg_scheduler *scheduler, int32_t index,
                                   const dqg_tensor_view *x0, const dqg_tensor_view *noise,
                                   const dqg_tensor_view *out) {
    const struct dqg_sched_point *point = NULL;
    DQG_TRY(find_point(context, scheduler, index, &point));
    return mix(context, "x0", point->alpha, x0, point->sigma, noise, out);
}

dqg_status dqg_scheduler_scale_input(dqg_context *context, const dqg_scheduler *scheduler, int32_t index,
                                     const dqg_tensor_view *x, const dqg_tensor_view *out) {
    const struct dqg_sched_point *point = NULL;
    DQG_TRY(find_point(context, scheduler, index, &point));
    /* rounded as a run rounds it */
    return mix(context, "x", (float)point->input_scale, x, 0, x, out);
}
