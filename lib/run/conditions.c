/* SPDX-License-Identifier: MIT */
/*
 * The conditions of a run: for each image one or more, a class or what else the network takes (struct dqg_given), with
 * a weight and perhaps a mask, and how their answers become one (Liu et al. 2022, "Compositional visual generation with
 * composable diffusion models", arXiv 2206.01714): c = u + sum of shares times (c_i - u). Called by create.c, combine.c
 * and state.c.
 */
#include <math.h>

#include "run/run.h"

enum { MOST_CONDITIONS = 16, LATENT_SIDE = 8 /* of a picture's, where no autoencoder says it */ };

/* Shares that add up to 1 but for this need no unconditional. */
static const double balance_error = 1e-6;

static size_t plane_size(const struct dqg_run *run) {
    return (size_t)run->shape[2] * (size_t)run->shape[3];
}

/* Conditions of all images: those of the first condition first. */
static size_t record_count(const struct dqg_run *run) {
    return run->conditions * run->images;
}

/* ---- making a run ---- */

static dqg_status check_class(struct dqg_context *context, const struct dqg_model *model, int64_t label) {
    if (label < -1 || label >= (int64_t)model->hyper.classes) {
        return dqg_fail(context, DQG_ERROR_RANGE, "class %lld is outside -1..%lld", (long long)label,
                        (long long)model->hyper.classes - 1);
    }
    return DQG_OK;
}

static dqg_status check_counts(const struct dqg_run *run, const struct dqg_run_config *config) {
    int64_t k = config->conditions, images = config->count;
    int32_t weights = config->condition_weight_count;
    if (k < 1 || k > MOST_CONDITIONS) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "%lld conditions: 1 to %d are possible", (long long)k,
                        (int)MOST_CONDITIONS);
    }
    bool any = config->class_count == 0 && k == 1;
    if (!any && config->class_count != k && config->class_count != k * images) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT,
                        k == 1
                            ? "%d classes for %lld images: give one, or one for each"
                            : "%d classes for %lld images with %lld conditions each: give one for each condition, or "
                              "for each condition one for each image",
                        (int)config->class_count, (long long)images, (long long)k);
    }
    if (weights > 0 && weights != k) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "%d condition-weights for %lld conditions: give one for each",
                        (int)weights, (long long)k);
    }
    return DQG_OK;
}

static dqg_status check_channels(const struct dqg_run *run, const struct dqg_guidance *guidance) {
    if (guidance->channels > (int32_t)run->model->hyper.channels) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "cfg-channels is %d, the model has %zu channels",
                        (int)guidance->channels, run->model->hyper.channels);
    }
    return DQG_OK;
}

/* Something that an unconditional evaluation would be without. */
static bool takes_more(const struct dqg_hyper *hyper) {
    return hyper->context_width > 0 || hyper->pooled_width > 0;
}

dqg_status dqg_run_set_conditions(struct dqg_run *run, const struct dqg_run_config *config) {
    const struct dqg_hyper *hyper = &run->model->hyper;
    bool conditioned = takes_more(hyper);
    DQG_TRY(check_counts(run, config));
    DQG_TRY(check_channels(run, &config->guidance));
    for (int32_t i = 0; i < config->class_count; i++) {
        DQG_TRY(check_class(run->context, run->model, config->classes[i]));
        conditioned = conditioned || config->classes[i] >= 0;
    }
    bool weighted = config->condition_weight_count > 0 && config->condition_weights[0] != 1;
    bool unconditional =
        config->conditions > 1 || weighted || (conditioned && !hyper->guided && config->guidance.scale != 1);
    run->conditions = (size_t)config->conditions;
    run->copies = run->conditions + (unconditional ? 1 : 0);
    run->guidance = config->guidance;
    run->keeps_momentum = dqg_guidance_keeps_momentum(&config->guidance);
    return DQG_OK;
}

/* Do all images get their conditions' answers and nothing else? */
static bool is_balanced(const struct dqg_run *run) {
    double shares[MOST_CONDITIONS];
    for (size_t image = 0; image < run->images; image++) {
        for (size_t pixel = 0; pixel < plane_size(run); pixel++) {
            if (dqg_run_condition_shares(run, image, pixel, shares) != 1) {
                return false;
            }
        }
    }
    return true;
}

void dqg_run_summarize(struct dqg_run *run) {
    run->balanced = is_balanced(run);
    run->exec.steady_done = false;
    run->conditioned = takes_more(&run->model->hyper);
    for (size_t i = 0; i < record_count(run); i++) {
        run->conditioned = run->conditioned || run->given.labels[i] >= 0;
    }
}

