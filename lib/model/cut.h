/* SPDX-License-Identifier: MIT */
/*
 * A cut: operators of a planned graph that an evaluation may leave out for some of its samples, because the caller
 * knows what they give. The rest of the samples are moved together in front of the range and apart again behind it, so
 * that the operators see a smaller batch; what a sample gets does not depend on the others.
 */
#ifndef DQG_CUT_H
#define DQG_CUT_H

#include "model/exec.h"

struct dqg_cut {
    const struct dqg_graph *graph;
    int32_t begin, end;   /* nodes [begin, end) */
    int32_t enter, leave; /* values; as many floats in each sample */
    size_t side_bytes;    /* memory that moving samples needs */
};

/*
 * The nodes behind the one that makes value after, up to the one that makes leave; after is enter, or a later value.
 * Fails with DQG_ERROR_UNSUPPORTED where something else that they make is read later.
 */
dqg_status dqg_cut_make(struct dqg_context *context, const struct dqg_graph *graph, int32_t enter, int32_t after,
                        int32_t leave, struct dqg_cut *cut);

/* Floats of a value in a sample, and where they are. */
size_t dqg_cut_floats(const struct dqg_graph *graph, int32_t value);
float *dqg_cut_sample(const struct dqg_exec *exec, int32_t value, size_t sample);

/* Before node begin: go on with count samples of these ascending numbers. After node end - 1: with all again; the
 * leaving value holds something for the listed ones only. side is the same memory in both calls. */
void dqg_cut_shrink(const struct dqg_cut *cut, struct dqg_exec *exec, const int32_t *samples, size_t count, char *side);
void dqg_cut_grow(const struct dqg_cut *cut, struct dqg_exec *exec, const int32_t *samples, size_t count,
                  const char *side);

#endif
