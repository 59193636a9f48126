/* SPDX-License-Identifier: MIT */
/* Execution, continued: the operators that graph_parts.c appends, and additions that no product could take in. Called
 * by exec.c. */
#include "model/exec.h"

static void run_input(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_value *out = dqg_exec_value(exec, node->out);
    const float *x = node->input == DQG_INPUT_CONTEXT ? io->context
                     : node->input == DQG_INPUT_MASK  ? io->mask
                                                      : io->pooled;
    dqg_op_copy_columns(&exec->ops, dqg_exec_floats(exec, node->out), out->ld, x, out->columns,
                        dqg_exec_rows(exec, out), out->columns);
}

/* A side of the tile, or a place in it, at a level that is some times as large or as small. */
static size_t at_level(size_t size, size_t times, size_t divisor) {
    return size * times / divisor;
}

/* The moments that a norm is given, after those of this tile were added to the sums. */
static const double *share_moments(const struct dqg_exec *exec, const struct dqg_node *node) {
    struct dqg_norm_share *share = exec->share;
    const struct dqg_value *x = dqg_exec_value(exec, node->x);
    size_t times = 1, shrink = 1, first = share->next;
    share->next += node->heads;
    /* Levels double both sides, or halve them. */
    while (times * times * share->height * share->width < x->rows) {
        times *= 2;
    }
    while (share->height * share->width > x->rows * shrink * shrink) {
        shrink *= 2;
    }
    if (share->sums != NULL) {
        struct dqg_group_moments args = {.x = dqg_exec_floats(exec, node->x),
                                         .ldx = x->ld,
                                         .channels = x->columns,
                                         .groups = node->heads,
                                         .width = at_level(share->width, times, shrink),
                                         .first_row = at_level(share->first_row, times, shrink),
                                         .first_column = at_level(share->first_column, times, shrink),
                                         .rows = at_level(share->rows, times, shrink),
                                         .columns = at_level(share->columns, times, shrink),
                                         .work = share->work,
                                         .sums = share->sums + 3 * first};
        dqg_op_group_moments(&exec->ops, &args);
    }
    return share->given != NULL ? share->given + 2 * first : NULL;
}

static void run_group_norm(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x);
    struct dqg_group_norm args = {
        .x = dqg_exec_floats(exec, node->x),
        .y = dqg_exec_floats(exec, node->out),
        .weight = node->factor,
        .bias = node->bias,
        .work = (float *)exec->ops.shared,
        .ldx = x->ld,
        .ldy = dqg_exec_value(exec, node->out)->ld,
        .samples = exec->samples,
        .pixels = dqg_exec_sample_rows(exec, x->rows),
        .channels = x->columns,
        .groups = node->heads,
        .epsilon = node->epsilon,
        .activation = node->activation,
    };
    if (node->modulation != DQG_NO_VALUE) {
        args.scale = dqg_exec_floats(exec, node->modulation) + node->scale_column;
        args.shift = dqg_exec_floats(exec, node->modulation) + node->shift_column;
        args.ld_modulation = dqg_exec_value(exec, node->modulation)->ld;
    }
    args.given = exec->share != NULL ? share_moments(exec, node) : NULL;
    dqg_op_group_norm(&exec->ops, &args);
}

static void run_tokens(const struct dqg_exec *exec, const struct dqg_node *node, const int32_t *tokens) {
    const struct dqg_tokens args = {.out = dqg_exec_floats(exec, node->out),
                                    .table = node->weight,
                                    .added = node->added,
                                    .added_count = node->added_count,
                                    .tokens = tokens,
                                    .count = dqg_exec_rows(exec, dqg_exec_value(exec, node->out))};
    dqg_op_tokens(&exec->ops, &args);
}

static void run_heads(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x);
    struct dqg_heads args = *node->form;
    args.x = dqg_exec_floats(exec, node->x);
    args.y = dqg_exec_floats(exec, node->out);
    args.ldx = x->ld;
    args.ldy = dqg_exec_value(exec, node->out)->ld;
    args.samples = exec->samples;
    args.rows_per_sample = dqg_exec_sample_rows(exec, x->rows);
    args.columns = x->columns;
    if (exec->graph->active_tokens > 0) {
        args.index = io->active;
        args.indexed = exec->graph->active_tokens;
        args.first_after = exec->graph->tokens;
    }
    dqg_op_heads(&exec->ops, &args);
}

/* Columns of x, then those of k, in rows of the result. */
static void run_concat(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x), *k = dqg_exec_value(exec, node->k);
    float *out = dqg_exec_floats(exec, node->out);
    size_t ld = dqg_exec_value(exec, node->out)->ld;
    dqg_op_copy_columns(&exec->ops, out, ld, dqg_exec_floats(exec, node->x), x->ld, dqg_exec_rows(exec, x), x->columns);
    dqg_op_copy_columns(&exec->ops, out + x->columns, ld, dqg_exec_floats(exec, node->k), k->ld, dqg_exec_rows(exec, k),
                        k->columns);
}

