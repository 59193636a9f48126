/* SPDX-License-Identifier: MIT */
/*
 * The measurement itself: a probe is called until enough time was spent, the ceiling is taken between the calls, so
 * that both see the same machine.
 */
#include "measure/measure.h"

enum { MOST_TIMES = 512, FEWEST_CEILINGS = 5 };
static const int64_t shortest_ns = 500000;   /* of one time taken: shorter calls are repeated */
static const int64_t ceiling_ns = 2000000;   /* of one run of the ceiling loop */
static const int64_t interval_ns = 20000000; /* between two runs of it */

/* ---- the ceiling ---- */

/* Each run is timed by the processor time of its thread: other programs then disturb it less than they disturb the
 * operators, and a ceiling is not to be exceeded. */
struct ceiling_task {
    uint64_t (*ceiling)(uint64_t rounds);
    uint64_t rounds;
    _Atomic int64_t longest_ns;
};

static void ceiling_lane(void *argument, size_t index, size_t lane) {
    struct ceiling_task *task = argument;
    (void)index;
    (void)lane;
    int64_t start = dqg_thread_ns();
    task->ceiling(task->rounds);
    int64_t taken = dqg_thread_ns() - start;
    int64_t longest = atomic_load_explicit(&task->longest_ns, memory_order_relaxed);
    while (taken > longest && !atomic_compare_exchange_weak_explicit(&task->longest_ns, &longest, taken,
                                                                     memory_order_relaxed, memory_order_relaxed)) {
    }
}

double dqg_measure_ceiling(struct dqg_context *context, uint64_t (*ceiling)(uint64_t rounds), uint64_t *rounds) {
    size_t lanes = dqg_concurrency(context);
    for (;;) {
        struct ceiling_task task = {.ceiling = ceiling, .rounds = *rounds};
        dqg_parallel(context, lanes, ceiling_lane, &task);
        if (task.longest_ns >= ceiling_ns || *rounds > UINT64_MAX / 16) {
            return (double)lanes * (double)*rounds * (double)ceiling(1) * 1e9 / (double)task.longest_ns;
        }
        *rounds *= 2;
    }
}

static void call_ceiling(struct dqg_probe *probe) {
    struct ceiling_task task = {.ceiling = probe->ceiling, .rounds = *(const uint64_t *)probe->task};
    dqg_parallel(probe->context, dqg_concurrency(probe->context), ceiling_lane, &task);
}

dqg_status dqg_probe_ceiling(struct dqg_probe *probe) {
    const struct dqg_kernels *kernels = probe->context->kernels;
    uint64_t *rounds;
    probe->ceiling = probe->spec->operation == DQG_MEASURE_CEILING_I8    ? kernels->ceiling_i8
                     : probe->spec->operation == DQG_MEASURE_CEILING_F32 ? kernels->ceiling_f32
                                                                         : kernels->ceiling_bf16;
    DQG_TRY(dqg_probe_alloc(probe, 1, sizeof *rounds, &rounds));
    *rounds = 1;
    dqg_measure_ceiling(probe->context, probe->ceiling, rounds);
    probe->task = rounds;
    probe->call = call_ceiling;
    probe->operations = (double)dqg_concurrency(probe->context) * (double)*rounds * (double)probe->ceiling(1);
    return DQG_OK;
}

/* ---- times ---- */

/* Insertion sort: a few hundred numbers, and no order of equal ones to care about. */
static void sort(double *values, size_t count) {
    for (size_t i = 1; i < count; i++) {
        double value = values[i];
        size_t at = i;
        for (; at > 0 && values[at - 1] > value; at--) {
            values[at] = values[at - 1];
        }
        values[at] = value;
    }
}

void dqg_measure_summarize(double *seconds, size_t count, dqg_measure_result *result) {
    sort(seconds, count);
    result->times = (int32_t)count;
    result->seconds_min = seconds[0];
    result->seconds_median = 0.5 * (seconds[(count - 1) / 2] + seconds[count / 2]);
    result->seconds_max = seconds[count - 1];
}

static int64_t time_calls(struct dqg_probe *probe, int64_t calls) {
    int64_t start = dqg_now_ns();
    for (int64_t i = 0; i < calls; i++) {
        probe->call(probe);
    }
    int64_t taken = dqg_now_ns() - start;
    return taken > 0 ? taken : 1;
}

/* Calls that make one time long enough; warms up too. */
static int64_t calls_for_one_time(struct dqg_probe *probe) {
    int64_t calls = 1;
    time_calls(probe, (int64_t)(probe->weight_count < 4 ? 1 : probe->weight_count));
    while (time_calls(probe, calls) < shortest_ns && calls < (int64_t)1 << 30) {
        calls *= 2;
    }
    return calls;
}

