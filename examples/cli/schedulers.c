/* SPDX-License-Identifier: MIT */
/*
 * dqgen schedulers: the pieces that a way of sampling is put together from, one of them by name, or the points that a
 * choice of them visits. Everything comes from dqg_scheduler_piece_at() and dqg_scheduler_point().
 */
#include <string.h>

#include "cli.h"

struct schedulers {
    bool json;
    bool points;
    struct scheduler_names names;
};

static const struct table {
    int32_t key;
    const char *name; /* of the option */
    const char *title;
} tables[] = {
    {DQG_SCHEDULER_SOLVER, "solver", "how to move from point to point"},
    {DQG_SCHEDULER_SPACING, "spacing", "which points are visited"},
    {DQG_SCHEDULER_SCHEDULE, "schedule", "the noise level as a function of time"},
    {DQG_SCHEDULER_PREDICTION, "prediction", "what the network's output means"},
};

static const struct path {
    uint32_t flag;
    const char *name, *meaning;
} paths[] = {
    {DQG_PATH_FLOW, "flow", "rectified flow"},
    {DQG_PATH_VP, "vp", "variance-preserving, discrete"},
    {DQG_PATH_EDM, "edm", "variance-exploding"},
};

static const char notes[] =
    "A way of sampling is one of each. --scheduler takes a solver, with a spacing behind it if need be,\n"
    "--schedule a noise schedule or a spacing. docs/schedulers.md has formulas and advice.\n\n"
    "examples:\n"
    "  dqgen schedulers dpm++-2m\n"
    "  dqgen schedulers --points --scheduler dpm++-2m-karras --schedule scaled-linear --steps 10";

enum { WIDTH = 100 };

static bool piece_at(int32_t key, int32_t index, dqg_piece_info *piece) {
    DQG_INIT(piece);
    return dqg_scheduler_piece_at(key, index, piece) == DQG_OK;
}

/* Words of text from column on, in lines that fit; the first line has been begun. */
static void print_wrapped(const char *text, int column) {
    int used = column;
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");
        if (used > column && used + 1 + length > WIDTH) {
            printf("\n%*s", column, "");
            used = column;
        }
        used += printf("%s%.*s", used > column ? " " : "", length, text);
        text += length + strspn(text + length, " ");
    }
    printf("\n");
}

/* "flow vp" */
static const char *paths_text(char *buffer, size_t size, uint32_t flags) {
    buffer[0] = '\0';
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        if (flags & paths[i].flag) {
            size_t used = strlen(buffer);
            snprintf(buffer + used, size - used, "%s%s", used > 0 ? " " : "", paths[i].name);
        }
    }
    return buffer;
}

/* ---- lists ---- */

static void print_lists(void) {
    char text[64];
    printf("paths:");
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        printf("%s %s, %s", i > 0 ? ";" : "", paths[i].name, paths[i].meaning);
    }
    printf("\nevaluations of the network and buffers are those of a step of a solver\n");
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        bool solver = tables[t].key == DQG_SCHEDULER_SOLVER;
        printf("\n--%s: %s\n\n", tables[t].name, tables[t].title);
        printf("  %-19s %-12s%s\n", "name", "fits", solver ? "evaluations, buffers, noise on" : "");
        dqg_piece_info piece;
        for (int32_t i = 0; piece_at(tables[t].key, i, &piece); i++) {
            printf("  %-19s %-11s ", piece.name, paths_text(text, sizeof(text), piece.paths));
            if (solver) {
                printf("%d %d %-11s ", (int)piece.evaluations, (int)piece.buffers,
                       piece.noise_paths != 0 ? paths_text(text, sizeof(text), piece.noise_paths) : "-");
            }
            print_wrapped(piece.doc, solver ? 50 : 34);
        }
    }
}

static void json_paths(struct json *json, const char *key, uint32_t flags) {
    json_open(json, key, '[');
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        if (flags & paths[i].flag) {
            json_text(json, NULL, paths[i].name);
        }
    }
    json_close(json, ']');
}

static void json_piece(struct json *json, const dqg_piece_info *piece) {
    json_open(json, NULL, '{');
    json_text(json, "name", piece->name);
    json_text(json, "doc", piece->doc);
    json_paths(json, "fits", piece->paths);
    if (piece->key == DQG_SCHEDULER_SOLVER) {
        json_int(json, "evaluations", piece->evaluations);
        json_int(json, "buffers", piece->buffers);
        json_paths(json, "noise", piece->noise_paths);
    }
    json_close(json, '}');
}

/* name NULL: all. */
static void print_json(const char *name) {
    struct json json;
    json_begin(&json, stdout);
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        json_open(&json, tables[t].name, '[');
        dqg_piece_info piece;
        for (int32_t i = 0; piece_at(tables[t].key, i, &piece); i++) {
            if (name == NULL || strcmp(name, piece.name) == 0) {
                json_piece(&json, &piece);
            }
        }
        json_close(&json, ']');
    }
    json_end(&json);
}

/* ---- one piece ---- */

static void print_fitting(const char *option, int32_t key, uint32_t flags) {
    char text[1024] = "";
    dqg_piece_info piece;
    for (int32_t i = 0; piece_at(key, i, &piece); i++) {
        size_t used = strlen(text);
        if (piece.paths & flags) {
            snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? ", " : "", piece.name);
        }
    }
    printf("  %-11s ", option);
    print_wrapped(text, 14);
}

