/* SPDX-License-Identifier: MIT */
/*
 * What becomes of an evaluation's outputs: those of an image's conditions are made one, guided away from the
 * unconditional and the perturbed ones, and leave one output for each image. Called by step.c after the last pass;
 * also says which passes there are.
 */
#include "run/run.h"

/* Images may have times of their own. */
static size_t part_of(const struct dqg_run *run, size_t image) {
    return run->clock_count > 0 ? image : 0;
}

double dqg_run_guidance_scale(const struct dqg_run *run, size_t image) {
    struct dqg_sched_point point = dqg_run_point(run, part_of(run, image));
    return dqg_guidance_scale(&run->guidance, dqg_sched_level(&run->scheduler->sched, &point));
}

/* 1 where the network itself is told the scale. */
static double scale_in_force(const struct dqg_run *run, size_t image) {
    return run->model->hyper.guided ? 1 : dqg_run_guidance_scale(run, image);
}

static bool perturbs(const struct dqg_run *run, size_t image) {
    return dqg_guidance_perturbs(&run->guidance, dqg_run_clock(run, part_of(run, image)).step,
                                 run->scheduler->sched.steps);
}

static bool takes_zero(const struct dqg_run *run, size_t image) {
    return dqg_run_clock(run, part_of(run, image)).step < run->guidance.zero_steps;
}

bool dqg_run_asks_network(const struct dqg_run *run) {
    bool asks = false;
    for (size_t image = 0; image < run->images; image++) {
        asks = asks || !takes_zero(run, image);
    }
    return asks;
}

bool dqg_run_asks_unconditional(const struct dqg_run *run) {
    bool asks = !run->balanced;
    for (size_t image = 0; image < run->images; image++) {
        asks = asks || (run->conditioned && scale_in_force(run, image) != 1);
    }
    return asks && run->copies > run->conditions;
}

bool dqg_run_asks_perturbed(const struct dqg_run *run) {
    bool asks = false;
    for (size_t image = 0; image < run->images; image++) {
        asks = asks || perturbs(run, image);
    }
    return asks && run->perturbed.node_count > 0;
}

/* The answers to all conditions of an image as one; to a single one of weight 1 as it is. */
static const float *compose(const struct dqg_run *run, size_t image, const float *outputs, const float *unconditional,
                            float *buffer) {
    if (run->conditions == 1 && run->balanced && run->weights[image] == 1) {
        return outputs + image * (run->image_size / run->model->hyper.channels) * run->model->hyper.out_channels;
    }
    dqg_run_compose(run, image, outputs, unconditional, buffer);
    return buffer;
}

/* What the network says of the variance with the first condition: the channels behind those of the mean. */
static void keep_variance(struct dqg_run *run, size_t image, size_t stride) {
    float *share = run->output + run->size + image * run->image_size;
    if (run->scheduler->sched.variance != DQG_VARIANCE_LEARNED) {
        return;
    }
    if (takes_zero(run, image)) {
        memset(share, 0, run->image_size * sizeof *share);
    } else {
        memcpy(share, run->net_out + image * stride + run->image_size, run->image_size * sizeof *share);
    }
}

void dqg_run_combine(struct dqg_run *run) {
    const struct dqg_hyper *hyper = &run->model->hyper;
    size_t plane = run->image_size / hyper->channels;
    size_t stride = plane * hyper->out_channels; /* of a learned-sigma network the mean half only is guided */
    bool unconditional = dqg_run_asks_unconditional(run);
    bool perturbed = dqg_run_asks_perturbed(run);
    struct dqg_guidance_image terms = {
        .n = run->image_size,
        .guided = plane * (run->guidance.channels > 0 ? (size_t)run->guidance.channels : hyper->channels),
    };
    for (size_t image = 0; image < run->images; image++) {
        float *out = run->output + image * run->image_size;
        float *buffer = run->scratch + image * run->image_size;
        keep_variance(run, image, stride);
        if (takes_zero(run, image)) {
            memset(out, 0, run->image_size * sizeof *out);
            continue;
        }
        struct dqg_sched_point point = dqg_run_point(run, part_of(run, image));
        dqg_sched_x0_terms(&run->scheduler->sched, &point, terms.x0);
        terms.scale = scale_in_force(run, image);
        const float *without = run->net_out + (run->conditions * run->images + image) * stride;
        const float *worse = run->net_out + run->copies * run->images * stride;
        terms.unconditional = unconditional ? without : NULL;
        terms.conditional = compose(run, image, run->net_out, terms.unconditional, buffer);
        terms.perturbed =
            perturbed && perturbs(run, image) ? compose(run, image, worse, terms.unconditional, out) : NULL;
        terms.momentum = run->momentum != NULL ? run->momentum + image * run->image_size : NULL;
        terms.x = run->latent + image * run->image_size;
        dqg_guidance_mix(&run->guidance, &terms, out);
    }
}
