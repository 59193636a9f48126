/* SPDX-License-Identifier: MIT */
/*
 * dqgen compare, trajectories: both models generate the same pictures from the same noise, step by step; after each
 * step the latents are compared, and at the end the pictures. Works in batches of SAMPLING_BATCH.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

void error_add(struct error_sum *sum, const float *reference, const float *other, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double difference = (double)reference[i] - (double)other[i];
        sum->difference += difference * difference;
        sum->reference += (double)reference[i] * (double)reference[i];
    }
}

double error_value(const struct error_sum *sum) {
    return sum->reference > 0 ? sqrt(sum->difference / sum->reference) : sum->difference > 0 ? INFINITY : NAN;
}

dqg_tensor_view compare_view(const struct comparison *comparison, float *data, int32_t count) {
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = data;
    view.dtype = DQG_DTYPE_F32;
    view.rank = 4;
    view.shape[0] = count;
    view.shape[1] = comparison->sampling.info.channels;
    view.shape[2] = comparison->height;
    view.shape[3] = comparison->width;
    return view;
}

/* One batch: two runs and room for what is read from them. */
struct pair {
    dqg_run *runs[2];
    float *values[2]; /* [count][latent_size] */
    int64_t first;
    int32_t count;
};

static dqg_status read_latents(const struct comparison *comparison, struct pair *pair) {
    dqg_status status = DQG_OK;
    for (int i = 0; i < 2 && status >= 0; i++) {
        dqg_tensor_view view = compare_view(comparison, pair->values[i], pair->count);
        status = dqg_run_read(pair->runs[i], DQG_SOURCE_LATENT, &view);
    }
    return status;
}

/* Picture index of a run as floats from 0 to 1, premultiplied so that invisible colours do not count. */
static dqg_status read_picture(const struct comparison *comparison, dqg_run *run, int32_t index, float *pixels) {
    dqg_image_view image;
    DQG_INIT(&image);
    image.data = pixels;
    image.width = comparison->width;
    image.height = comparison->height;
    image.channels = comparison->sampling.info.channels;
    image.dtype = DQG_DTYPE_F32;
    image.alpha = DQG_ALPHA_PREMULTIPLIED;
    return dqg_run_read_image(run, index, DQG_SOURCE_LATENT, &image);
}

/* Peak signal to noise of each finished picture. Where the latent is not a picture, of the latent, as if its range were
 * 2. */
static dqg_status measure_psnr(struct comparison *comparison, struct pair *pair) {
    size_t size = comparison->latent_size;
    for (int32_t i = 0; i < pair->count; i++) {
        double peak = 1;
        float *a = pair->values[0] + (size_t)i * size;
        float *b = pair->values[1] + (size_t)i * size;
        dqg_status status = DQG_ERROR_UNSUPPORTED;
        if (comparison->sampling.info.channels <= 4 && comparison->sampling.info.reduction <= 1) {
            status = read_picture(comparison, pair->runs[0], i, a);
            status = status < 0 ? status : read_picture(comparison, pair->runs[1], i, b);
        }
        if (status == DQG_ERROR_UNSUPPORTED) {
            peak = 2; /* the latents read after the last step are still there */
            comparison->latents = true;
        } else if (status < 0) {
            return status;
        }
        struct error_sum sum = {0};
        error_add(&sum, a, b, size);
        comparison->psnr[pair->first + i] = 10 * log10(peak * peak * (double)size / sum.difference);
    }
    return DQG_OK;
}

/* Keep the first samples' noise and result for compare_layers(). The latent starts as sigma times noise. */
static void keep(struct comparison *comparison, const struct pair *pair, float *where, double divisor) {
    size_t count = (size_t)comparison->samples * comparison->latent_size;
    for (size_t i = 0; pair->first == 0 && i < count; i++) {
        where[i] = (float)((double)pair->values[0][i] / divisor);
    }
}

