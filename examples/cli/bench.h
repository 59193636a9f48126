/* SPDX-License-Identifier: MIT */
/* What dqgen bench measures of a model: filled by bench_measure.c, printed by bench.c and bench_profile.c. */
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

/* The operators of an evaluation with the least time of each. Zero is empty. */
struct profile {
    dqg_measure_operator *operators;
    size_t count, capacity;
    double ceiling; /* operations a second */
};

void profile_add(void *user, const dqg_measure_operator *told); /* user: the profile */
bool profile_complete(const struct profile *profile, const dqg_model_info *info);
void profile_print(const struct profile *profile, size_t most); /* most: layers shown */
void profile_json(const struct profile *profile, struct json *json);
void profile_free(struct profile *profile);

struct result {
    const char *backend;
    struct timing evaluation, step;
    double pictures_per_second;
    double gops;      /* thousand million operations a second in products and attention of the best evaluation */
    double ceiling;   /* the most of int8, in the same unit */
    double processor; /* seconds of an evaluation, all threads together */
    struct profile profile;
};

/* What of it is wanted. */
enum { BENCH_LOAD = 1, BENCH_EVALUATION = 2, BENCH_STEP = 4, BENCH_ALL = 7 };

struct bench {
    int parts;        /* BENCH_* */
    const char *path; /* or the name of a network with random weights */
    bool random;
    const char *format;  /* of random weights */
    const char *backend; /* --backend; "all" for each in turn */
    int64_t count, repeats, group, top, threads;
    bool json, profile, cold;
    struct sampling sampling;
    dqg_model *model;
    int32_t height, width;
    uint64_t run_bytes, model_bytes;
    double operations; /* of products and attention in one evaluation of count pictures */
    struct timing load;
    struct result results[BENCH_BACKENDS];
    size_t result_count;
};

/* Load the model, a few times while that is quick; or make it. */
int bench_load(struct cli *cli, struct bench *job);

/* Measure everything else, on the backend or backends asked for. Needs the model and the resolved sampling. */
int bench_measure(struct cli *cli, struct bench *job);

/* The index-th network that can be made with random weights, NULL past the last; and one of them. */
const char *random_network_name(size_t index);
dqg_model *random_network(struct cli *cli, const char *name, const char *format, int64_t group, int *exit_code);

#endif
