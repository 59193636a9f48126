/* SPDX-License-Identifier: MIT */
/* The options of a run that are texts, between them and its conditions. */
#ifndef DQG_API_RUN_PROMPT_H
#define DQG_API_RUN_PROMPT_H

#include "api/api.h"
#include "run/run.h"

/* The prompt and, where the run is guided, the negative one. rows 0: no prompt is given. */
struct dqg_run_prompt {
    size_t rows, count;
    uint64_t bytes; /* of the floats */
    bool masked;
    float *floats, *mask, *pooled; /* floats: rows first, then the others */
};

/* Its sizes alone; the same with its floats, to be freed after success. */
dqg_status dqg_run_prompt_read(struct dqg_context *context, const struct dqg_model *model, const dqg_options *options,
                               struct dqg_run_prompt *prompt);
dqg_status dqg_run_prompt_encode(struct dqg_context *context, const struct dqg_model *model, const dqg_options *options,
                                 struct dqg_run_prompt *prompt);

/* Tell the run, of one condition. */
dqg_status dqg_run_prompt_apply(struct dqg_run *run, const struct dqg_run_prompt *prompt);
void dqg_run_prompt_free(struct dqg_context *context, struct dqg_run_prompt *prompt);

#endif
