/* SPDX-License-Identifier: MIT */
/* Probes of what works row by row or only reads: bandwidth of memory, norms, quantization. */
#include "measure/measure.h"

enum { MOST_ROWS = 1 << 20, MOST_COLUMNS = 1 << 17 };

/* ---- reading memory ---- */

enum { CHUNK_WORDS = 1 << 16 }; /* of 8 bytes */

struct bandwidth_task {
    const uint64_t *words;
    size_t chunks;
    _Atomic uint64_t sum; /* so that reading has a purpose */
};

static void sum_chunk(void *argument, size_t index, size_t lane) {
    struct bandwidth_task *task = argument;
    const uint64_t *words = task->words + index * CHUNK_WORDS;
    uint64_t sums[16] = {0};
    (void)lane;
    for (size_t i = 0; i < CHUNK_WORDS; i += 16) {
        for (size_t j = 0; j < 16; j++) {
            sums[j] += words[i + j];
        }
    }
    for (size_t j = 1; j < 16; j++) {
        sums[0] += sums[j];
    }
    atomic_fetch_add_explicit(&task->sum, sums[0], memory_order_relaxed);
}

static void call_bandwidth(struct dqg_probe *probe) {
    struct bandwidth_task *task = probe->task;
    dqg_parallel(probe->context, task->chunks, sum_chunk, task);
}

dqg_status dqg_probe_bandwidth(struct dqg_probe *probe) {
    struct bandwidth_task *task;
    uint64_t *words;
    size_t chunks = (size_t)(probe->spec->memory_bytes / (CHUNK_WORDS * sizeof *words)) + 1;
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *task, &task));
    DQG_TRY(dqg_probe_alloc(probe, chunks, CHUNK_WORDS * sizeof *words, &words));
    for (size_t i = 0; i < chunks * CHUNK_WORDS; i++) {
        words[i] = i; /* pages of zeros may all be one page */
    }
    *task = (struct bandwidth_task){.words = words, .chunks = chunks};
    probe->task = task;
    probe->call = call_bandwidth;
    probe->operations = probe->bytes = (double)chunks * CHUNK_WORDS * sizeof *words;
    return DQG_OK;
}

/* ---- rows of floats to int8 ---- */

struct rows_task {
    size_t rows, columns, padded;
    float *x, *scale, *shift;
    struct dqg_rows out;
};

static dqg_status make_rows(struct dqg_probe *probe, struct rows_task **out) {
    const dqg_measure_spec *spec = probe->spec;
    struct rows_task *task;
    DQG_TRY(dqg_probe_range(probe, "rows", spec->rows, 1, MOST_ROWS));
    DQG_TRY(dqg_probe_range(probe, "inputs", spec->inputs, 1, MOST_COLUMNS));
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *task, &task));
    task->rows = (size_t)spec->rows;
    task->columns = (size_t)spec->inputs;
    task->padded = dqg_round_up(task->columns, DQG_ALIGNMENT);
    task->out.ld = task->padded;
    DQG_TRY(dqg_probe_alloc(probe, task->rows * task->columns, sizeof *task->x, &task->x));
    DQG_TRY(dqg_probe_alloc(probe, task->columns, sizeof *task->scale, &task->scale));
    DQG_TRY(dqg_probe_alloc(probe, task->columns, sizeof *task->shift, &task->shift));
    DQG_TRY(dqg_probe_alloc(probe, task->rows, task->padded, &task->out.q8));
    DQG_TRY(dqg_probe_alloc(probe, task->rows, sizeof *task->out.row_scale, &task->out.row_scale));
    dqg_random_floats(1, task->x, task->rows * task->columns);
    dqg_random_floats(2, task->scale, task->columns);
    dqg_random_floats(3, task->shift, task->columns);
    probe->task = *out = task;
    probe->operations = (double)task->rows * (double)task->columns;
    probe->bytes = probe->operations * (sizeof *task->x + 1);
    return DQG_OK;
}

