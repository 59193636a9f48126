/* SPDX-License-Identifier: MIT */
/*
 * Region-adaptive sampling (Liu et al. 2025, arXiv 2502.10389): on most steps the network computes some of the image's
 * tokens only. The others keep the output, and in self-attention the keys and values, of the last time that they were
 * computed. Which tokens are active follows from the output of the step before; every image has its own, which all its
 * samples of the network's batch share.
 */
#ifndef DQG_RAS_H
#define DQG_RAS_H

#include "model/exec.h"

enum dqg_ras_metric { DQG_RAS_STD, DQG_RAS_L2 };
extern const char dqg_ras_metrics[]; /* in this order */

struct dqg_ras_config {
    double ratio;         /* share of the tokens that is computed; 0: no RAS at all */
    const int64_t *range; /* first and last step that computes so few; none: 4, the last of all */
    int32_t range_count;
    const int64_t *resets; /* steps between them that compute all */
    int32_t reset_count;
    enum dqg_ras_metric metric;
    double high;       /* share of the cached tokens that is taken from those of the highest change */
    double starvation; /* a token's change counts exp(this) times more with each step that left it out */
};

struct dqg_ras_rank {
    double change;
    int32_t token;
};

struct dqg_ras {
    double ratio, high, starvation;
    enum dqg_ras_metric metric;
    int64_t range[2];
    int32_t range_count, reset_count;
    size_t samples, images, channels, height, width, patch;
    size_t tokens, active_count;
    size_t kept_floats;

    /* In the run's block */
    int64_t *resets;
    float *kept;                /* keys and values of self-attention: struct dqg_exec_io */
    int32_t *active;            /* [samples][active_count], ascending */
    int32_t *left_out;          /* [images][tokens] how many steps did */
    struct dqg_ras_rank *ranks; /* [images][tokens] of the selection under way */
    char *cached;               /* likewise */

    bool filled;   /* kept holds all tokens */
    bool selected; /* active holds a selection */
};

/* Numbers of tokens that are cached for their low and for their high change. */
void dqg_ras_counts(size_t tokens, double ratio, double high, size_t *lowest, size_t *highest);

/* The mean over a patch of each pixel's deviation between channels, or norm: of one image, changes [tokens]. */
void dqg_ras_changes(const struct dqg_ras *ras, const float *image, struct dqg_ras_rank *ranks);

/* Choose active tokens of all images by what the network said last (images, channels, height, width). */
void dqg_ras_select(struct dqg_ras *ras, struct dqg_context *context, const float *output);

/* Is a step of so many one that the configuration wants to compute few tokens? */
bool dqg_ras_wants(const struct dqg_ras *ras, int32_t step, int32_t steps);

/* Does the evaluation of this step compute the active tokens only? They are known, and what the others gave is. */
bool dqg_ras_is_sparse(const struct dqg_ras *ras, int32_t step, int32_t steps);

/* Where an evaluation of this step keeps keys and values; NULL: it need not. */
float *dqg_ras_kept(const struct dqg_ras *ras, int32_t step, int32_t steps);

/* An evaluation of this step is complete, with this output. */
void dqg_ras_end(struct dqg_ras *ras, struct dqg_context *context, const float *output, int32_t step, int32_t steps);

/* ---- ras_make.c ---- */

/* Check the configuration, find sizes. dense: a planned graph with keep_keys. Ratio 0 makes an empty one. */
dqg_status dqg_ras_init(struct dqg_context *context, const struct dqg_ras_config *config, size_t images,
                        const struct dqg_graph *dense, struct dqg_ras *ras);

/* As for step caches: cache.h. */
bool dqg_ras_lay_out(struct dqg_ras *ras, char *base, size_t *used);
void dqg_ras_fill(struct dqg_ras *ras, const struct dqg_ras_config *config);
struct dqg_ras_config dqg_ras_config(const struct dqg_ras *ras);
void dqg_ras_drop(struct dqg_ras *ras);

size_t dqg_ras_state_bytes(const struct dqg_ras *ras);
void dqg_ras_state_write(const struct dqg_ras *ras, char *state);
bool dqg_ras_state_check(const struct dqg_ras *ras, const char *state);
void dqg_ras_state_read(struct dqg_ras *ras, const char *state);

#endif