void dqg_run_fill_conditions(struct dqg_run *run, const struct dqg_run_config *config) {
    size_t records = record_count(run);
    bool each = config->class_count > config->conditions;
    const struct dqg_model *autoencoder = dqg_model_autoencoder(run->model);
    dqg_given_clear(&run->given);
    dqg_given_set_sizes(&run->given, &run->model->hyper,
                        autoencoder != NULL ? autoencoder->hyper.reduction : LATENT_SIDE, records);
    for (size_t i = 0; i < records; i++) {
        size_t condition = i / run->images;
        if (config->class_count > 0) {
            run->given.labels[i] = (int32_t)config->classes[each ? i : condition];
        }
        run->weights[i] = config->condition_weight_count > 0 ? config->condition_weights[condition] : 1;
    }
    memset(run->masked, 0, records);
    memset(run->masks, 0, records * plane_size(run) * sizeof *run->masks);
    dqg_run_summarize(run);
}

void dqg_run_share_conditions(const struct dqg_run *run, struct dqg_run *other) {
    memcpy(other->shape, run->shape, sizeof other->shape);
    other->given = run->given;
    other->weights = run->weights;
    other->masked = run->masked;
    other->masks = run->masks;
}

void dqg_run_take_conditions(struct dqg_run *run, const struct dqg_run *other) {
    size_t records = record_count(run);
    if (run->model == NULL) {
        return;
    }
    dqg_given_copy(&run->given, &other->given, &run->model->hyper);
    memcpy(run->weights, other->weights, records * sizeof *run->weights);
    memcpy(run->masked, other->masked, records);
    int64_t height = run->shape[2], width = run->shape[3];
    for (int64_t i = 0; i < (int64_t)records * height * width; i++) {
        int64_t row = i / width % height * other->shape[2] / height;
        int64_t column = i % width * other->shape[3] / width;
        int64_t record = i / (height * width);
        run->masks[i] = other->masks[(record * other->shape[2] + row) * other->shape[3] + column];
    }
    dqg_run_summarize(run);
}

/* ---- shares ---- */

double dqg_run_condition_shares(const struct dqg_run *run, size_t image, size_t pixel, double *shares) {
    double masks = 0, total = 0;
    for (size_t k = 0; k < run->conditions; k++) {
        size_t record = k * run->images + image;
        shares[k] = run->masked[record] ? run->masks[record * plane_size(run) + pixel] : 0;
        masks += shares[k];
    }
    for (size_t k = 0; k < run->conditions; k++) {
        size_t record = k * run->images + image;
        shares[k] = run->weights[record] * (run->masked[record] ? shares[k] / fmax(masks, 1) : 1);
        total += shares[k];
    }
    return fabs(total - 1) > balance_error ? total : 1;
}

void dqg_run_compose(const struct dqg_run *run, size_t image, const float *outputs, const float *unconditional,
                     float *out) {
    size_t plane = plane_size(run);
    size_t stride = plane * run->model->hyper.out_channels;
    double shares[MOST_CONDITIONS];
    for (size_t pixel = 0; pixel < plane; pixel++) {
        double total = dqg_run_condition_shares(run, image, pixel, shares);
        for (size_t at = pixel; at < run->image_size; at += plane) {
            double sum = total != 1 ? (1 - total) * unconditional[at] : 0;
            for (size_t k = 0; k < run->conditions; k++) {
                sum += shares[k] * outputs[(k * run->images + image) * stride + at];
            }
            out[at] = (float)sum;
        }
    }
}

/* ---- changes on the way ---- */

dqg_status dqg_run_check_guidance(const struct dqg_run *run, const struct dqg_guidance *guidance) {
    const char *lacking = NULL;
    DQG_TRY(check_channels(run, guidance));
    if (run->search != NULL) {
        DQG_TRY(dqg_search_check_guidance(run, guidance));
    }
    if (run->copies == run->conditions &&
        ((guidance->scale != 1 && run->conditioned && !run->model->hyper.guided) || !run->balanced)) {
        lacking = "an unconditional evaluation: make it with a condition and another guidance than 1";
    } else if (dqg_guidance_keeps_momentum(guidance) && run->momentum == NULL) {
        lacking = "momentum: make it with guidance-form apg";
    } else if (guidance->perturbed_scale != 0 && run->perturbed.node_count == 0) {
        lacking = "a perturbed evaluation: make it with another perturbed-scale than 0";
    }
    return lacking == NULL ? DQG_OK : dqg_fail(run->context, DQG_ERROR_STATE, "this run has no memory for %s", lacking);
}

