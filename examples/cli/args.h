/* SPDX-License-Identifier: MIT */
/*
 * Command-line arguments as tables. A command lists its own rows; rows of the library's option tables are added by
 * kind and go to option objects, which check the values. The same rows print the help.
 */
#ifndef DQGEN_ARGS_H
#define DQGEN_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdqgen.h"

struct cli;

enum arg_kind {
    ARG_FLAG, /* bool */
    ARG_INT,  /* int64_t */
    ARG_TEXT, /* const char * */
    ARG_LIST  /* struct text_list, added to each time */
};

/* Texts in the order given; the texts are those of argv. Zero is empty. */
struct text_list {
    const char **items;
    size_t count;
};

void text_list_free(struct text_list *list);

struct arg_row {
    const char *name; /* without dashes */
    char letter;      /* short form, or 0 */
    enum arg_kind kind;
    const char *value;       /* what the help calls the value */
    const char *help;        /* NULL: not listed */
    double minimum, maximum; /* of ARG_INT */
    void *target;
};

enum { ARGS_SETS = 2, ARGS_POSITIONAL = 64, ARGS_GIVEN = 64 };

struct args {
    struct cli *cli;
    const char *command;
    const char *operands; /* e.g. "MODEL" */
    const char *summary;
    const char *notes; /* printed after the options; may be NULL */
    const struct arg_row *rows;
    size_t row_count;
    dqg_options *sets[ARGS_SETS]; /* NULL: unused */
    int32_t set_kinds[ARGS_SETS];
    int min_operands, max_operands;

    /* results */
    const char *operand[ARGS_POSITIONAL];
    int operand_count;
    int32_t given[ARGS_GIVEN]; /* library option keys that were on the command line */
    int given_count;
};

/* True to go on. False when the command is over: help was printed or an error was; *exit_code is set. */
bool args_parse(struct args *args, int argc, char **argv, int *exit_code);

/* Was this library option given? */
bool args_given(const struct args *args, int32_t key);

/* Reading of whole texts; false when the text is not a number of that kind. */
bool parse_int(const char *text, int64_t *value);

/* How far two words are apart: single-letter edits, case ignored. */
size_t edit_distance(const char *a, const char *b);

/* Is word close enough to candidate for "did you mean"? */
bool looks_like(const char *word, const char *candidate);

#endif
