/* SPDX-License-Identifier: MIT */
/* What a denoiser is given beside x and the time, checked and copied from the caller's views. */
#ifndef DQG_INPUTS_H
#define DQG_INPUTS_H

#include "model/model.h"

/* Of some samples, contiguous; empty where the network takes no such input. One piece of memory, labels first. */
struct dqg_given {
    size_t samples, tokens, height, width;
    size_t bytes;
    int32_t *labels;
    float *context, *mask; /* the mask as what is added to scores */
    float *pooled;
    float *extra;
    float *control; /* pictures for its control network */
    double *guidance, *sizes;
    double *control_scales; /* 0 where there is no picture */
};

/* Set every pointer into a block from base + *used on; base NULL only counts. False on overflow. */
bool dqg_given_lay_out(struct dqg_given *given, const struct dqg_hyper *hyper, size_t *used, char *base);

/* Null class, context and pooled rows of zeros of which all count, no guidance, sizes of 0. */
void dqg_given_clear(struct dqg_given *given);

/* The sizes of a picture that is as large as the latent is here, not cropped. Aesthetic score: 6, from sample
 * unconditional on 2.5. */
void dqg_given_set_sizes(struct dqg_given *given, const struct dqg_hyper *hyper, size_t reduction,
                         size_t unconditional);

/* All of the same samples and tokens; extra channels by the nearest pixel. */
void dqg_given_copy(struct dqg_given *to, const struct dqg_given *from, const struct dqg_hyper *hyper);

/* Do inputs of this many samples fit an image of height x width? tokens 0: any number. whole: what the network takes
 * must be there. */
struct dqg_inputs_form {
    size_t samples, tokens, height, width;
    bool whole;
};
dqg_status dqg_inputs_check(struct dqg_context *context, const struct dqg_hyper *hyper, const dqg_inputs *inputs,
                            const struct dqg_inputs_form *form);

/* Copy what checked inputs have to samples from first on. */
void dqg_given_read(struct dqg_given *given, const struct dqg_hyper *hyper, const dqg_inputs *inputs, size_t first,
                    size_t samples);

/* The network's x of a sample: its latent, then its extra channels. */
void dqg_given_join(const struct dqg_given *given, const struct dqg_hyper *hyper, size_t sample, const float *latent,
                    float *out);

/* As inputs of an evaluation. */
void dqg_given_io(const struct dqg_given *given, struct dqg_exec_io *io);

#endif
