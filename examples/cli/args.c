/* SPDX-License-Identifier: MIT */
/*
 * Reading the command line against a command's own rows, the rows common to all commands, and the option tables of the
 * library. Relies on dqg_option_at() and dqg_options_parse(); help is printed by help.c.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "help.h"

void text_list_free(struct text_list *list) {
    free(list->items);
    *list = (struct text_list){0};
}

static bool text_list_add(struct text_list *list, const char *text) {
    const char **items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (items == NULL) {
        return false;
    }
    list->items = items;
    list->items[list->count++] = text;
    return true;
}

bool parse_int(const char *text, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE || isspace((unsigned char)text[0])) {
        return false;
    }
    *value = number;
    return true;
}

/* Levenshtein distance with one row of memory; words longer than the row count as far apart. */
size_t edit_distance(const char *a, const char *b) {
    size_t row[64];
    size_t n = strlen(b);
    if (n >= COUNT_OF(row)) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; *a != '\0'; i++, a++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (tolower((unsigned char)*a) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            size_t edge = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            row[j] = change < edge ? change : edge;
        }
    }
    return row[n];
}

bool looks_like(const char *word, const char *candidate) {
    size_t length = strlen(word);
    if (length >= 3 && (strstr(candidate, word) != NULL || (strlen(candidate) >= 3 && strstr(word, candidate)))) {
        return true;
    }
    return edit_distance(word, candidate) <= (length < 4 ? 1 : length / 3);
}

bool args_given(const struct args *args, int32_t key) {
    for (int i = 0; i < args->given_count; i++) {
        if (args->given[i] == key) {
            return true;
        }
    }
    return false;
}

/* The closest option name, for "did you mean". */
static const char *nearest_option(const struct args *args, const char *word) {
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    struct help_row row;
    for (size_t i = 0; help_row_at(args, i, &row); i++) {
        size_t distance = edit_distance(word, row.name);
        if (looks_like(word, row.name) && distance < best_distance) {
            best = row.name;
            best_distance = distance;
        }
    }
    return best;
}

static int usage_error(const struct args *args, const char *text, const char *detail) {
    return cli_error(args->cli, EXIT_USAGE, "%s%s\nTry 'dqgen %s --help'.", text, detail, args->command);
}

static int unknown_option(const struct args *args, const char *word) {
    const char *nearest = nearest_option(args, word);
    if (nearest != NULL) {
        return cli_error(args->cli, EXIT_USAGE, "there is no option '--%s'; did you mean '--%s'?", word, nearest);
    }
    return cli_error(args->cli, EXIT_USAGE, "there is no option '--%s'\nTry 'dqgen %s --help'.", word, args->command);
}

/* Store the value of one of the command's own rows. */
static int store(const struct args *args, const struct arg_row *row, const char *value) {
    switch (row->kind) {
    case ARG_FLAG:
        *(bool *)row->target = true;
        return EXIT_OK;
    case ARG_TEXT:
        *(const char **)row->target = value;
        return EXIT_OK;
    case ARG_LIST:
        return text_list_add(row->target, value) ? EXIT_OK : cli_error(args->cli, EXIT_FAILED, "out of memory");
    case ARG_INT:
        break;
    }
    int64_t number;
    if (!parse_int(value, &number)) {
        return cli_error(args->cli, EXIT_USAGE, "--%s takes a whole number, not '%s'", row->name, value);
    }
    if ((double)number < row->minimum || (double)number > row->maximum) {
        return cli_error(args->cli, EXIT_USAGE, "--%s must be %.0f to %.0f, not %s", row->name, row->minimum,
                         row->maximum, value);
    }
    *(int64_t *)row->target = number;
    return EXIT_OK;
}

/* Hand one library option to its option object, which checks it. */
static int store_option(struct args *args, size_t set, const dqg_option_info *info, const char *value) {
    dqg_status status = dqg_options_parse(args->sets[set], info->name, value);
    if (status < 0) {
        return cli_error(args->cli, EXIT_USAGE, "--%s: %s", info->name, dqg_context_error(args->cli->context));
    }
    if (!args_given(args, info->key) && args->given_count < ARGS_GIVEN) {
        args->given[args->given_count++] = info->key;
    }
    return EXIT_OK;
}

