/* SPDX-License-Identifier: MIT */
/* One walk over everything a command accepts, used by the parser to find an option and by the help to print them. */
#ifndef DQGEN_HELP_H
#define DQGEN_HELP_H

#include "args.h"

struct help_row {
    const char *name;
    char letter;
    bool library;       /* a row of the library's option tables: option and set are filled; otherwise own is */
    struct arg_row own; /* a row of the command, or of all commands */
    dqg_option_info option;
    size_t set; /* the option object it goes to */
};

/* The index-th thing that may stand on the command line: own rows, then the library's, then those common to all.
 * Library options that a row of the command replaces are left out. False past the last. */
bool help_row_at(const struct args *args, size_t index, struct help_row *row);

/* A library option whose value may be left out. */
bool help_is_switch(const dqg_option_info *info);

/* Print the help of a command on standard output. */
void help_command(const struct args *args);

#endif
