/* SPDX-License-Identifier: MIT */
/* What dqgen bench measures: filled by bench_measure.c, printed by bench.c. */
#ifndef DQGEN_BENCH_H
#define DQGEN_BENCH_H

#include "cli.h"

struct op_kind;

/* dqgen bench with the word of an operation: bench_ops.c. */
int bench_ops_main(struct cli *cli, const struct op_kind *kind, int argc, char **argv);

enum { BENCH_BACKENDS = 8 };

struct timing {
    double median_ms, least_ms, most_ms;
};

struct result {
    const char *backend;
    struct timing evaluation, step;
    double pictures_per_second;
    double gops; /* thousand million operations a second in the weight products of an evaluation */
};

struct bench {
    const char *path;
    const char *backend; /* --backend; "all" for each in turn */
    int64_t count, repeats;
    bool json;
    struct sampling sampling;
    dqg_model *model;
    int32_t height, width;
    uint64_t run_bytes, model_bytes;
    double operations; /* multiplications and additions with weights in one evaluation of count pictures */
    struct timing load;
    struct result results[BENCH_BACKENDS];
    size_t result_count;
};

/* Load the model, a few times while that is quick. */
int bench_load(struct cli *cli, struct bench *job);

/* Measure everything else, on the backend or backends asked for. Needs the model and the resolved sampling. */
int bench_measure(struct cli *cli, struct bench *job);

#endif
