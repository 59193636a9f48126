/* SPDX-License-Identifier: MIT */
/*
 * dqgen generate: pictures from a model, as a PNG (a contact sheet when there are several) or as float arrays. Large
 * counts are split into runs of at most SAMPLING_BATCH pictures, so that memory does not grow with the count.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct generate {
    const char *output; /* -o */
    const char *raw;    /* --raw */
    int64_t count;      /* of each class */
    int64_t scale;
    struct sampling sampling;
    struct adapters adapters;

    dqg_model *model;
    int64_t total; /* pictures of all classes */
    int32_t width, height;
    struct sheet sheet;
    struct npy npy;
    float *latent; /* one batch, for --raw */
};

static const char notes[] =
    "One PNG is written. With several pictures it is a contact sheet: a row for each class when there are several\n"
    "classes, and picture i always comes from seed + i, whatever the count. Classes are listed by 'dqgen info MODEL'.\n"
    "When a class is given and --guidance is not, guidance is 3.\n\n"
    "examples:\n"
    "  dqgen generate sprites.dqg -o dragon.png --class dragon --seed 7 --scale 8\n"
    "  dqgen generate sprites.dqg -o sheet.png --class potion,wall,weapon --count 8 --scheduler flow-heun --steps 15";

/* Columns of the sheet: the pictures of a class side by side, or something near a square. */
static size_t sheet_columns(const struct generate *job) {
    if (job->sampling.class_count > 1 && job->count > 1) {
        return (size_t)job->count;
    }
    size_t columns = 1;
    while ((int64_t)(columns * columns) < job->total) {
        columns++;
    }
    return columns;
}

/* Everything that can be refused is refused before the first step. */
static int open_outputs(struct cli *cli, struct generate *job, dqg_run *run) {
    const dqg_model_info *info = &job->sampling.info;
    if (job->output != NULL) {
        if (info->channels < 1 || info->channels > 4) {
            return cli_error(cli, EXIT_FAILED,
                             "the latent of this model is not a picture; write it with --raw FILE.npy");
        }
        if (!sheet_create(&job->sheet, (size_t)job->total, sheet_columns(job), (size_t)job->width, (size_t)job->height,
                          (size_t)info->channels)) {
            return cli_error(cli, EXIT_FAILED, "a sheet of %lld pictures is too large; ask for fewer",
                             (long long)job->total);
        }
        dqg_image_view tile = sheet_tile(&job->sheet, 0);
        dqg_status status = dqg_run_read_image(run, 0, DQG_SOURCE_LATENT, &tile);
        if (status < 0) {
            return cli_library_error(cli, status, "make a picture (--raw FILE.npy writes the numbers)");
        }
    }
    if (job->raw != NULL) {
        const int64_t shape[4] = {job->total, info->channels, job->height, job->width};
        size_t one = (size_t)info->channels * (size_t)job->height * (size_t)job->width;
        job->latent = malloc(one * SAMPLING_BATCH * sizeof(float));
        if (job->latent == NULL || !npy_open(&job->npy, job->raw, shape, 4)) {
            return cli_error(cli, EXIT_FAILED, "cannot write '%s'", job->raw);
        }
    }
    return EXIT_OK;
}

static int collect(struct cli *cli, struct generate *job, dqg_run *run, int64_t first, int32_t count) {
    dqg_status status = DQG_OK;
    for (int32_t i = 0; job->output != NULL && i < count && status >= 0; i++) {
        dqg_image_view tile = sheet_tile(&job->sheet, (size_t)(first + i));
        status = dqg_run_read_image(run, i, DQG_SOURCE_LATENT, &tile);
    }
    if (job->raw != NULL && status >= 0) {
        dqg_tensor_view view;
        DQG_INIT(&view);
        view.data = job->latent;
        view.dtype = DQG_DTYPE_F32;
        view.rank = 4;
        view.shape[0] = count;
        view.shape[1] = job->sampling.info.channels;
        view.shape[2] = job->height;
        view.shape[3] = job->width;
        status = dqg_run_read(run, DQG_SOURCE_LATENT, &view);
        size_t values = (size_t)(view.shape[0] * view.shape[1] * view.shape[2] * view.shape[3]);
        if (status >= 0 && !npy_append(&job->npy, job->latent, values)) {
            return cli_error(cli, EXIT_FAILED, "cannot write '%s': the disk may be full", job->raw);
        }
    }
    return status < 0 ? cli_library_error(cli, status, "read the pictures") : EXIT_OK;
}

static int run_batch(struct cli *cli, struct generate *job, int64_t first, int32_t count) {
    int code;
    dqg_run *run = sampling_run(cli, &job->sampling, job->model, first, count, job->count, &code);
    if (run == NULL) {
        return code;
    }
    if (first == 0) {
        code = open_outputs(cli, job, run);
    }
    progress_share(&cli->progress, (double)first / (double)job->total, (double)count / (double)job->total);
    dqg_status status = DQG_OK;
    while (code == EXIT_OK && status == DQG_OK) {
        status = dqg_run_step(run);
    }
    if (code == EXIT_OK) {
        code = status < 0 ? cli_library_error(cli, status, "generate") : collect(cli, job, run, first, count);
    }
    dqg_run_destroy(run);
    return code;
}

