/* SPDX-License-Identifier: MIT */
/*
 * dqgen generate: pictures from a model, as a PNG (a contact sheet when there are several) or as float arrays. Large
 * counts are split into runs of at most SAMPLING_BATCH pictures, so that memory does not grow with the count.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct generate {
    const char *output;   /* -o */
    const char *raw;      /* --raw */
    const char *preview;  /* --preview */
    const char *size;     /* --size */
    const char *negative; /* --negative */
    int64_t count;        /* of each class */
    int64_t scale;
    int64_t tile; /* -1: where memory asks for it */
    bool resident;
    struct sampling sampling;
    struct adapters adapters;
    struct control control;

    dqg_model *model;
    int64_t total;         /* pictures of all classes */
    int32_t width, height; /* of the latent */
    int32_t reduction;     /* sides of a picture to those of the latent: 1 where it is the picture */
    int32_t batch;         /* pictures of a run */
    struct sheet sheet;
    struct npy npy;
    float *latent; /* one batch, for --raw and for decoding */
};

static const char notes[] =
    "One PNG is written. With several pictures it is a contact sheet: a row for each class when there are several\n"
    "classes, and picture i always comes from seed + i, whatever the count. Classes are listed by 'dqgen info MODEL'.\n"
    "When a class is given and --guidance is not, guidance is 3.\n\n"
    "Models of a file with text encoders, tokenizers and an autoencoder draw what --prompt says. Each network is read\n"
    "when it is needed and given up afterwards. (word:1.2) and [word] weigh words, BREAK begins a new chunk; without\n"
    "--guidance it is what the kind of model was published with. 'dqgen info MODEL' tells what a file lacks.\n\n"
    "examples:\n"
    "  dqgen generate sprites.dqg -o dragon.png --class dragon --seed 7 --scale 8\n"
    "  dqgen generate sprites.dqg -o sheet.png --class potion,wall,weapon --count 8 --scheduler flow-heun --steps 15\n"
    "  dqgen generate sd15.dqg -o boat.png --prompt 'a boat at sea, oil painting' --negative blurry --size 512x512\n"
    "  dqgen generate sd15.dqg -o boat.png --prompt 'a boat at sea' --controlnet canny.dqg --control edges.png";

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
    size_t channels = job->reduction > 1 ? 3 : (size_t)info->channels;
    if (job->output != NULL) {
        if (channels < 1 || channels > 4) {
            return cli_error(cli, EXIT_FAILED,
                             "the latent of this model is not a picture, and the file has no autoencoder to decode it; "
                             "write it with --raw FILE.npy");
        }
        if (!sheet_create(&job->sheet, (size_t)job->total, sheet_columns(job), (size_t)(job->width * job->reduction),
                          (size_t)(job->height * job->reduction), channels)) {
            return cli_error(cli, EXIT_FAILED, "a sheet of %lld pictures is too large; ask for fewer",
                             (long long)job->total);
        }
        dqg_image_view tile = sheet_tile(&job->sheet, 0);
        dqg_status status = job->reduction > 1 ? DQG_OK : dqg_run_read_image(run, 0, DQG_SOURCE_LATENT, &tile);
        if (status < 0) {
            return cli_library_error(cli, status, "make a picture (--raw FILE.npy writes the numbers)");
        }
    }
    size_t one = (size_t)info->channels * (size_t)job->height * (size_t)job->width;
    job->latent = malloc(one * (size_t)job->batch * sizeof(float));
    if (job->latent == NULL) {
        return cli_error(cli, EXIT_FAILED, "there is not enough memory");
    }
    if (job->raw != NULL) {
        const int64_t shape[4] = {job->total, info->channels, job->height, job->width};
        if (!npy_open(&job->npy, job->raw, shape, 4)) {
            return cli_error(cli, EXIT_FAILED, "cannot write '%s'", job->raw);
        }
    }
    return EXIT_OK;
}

static dqg_tensor_view latent_view(const struct generate *job, int32_t count) {
    dqg_tensor_view view;
    DQG_INIT(&view);
    view.data = job->latent;
    view.dtype = DQG_DTYPE_F32;
    view.rank = 4;
    view.shape[0] = count;
    view.shape[1] = job->sampling.info.channels;
    view.shape[2] = job->height;
    view.shape[3] = job->width;
    return view;
}

