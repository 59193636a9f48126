/* SPDX-License-Identifier: MIT */
/* What dqgen compare measures: filled by compare_steps.c and compare_layers.c, printed by compare.c. */
#ifndef DQGEN_COMPARE_H
#define DQGEN_COMPARE_H

#include "cli.h"

enum {
    COMPARE_TIMES = 3,  /* noise levels at which single evaluations are compared */
    COMPARE_SAMPLES = 4 /* pictures in such an evaluation, at most */
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

/* A view of count samples. */
dqg_tensor_view compare_view(const struct comparison *comparison, float *data, int32_t count);

#endif
