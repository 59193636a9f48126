/* SPDX-License-Identifier: MIT */
/*
 * Prints docs/options.md from the option table that the library carries. A test compares the two; to renew the page:
 * print_options > docs/options.md (see docs/testing.md). Uses the public API only.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "libdqgen.h"

static const struct {
    int32_t kind;
    const char *constant; /* what the keys start with */
    const char *title;
    const char *used_by;
} kinds[] = {
    {DQG_OPTIONS_MODEL, "DQG_MODEL_", "Model", "`dqg_model_load()` and its siblings; kind `DQG_OPTIONS_MODEL`"},
    {DQG_OPTIONS_SCHEDULER, "DQG_SCHEDULER_", "Scheduler", "`dqg_scheduler_create()`; kind `DQG_OPTIONS_SCHEDULER`"},
    {DQG_OPTIONS_RUN, "DQG_RUN_", "Run",
     "`dqg_run_create()`, `dqg_run_create_custom()`, `dqg_model_memory()`; kind `DQG_OPTIONS_RUN`"},
    {DQG_OPTIONS_QUANTIZER, "DQG_QUANTIZER_", "Quantizer", "`dqg_quantizer_create()`; kind `DQG_OPTIONS_QUANTIZER`"},
    {DQG_OPTIONS_SEARCH, "DQG_SEARCH_", "Search", "`dqg_run_search()`; kind `DQG_OPTIONS_SEARCH`"},
};

static const char *type_name(int32_t type) {
    switch (type) {
    case DQG_TYPE_INT:
        return "int";
    case DQG_TYPE_FLOAT:
        return "float";
    case DQG_TYPE_TEXT:
        return "text";
    case DQG_TYPE_INTS:
        return "ints";
    case DQG_TYPE_FLOATS:
        return "floats";
    }
    return "?";
}

/* A bound of a range; the largest 64-bit integers say nothing to a reader. */
static void print_bound(double value) {
    if (fabs(value) >= 9.0e15) {
        printf("any");
    } else {
        printf("%.10g", value);
    }
}

static void print_text_choices(const char *choices) {
    putchar('`');
    for (const char *c = choices; *c != '\0'; c++) {
        if (*c == '|') {
            printf("`, `");
        } else {
            putchar(*c);
        }
    }
    putchar('`');
}

static void print_range(const dqg_option_info *row) {
    if (row->choices != NULL) {
        print_text_choices(row->choices);
    } else if (row->type == DQG_TYPE_TEXT) {
        printf("any text");
    } else {
        print_bound(row->minimum);
        printf(" .. ");
        print_bound(row->maximum);
    }
}

static void print_default(const dqg_option_info *row) {
    if (row->type == DQG_TYPE_TEXT) {
        int empty = row->default_text == NULL || row->default_text[0] == '\0';
        printf(empty ? "not set" : "`%s`", row->default_text);
    } else if (row->type == DQG_TYPE_INTS || row->type == DQG_TYPE_FLOATS) {
        printf("not set");
    } else {
        printf("%.10g", row->default_value);
    }
}

/* The key is the constant's beginning and the name, which may repeat it: "run-memory-limit" is DQG_RUN_MEMORY_LIMIT. */
static void print_row(const char *constant, const dqg_option_info *row) {
    printf("| `%s", constant);
    const char *rest = row->kind == DQG_OPTIONS_RUN && strncmp(row->name, "run-", 4) == 0 ? row->name + 4 : row->name;
    for (const char *c = rest; *c != '\0'; c++) {
        putchar(*c == '-' ? '_' : toupper((unsigned char)*c));
    }
    printf("` | `%s` | %s | ", row->name, type_name(row->type));
    print_range(row);
    printf(" | ");
    print_default(row);
    printf(" | %s |\n", row->help);
}

int main(void) {
    puts("# Options\n\n"
         "Printed from the option table of the library by `tests/style/print_options.c`; do not edit. A test keeps\n"
         "the page and the table equal. How options are used: [api-guide.md](api-guide.md#options).\n\n"
         "Each option has a key for `dqg_options_set_int()` and its siblings, and a name for `dqg_options_parse()`\n"
         "and command lines. A value outside its range is refused with `DQG_ERROR_RANGE`, and the option keeps the\n"
         "old one.");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        printf("\n## %s\n\nFor %s.\n\n", kinds[i].title, kinds[i].used_by);
        printf("| key | name | type | range | default | meaning |\n|---|---|---|---|---|---|\n");
        dqg_option_info row;
        DQG_INIT(&row);
        for (int32_t index = 0; dqg_option_at(kinds[i].kind, index, &row) == DQG_OK; index++) {
            print_row(kinds[i].constant, &row);
        }
    }
    return 0;
}
