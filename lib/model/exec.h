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
    float *out;              /* (samples, out_channels, height, width), or what result 0 says; pixels of tokens left
                                out stay as they are */
    float *pooled_out;       /* result 1 */
    const float *context;    /* (samples, graph->context_tokens, its width) */
    const float *mask;       /* (samples, graph->context_tokens) */
    const float *pooled;     /* (samples, its width) */
    const double *guidance;  /* (samples) */
    const double *sizes;     /* (samples, numbers of each) */
    const float *control;    /* (samples, channels, height, width) of the control picture */
    const double *control_scales; /* (samples) */
    const int32_t *tokens;   /* (samples, graph->tokens): rows of the table */
    const int32_t *picks;    /* (samples): a row of each sample */
    const int32_t *active;   /* (samples, active_tokens), ascending; of graphs with active_tokens */
    float *kept;             /* [kept_floats] what self-attention keeps; NULL: nothing, without active_tokens only */
    const int32_t *lengths;  /* (samples): keys of counted attention, at least 1 */
};

/*
 * Group norms of a picture that is evaluated tile by tile: each takes the moments of the whole picture that are known,
 * and adds those of the tile's own part to the sums that the next evaluation of all tiles will know. Arrays hold the
 * groups of all norms of the graph, in the order of execution.
 */
struct dqg_norm_share {
    const double *given; /* [groups][2]: mean and variance, or NULL: each tile's own */
    double *sums;        /* [groups][3], see struct dqg_group_moments, or NULL */
    float *work;         /* for the largest norm */
    size_t height, width;                         /* of the tile, as the graph has it */
    size_t first_row, first_column, rows, columns; /* its own part */
    size_t next;                                  /* group: 0 at the start of an evaluation */
};

struct dqg_exec {
    const struct dqg_graph *graph;
    struct dqg_norm_share *share; /* or NULL */
    struct dqg_ops ops;
    char *memory;
    size_t memory_bytes;
    int32_t next;   /* node */
    bool keep_steady; /* evaluations may begin behind the steady nodes, whose inputs stay */
    bool steady_done; /* and these are done; clear it where an input has changed */
    size_t samples; /* operators work on the first so many: all, unless a cut is being left out for some */
    dqg_tap_fn tap;
    void *tap_user;
};

static inline const struct dqg_value *dqg_exec_value(const struct dqg_exec *exec, int32_t value) {
    return &exec->graph->values[value];
}
static inline float *dqg_exec_floats(const struct dqg_exec *exec, int32_t value) {
    return (float *)(exec->memory + dqg_exec_value(exec, value)->offset);
}

/* Rows of one sample among the rows of a value. */
static inline size_t dqg_exec_sample_rows(const struct dqg_exec *exec, size_t rows) {
    return rows / exec->graph->samples;
}

/* Rows of a value that operators work on. */
static inline size_t dqg_exec_rows(const struct dqg_exec *exec, const struct dqg_value *value) {
    return dqg_exec_sample_rows(exec, value->rows) * exec->samples;
}

/* Operators of graph_parts.c: exec_parts.c. */
void dqg_exec_parts(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io);

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
