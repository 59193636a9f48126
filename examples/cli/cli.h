/* SPDX-License-Identifier: MIT */
/*
 * What the commands of dqgen share: context, progress and interruption; the sampling settings that generate, compare
 * and bench have in common; pictures, .npy files and JSON. Every command is one function,
 * int <name>_main(struct cli *, int argc, char **argv), listed in main.c, that returns the exit code.
 */
#ifndef DQGEN_CLI_H
#define DQGEN_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "libdqgen.h"

#include "args.h"

/* Exit codes; documented in docs/cli.md and in the help. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- progress.c ---- */

/* A bar on standard error; draws only on a terminal. A long job is made of several calls into the library: each one
 * covers the share [base, base + span] of the whole. */
struct progress {
    bool visible;
    bool drawn;
    const char *label;
    double base, span;
    double start_s, drawn_s;
};

double now_s(void); /* monotonic clock in seconds */
void progress_begin(struct progress *progress, const char *label);
void progress_share(struct progress *progress, double base, double span);
void progress_draw(struct progress *progress, double fraction, const char *name); /* fraction of the current share */
void progress_end(struct progress *progress);                                     /* wipes the bar */

/* ---- formats.c ---- */

/* How weights are stored. */
struct storage_format {
    const char *name;
    int32_t dtype;
    bool grouped; /* has scales for groups of inputs */
};
enum { STORAGE_FORMATS = 24 };
extern const struct storage_format storage_formats[STORAGE_FORMATS];
const char *storage_name(int32_t dtype);                     /* "other" where it is not among them */
const struct storage_format *storage_find(const char *name); /* NULL: unknown */

/* ---- main.c ---- */

struct cli {
    dqg_context *context;
    struct progress progress;
    const char *backend; /* --backend, or NULL */
    const char *components; /* how networks of a file are loaded, or NULL */
    const char *variant; /* --variant, or NULL */
    int64_t threads;     /* --threads */
    bool quiet;
    bool verbose;
    bool help;
};

bool cli_interrupted(void); /* Ctrl-C was pressed */

