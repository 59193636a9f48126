/* SPDX-License-Identifier: MIT */
/*
 * Help text, printed from the same tables that the parser reads: the command's rows, the option tables of the library,
 * and the rows that all commands share.
 */
#include "help.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

/* Does the command have a row of its own for this name? */
static bool replaced(const struct args *args, const char *name) {
    for (size_t i = 0; i < args->row_count; i++) {
        if (strcmp(args->rows[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Rows that every command has; their targets lie in struct cli. */
enum { COMMON_ROWS = 6 };

static bool common_row(const struct args *args, size_t index, struct arg_row *row) {
    struct cli *cli = args->cli;
    const struct arg_row rows[COMMON_ROWS] = {
        {"threads", 0, ARG_INT, "N", "threads to work with; 0: one for each CPU (default 0)", 0, 256, &cli->threads},
        {"backend", 0, ARG_TEXT, "NAME", "kernels: auto, scalar, avx2, avx512, neon (default auto)", 0, 0,
         &cli->backend},
        {"variant", 0, ARG_TEXT, "NAME", "which PixArt a file holds that does not tell: sigma-1024 ...", 0, 0,
         &cli->variant},
        {"quiet", 'q', ARG_FLAG, NULL, "no progress bar and no summary", 0, 0, &cli->quiet},
        {"verbose", 'v', ARG_FLAG, NULL, "tell what is going on", 0, 0, &cli->verbose},
        {"help", 'h', ARG_FLAG, NULL, "show this text", 0, 0, &cli->help},
    };
    for (size_t i = 0; i < COMMON_ROWS; i++) {
        if (!replaced(args, rows[i].name) && index-- == 0) {
            *row = rows[i];
            return true;
        }
    }
    return false;
}

/* The index-th library option; when there are fewer, index is lessened by their number. */
static bool library_row(const struct args *args, size_t *index, struct help_row *row) {
    for (size_t set = 0; set < ARGS_SETS && args->sets[set] != NULL; set++) {
        DQG_INIT(&row->option);
        for (int32_t i = 0; dqg_option_at(args->set_kinds[set], i, &row->option) == DQG_OK; i++) {
            if (!replaced(args, row->option.name) && (*index)-- == 0) {
                row->name = row->option.name;
                row->library = true;
                row->set = set;
                return true;
            }
        }
    }
    return false;
}

bool help_row_at(const struct args *args, size_t index, struct help_row *row) {
    *row = (struct help_row){0};
    if (index < args->row_count) {
        row->own = args->rows[index];
    } else {
        index -= args->row_count;
        if (library_row(args, &index, row)) {
            return true;
        }
        if (!common_row(args, index, &row->own)) {
            return false;
        }
    }
    row->name = row->own.name;
    row->letter = row->own.letter;
    return true;
}

bool help_is_switch(const dqg_option_info *info) {
    return info->type == DQG_TYPE_INT && info->minimum == 0 && info->maximum == 1;
}

/* "(default 30)" and the like for a library option. */
static void print_option_help(const dqg_option_info *info) {
    printf("%s", info->help);
    if (info->choices != NULL) {
        printf(": %s", info->choices);
    }
    if (info->type == DQG_TYPE_TEXT && info->default_text != NULL && info->default_text[0] != '\0') {
        printf(" (default %s)", info->default_text);
    } else if ((info->type == DQG_TYPE_INT && !help_is_switch(info)) || info->type == DQG_TYPE_FLOAT) {
        printf(" (default %g)", info->default_value);
    } else if (help_is_switch(info)) {
        printf(" (0 or 1, default %g)", info->default_value);
    }
}

static const char *value_name(const struct help_row *row) {
    if (!row->library) {
        return row->own.value;
    }
    switch (row->option.type) {
    case DQG_TYPE_INT:
        return help_is_switch(&row->option) ? NULL : "N";
    case DQG_TYPE_FLOAT:
        return "X";
    case DQG_TYPE_TEXT:
        return "NAME";
    default:
        return "LIST";
    }
}

static void print_row(const struct help_row *row) {
    char left[64];
    char letter[8] = "";
    if (row->letter != 0) {
        snprintf(letter, sizeof(letter), "-%c, ", row->letter);
    }
    const char *value = value_name(row);
    snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name, value != NULL ? " " : "", value != NULL ? value : "");
    printf("  %-24s  ", left);
    if (row->library) {
        print_option_help(&row->option);
    } else {
        printf("%s", row->own.help);
    }
    printf("\n");
}

void help_command(const struct args *args) {
    printf("usage: dqgen %s %s [options]\n\n%s\n\noptions:\n", args->command, args->operands, args->summary);
    struct help_row row;
    for (size_t i = 0; help_row_at(args, i, &row); i++) {
        if (row.library || row.own.help != NULL) {
            print_row(&row);
        }
    }
    if (args->notes != NULL) {
        printf("\n%s\n", args->notes);
    }
    printf("\nexit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted\n");
}