/* Rows of x from first on, count of each sample, to the result's rows from to on. */
static void copy_rows(const struct dqg_exec *exec, const struct dqg_node *node, int32_t x, size_t first, size_t to,
                      size_t count) {
    const struct dqg_value *from = dqg_exec_value(exec, x), *out = dqg_exec_value(exec, node->out);
    const struct dqg_row_copy args = {.y = dqg_exec_floats(exec, node->out),
                                      .x = dqg_exec_floats(exec, x),
                                      .ldy = out->ld,
                                      .ldx = from->ld,
                                      .samples = exec->samples,
                                      .y_rows = dqg_exec_sample_rows(exec, out->rows),
                                      .y_first = to,
                                      .x_rows = dqg_exec_sample_rows(exec, from->rows),
                                      .x_first = first,
                                      .count = count,
                                      .columns = from->columns};
    dqg_op_copy_rows(&exec->ops, &args);
}

static void run_join(const struct dqg_exec *exec, const struct dqg_node *node) {
    size_t first = dqg_exec_sample_rows(exec, dqg_exec_value(exec, node->x)->rows);
    copy_rows(exec, node, node->x, 0, 0, first);
    copy_rows(exec, node, node->k, 0, first, dqg_exec_sample_rows(exec, dqg_exec_value(exec, node->k)->rows));
}

static void run_pick(const struct dqg_exec *exec, const struct dqg_node *node, const int32_t *picks) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x);
    size_t rows = dqg_exec_sample_rows(exec, x->rows);
    for (size_t s = 0; s < exec->samples; s++) {
        size_t row = picks[s] >= 0 ? dqg_min_size((size_t)picks[s], rows - 1) : 0;
        memcpy(dqg_exec_floats(exec, node->out) + s * x->columns,
               dqg_exec_floats(exec, node->x) + (s * rows + row) * x->columns, x->columns * sizeof(float));
    }
}

static void run_resize(const struct dqg_exec *exec, const struct dqg_node *node) {
    struct dqg_resize args = *node->image;
    args.samples = exec->samples;
    args.x = dqg_exec_floats(exec, node->x);
    args.y = dqg_exec_floats(exec, node->out);
    if (node->kind == DQG_NODE_POOL) {
        dqg_op_pool(&exec->ops, &args);
    } else {
        dqg_op_resize(&exec->ops, &args);
    }
}

/* out = x + residual, or x + table for each sample. */
static void run_add(const struct dqg_exec *exec, const struct dqg_node *node) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x);
    const float *from = dqg_exec_floats(exec, node->x);
    float *out = dqg_exec_floats(exec, node->out);
    if (node->kind == DQG_NODE_ADD) {
        dqg_op_add(&exec->ops, out, dqg_exec_floats(exec, node->residual), from, dqg_exec_rows(exec, x) * x->columns,
                   1);
        return;
    }
    size_t count = dqg_exec_sample_rows(exec, x->rows) * x->columns;
    for (size_t s = 0; s < exec->samples; s++) {
        dqg_op_add(&exec->ops, out + s * count, from + s * count, node->table, count, 1);
    }
}

static void run_result(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_value *x = dqg_exec_value(exec, node->x);
    float *out = node->input == 0 ? io->out : io->pooled_out;
    if (out != NULL) { /* not every caller wants both */
        dqg_op_copy_columns(&exec->ops, out, x->columns, dqg_exec_floats(exec, node->x), x->ld, dqg_exec_rows(exec, x),
                            x->columns);
    }
}

void dqg_exec_parts(const struct dqg_exec *exec, const struct dqg_node *node, const struct dqg_exec_io *io) {
    const struct dqg_value *out = dqg_exec_value(exec, node->out);
    switch (node->kind) {
    case DQG_NODE_INPUT:
        run_input(exec, node, io);
        break;
    case DQG_NODE_TOKENS:
        run_tokens(exec, node, io->tokens);
        break;
    case DQG_NODE_GROUP_NORM:
        run_group_norm(exec, node);
        break;
    case DQG_NODE_HEADS:
        run_heads(exec, node, io);
        break;
    case DQG_NODE_CONCAT:
        run_concat(exec, node);
        break;
    case DQG_NODE_JOIN:
        run_join(exec, node);
        break;
    case DQG_NODE_SLICE:
        copy_rows(exec, node, node->x, node->first, 0, dqg_exec_sample_rows(exec, out->rows));
        break;
    case DQG_NODE_PICK:
        run_pick(exec, node, io->picks);
        break;
    case DQG_NODE_RESIZE:
    case DQG_NODE_POOL:
        run_resize(exec, node);
        break;
    case DQG_NODE_ADD:
    case DQG_NODE_ADD_TABLE:
        run_add(exec, node);
        break;
    case DQG_NODE_RESULT:
        run_result(exec, node, io);
        break;
    default:
        DQG_ASSERT(false);
        break;
    }
}