/* The value of an option: after '=', or the next argument, which may start with a dash only if it is a number. */
static const char *take_value(int argc, char **argv, int *at, const char *inline_value) {
    if (inline_value != NULL) {
        return inline_value;
    }
    if (*at + 1 >= argc) {
        return NULL;
    }
    const char *next = argv[*at + 1];
    if (next[0] == '-' && next[1] != '\0' && !isdigit((unsigned char)next[1]) && next[1] != '.') {
        return NULL;
    }
    *at += 1;
    return next;
}

/* Switches of the library are whole numbers 0 or 1: the value may be left out and then means 1. */
static const char *take_switch(int argc, char **argv, int *at, const char *inline_value) {
    const char *next = *at + 1 < argc ? argv[*at + 1] : "";
    bool is_value = inline_value != NULL || strcmp(next, "0") == 0 || strcmp(next, "1") == 0;
    return is_value ? take_value(argc, argv, at, inline_value) : "1";
}

/* One argument that starts with a dash. */
static int parse_option(struct args *args, int argc, char **argv, int *at) {
    const char *text = argv[*at];
    char name[64] = {text[1], '\0'};
    char letter = text[1];
    const char *inline_value = NULL;
    if (text[1] == '-') {
        const char *equals = strchr(text, '=');
        size_t length = equals != NULL ? (size_t)(equals - text) - 2 : strlen(text) - 2;
        if (length == 0 || length >= sizeof(name)) {
            return usage_error(args, "not an option: ", text);
        }
        memcpy(name, text + 2, length);
        name[length] = '\0';
        letter = 0;
        inline_value = equals != NULL ? equals + 1 : NULL;
    } else if (text[2] != '\0') {
        inline_value = text + 2;
    }

    struct help_row row;
    for (size_t i = 0; help_row_at(args, i, &row); i++) {
        if (letter != 0 ? row.letter != letter : strcmp(row.name, name) != 0) {
            continue;
        }
        if (!row.library && row.own.kind == ARG_FLAG) {
            return inline_value == NULL ? store(args, &row.own, NULL)
                                        : cli_error(args->cli, EXIT_USAGE, "--%s takes no value", row.name);
        }
        bool is_switch = row.library && help_is_switch(&row.option);
        const char *value =
            is_switch ? take_switch(argc, argv, at, inline_value) : take_value(argc, argv, at, inline_value);
        if (value == NULL || value[0] == '\0') {
            return cli_error(args->cli, EXIT_USAGE, "--%s needs a value", row.name);
        }
        return row.library ? store_option(args, row.set, &row.option, value) : store(args, &row.own, value);
    }
    return letter != 0 ? usage_error(args, "there is no option ", text) : unknown_option(args, name);
}

static int parse_all(struct args *args, int argc, char **argv) {
    bool options_over = false;
    for (int at = 0; at < argc; at++) {
        const char *text = argv[at];
        if (!options_over && strcmp(text, "--") == 0) {
            options_over = true;
        } else if (!options_over && text[0] == '-' && text[1] != '\0') {
            int code = parse_option(args, argc, argv, &at);
            if (code != EXIT_OK || args->cli->help) {
                return code;
            }
        } else if (args->operand_count == args->max_operands) {
            return usage_error(args, "one argument too many: ", text);
        } else {
            args->operand[args->operand_count++] = text;
        }
    }
    if (args->operand_count < args->min_operands) {
        return cli_error(args->cli, EXIT_USAGE, "usage: dqgen %s %s [options]\nTry 'dqgen %s --help'.", args->command,
                         args->operands, args->command);
    }
    return EXIT_OK;
}

/* The settings that hold for all commands. */
static int apply_common(struct cli *cli) {
    cli->progress.visible = !cli->quiet && isatty(STDERR_FILENO);
    dqg_status status = dqg_context_set_threads(cli->context, (int32_t)cli->threads);
    if (status < 0) {
        return cli_library_error(cli, status, "start %d threads", (int)cli->threads);
    }
    if (cli->backend != NULL && (status = dqg_context_set_backend(cli->context, cli->backend)) < 0) {
        return cli_library_error(cli, status, "use --backend %s", cli->backend);
    }
    return EXIT_OK;
}

bool args_parse(struct args *args, int argc, char **argv, int *exit_code) {
    *exit_code = parse_all(args, argc, argv);
    if (*exit_code == EXIT_OK && args->cli->help) {
        help_command(args);
        return false;
    }
    if (*exit_code == EXIT_OK) {
        *exit_code = apply_common(args->cli);
    }
    return *exit_code == EXIT_OK;
}