static dqg_status step_pair(struct cli *cli, struct comparison *comparison, struct pair *pair) {
    dqg_run_info info;
    DQG_INIT(&info);
    dqg_status status = dqg_run_get_info(pair->runs[0], &info);
    status = status < 0 ? status : read_latents(comparison, pair);
    keep(comparison, pair, comparison->noise, info.sigma > 0 ? info.sigma : 1);
    size_t count = (size_t)pair->count * comparison->latent_size;
    for (int32_t step = 0; step < comparison->steps && status >= 0; step++) {
        for (int i = 0; i < 2 && status >= 0; i++) {
            double part = (double)pair->count / (double)comparison->seeds / comparison->steps / 2;
            progress_share(&cli->progress, (double)pair->first / (double)comparison->seeds + part * (2 * step + i),
                           part);
            status = dqg_run_step(pair->runs[i]);
        }
        status = status < 0 ? status : read_latents(comparison, pair);
        if (status >= 0) {
            error_add(&comparison->step_errors[step], pair->values[0], pair->values[1], count);
            dqg_run_get_info(pair->runs[0], &info);
            comparison->step_sigma[step] = info.sigma;
        }
    }
    if (status >= 0) {
        keep(comparison, pair, comparison->finished, 1);
        status = measure_psnr(comparison, pair);
    }
    return status;
}

static int compare_batch(struct cli *cli, struct comparison *comparison, int64_t first, int32_t count) {
    struct pair pair = {.first = first, .count = count};
    int code = EXIT_OK;
    for (int i = 0; i < 2 && code == EXIT_OK; i++) {
        pair.values[i] = calloc((size_t)count * comparison->latent_size, sizeof(float));
        if (pair.values[i] == NULL) {
            code = cli_error(cli, EXIT_FAILED, "out of memory");
        } else {
            pair.runs[i] = sampling_run(cli, &comparison->sampling, comparison->models[i], first, count, 1, &code);
        }
        if (code == EXIT_OK) {
            dqg_status status = compare_inputs_give(cli, comparison, pair.runs[i], first, count);
            code = status < 0 ? cli_library_error(cli, status, "give the networks their inputs") : EXIT_OK;
        }
    }
    if (code == EXIT_OK) {
        dqg_status status = step_pair(cli, comparison, &pair);
        code = status < 0 ? cli_library_error(cli, status, "compare the runs") : EXIT_OK;
    }
    for (int i = 0; i < 2; i++) {
        dqg_run_destroy(pair.runs[i]);
        free(pair.values[i]);
    }
    return code;
}

int compare_steps(struct cli *cli, struct comparison *comparison) {
    comparison->steps = comparison->sampling.steps;
    size_t steps = (size_t)comparison->steps;
    comparison->samples = comparison->seeds < COMPARE_SAMPLES ? (int32_t)comparison->seeds : COMPARE_SAMPLES;
    comparison->step_sigma = calloc(steps, sizeof(double));
    comparison->step_errors = calloc(steps, sizeof(*comparison->step_errors));
    comparison->psnr = calloc((size_t)comparison->seeds, sizeof(double));
    comparison->noise = calloc((size_t)comparison->samples * comparison->latent_size, sizeof(float));
    comparison->finished = calloc((size_t)comparison->samples * comparison->latent_size, sizeof(float));
    if (comparison->step_sigma == NULL || comparison->step_errors == NULL || comparison->psnr == NULL ||
        comparison->noise == NULL || comparison->finished == NULL) {
        return cli_error(cli, EXIT_FAILED, "out of memory");
    }
    int code = EXIT_OK;
    progress_begin(&cli->progress, "comparing runs");
    for (int64_t first = 0; code == EXIT_OK && first < comparison->seeds; first += SAMPLING_BATCH) {
        int64_t rest = comparison->seeds - first;
        code = compare_batch(cli, comparison, first, rest < SAMPLING_BATCH ? (int32_t)rest : SAMPLING_BATCH);
    }
    progress_end(&cli->progress);
    return code;
}
