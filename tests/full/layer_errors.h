/* SPDX-License-Identifier: MIT */
/*
 * What each quantized matrix of a network does to the network's output, and what all of them do together.
 *
 * The model that the prediction rests on: what rounding adds to a layer's result is small and looks like noise to the
 * rest of the network, which passes it on to the output in first order. The noises of different layers have nothing to
 * do with each other, so that their squares add up: the error of the whole quantized network is the root of the sum of
 * squares of what the output misses when one layer alone is quantized. Integer attention counts as a layer.
 */
#ifndef TESTS_LAYER_ERRORS_H
#define TESTS_LAYER_ERRORS_H

#include "model/model.h"

struct layer_error {
    char name[128]; /* of the matrix, or of all with stars for numbers */
    size_t matrices;
    double bits;   /* of a weight */
    double weight; /* relative error of the weights */
    double output; /* relative error of the output when these alone are quantized */
};

struct layer_errors {
    struct layer_error *parts;
    size_t count;
    double attention; /* of the output when attention alone is in integers */
    double predicted, measured;
};

/* The network of a model that has a role ("denoiser", "vae", "clip"), or the only one; NULL where there is none. */
const struct dqg_model *layer_errors_network(const struct dqg_model *model, const char *role);

/*
 * Compare a network with its quantized form on one random sample of height x width latent pixels, or where these are 0
 * of the network's own size; text encoders get 77 tokens or as many as they have positions. A part is each matrix by
 * itself, or with kinds those whose names differ in numbers only. free() parts.
 */
dqg_status layer_errors_measure(struct dqg_context *context, const struct dqg_model *original,
                                const struct dqg_model *quantized, size_t height, size_t width, bool kinds,
                                struct layer_errors *errors);

#endif