static dqg_status take_times(struct dqg_probe *probe, dqg_measure_result *result) {
    const dqg_measure_spec *spec = probe->spec;
    double seconds[MOST_TIMES];
    int32_t times = 0, ceilings = 0;
    int64_t calls = calls_for_one_time(probe);
    int64_t wanted_ns = (int64_t)(spec->seconds * 1e9), spent_ns = 0, processor_ns = 0;
    int64_t next_ceiling_ns = 0;
    uint64_t rounds = 1;
    struct dqg_work work;
    dqg_work_begin(&work, probe->context, DQG_PHASE_MEASURE, 1000);
    while (times < MOST_TIMES && (times < spec->repeats || spent_ns < wanted_ns)) {
        if (probe->ceiling != NULL && spent_ns >= next_ceiling_ns) {
            double rate = dqg_measure_ceiling(probe->context, probe->ceiling, &rounds);
            result->ceiling = rate > result->ceiling ? rate : result->ceiling;
            next_ceiling_ns = spent_ns + interval_ns;
            ceilings++;
        }
        int64_t processor = dqg_process_ns();
        int64_t taken = time_calls(probe, calls);
        processor_ns += dqg_process_ns() - processor;
        seconds[times++] = (double)taken * 1e-9 / (double)calls;
        spent_ns += taken;
        uint64_t done = spent_ns < wanted_ns ? (uint64_t)(spent_ns * 1000 / wanted_ns) : 999;
        DQG_TRY(dqg_work_set(&work, done, "measuring"));
    }
    for (; probe->ceiling != NULL && ceilings < FEWEST_CEILINGS; ceilings++) {
        double rate = dqg_measure_ceiling(probe->context, probe->ceiling, &rounds);
        result->ceiling = rate > result->ceiling ? rate : result->ceiling;
    }
    dqg_measure_summarize(seconds, (size_t)times, result);
    /* A mean, because other threads' share of this clock moves in steps of milliseconds. */
    result->processor_seconds = (double)processor_ns * 1e-9 / ((double)times * (double)calls);
    return DQG_OK;
}

/* ---- the whole ---- */

static const struct maker {
    int32_t operation;
    dqg_status (*make)(struct dqg_probe *probe);
} makers[] = {
    {DQG_MEASURE_CEILING_I8, dqg_probe_ceiling},  {DQG_MEASURE_CEILING_F32, dqg_probe_ceiling},
    {DQG_MEASURE_BANDWIDTH, dqg_probe_bandwidth}, {DQG_MEASURE_LINEAR, dqg_probe_linear},
    {DQG_MEASURE_DECODE, dqg_probe_decode},       {DQG_MEASURE_NORM, dqg_probe_norm},
    {DQG_MEASURE_QUANTIZE, dqg_probe_quantize},   {DQG_MEASURE_ATTENTION, dqg_probe_attention},
    {DQG_MEASURE_CONV, dqg_probe_conv},           {DQG_MEASURE_RMS_NORM, dqg_probe_norm},
    {DQG_MEASURE_GROUP_NORM, dqg_probe_group_norm}, {DQG_MEASURE_CEILING_BF16, dqg_probe_ceiling},
};

static dqg_status make(struct dqg_probe *probe) {
    for (size_t i = 0; i < DQG_COUNT_OF(makers); i++) {
        if (makers[i].operation == probe->spec->operation) {
            return makers[i].make(probe);
        }
    }
    return dqg_fail(probe->context, DQG_ERROR_ARGUMENT, "there is no measurement %d", (int)probe->spec->operation);
}

dqg_status dqg_measure_run(struct dqg_context *context, const dqg_measure_spec *spec, dqg_measure_result *result) {
    struct dqg_probe probe = {
        .context = context,
        .spec = spec,
        .ops = {.context = context, .kernels = context->kernels, .bf16 = (spec->flags & DQG_MEASURE_BF16) != 0},
        .error = -1.0};
    dqg_status status = make(&probe);
    if (status >= 0) {
        status = take_times(&probe, result);
    }
    if (status >= 0 && probe.compare != NULL) {
        status = probe.compare(&probe);
    }
    result->operations = probe.operations;
    result->bytes = probe.bytes;
    result->error = probe.error;
    for (size_t i = 0; i < probe.weight_count; i++) {
        dqg_weight_free(&context->alloc, &probe.weights[i]);
    }
    dqg_arena_free(&context->alloc, &probe.arena);
    return status;
}
