/* SPDX-License-Identifier: MIT */
/* What dqgen compare measures: filled by compare_steps.c and compare_layers.c, with inputs of
 * compare_inputs.c, printed by compare.c. */
#ifndef DQGEN_COMPARE_H
#define DQGEN_COMPARE_H

#include "cli.h"

enum {
    COMPARE_TIMES = 3,   /* noise levels at which single evaluations are compared */
    COMPARE_SAMPLES = 4, /* pictures in such an evaluation, at most */
    COMPARE_SIZES = 6    /* of a sample, at most */
};

/* Sums of squares over samples: error = ||a - b|| / ||a||. */
struct error_sum {
    double difference;
    double reference;
};

void error_add(struct error_sum *sum, const float *reference, const float *other, size_t count);
double error_value(const struct error_sum *sum); /* NAN when nothing was added */

/* One operator of the network. */
struct layer_error {
    char *name;
    struct error_sum errors[COMPARE_TIMES];
};

struct comparison {
    struct sampling sampling;
    dqg_model *models[2]; /* float, quantized */
    int64_t seeds;
    size_t latent_size; /* numbers in one sample: channels, rows, columns */
    int32_t height, width;

    /* trajectories */
    int32_t steps;
    double *step_sigma; /* [steps] reached after the step */
    struct error_sum *step_errors;
    double *psnr; /* [seeds] of the finished pictures, dB; INFINITY when equal */
    bool latents; /* it is that of latents, which are no pictures */
    float *noise; /* [samples][latent_size] of the first samples */
    float *finished;
    int32_t samples; /* 1..COMPARE_SAMPLES */

    /* single evaluations */
    double times[COMPARE_TIMES]; /* sigma */
    struct error_sum evaluations[COMPARE_TIMES];
    struct layer_error *layers;
    size_t layer_count;
    size_t unmatched; /* operators of the quantized network without a partner */
};

/* Both models step with the same noise. Fills the trajectory part. */
int compare_steps(struct cli *cli, struct comparison *comparison);

/* Single evaluations on noised versions of the finished samples. Needs the trajectory part. */
int compare_layers(struct cli *cli, struct comparison *comparison);

/* What networks take beside x and the time. Those before COMPARE_RANDOM are drawn at random where there is no prompt.
 */
enum compare_part { COMPARE_CONTEXT, COMPARE_POOLED, COMPARE_EXTRA, COMPARE_CONTROL, COMPARE_RANDOM };
enum { COMPARE_MASK = COMPARE_RANDOM, COMPARE_PARTS };

/* Inputs of some samples; zeros before they are made. */
struct compare_inputs {
    dqg_tensor_view views[COMPARE_PARTS]; /* data NULL: the networks take none */
    int32_t labels[COMPARE_SAMPLES];
    double guidance[COMPARE_SAMPLES];
    double sizes[COMPARE_SAMPLES * COMPARE_SIZES];
    dqg_inputs inputs;
};

/* For a run of pictures first .. first + count - 1: all that it does not fill in by itself. */
dqg_status compare_inputs_give(struct cli *cli, const struct comparison *comparison, dqg_run *run, int64_t first,
                               int32_t count);

/* For a single evaluation of the first samples: all. To be freed, on failure too. */
dqg_status compare_inputs_make(struct cli *cli, const struct comparison *comparison, struct compare_inputs *inputs);
void compare_inputs_free(struct compare_inputs *inputs);

/* The prompt once for each sample, and what one of the models would make of it. */
struct compare_prompt {
    const char *texts[COMPARE_SAMPLES];
    dqg_prompt_settings settings;
};
dqg_status compare_prompt_info(struct cli *cli, const struct comparison *comparison, int model,
                               struct compare_prompt *prompt, dqg_prompt_info *info);

/* A view of count samples. */
dqg_tensor_view compare_view(const struct comparison *comparison, float *data, int32_t count);

#endif