/* "dqgen: <text>" on standard error, after the bar is wiped; returns code. */
int cli_error(struct cli *cli, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "dqgen: cannot <what>: <the library's words>"; returns the exit code that fits the status. Settings that the library
 * refuses are wrong usage. */
int cli_library_error(struct cli *cli, dqg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Load with a bar; NULL after an error message, *exit_code set. */
dqg_model *cli_load(struct cli *cli, const char *path, int *exit_code);

/* ---- adapters.c ---- */

/* Files that change a model, as typed: --lora FILE or FILE:SCALE, --embedding FILE. */
struct adapters {
    struct text_list loras, embeddings;
};

/* The rows of a command's table that fill a struct adapters. */
#define ADAPTER_ROWS(a)                                                                                                \
    {"lora", 0, ARG_LIST, "FILE[:SCALE]", "change the weights by a LoRA; may be repeated", 0, 0, &(a)->loras},         \
    {                                                                                                                  \
        "embedding", 0, ARG_LIST, "FILE", "new words for prompts: a textual inversion; may be repeated", 0, 0,         \
            &(a)->embeddings                                                                                           \
    }

/* The model with them, in the place of *model, which is given up. EXIT_OK, or a code after a message. */
int adapters_apply(struct cli *cli, const struct adapters *adapters, dqg_model **model);
void adapters_free(struct adapters *adapters);

/* Can a file be made there? Says why not, before minutes of work are spent; returns EXIT_OK or a code. */
int cli_check_output(struct cli *cli, const char *path);

/* Size of a file in bytes, or 0. */
uint64_t file_bytes(const char *path);

/* "12.3 MB" into a buffer of 32. */
const char *bytes_text(char *buffer, uint64_t bytes);

int generate_main(struct cli *cli, int argc, char **argv);
int quantize_main(struct cli *cli, int argc, char **argv);
int encode_main(struct cli *cli, int argc, char **argv);
int decode_main(struct cli *cli, int argc, char **argv);
int schedulers_main(struct cli *cli, int argc, char **argv);
int info_main(struct cli *cli, int argc, char **argv);
int verify_main(struct cli *cli, int argc, char **argv);
int compare_main(struct cli *cli, int argc, char **argv);
int bench_main(struct cli *cli, int argc, char **argv);

/* ---- scheduler.c ---- */

/* A way of sampling by the names that people know; each may be NULL. */
struct scheduler_names {
    const char *scheduler, *schedule; /* --scheduler, --schedule */
};

/* The rows of a command's table that fill a struct scheduler_names. --schedule replaces that of the library. */
#define SCHEDULER_ROWS(names)                                                                                          \
    {"scheduler", 0, ARG_TEXT,           "NAME", "solver, a spacing behind it if need be: heun, dpm++-2m-karras",      \
     0,           0, &(names)->scheduler},                                                                             \
    {                                                                                                                  \
        "schedule", 0, ARG_TEXT, "NAME", "noise schedule, or a spacing: linear, karras; see 'dqgen schedulers'", 0, 0, \
            &(names)->schedule                                                                                         \
    }

/* Set what the names say, but for options given by themselves. EXIT_OK, or a code after a message. */
int scheduler_apply(struct cli *cli, const struct args *args, const struct scheduler_names *names,
                    dqg_options *options);

/* The piece that an option chooses whose name is like this word; NULL: none is. */
const char *scheduler_nearest(int32_t key, const char *word);

/* ---- sampling.c ---- */

/* What to sample and how, as the command line gives it and as it is resolved for a model. */
struct sampling {
    struct text_list class_texts; /* as typed: names or indices, "none" for no class */
    struct scheduler_names names;
    const char *seeds_text;       /* a list of seeds, or NULL */
    int32_t spread;               /* so many classes from all over the model when none is given; 0: no class then */
    dqg_options *run_options;
    dqg_options *scheduler_options;

    dqg_model_info info;
    int32_t *classes; /* at least one; -1 is no class */
    int32_t class_count;
    int32_t condition_count; /* with --conditions: how many of classes every picture has at once; else 0 */
    int64_t *seeds; /* from seeds_text, or NULL */
    int32_t seed_count;
    int64_t seed; /* of image 0 without a list */
    double guidance;
    dqg_scheduler *scheduler; /* NULL: the model's own */
    int32_t steps;
};

/* The rows of a command's table that fill a struct sampling. */
#define SAMPLING_ROWS(s)                                                                                               \
    {"class", 0, ARG_LIST,         "NAME", "what to draw: names or numbers, commas between; all; none",                \
     0,       0, &(s)->class_texts},                                                                                   \
        {"classes", 0, ARG_LIST, NULL, NULL, 0, 0, &(s)->class_texts}, SCHEDULER_ROWS(&(s)->names)

/* Make the option objects and hand them to the parser. */
int sampling_init(struct cli *cli, struct sampling *sampling, struct args *args);

/* Turn what was typed into classes, seeds and a scheduler for this model. EXIT_OK, or a code after a message. */
int sampling_resolve(struct cli *cli, struct sampling *sampling, const struct args *args, const dqg_model *model);

/* The classes part of it (classes.c): fills classes and class_count from class_texts. */
int sampling_classes(struct cli *cli, struct sampling *sampling, const dqg_model *model);

/* Is something to be drawn from a prompt, or away from one? */
bool sampling_has_prompt(const struct sampling *sampling);

/* Rows and columns of a latent: what was asked for, or the model's own. */
void sampling_size(const struct sampling *sampling, int32_t *height, int32_t *width);

/* Once sizes are known: a schedule that depends on them, where nobody has said of how many tokens. */
int sampling_follow_size(struct cli *cli, struct sampling *sampling, const struct args *args);

/* Class of picture index: per_class of the first class, then of the next, and round again. */
int32_t sampling_class(const struct sampling *sampling, int64_t index, int64_t per_class);

/* Start a run for pictures first .. first + count - 1; NULL after a message, *exit_code set. At most SAMPLING_BATCH. */
enum { SAMPLING_BATCH = 16 };
dqg_run *sampling_run(struct cli *cli, struct sampling *sampling, dqg_model *model, int64_t first, int32_t count,
                      int64_t per_class, int *exit_code);

void sampling_free(struct sampling *sampling);

/* ---- control.c ---- */

/* A picture to follow, as typed, and what was read of it. */
struct control {
    const char *network;    /* --controlnet, or NULL */
    const char *path;       /* --control, or NULL */
    const char *scale_text; /* --control-scale, or NULL */
    double scale;
    float *planes; /* (3, height, width) */
    int64_t width, height;
};

/* The rows of a command's table that fill a struct control. */
#define CONTROL_ROWS(c)                                                                                                \
    {"control", 0, ARG_TEXT, "PICTURE.png", "a picture to follow: edges, a pose, depth", 0, 0, &(c)->path},            \
        {"controlnet", 0, ARG_TEXT, "FILE", "the network that follows it; without it the model's own", 0, 0,           \
         &(c)->network},                                                                                               \
    {                                                                                                                  \
        "control-scale", 0, ARG_TEXT, "X", "how strongly (default 1)", 0, 0, &(c)->scale_text                          \
    }

/* All of these give EXIT_OK, or a code after a message. Read the picture. */
int control_open(struct cli *cli, struct control *control);

/* The model with its control network, in the place of *model, which is given up. */
int control_attach(struct cli *cli, const struct control *control, dqg_model **model);

/* The size of what is drawn is the picture's: made so where none is given, else checked. */
int control_resolve_size(struct cli *cli, const struct control *control, const struct args *args,
                         const struct sampling *sampling, bool size_given);

/* Sides of a picture to those of the latent. */
int64_t control_times(const struct sampling *sampling);

/* Give it to all conditions of a run, and to the unconditional. */
int control_give(struct cli *cli, const struct control *control, const struct sampling *sampling, dqg_run *run);
void control_free(struct control *control);

/* ---- sheet.c, png.c, npy.c ---- */

/* Pixels of 8 bits, rows without gaps, straight alpha. */
struct picture {
    uint8_t *pixels;
    size_t width, height, channels;
};

bool picture_create(struct picture *picture, size_t width, size_t height, size_t channels); /* zeroed: transparent */
void picture_free(struct picture *picture);

/* Where a picture of a contact sheet goes: columns, rows, and one pixel between neighbours. */
struct sheet {
    struct picture picture;
    size_t columns, tile_width, tile_height;
};

bool sheet_create(struct sheet *sheet, size_t count, size_t columns, size_t tile_width, size_t tile_height,
                  size_t channels);

/* A view of tile index for dqg_run_read_image(). */
dqg_image_view sheet_tile(struct sheet *sheet, size_t index);

/* scale enlarges every pixel to a square. Returns NULL, or what went wrong. */
const char *png_write(const char *path, const struct picture *picture, size_t scale, char message[128]);

/* A PNG as red, green, blue, transparency on black. Returns NULL, or what went wrong. */
const char *png_read(const char *path, struct picture *picture, char message[128]);

/* A float32 array of four dimensions in C order, to be freed; NULL where the file is none. */
float *npy_read(const char *path, int64_t shape[4]);

/* A float32 array written piece by piece. On failure the file is removed. */
struct npy {
    FILE *file;
    const char *path;
};

bool npy_open(struct npy *npy, const char *path, const int64_t *shape, int rank);
bool npy_append(struct npy *npy, const float *values, size_t count);
bool npy_close(struct npy *npy, bool keep);

/* ---- decode_picture.c ---- */

/* One latent to three channels of 8 bits, with the autoencoder of the model's file. tile: as in dqg_picture_spec; below
 * 0: in tiles where it would take much memory. EXIT_OK, or a code after a message. */
int picture_decode(struct cli *cli, dqg_model *model, const dqg_tensor_view *latent, int64_t tile,
                   const dqg_image_view *image);

/* The estimate of a run's first picture, written to path. */
int picture_preview(struct cli *cli, dqg_run *run, const char *path, int32_t width, int32_t height, size_t channels);

/* ---- json.c ---- */

/* Writes indented JSON; commas and depth are looked after. key is NULL inside arrays and at the top. */
struct json {
    FILE *file;
    int depth;
    bool first;
};

void json_begin(struct json *json, FILE *file);
void json_open(struct json *json, const char *key, char bracket);      /* '{' or '[' */
void json_close(struct json *json, char bracket);                      /* '}' or ']' */
void json_text(struct json *json, const char *key, const char *value); /* null for NULL */
void json_int(struct json *json, const char *key, int64_t value);
void json_number(struct json *json, const char *key, double value); /* null when not finite */
void json_end(struct json *json);

#endif