static void explain(const struct table *table, const dqg_piece_info *piece) {
    char text[64];
    printf("--%s %s\n  ", table->name, piece->name);
    print_wrapped(piece->doc, 2);
    if (piece->key == DQG_SCHEDULER_SOLVER) {
        printf("  %d evaluation%s of the network in a step at most, %d buffer%s of the latent's size;\n  ",
               (int)piece->evaluations, piece->evaluations == 1 ? "" : "s", (int)piece->buffers,
               piece->buffers == 1 ? "" : "s");
        if (piece->noise_paths != 0) {
            printf("fresh noise on %s\n", paths_text(text, sizeof(text), piece->noise_paths));
        } else {
            printf("no fresh noise: the same start gives the same end\n");
        }
    }
    printf("  on the paths %s it fits\n", paths_text(text, sizeof(text), piece->paths));
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        if (tables[t].key != piece->key) {
            print_fitting(tables[t].name, tables[t].key, piece->paths);
        }
    }
}

/* A name may be that of several pieces: flow is a schedule and a prediction. */
static int explain_name(struct cli *cli, const char *name, bool json) {
    int found = 0;
    const char *nearest = NULL;
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        dqg_piece_info piece;
        for (int32_t i = 0; piece_at(tables[t].key, i, &piece); i++) {
            if (strcmp(piece.name, name) != 0) {
                continue;
            }
            if (!json) {
                printf("%s", found > 0 ? "\n" : "");
                explain(&tables[t], &piece);
            }
            found++;
        }
        nearest = nearest != NULL ? nearest : scheduler_nearest(tables[t].key, name);
    }
    if (found > 0 && json) {
        print_json(name);
    }
    if (found == 0) {
        return cli_error(cli, EXIT_USAGE, "no piece of a scheduler is called '%s'%s%s%s", name,
                         nearest != NULL ? "; did you mean '" : "; 'dqgen schedulers' lists them",
                         nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
    }
    return EXIT_OK;
}

/* ---- points ---- */

static void json_points(const dqg_scheduler *scheduler) {
    struct json json;
    dqg_point point;
    DQG_INIT(&point);
    json_begin(&json, stdout);
    json_int(&json, "steps", dqg_scheduler_steps(scheduler));
    json_open(&json, "points", '[');
    for (int32_t i = 0; dqg_scheduler_point(scheduler, i, &point) == DQG_OK; i++) {
        json_open(&json, NULL, '{');
        json_number(&json, "alpha", point.alpha);
        json_number(&json, "sigma", point.sigma);
        json_number(&json, "timestep", point.timestep);
        json_number(&json, "input_scale", point.input_scale);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_end(&json);
}

static void print_points(const dqg_scheduler *scheduler) {
    dqg_point point;
    DQG_INIT(&point);
    printf("%6s %14s %14s %12s %12s\n", "point", "alpha", "sigma", "timestep", "input scale");
    for (int32_t i = 0; dqg_scheduler_point(scheduler, i, &point) == DQG_OK; i++) {
        printf("%6d %14.9g %14.9g %12.6f %12.7g\n", (int)i, point.alpha, point.sigma, point.timestep,
               point.input_scale);
    }
}

static int show_points(struct cli *cli, const struct args *args, const struct schedulers *job) {
    dqg_scheduler *scheduler = NULL;
    int code = scheduler_apply(cli, args, &job->names, args->sets[0]);
    if (code != EXIT_OK) {
        return code;
    }
    dqg_status status = dqg_scheduler_create(cli->context, args->sets[0], &scheduler);
    if (status < 0) {
        cli_library_error(cli, status, "set up this way of sampling");
        return EXIT_USAGE;
    }
    if (job->json) {
        json_points(scheduler);
    } else {
        print_points(scheduler);
    }
    dqg_scheduler_release(scheduler);
    return EXIT_OK;
}

int schedulers_main(struct cli *cli, int argc, char **argv) {
    struct schedulers job = {0};
    const struct arg_row rows[] = {
        {"points", 0, ARG_FLAG, NULL, "list the points that the options below choose", 0, 0, &job.points},
        {"json", 0, ARG_FLAG, NULL, "write JSON", 0, 0, &job.json},
        SCHEDULER_ROWS(&job.names),
    };
    struct args args = {.cli = cli,
                        .command = "schedulers",
                        .operands = "[NAME]",
                        .summary = "Lists what ways of sampling are put together from, or explains one piece.",
                        .notes = notes,
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .set_kinds = {DQG_OPTIONS_SCHEDULER},
                        .max_operands = 1};
    int code = EXIT_OK;
    dqg_status status = dqg_options_create(cli->context, DQG_OPTIONS_SCHEDULER, &args.sets[0]);
    if (status < 0) {
        return cli_library_error(cli, status, "make options");
    }
    if (args_parse(&args, argc, argv, &code)) {
        bool chosen = args.given_count > 0 || job.names.scheduler != NULL || job.names.schedule != NULL;
        if (job.points) {
            const char *name = args.operand[0];
            code = name != NULL ? cli_error(cli, EXIT_USAGE, "--points takes options, not a name: --solver %s", name)
                                : show_points(cli, &args, &job);
        } else if (chosen) {
            code = cli_error(cli, EXIT_USAGE, "these options choose points: give --points too");
        } else if (args.operand_count > 0) {
            code = explain_name(cli, args.operand[0], job.json);
        } else if (job.json) {
            print_json(NULL);
        } else {
            print_lists();
        }
    }
    dqg_options_destroy(args.sets[0]);
    return code;
}