/* What an evaluation under way has done belongs to the old settings. */
dqg_status dqg_run_change_guidance(struct dqg_run *run, const struct dqg_guidance *guidance) {
    DQG_TRY(dqg_run_check_guidance(run, guidance));
    run->guidance = *guidance;
    run->evaluating = false;
    return DQG_OK;
}

static dqg_status check_mask(struct dqg_run *run, const dqg_tensor_view *mask) {
    DQG_TRY(dqg_view_check(run->context, mask, "mask", 2, run->shape + 2));
    dqg_view_read(mask, run->scratch);
    for (size_t i = 0; i < plane_size(run); i++) {
        if (!(run->scratch[i] >= 0 && run->scratch[i] <= 1)) {
            return dqg_fail(run->context, DQG_ERROR_RANGE, "mask: value %zu is %g; it must be from 0 to 1", i,
                            (double)run->scratch[i]);
        }
    }
    return DQG_OK;
}

static void change_one(struct dqg_run *run, size_t record, const dqg_condition *condition) {
    if (condition->flags & DQG_CONDITION_CLASS) {
        run->given.labels[record] = condition->label;
    }
    if (condition->flags & DQG_CONDITION_WEIGHT) {
        run->weights[record] = condition->weight;
    }
    if (condition->flags & DQG_CONDITION_MASK) {
        run->masked[record] = condition->mask != NULL;
        size_t bytes = plane_size(run) * sizeof *run->masks;
        if (condition->mask != NULL) {
            memcpy(run->masks + record * plane_size(run), run->scratch, bytes);
        }
    }
}

/* What an evaluation under way has done belongs to the old conditions, and what is kept if they say something else. */
static void end_change(struct dqg_run *run, bool otherwise) {
    dqg_run_summarize(run);
    if (otherwise) {
        dqg_cache_drop(&run->cache);
        dqg_ras_drop(&run->ras);
    }
    run->evaluating = false;
}

dqg_status dqg_run_change_condition(struct dqg_run *run, int32_t image, int32_t index, const dqg_condition *condition) {
    bool label = condition->flags & DQG_CONDITION_CLASS;
    bool weight = condition->flags & DQG_CONDITION_WEIGHT;
    bool mask = condition->flags & DQG_CONDITION_MASK;
    if (label) {
        DQG_TRY(check_class(run->context, run->model, condition->label));
    }
    if (weight && !(fabs(condition->weight) <= 100)) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "weight is %g; it must be from -100 to 100", condition->weight);
    }
    if (mask && condition->mask != NULL) {
        DQG_TRY(check_mask(run, condition->mask));
    }
    bool shares = (weight && condition->weight != 1) || (mask && condition->mask != NULL);
    bool guides = label && condition->label >= 0 && run->guidance.scale != 1 && !run->model->hyper.guided;
    if (run->copies == run->conditions && (shares || guides)) {
        return dqg_fail(run->context, DQG_ERROR_STATE,
                        "this run has no memory for an unconditional evaluation, which weights, masks and guidance "
                        "need: make it with a class and another guidance than 1, or with several conditions");
    }
    for (size_t i = 0; i < run->images; i++) {
        if (image < 0 || (size_t)image == i) {
            change_one(run, (size_t)index * run->images + i, condition);
        }
    }
    end_change(run, label);
    return DQG_OK;
}

dqg_status dqg_run_change_inputs(struct dqg_run *run, int32_t image, int32_t index, const dqg_inputs *inputs) {
    const struct dqg_hyper *hyper = &run->model->hyper;
    const struct dqg_inputs_form form = {
        .samples = 1, .tokens = run->given.tokens, .height = run->given.height, .width = run->given.width};
    DQG_TRY(dqg_inputs_check(run->context, hyper, inputs, &form));
    if (inputs->guidance != NULL) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT,
                        "inputs->guidance: a run tells its network its own guidance scale, leave it NULL");
    }
    if (index == DQG_UNCONDITIONAL && run->copies == run->conditions) {
        return dqg_fail(run->context, DQG_ERROR_STATE,
                        "this run has no unconditional evaluation: make it with another guidance than 1");
    }
    size_t first = (index == DQG_UNCONDITIONAL ? run->conditions : (size_t)index) * run->images;
    for (size_t i = 0; i < run->images; i++) {
        if (image < 0 || (size_t)image == i) {
            dqg_given_read(&run->given, hyper, inputs, first + i, 1);
        }
    }
    end_change(run, true);
    return DQG_OK;
}