static int collect(struct cli *cli, struct generate *job, dqg_run *run, int64_t first, int32_t count) {
    dqg_status status = DQG_OK;
    for (int32_t i = 0; job->output != NULL && job->reduction == 1 && i < count && status >= 0; i++) {
        dqg_image_view tile = sheet_tile(&job->sheet, (size_t)(first + i));
        status = dqg_run_read_image(run, i, DQG_SOURCE_LATENT, &tile);
    }
    if (status >= 0) {
        dqg_tensor_view view = latent_view(job, count);
        status = dqg_run_read(run, DQG_SOURCE_LATENT, &view);
        size_t values = (size_t)(view.shape[0] * view.shape[1] * view.shape[2] * view.shape[3]);
        if (status >= 0 && job->raw != NULL && !npy_append(&job->npy, job->latent, values)) {
            return cli_error(cli, EXIT_FAILED, "cannot write '%s': the disk may be full", job->raw);
        }
    }
    return status < 0 ? cli_library_error(cli, status, "read the pictures") : EXIT_OK;
}

/* The latents of a batch, when the run and its denoiser are gone. */
static int decode_batch(struct cli *cli, struct generate *job, int64_t first, int32_t count) {
    dqg_tensor_view latents = latent_view(job, count);
    int code = EXIT_OK;
    if (job->output == NULL || job->reduction == 1) {
        return EXIT_OK;
    }
    progress_begin(&cli->progress, "decoding");
    for (int32_t i = 0; i < count && code == EXIT_OK; i++) {
        dqg_tensor_view latent = latents;
        latent.shape[0] = 1;
        latent.data = job->latent + (size_t)i * (size_t)(latent.shape[1] * latent.shape[2] * latent.shape[3]);
        dqg_image_view tile = sheet_tile(&job->sheet, (size_t)(first + i));
        code = picture_decode(cli, job->model, &latent, job->tile, &tile);
    }
    return code;
}

static int run_steps(struct cli *cli, struct generate *job, dqg_run *run) {
    int code = EXIT_OK;
    dqg_status status = DQG_OK;
    while (status == DQG_OK && code == EXIT_OK) {
        status = dqg_run_step(run);
        if (job->preview != NULL && status >= 0) {
            code = picture_preview(cli, run, job->preview, job->width * job->reduction, job->height * job->reduction,
                                   job->sheet.picture.channels);
        }
    }
    return status < 0 ? cli_library_error(cli, status, "generate") : code;
}

static int run_batch(struct cli *cli, struct generate *job, int64_t first, int32_t count) {
    int code;
    progress_begin(&cli->progress, job->reduction > 1 ? "reading" : "generating");
    dqg_run *run = sampling_run(cli, &job->sampling, job->model, first, count, job->count, &code);
    if (run == NULL) {
        return code;
    }
    if (first == 0) {
        code = open_outputs(cli, job, run);
    }
    if (code == EXIT_OK) {
        code = control_give(cli, &job->control, &job->sampling, run);
    }
    progress_begin(&cli->progress, "generating");
    progress_share(&cli->progress, (double)first / (double)job->total, (double)count / (double)job->total);
    if (code == EXIT_OK) {
        code = run_steps(cli, job, run);
    }
    if (code == EXIT_OK) {
        code = collect(cli, job, run, first, count);
    }
    dqg_run_destroy(run);
    return code == EXIT_OK ? decode_batch(cli, job, first, count) : code;
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
    for (int64_t first = 0; code == EXIT_OK && first < job->total; first += job->batch) {
        int64_t rest = job->total - first;
        code = run_batch(cli, job, first, rest < job->batch ? (int32_t)rest : job->batch);
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
               job->raw != NULL ? job->raw : "", (long long)job->total, job->total == 1 ? "" : "s",
               (int)(job->width * job->reduction), (int)(job->height * job->reduction), (int)job->sampling.steps,
               job->sampling.guidance, seconds);
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
    if (job->preview != NULL && job->output == NULL) {
        return cli_error(cli, EXIT_USAGE, "--preview needs a picture to be made: give '-o FILE.png', too");
    }
    if (job->negative != NULL &&
        dqg_options_set_text(job->sampling.run_options, DQG_RUN_NEGATIVE_PROMPT, job->negative) < 0) {
        return cli_error(cli, EXIT_FAILED, "there is not enough memory");
    }
    int code = job->output != NULL ? cli_check_output(cli, job->output) : EXIT_OK;
    if (code == EXIT_OK && job->preview != NULL) {
        code = cli_check_output(cli, job->preview);
    }
    return code == EXIT_OK && job->raw != NULL ? cli_check_output(cli, job->raw) : code;
}

