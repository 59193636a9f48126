/* SPDX-License-Identifier: MIT */
/* What dqgen bench matmul, attention and so on measure: shapes in bench_shapes.c, measured by bench_ops.c, printed by
 * bench_table.c. */
#ifndef DQGEN_BENCH_OPS_H
#define DQGEN_BENCH_OPS_H

#include "cli.h"

/* One size of an operation; what does not count is 0. */
struct op_shape {
    const char *network, *name;
    int64_t heads, rows, outputs, inputs;
    int64_t keys;                                 /* of attention to other tokens */
    int64_t depth, height, width, kernel, stride; /* of convolutions */
    bool upsample;
};

/* An operation by its word on the command line. */
struct op_kind {
    const char *word, *summary;
    int32_t operation;
    bool weights;     /* in a storage format */
    const char *unit; /* of operations: "OP", "weight", "element", "B" */
    const struct op_shape *shapes;
    size_t shape_count;
    const char *first; /* network whose shapes are measured when none is named */
};

extern const struct op_kind op_kinds[];
extern const size_t op_kind_count;

struct op_row {
    struct op_shape shape;
    const char *backend, *format;
    int32_t group;
    dqg_measure_result result;
};

enum { OPS_LIST = 16, OPS_ROWS = 2048 };
enum { SIZE_M, SIZE_N, SIZE_K, SIZE_HEADS, SIZE_KEYS, OPS_SIZES };

struct op_sizes {
    int64_t values[OPS_LIST];
    size_t count;
};

struct ops_job {
    const struct op_kind *kind;
    const char *shapes, *format, *backend;
    const char *texts[OPS_SIZES];     /* --m, --n, --k, --heads, --keys as typed */
    struct op_sizes sizes[OPS_SIZES]; /* and read */
    struct op_shape typed;            /* --height and so on */
    const char *attention, *compute;
    uint32_t flags; /* DQG_MEASURE_* */
    int32_t dtype;  /* of attention */
    int64_t group, milliseconds, threads;
    bool json, cold;
    bool processor; /* rates by processor time and not by the clock */
    struct op_row *rows;
    size_t row_count;
    double bandwidth; /* bytes a second, or 0 where it was not needed */
};

/* Products of so few rows are bound by reading the weights. */
enum { OPS_FEW_ROWS = 16 };

void ops_print(const struct ops_job *job);
void ops_print_json(const struct ops_job *job);

/* Model name of the processor, or "unknown"; into a buffer of 128. */
const char *machine_name(char *buffer);
int64_t machine_cpus(void); /* that this process may use */

#endif
