/* SPDX-License-Identifier: MIT */
/*
 * layer_report FLOAT QUANTIZED ROLE HEIGHT WIDTH KINDS: the error of each part of a network, and whether they account
 * for that of the whole (layer_errors.h). ROLE: denoiser, vae, clip, t5; HEIGHT, WIDTH: in latent pixels, 0 for its own
 * size. KINDS: 1 for layers that differ in numbers together, 0 for each by itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "layer_errors.h"

static void print(const struct layer_errors *errors) {
    printf("%-56s %9s %6s %9s %9s\n", "weights", "matrices", "bits", "weights %", "output %");
    for (size_t i = 0; i < errors->count; i++) {
        const struct layer_error *part = &errors->parts[i];
        printf("%-56s %9zu %6.2f %9.2f %9.3f\n", part->name, part->matrices, part->bits, 100.0 * part->weight,
               100.0 * part->output);
    }
    printf("%-56s %9s %6s %9s %9.3f\n", "attention in integers", "", "", "", 100.0 * errors->attention);
    printf("output: predicted %.2f %%, measured %.2f %%, ratio %.3f\n", 100.0 * errors->predicted,
           100.0 * errors->measured, errors->measured / errors->predicted);
}

static dqg_status report(struct dqg_context *context, char **argv, struct dqg_model *models[2]) {
    const struct dqg_model *networks[2];
    struct layer_errors errors;
    for (int i = 0; i < 2; i++) {
        DQG_TRY(dqg_model_load(context, argv[1 + i], NULL, &models[i]));
        networks[i] = layer_errors_network(models[i], argv[3]);
        if (networks[i] == NULL) {
            return dqg_fail(context, DQG_ERROR_NAME, "%s has no network that is a %s", argv[1 + i], argv[3]);
        }
    }
    dqg_status status = layer_errors_measure(context, networks[0], networks[1], strtoul(argv[4], NULL, 10),
                                             strtoul(argv[5], NULL, 10), argv[6][0] == '1', &errors);
    if (status >= 0) {
        print(&errors);
    }
    free(errors.parts);
    return status;
}

int main(int argc, char **argv) {
    dqg_context *context;
    dqg_model *models[2] = {NULL, NULL};
    if (argc != 7 || dqg_context_create(NULL, &context) < 0) {
        fprintf(stderr, "usage: layer_report FLOAT QUANTIZED ROLE HEIGHT WIDTH KINDS\n");
        return 2;
    }
    dqg_status status = report(context, argv, models);
    if (status < 0) {
        fprintf(stderr, "layer_report: %s\n", dqg_context_error(context));
    }
    dqg_model_release(models[0]);
    dqg_model_release(models[1]);
    dqg_context_destroy(context);
    return status < 0;
}
