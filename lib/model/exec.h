/* SPDX-License-Identifier: MIT */
/* Execution of a planned graph, operator by operator, so that it can stop and go on between any two. */
#ifndef DQG_EXEC_H
#define DQG_EXEC_H

#include "model/graph.h"

/* Inputs and outputs of one evaluation; contiguous. */
struct dqg_exec_io {
    const float *x;          /* (samples, channels, height, width) */
    const double *timesteps; /* (samples) */
    const int32_t *labels;   /* (samples); -1 is the null class */
    float *out;              /* (samples, out_channels, height, width); pixels of tokens left out stay as they are */
    const int32_t *active;   /* (samples, active_tokens), ascending; of graphs with active_tokens */
    float *kept;             /* [kept_floats] what self-attention keeps; NULL: nothing, without active_tokens only */
};

struct dqg_exec {
    const struct dqg_graph *graph;
    struct dqg_ops ops;
    char *memory;
    size_t memory_bytes;
    int32_t next;   /* node */
    size_t samples; /* operators work on the first so many: all, unless a cut is being left out for some */
    dqg_tap_fn tap;
    void *tap_user;
};

/* Bytes that dqg_exec_init() allocates; false on overflow. */
bool dqg_exec_bytes(struct dqg_context *context, const struct dqg_graph *graph, size_t *bytes);
dqg_status dqg_exec_init(struct dqg_context *context, const struct dqg_graph *graph, struct dqg_exec *exec);
void dqg_exec_free(struct dqg_exec *exec);

/* Go over to another graph, from its beginning, in the same memory: it must need no more bytes than the first one. */
void dqg_exec_set_graph(struct dqg_exec *exec, const struct dqg_graph *graph);

/* Run the next operator. DQG_PENDING: more are left; DQG_DONE: io->out is complete and the next call starts over. */
dqg_status dqg_exec_next(struct dqg_exec *exec, const struct dqg_exec_io *io);
void dqg_exec_restart(struct dqg_exec *exec);

#endif
