/* SPDX-License-Identifier: MIT */
/* dqgen encode and decode: a picture to a latent in a .npy file, and back, with an autoencoder. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct conversion {
    struct cli *cli;
    const char *model_path, *input, *output;
    const char *scale, *shift;
    int64_t tile, overlap, seed;
    bool sample;
    dqg_model *model;
    dqg_model_info info;
    dqg_picture_spec spec;
};

static bool read_number(const char *text, double *number) {
    char *end = NULL;
    if (text == NULL) {
        return true;
    }
    *number = strtod(text, &end);
    return end != text && *end == '\0';
}

static dqg_tensor_view view_of(float *data, int64_t channels, int64_t height, int64_t width) {
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = data;
    view.dtype = DQG_DTYPE_F32;
    view.rank = 4;
    view.shape[0] = 1;
    view.shape[1] = channels;
    view.shape[2] = height;
    view.shape[3] = width;
    return view;
}

static int decode_latent(struct conversion *job, float *latent, const int64_t shape[4]) {
    int64_t height = shape[2] * job->info.reduction, width = shape[3] * job->info.reduction;
    size_t pixels = (size_t)(height * width);
    struct picture picture = {0};
    char message[128];
    float *planes = malloc(3 * pixels * sizeof(*planes));
    if (planes == NULL || !picture_create(&picture, (size_t)width, (size_t)height, 3)) {
        free(planes);
        return cli_error(job->cli, EXIT_FAILED, "a picture of this size cannot be made");
    }
    dqg_tensor_view from = view_of(latent, shape[1], shape[2], shape[3]), to = view_of(planes, 3, height, width);
    progress_begin(&job->cli->progress, "decoding");
    dqg_status status = dqg_model_decode(job->cli->context, job->model, &from, &job->spec, &to, NULL);
    progress_end(&job->cli->progress);
    for (size_t i = 0; i < 3 * pixels && status >= 0; i++) {
        picture.pixels[i] = (uint8_t)(planes[i % 3 * pixels + i / 3] * 255.0f + 0.5f);
    }
    int code = status < 0 ? cli_library_error(job->cli, status, "decode '%s'", job->input) : EXIT_OK;
    const char *error = status < 0 ? NULL : png_write(job->output, &picture, 1, message);
    if (error != NULL) {
        code = cli_error(job->cli, EXIT_FAILED, "cannot write '%s': %s", job->output, error);
    }
    picture_free(&picture);
    free(planes);
    return code;
}

static int decode(struct conversion *job) {
    int64_t shape[4];
    float *latent = npy_read(job->input, shape);
    if (latent == NULL || shape[0] != 1) {
        free(latent);
        return cli_error(job->cli, EXIT_FAILED, "'%s' is not a float32 .npy file of shape (1, channels, height, width)",
                         job->input);
    }
    int code = decode_latent(job, latent, shape);
    free(latent);
    return code;
}

static int write_latent(struct conversion *job, const float *latent, int64_t height, int64_t width) {
    const int64_t shape[4] = {1, job->info.channels, height, width};
    struct npy npy;
    bool good = npy_open(&npy, job->output, shape, 4);
    if (good) {
        bool written = npy_append(&npy, latent, (size_t)(shape[1] * height * width));
        good = npy_close(&npy, written) && written;
    }
    return good ? EXIT_OK : cli_error(job->cli, EXIT_FAILED, "cannot write '%s'", job->output);
}

static int encode(struct conversion *job) {
    struct picture picture;
    char message[128];
    const char *error = png_read(job->input, &picture, message);
    if (error != NULL) {
        return cli_error(job->cli, EXIT_FAILED, "cannot read '%s': %s", job->input, error);
    }
    size_t pixels = picture.width * picture.height;
    int64_t height = (int64_t)picture.height / job->info.reduction,
            width = (int64_t)picture.width / job->info.reduction;
    float *planes = malloc(3 * pixels * sizeof(*planes));
    float *latent = malloc((size_t)(job->info.channels * (height * width + 1)) * sizeof(*latent));
    int code = EXIT_FAILED;
    if (planes == NULL || latent == NULL) {
        cli_error(job->cli, code, "there is not enough memory");
    } else {
        for (size_t i = 0; i < 3 * pixels; i++) {
            planes[i % 3 * pixels + i / 3] = (float)picture.pixels[i] / 255.0f;
        }
        dqg_tensor_view from = view_of(planes, 3, (int64_t)picture.height, (int64_t)picture.width);
        dqg_tensor_view to = view_of(latent, job->info.channels, height, width);
        progress_begin(&job->cli->progress, "encoding");
        dqg_status status = dqg_model_encode(job->cli->context, job->model, &from, &job->spec, &to, NULL);
        progress_end(&job->cli->progress);
        code = status < 0 ? cli_library_error(job->cli, status, "encode '%s'", job->input)
                          : write_latent(job, latent, height, width);
    }
    free(latent);
    free(planes);
    picture_free(&picture);
    return code;
}

static int prepare(struct conversion *job, bool decoding) {
    DQG_INIT(&job->spec);
    DQG_INIT(&job->info);
    if (!read_number(job->scale, &job->spec.scale) || !read_number(job->shift, &job->spec.shift)) {
        return cli_error(job->cli, EXIT_USAGE, "--scale and --shift take a number");
    }
    if (job->output == NULL) {
        return cli_error(job->cli, EXIT_USAGE, "where should it go? Give '-o FILE.%s'.", decoding ? "png" : "npy");
    }
    job->spec.flags = job->sample ? DQG_PICTURE_SAMPLE : 0;
    job->spec.seed = job->seed;
    job->spec.tile = (int32_t)job->tile;
    job->spec.overlap = (int32_t)job->overlap;
    int code = cli_check_output(job->cli, job->output);
    if (code != EXIT_OK || (job->model = cli_load(job->cli, job->model_path, &code)) == NULL) {
        return code;
    }
    dqg_model_get_info(job->model, &job->info);
    return job->info.reduction > 0 ? EXIT_OK
                                   : cli_error(job->cli, EXIT_FAILED, "'%s' holds no autoencoder", job->model_path);
}

static int convert(struct cli *cli, int argc, char **argv, bool decoding) {
    struct conversion job = {.cli = cli};
    const struct arg_row rows[] = {
        {"output", 'o', ARG_TEXT, decoding ? "FILE.png" : "FILE.npy", "where the result goes", 0, 0, &job.output},
        {"scale", 0, ARG_TEXT, "X", "of the diffusion model's latents; without it the file's, or Stable Diffusion's", 0,
         0, &job.scale},
        {"shift", 0, ARG_TEXT, "X", "of the diffusion model's latents; used with --scale", 0, 0, &job.shift},
        {"tile", 0, ARG_INT, "N", "side of a tile in latent pixels; 0: one piece", 0, 8192, &job.tile},
        {"overlap", 0, ARG_INT, "N", "latent pixels that a tile sees beyond its own; 0: 8", 0, 64, &job.overlap},
        {"seed", 0, ARG_INT, "N", "of --sample", 0, 9e15, &job.seed},
        {"sample", 0, ARG_FLAG, NULL, "draw from the encoder's distribution", 0, 0, &job.sample},
    };
    struct args args = {.cli = cli,
                        .command = decoding ? "decode" : "encode",
                        .operands = decoding ? "MODEL LATENT.npy" : "MODEL PICTURE.png",
                        .summary = decoding ? "Makes a picture of a latent with an autoencoder."
                                            : "Makes a latent of a picture with an autoencoder.",
                        .rows = rows,
                        .row_count = COUNT_OF(rows) - (decoding ? 2 : 0),
                        .min_operands = 2,
                        .max_operands = 2};
    int code;
    if (!args_parse(&args, argc, argv, &code)) {
        return code;
    }
    job.model_path = args.operand[0];
    job.input = args.operand[1];
    code = prepare(&job, decoding);
    if (code == EXIT_OK) {
        code = decoding ? decode(&job) : encode(&job);
    }
    dqg_model_release(job.model);
    return code;
}

int encode_main(struct cli *cli, int argc, char **argv) {
    return convert(cli, argc, argv, false);
}

int decode_main(struct cli *cli, int argc, char **argv) {
    return convert(cli, argc, argv, true);
}