static void call_quantize(struct dqg_probe *probe) {
    const struct rows_task *task = probe->task;
    dqg_op_quantize(&probe->ops, task->x, task->columns, task->out, task->rows, task->columns, task->padded);
}

dqg_status dqg_probe_quantize(struct dqg_probe *probe) {
    struct rows_task *task;
    probe->call = call_quantize;
    return make_rows(probe, &task);
}

static void call_norm(struct dqg_probe *probe) {
    const struct rows_task *task = probe->task;
    bool rms = probe->spec->operation == DQG_MEASURE_RMS_NORM;
    struct dqg_norm args = {.x = task->x,
                            .out = task->out,
                            .form = {.scale = rms ? NULL : task->scale,
                                     .shift = rms ? NULL : task->shift,
                                     .weight = rms ? task->scale : NULL,
                                     .rms = rms,
                                     .eps = 1e-6f},
                            .ldx = task->columns,
                            .rows = task->rows,
                            .rows_per_sample = task->rows,
                            .columns = task->columns,
                            .columns_padded = task->padded};
    dqg_op_norm(&probe->ops, &args);
}

dqg_status dqg_probe_norm(struct dqg_probe *probe) {
    struct rows_task *task;
    DQG_TRY(make_rows(probe, &task));
    probe->call = call_norm;
    return dqg_probe_scratch(probe, dqg_op_norm_scratch(task->columns));
}

/* ---- group norm ---- */

enum { GROUPS = 32 };

static void call_group_norm(struct dqg_probe *probe) {
    dqg_op_group_norm(&probe->ops, probe->task);
}

dqg_status dqg_probe_group_norm(struct dqg_probe *probe) {
    const dqg_measure_spec *spec = probe->spec;
    struct dqg_group_norm *task;
    float *x, *learned;
    DQG_TRY(dqg_probe_range(probe, "samples", spec->samples, 1, 4096));
    DQG_TRY(dqg_probe_range(probe, "rows", spec->rows, 1, MOST_ROWS));
    DQG_TRY(dqg_probe_range(probe, "inputs", spec->inputs, GROUPS, MOST_COLUMNS));
    size_t samples = (size_t)spec->samples, pixels = (size_t)spec->rows, channels = (size_t)spec->inputs;
    if (channels % GROUPS != 0) {
        return dqg_fail(probe->context, DQG_ERROR_RANGE, "inputs: %zu cannot be cut into %d groups", channels, GROUPS);
    }
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *task, &task));
    DQG_TRY(dqg_probe_alloc(probe, samples * pixels * channels, sizeof *x, &x));
    DQG_TRY(dqg_probe_alloc(probe, 2 * channels, sizeof *learned, &learned));
    *task = (struct dqg_group_norm){.x = x,
                                    .weight = learned,
                                    .bias = learned + channels,
                                    .ldx = channels,
                                    .ldy = channels,
                                    .samples = samples,
                                    .pixels = pixels,
                                    .channels = channels,
                                    .groups = GROUPS,
                                    .epsilon = 1e-6f,
                                    .activation = DQG_ACT_SILU};
    size_t work = dqg_op_group_norm_work(samples, pixels, channels, GROUPS);
    DQG_TRY(dqg_probe_alloc(probe, samples * pixels * channels, sizeof *task->y, &task->y));
    DQG_TRY(dqg_probe_alloc(probe, work, sizeof *task->work, &task->work));
    DQG_TRY(dqg_probe_scratch(probe, dqg_op_group_norm_scratch(channels)));
    dqg_random_floats(1, x, samples * pixels * channels);
    dqg_random_floats(2, learned, 2 * channels);
    probe->task = task;
    probe->call = call_group_norm;
    probe->operations = (double)samples * (double)pixels * (double)channels;
    probe->bytes = 2.0 * sizeof *x * probe->operations;
    return DQG_OK;
}
