/* SPDX-License-Identifier: MIT */
/*
 * The shift of a flow's timesteps (Esser et al. 2024, arXiv 2403.03206, section 5.3.2): its formula, and the rules by
 * which it follows the resolution, told as the number of tokens that an image has. Called by sched.c and spacings.
 */
#include "sched/pieces.h"

#include <math.h>

/* Tokens of 256 x 256 and 1024 x 1024 pixels: patches of 2 x 2 of a latent that is 8 times smaller. */
static const double base_tokens = 256;
static const double most_tokens = 4096;

/* Of sigma / (1 - sigma) it is the factor, and the power comes first. Written so that no shift loses digits. */
double dqg_flow_shift(const struct dqg_sched_config *config, double noise, double signal) {
    double shifted = config->shift * pow(noise, config->shift_power);
    return shifted / (pow(signal, config->shift_power) + shifted);
}

dqg_status dqg_sched_set_shift(struct dqg_context *context, struct dqg_sched_config *config) {
    const char *rule = config->resolution_shift;
    config->shift_power = config->shift_power != 0 ? config->shift_power : 1;
    if (config->image_tokens == 0) {
        return DQG_OK;
    }
    double tokens = config->image_tokens;
    if (rule != NULL && strcmp(rule, "sqrt") == 0) { /* sqrt(m / n) times the shift of n pixels is that of m */
        config->shift *= sqrt(fmax(tokens, 0) / most_tokens);
        return DQG_OK;
    }
    if (config->shift != 1) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "scheduler: shift %g and image_tokens %d are both given, and resolution_shift 'exponential' "
                        "takes the shift from the tokens: leave shift at 1, or use 'sqrt'",
                        config->shift, config->image_tokens);
    }
    double slope = (config->max_shift - config->base_shift) / (most_tokens - base_tokens);
    config->shift = exp(config->base_shift + slope * (tokens - base_tokens));
    return DQG_OK;
}

void dqg_sched_stretch(const struct dqg_sched_config *config, double *sigmas) {
    double range = 1 - sigmas[config->steps - 1];
    for (int32_t i = 0; range > 0 && i < config->steps; i++) {
        sigmas[i] = 1 - (1 - sigmas[i]) * ((1 - config->shift_terminal) / range);
    }
}
