/* SPDX-License-Identifier: MIT */
/* Layer 6, api: the public calls check, delegate and clean up. This header: option values, and checks they share. */
#ifndef DQG_API_H
#define DQG_API_H

#include "libdqgen.h"
#include "support/support.h"

struct dqg_option_row {
    int32_t key, kind, type;
    const char *name, *choices, *help;
    double minimum, maximum, default_value;
    const char *default_text;
};

extern const struct dqg_option_row dqg_option_rows[];
extern const int32_t dqg_option_row_count;

/* Arrays own count members in the one of ints and floats that fits the type; texts are owned. */
struct dqg_option_value {
    int64_t integer;
    double number;
    char *text;
    int64_t *ints;
    double *floats;
    int32_t count;
};

struct dqg_options {
    struct dqg_context *context;
    int32_t kind;
    struct dqg_option_value *values; /* one for each row of the table; those of other kinds stay empty */
};

/* The value of a key of these options, or the table's default where options is NULL; arrays are empty then. */
struct dqg_option_value dqg_option(const struct dqg_options *options, int32_t key);

/* Fails unless options is NULL or of this kind. */
dqg_status dqg_options_check(struct dqg_context *context, const struct dqg_options *options, int32_t kind);

/* Copy a filled record to the caller's, which may be of an older, shorter version. context may be NULL. */
dqg_status dqg_record_return(struct dqg_context *context, void *out, const void *record, size_t size);

/* Fails with the name of what is NULL. */
dqg_status dqg_need(struct dqg_context *context, const void *pointer, const char *name);

/* A model's own scheduler for a run with these options. */
dqg_status dqg_scheduler_own(dqg_context *context, const dqg_model *model, const dqg_options *run,
                             dqg_scheduler **scheduler);

#endif