/* "512x768" in pixels of the picture, of a model that is known by now. */
static int resolve_size(struct cli *cli, struct generate *job) {
    const dqg_model_info *info = &job->sampling.info;
    long long width, height;
    int end = 0;
    job->reduction = info->reduction > 0 ? info->reduction : 1;
    if (job->size == NULL) {
        return EXIT_OK;
    }
    long long unit = (long long)job->reduction * (info->patch_size > 0 ? info->patch_size : 1);
    if (sscanf(job->size, "%lldx%lld%n", &width, &height, &end) != 2 || job->size[end] != '\0' || width < unit ||
        height < unit || width > 65536 || height > 65536 || width % unit != 0 || height % unit != 0) {
        return cli_error(cli, EXIT_USAGE, "--size takes WIDTHxHEIGHT in pixels, multiples of %lld, such as %lldx%lld",
                         unit, (long long)info->width * job->reduction, (long long)info->height * job->reduction);
    }
    dqg_options_set_int(job->sampling.run_options, DQG_RUN_HEIGHT, height / job->reduction);
    dqg_options_set_int(job->sampling.run_options, DQG_RUN_WIDTH, width / job->reduction);
    return EXIT_OK;
}

/* What is drawn, and how; EXIT_OK, or a code after a message. */
static int resolve(struct cli *cli, struct generate *job, const struct args *args) {
    int code = sampling_resolve(cli, &job->sampling, args, job->model);
    if (code == EXIT_OK) {
        code = resolve_size(cli, job);
    }
    if (code == EXIT_OK) {
        code = control_resolve_size(cli, &job->control, args, &job->sampling, job->size != NULL);
    }
    if (code == EXIT_OK) {
        code = sampling_follow_size(cli, &job->sampling, args);
    }
    if (code != EXIT_OK) {
        return code;
    }
    sampling_size(&job->sampling, &job->height, &job->width);
    job->count = job->sampling.seeds != NULL ? job->sampling.seed_count : job->count > 0 ? job->count : 1;
    job->total = job->count * job->sampling.class_count;
    job->batch = job->reduction > 1 ? 1 : SAMPLING_BATCH;
    return EXIT_OK;
}

static bool has_prompt(const struct args *args, const struct generate *job) {
    return args_given(args, DQG_RUN_PROMPT) || args_given(args, DQG_RUN_NEGATIVE_PROMPT) || job->negative != NULL;
}

int generate_main(struct cli *cli, int argc, char **argv) {
    struct generate job = {.scale = 1, .tile = -1};
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
        CONTROL_ROWS(&job.control),
        {"size", 0, ARG_TEXT, "WxH", "in pixels; without it the size of --control, or the model's own", 0, 0,
         &job.size},
        {"negative", 0, ARG_TEXT, "TEXT", "short for --negative-prompt", 0, 0, &job.negative},
        {"tile", 0, ARG_INT, "N", "side of the tiles to decode in, in latent pixels; 0: in one piece", 0, 8192,
         &job.tile},
        {"preview", 0, ARG_TEXT, "FILE.png", "write the estimate of the first picture there after each step", 0, 0,
         &job.preview},
        {"resident", 0, ARG_FLAG, NULL, "keep all networks of the file in memory", 0, 0, &job.resident},
        SAMPLING_ROWS(&job.sampling),
    };
    struct args args = {.cli = cli,
                        .command = "generate",
                        .operands = "MODEL -o FILE.png",
                        .summary = "Makes pictures with a .dqg model or a float checkpoint.",
                        .notes = notes,
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .min_operands = 1,
                        .max_operands = 1};
    int code = sampling_init(cli, &job.sampling, &args);
    if (code == EXIT_OK && args_parse(&args, argc, argv, &code)) {
        code = check(cli, &job);
        if (code == EXIT_OK) {
            code = control_open(cli, &job.control);
        }
        cli->components = has_prompt(&args, &job) && !job.resident ? "on-demand" : NULL;
        if (code == EXIT_OK && (job.model = cli_load(cli, args.operand[0], &code)) != NULL) {
            code = adapters_apply(cli, &job.adapters, &job.model);
        }
        if (code == EXIT_OK) {
            code = control_attach(cli, &job.control, &job.model);
        }
        if (code == EXIT_OK) {
            code = resolve(cli, &job, &args);
        }
        if (code == EXIT_OK) {
            code = generate_all(cli, &job);
        }
    }
    free(job.latent);
    picture_free(&job.sheet.picture);
    dqg_model_release(job.model);
    adapters_free(&job.adapters);
    control_free(&job.control);
    sampling_free(&job.sampling);
    return code;
}
