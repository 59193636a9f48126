/* SPDX-License-Identifier: MIT */
/* The probe of attention, in floats or in integers; integers are compared with floats. */
#include <math.h>

#include "measure/measure.h"

enum { MOST_TOKENS = 1 << 20 };

static void call_attention(struct dqg_probe *probe) {
    dqg_op_attention(&probe->ops, probe->task);
}

static size_t result_floats(const struct dqg_attention_args *task) {
    return task->samples * task->queries * task->ld_out;
}

static dqg_status compare_attention(struct dqg_probe *probe) {
    const struct dqg_attention_args *task = probe->task;
    struct dqg_attention_args exact = *task;
    size_t count = result_floats(task);
    double error = 0.0, norm = 0.0;
    exact.int8 = false;
    DQG_TRY(dqg_probe_alloc(probe, count, sizeof *exact.out, &exact.out));
    dqg_op_attention(&probe->ops, task);
    dqg_op_attention(&probe->ops, &exact);
    for (size_t i = 0; i < count; i++) {
        double difference = (double)task->out[i] - exact.out[i];
        error += difference * difference;
        norm += (double)exact.out[i] * exact.out[i];
    }
    probe->error = norm > 0.0 ? sqrt(error / norm) : 0.0;
    return DQG_OK;
}

/* Memory that the integer kernels share. */
static dqg_status make_shared(struct dqg_probe *probe, const struct dqg_attention_args *task) {
    size_t bytes;
    if (!dqg_op_attention_shared(probe->context, task->samples, task->heads, task->keys, task->width, &bytes)) {
        return dqg_fail(probe->context, DQG_ERROR_LIMIT, "keys of this size do not fit the address space");
    }
    return dqg_probe_alloc(probe, bytes, 1, &probe->ops.shared);
}

/* Queries, keys and values: of one sequence in packed rows, or queries alone and pairs of keys and values. */
static dqg_status make_inputs(struct dqg_probe *probe, struct dqg_attention_args *task) {
    size_t columns = task->heads * task->width;
    bool cross = probe->spec->keys > 0;
    size_t queries = task->samples * task->queries * columns, pairs = 2 * task->samples * task->keys * columns;
    float *q, *kv;
    DQG_TRY(dqg_probe_alloc(probe, queries + pairs, sizeof *q, &q));
    kv = cross ? q + queries : q + columns;
    dqg_random_floats(1, q, queries + pairs);
    task->q = q;
    task->k = kv;
    task->v = kv + columns;
    task->ld_q = cross ? columns : 3 * columns;
    task->ld_k = task->ld_v = cross ? 2 * columns : 3 * columns;
    task->ld_out = columns;
    return dqg_probe_alloc(probe, result_floats(task), sizeof *task->out, &task->out);
}

dqg_status dqg_probe_attention(struct dqg_probe *probe) {
    const dqg_measure_spec *spec = probe->spec;
    const struct dqg_kernels *kernels = probe->ops.kernels;
    struct dqg_attention_args *task;
    DQG_TRY(dqg_probe_range(probe, "samples", spec->samples, 1, 4096));
    DQG_TRY(dqg_probe_range(probe, "heads", spec->heads, 1, 1024));
    DQG_TRY(dqg_probe_range(probe, "rows", spec->rows, 1, MOST_TOKENS));
    DQG_TRY(dqg_probe_range(probe, "keys", spec->keys, 0, MOST_TOKENS));
    DQG_TRY(dqg_probe_range(probe, "inputs", spec->inputs, 1, DQG_ATTENTION_WIDTH));
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *task, &task));
    size_t keys = (size_t)(spec->keys > 0 ? spec->keys : spec->rows);
    bool fast = kernels->int8_attention_keys > 0 && keys >= kernels->int8_attention_keys;
    *task = (struct dqg_attention_args){.samples = (size_t)spec->samples,
                                        .heads = (size_t)spec->heads,
                                        .width = (size_t)spec->inputs,
                                        .queries = (size_t)spec->rows,
                                        .keys = keys,
                                        .int8 = spec->dtype == DQG_DTYPE_INT8 || (spec->dtype == 0 && fast)};
    DQG_TRY(make_inputs(probe, task));
    DQG_TRY(dqg_probe_scratch(probe, dqg_op_attention_scratch()));
    DQG_TRY(task->int8 ? make_shared(probe, task) : DQG_OK);
    probe->task = task;
    probe->call = call_attention;
    probe->compare = task->int8 ? compare_attention : NULL;
    probe->ceiling = task->int8 ? kernels->ceiling_i8 : kernels->ceiling_f32;
    probe->operations = 4.0 * (double)result_floats(task) * (double)keys;
    probe->bytes = 8.0 * (double)task->samples * (double)(task->heads * task->width) * (double)(task->queries + keys);
    return DQG_OK;
}
