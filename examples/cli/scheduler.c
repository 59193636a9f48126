/* SPDX-License-Identifier: MIT */
/*
 * Ways of sampling by the names that people bring along. --scheduler takes a solver, with a spacing behind it if need
 * be: "dpm++-2m", "dpmpp_2m", "DPM++ 2M Karras". --schedule takes a noise schedule, or a spacing, which other programs
 * call a schedule too. Used by generate, compare, bench and schedulers.
 */
#include <ctype.h>
#include <string.h>

#include "cli.h"

enum { NAME_SIZE = 64 };

/* Other names of solvers, without separators. */
static const struct alias {
    const char *name, *solver;
} aliases[] = {
    {"eulera", "euler-ancestral"},
    {"dpm2a", "dpm2-ancestral"},
    {"dpm++2sa", "dpm++-2s-ancestral"},
    {"unipcbh2", "unipc"},
};

/* "DPM++ 2M", "dpmpp_2m" and "dpm++-2m" are one name: lower case without separators. False: it is too long. */
static bool squeeze(const char *text, char out[NAME_SIZE]) {
    size_t length = 0;
    for (; *text != '\0'; text++) {
        if (length + 1 >= NAME_SIZE) {
            return false;
        }
        if (strchr(" -_", *text) == NULL) {
            out[length++] = (char)tolower((unsigned char)*text);
        }
    }
    out[length] = '\0';
    if (strncmp(out, "dpmpp", 5) == 0) {
        out[3] = out[4] = '+';
    }
    return true;
}

static bool find_piece(int32_t key, const char *squeezed, const char **name) {
    dqg_piece_info info;
    char own[NAME_SIZE];
    DQG_INIT(&info);
    for (int32_t i = 0; dqg_scheduler_piece_at(key, i, &info) == DQG_OK; i++) {
        if (squeeze(info.name, own) && strcmp(own, squeezed) == 0) {
            *name = info.name;
            return true;
        }
    }
    return false;
}

/* Is it this solver, alone or with the name of a spacing behind it? */
static bool is_solver(const char *squeezed, const char *solver, const char **spacing) {
    size_t length = strlen(solver);
    *spacing = NULL;
    return strncmp(squeezed, solver, length) == 0 &&
           (squeezed[length] == '\0' || find_piece(DQG_SCHEDULER_SPACING, squeezed + length, spacing));
}

static bool find_solver(const char *squeezed, const char **solver, const char **spacing) {
    dqg_piece_info info;
    char own[NAME_SIZE];
    DQG_INIT(&info);
    for (int32_t i = 0; dqg_scheduler_piece_at(DQG_SCHEDULER_SOLVER, i, &info) == DQG_OK; i++) {
        if (squeeze(info.name, own) && is_solver(squeezed, own, spacing)) {
            *solver = info.name;
            return true;
        }
    }
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        if (is_solver(squeezed, aliases[i].name, spacing)) {
            *solver = aliases[i].solver;
            return true;
        }
    }
    return false;
}

const char *scheduler_nearest(int32_t key, const char *word) {
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    dqg_piece_info info;
    DQG_INIT(&info);
    for (int32_t i = 0; dqg_scheduler_piece_at(key, i, &info) == DQG_OK; i++) {
        size_t distance = edit_distance(word, info.name);
        if (looks_like(word, info.name) && distance < best_distance) {
            best = info.name;
            best_distance = distance;
        }
    }
    return best;
}

static int unknown(struct cli *cli, const char *option, const char *text, const char *nearest) {
    if (nearest != NULL) {
        return cli_error(cli, EXIT_USAGE, "there is no %s '%s'; did you mean '%s'?", option, text, nearest);
    }
    return cli_error(cli, EXIT_USAGE, "there is no %s '%s'; 'dqgen schedulers' lists what there is", option, text);
}

static void set_unless_given(const struct args *args, dqg_options *options, int32_t key, const char *value) {
    if (!args_given(args, key)) {
        dqg_options_set_text(options, key, value);
    }
}

static int apply_solver(struct cli *cli, const struct args *args, const char *text, dqg_options *options) {
    char squeezed[NAME_SIZE];
    const char *solver, *spacing;
    bool known = squeeze(text, squeezed);
    bool flow = known && strncmp(squeezed, "flow", 4) == 0;
    if (!known || !find_solver(squeezed + (flow ? 4 : 0), &solver, &spacing)) {
        return unknown(cli, "scheduler", text, scheduler_nearest(DQG_SCHEDULER_SOLVER, text));
    }
    set_unless_given(args, options, DQG_SCHEDULER_SOLVER, solver);
    if (spacing != NULL) {
        set_unless_given(args, options, DQG_SCHEDULER_SPACING, spacing);
    }
    if (flow) {
        dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, "flow");
    }
    return EXIT_OK;
}

static int apply_schedule(struct cli *cli, const struct args *args, const char *text, dqg_options *options) {
    char squeezed[NAME_SIZE];
    const char *name;
    bool known = squeeze(text, squeezed);
    if (known && find_piece(DQG_SCHEDULER_SCHEDULE, squeezed, &name)) {
        dqg_options_set_text(options, DQG_SCHEDULER_SCHEDULE, name);
        return EXIT_OK;
    }
    if (known && find_piece(DQG_SCHEDULER_SPACING, squeezed, &name)) {
        if (args_given(args, DQG_SCHEDULER_SPACING)) {
            return cli_error(cli, EXIT_USAGE, "--schedule %s names a spacing, and --spacing does too: give one", name);
        }
        dqg_options_set_text(options, DQG_SCHEDULER_SPACING, name);
        return EXIT_OK;
    }
    const char *nearest = scheduler_nearest(DQG_SCHEDULER_SCHEDULE, text);
    return unknown(cli, "schedule", text, nearest != NULL ? nearest : scheduler_nearest(DQG_SCHEDULER_SPACING, text));
}

int scheduler_apply(struct cli *cli, const struct args *args, const struct scheduler_names *names,
                    dqg_options *options) {
    int code = EXIT_OK;
    if (names->scheduler != NULL) {
        code = apply_solver(cli, args, names->scheduler, options);
    }
    if (code == EXIT_OK && names->schedule != NULL) {
        code = apply_schedule(cli, args, names->schedule, options);
    }
    return code;
}