static int write_picture(struct cli *cli, struct generate *job) {
    char message[128];
    const char *error = png_write(job->output, &job->sheet.picture, (size_t)job->scale, message);
    if (error != NULL) {
        return cli_error(cli, EXIT_FAILED, "cannot write '%s': %s", job->output, error);
    }
    return EXIT_OK;
}

static int generate_all(struct cli *cli, struct generate *job) {
    int code = EXIT_OK;
    double start = now_s();
    progress_begin(&cli->progress, "generating");
    for (int64_t first = 0; code == EXIT_OK && first < job->total; first += SAMPLING_BATCH) {
        int64_t rest = job->total - first;
        code = run_batch(cli, job, first, rest < SAMPLING_BATCH ? (int32_t)rest : SAMPLING_BATCH);
    }
    progress_end(&cli->progress);
    if (code == EXIT_OK && job->output != NULL) {
        code = write_picture(cli, job);
    }
    if (job->npy.file != NULL && !npy_close(&job->npy, code == EXIT_OK) && code == EXIT_OK) {
        code = cli_error(cli, EXIT_FAILED, "cannot write '%s': the disk may be full", job->raw);
    }
    if (code == EXIT_OK && !cli->quiet) {
        double seconds = now_s() - start;
        printf("%s%s%s: %lld picture%s of %dx%d, %d steps, guidance %g, %.2f s\n",
               job->output != NULL ? job->output : "", job->output != NULL && job->raw != NULL ? " and " : "",
               job->raw != NULL ? job->raw : "", (long long)job->total, job->total == 1 ? "" : "s", (int)job->width,
               (int)job->height, (int)job->sampling.steps, job->sampling.guidance, seconds);
    }
    return code;
}

static int check(struct cli *cli, const struct generate *job) {
    if (job->output == NULL && job->raw == NULL) {
        return cli_error(cli, EXIT_USAGE, "where should the picture go? Give '-o FILE.png' (or '--raw FILE.npy').");
    }
    if (job->sampling.seeds_text != NULL && job->count > 0) {
        return cli_error(cli, EXIT_USAGE, "--seeds says how many pictures there are; leave --count out");
    }
    int code = job->output != NULL ? cli_check_output(cli, job->output) : EXIT_OK;
    return code == EXIT_OK && job->raw != NULL ? cli_check_output(cli, job->raw) : code;
}

int generate_main(struct cli *cli, int argc, char **argv) {
    struct generate job = {.scale = 1};
    const struct arg_row rows[] = {
        {"output", 'o', ARG_TEXT, "FILE.png", "where the picture goes", 0, 0, &job.output},
        {"raw", 0, ARG_TEXT, "FILE.npy", "also, or only, write float32 numbers (pictures, channels, rows, columns)", 0,
         0, &job.raw},
        {"count", 'n', ARG_INT, "N", "pictures of each class (default 1)", 1, 65535, &job.count},
        {"scale", 0, ARG_INT, "N", "enlarge each pixel to N x N (default 1)", 1, 64, &job.scale},
        {"seeds", 0, ARG_TEXT, "LIST",
         "a seed for each picture of a class, commas between; replaces --seed and --count", 0, 0,
         &job.sampling.seeds_text},
        ADAPTER_ROWS(&job.adapters),
        SAMPLING_ROWS(&job.sampling),
    };
    struct args args = {.cli = cli,
                        .command = "generate",
                        .operands = "MODEL -o FILE.png",
                        .summary = "Makes pictures with a .dqg model or a float .safetensors checkpoint.",
                        .notes = notes,
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .min_operands = 1,
                        .max_operands = 1};
    int code = sampling_init(cli, &job.sampling, &args);
    if (code == EXIT_OK && args_parse(&args, argc, argv, &code)) {
        code = check(cli, &job);
        if (code == EXIT_OK && (job.model = cli_load(cli, args.operand[0], &code)) != NULL) {
            code = adapters_apply(cli, &job.adapters, &job.model);
        }
        if (code == EXIT_OK) {
            code = sampling_resolve(cli, &job.sampling, &args, job.model);
        }
        if (code == EXIT_OK) {
            sampling_size(&job.sampling, &job.height, &job.width);
            job.count = job.sampling.seeds != NULL ? job.sampling.seed_count : job.count > 0 ? job.count : 1;
            job.total = job.count * job.sampling.class_count;
            code = generate_all(cli, &job);
        }
    }
    free(job.latent);
    picture_free(&job.sheet.picture);
    dqg_model_release(job.model);
    adapters_free(&job.adapters);
    sampling_free(&job.sampling);
    return code;
}
