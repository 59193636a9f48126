/* SPDX-License-Identifier: MIT */
/* dqgen bench of operators, printing: a table for people, or JSON with every number, the machine and the version. */
#define _GNU_SOURCE /* sched_getaffinity */
#include <math.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "bench_ops.h"

const char *machine_name(char *buffer) {
    char line[256];
    snprintf(buffer, 128, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon != NULL && strncmp(line, "model name", 10) == 0) {
            snprintf(buffer, 128, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return buffer;
}

int64_t machine_cpus(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
}

/* ---- figures ---- */

/* Of the best call: by the clock, or what it would be with all threads at work all the time and nobody else's. */
static double seconds(const struct ops_job *job, const struct op_row *row) {
    return job->processor ? row->result.processor_seconds / (double)job->threads : row->result.seconds_min;
}

static double rate(const struct ops_job *job, const struct op_row *row) {
    return row->result.operations / seconds(job, row);
}

static bool bound_by_reading(const struct ops_job *job, const struct op_row *row) {
    return job->kind->operation == DQG_MEASURE_LINEAR && row->shape.rows <= OPS_FEW_ROWS;
}

/* What the figure is compared with: the ceiling of arithmetic, or for few rows the bandwidth. 0: nothing. */
static double share(const struct ops_job *job, const struct op_row *row) {
    if (bound_by_reading(job, row)) {
        return row->result.bytes / seconds(job, row) / job->bandwidth;
    }
    return row->result.ceiling > 0 ? rate(job, row) / row->result.ceiling : 0;
}

/* Geometric means and the least share of rows that belong together: one backend and format, bound by the same thing. */
struct mean {
    size_t count;
    double rate, share, least;
};

static bool belongs(const struct ops_job *job, const struct op_row *a, const struct op_row *b) {
    return a->backend == b->backend && a->format == b->format && bound_by_reading(job, a) == bound_by_reading(job, b);
}

static struct mean mean_of(const struct ops_job *job, const struct op_row *like) {
    struct mean mean = {.least = INFINITY};
    for (size_t i = 0; i < job->row_count; i++) {
        const struct op_row *row = &job->rows[i];
        if (belongs(job, row, like)) {
            mean.count++;
            mean.rate += log(rate(job, row));
            mean.share += log(share(job, row));
            mean.least = fmin(mean.least, share(job, row));
        }
    }
    mean.rate = exp(mean.rate / (double)mean.count);
    mean.share = exp(mean.share / (double)mean.count);
    return mean;
}

/* The first row of those that belong together. */
static bool is_first(const struct ops_job *job, size_t index) {
    for (size_t i = 0; i < index; i++) {
        if (belongs(job, &job->rows[i], &job->rows[index])) {
            return false;
        }
    }
    return true;
}

/* ---- for people ---- */

static void shape_text(char *buffer, size_t size, const struct op_shape *shape) {
    int at = snprintf(buffer, size, "%s%s%s", shape->network, shape->network[0] != '\0' ? " " : "", shape->name);
    if (at < 22) {
        at += snprintf(buffer + at, size - (size_t)at, "%*s", 22 - at, "");
    }
    const struct {
        int64_t value;
        int width;
    } sizes[] = {{shape->heads, 5},  {shape->rows, 6},    {shape->keys, 6},   {shape->depth > 1 ? shape->depth : 0, 3},
                 {shape->height, 4}, {shape->width, 4},   {shape->outputs, 5}, {shape->inputs, 5},
                 {shape->kernel, 2}, {shape->stride, 2}};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        if (sizes[i].value > 0) {
            at += snprintf(buffer + at, size - (size_t)at, " %*lld", sizes[i].width, (long long)sizes[i].value);
        }
    }
}

static void print_row(const struct ops_job *job, const struct op_row *row) {
    const dqg_measure_result *result = &row->result;
    char shape[128];
    shape_text(shape, sizeof(shape), &row->shape);
    printf("%-48s %10.4f %10.4f %10.4f %9.1f", shape, 1e3 * result->seconds_min, 1e3 * result->seconds_median,
           1e3 * result->seconds_max, 1e-9 * rate(job, row));
    if (share(job, row) > 0) {
        printf(" %6.1f%%", 100 * share(job, row));
    } else {
        printf(" %7s", "");
    }
    printf(" %8.2f", 1e-9 * result->bytes / seconds(job, row));
    if (result->error >= 0) {
        printf("  %.2e", result->error);
    }
    printf("\n");
}

static void print_heading(const struct ops_job *job, const struct op_row *row) {
    double ceiling = 0;
    for (size_t i = 0; i < job->row_count; i++) {
        const struct op_row *other = &job->rows[i];
        ceiling = belongs(job, row, other) ? fmax(ceiling, other->result.ceiling) : ceiling;
    }
    printf("\n%s", row->backend);
    if (row->format != NULL) {
        printf(", %s", row->format);
    }
    if (row->group > 0) {
        printf(", groups of %d", (int)row->group);
    }
    if (bound_by_reading(job, row)) {
        printf(", reading memory at most %.1f GB/s", 1e-9 * job->bandwidth);
    } else if (ceiling > 0) {
        printf(", ceiling %.1f G%s/s", 1e-9 * ceiling, job->kind->unit);
    }
    char unit[16];
    snprintf(unit, sizeof(unit), "G%s/s", job->kind->unit);
    printf("\n%-48s %10s %10s %10s %9s %7s %8s  %s\n", "shape", "min ms", "median", "max", unit,
           bound_by_reading(job, row) ? "read" : "ceiling", "GB/s", "error");
}

/* What can differ between the shapes of a command. */
static bool same_shape(const struct op_shape *a, const struct op_shape *b) {
    return a->network == b->network && a->name == b->name && a->heads == b->heads && a->rows == b->rows &&
           a->outputs == b->outputs && a->inputs == b->inputs;
}

/* The index-th row's rate over that of the same shape in the first format; 0 where there is none. */
static double against_first(const struct ops_job *job, size_t index) {
    const struct op_row *row = &job->rows[index];
    for (size_t i = 0; i < index; i++) {
        const struct op_row *other = &job->rows[i];
        if (other->backend == row->backend && other->format == job->rows[0].format &&
            same_shape(&other->shape, &row->shape)) {
            return rate(job, row) / rate(job, other);
        }
    }
    return 0;
}

/* What formats cost beside the first one: geometric mean and least ratio of rates, shapes bound by arithmetic. */
static void print_formats(const struct ops_job *job) {
    bool titled = false;
    for (size_t first = 0; first < job->row_count; first++) {
        const struct op_row *like = &job->rows[first];
        if (like->format == job->rows[0].format || bound_by_reading(job, like) || !is_first(job, first)) {
            continue;
        }
        double sum = 0, least = INFINITY;
        size_t count = 0;
        for (size_t i = first; i < job->row_count; i++) {
            double ratio = belongs(job, &job->rows[i], like) ? against_first(job, i) : 0;
            if (ratio > 0) {
                sum += log(ratio);
                least = fmin(least, ratio);
                count++;
            }
        }
        if (count > 0 && !titled) {
            printf("\nrate beside that of %s, geometric mean and least\n", job->rows[0].format);
            titled = true;
        }
        if (count > 0) {
            printf("%-14s %-8s %6.3f %6.3f\n", like->backend, like->format, exp(sum / (double)count), least);
        }
    }
}

void ops_print(const struct ops_job *job) {
    char name[128];
    printf("%s: %lld threads, %s%s\n", job->kind->word, (long long)job->threads, machine_name(name),
           job->processor ? ", rates by processor time" : "");
    for (size_t first = 0; first < job->row_count; first++) {
        if (!is_first(job, first)) {
            continue;
        }
        print_heading(job, &job->rows[first]);
        for (size_t i = first; i < job->row_count; i++) {
            if (belongs(job, &job->rows[i], &job->rows[first])) {
                print_row(job, &job->rows[i]);
            }
        }
        struct mean mean = mean_of(job, &job->rows[first]);
        if (mean.count > 1) {
            printf("%-81s %9.1f", "geometric mean", 1e-9 * mean.rate);
            if (mean.share > 0) {
                printf(" %6.1f%%, least %.1f%%", 100 * mean.share, 100 * mean.least);
            }
            printf("\n");
        }
    }
    print_formats(job);
}

/* ---- for programs ---- */

static int64_t or_else(int64_t value, int64_t fallback) {
    return value > 0 ? value : fallback;
}

static void json_conv(struct json *json, const struct op_shape *shape) {
    json_int(json, "samples", 1);
    json_int(json, "depth", or_else(shape->depth, 1));
    json_int(json, "height", shape->height);
    json_int(json, "width", shape->width);
    json_int(json, "kernel", or_else(shape->kernel, 3));
    json_int(json, "stride", or_else(shape->stride, 1));
    json_int(json, "upsample", shape->upsample);
}

static void json_row(struct json *json, const struct ops_job *job, const struct op_row *row) {
    const dqg_measure_result *result = &row->result;
    json_open(json, NULL, '{');
    json_text(json, "backend", row->backend);
    json_text(json, "network", row->shape.network);
    json_text(json, "name", row->shape.name);
    json_text(json, "format", row->format);
    json_int(json, "group", row->group);
    json_int(json, "heads", row->shape.heads);
    json_int(json, "m", row->shape.rows);
    json_int(json, "n", row->shape.outputs);
    json_int(json, "k", row->shape.inputs);
    if (job->kind->operation == DQG_MEASURE_ATTENTION) {
        json_int(json, "keys", or_else(row->shape.keys, row->shape.rows));
    }
    if (job->kind->operation == DQG_MEASURE_CONV) {
        json_conv(json, &row->shape);
    }
    json_int(json, "times", result->times);
    json_number(json, "seconds_min", result->seconds_min);
    json_number(json, "seconds_median", result->seconds_median);
    json_number(json, "seconds_max", result->seconds_max);
    json_number(json, "processor_seconds", result->processor_seconds);
    json_number(json, "operations", result->operations);
    json_number(json, "bytes", result->bytes);
    json_number(json, "rate", rate(job, row));
    json_number(json, "ceiling", result->ceiling);
    json_number(json, "share", share(job, row));
    json_text(json, "share_of", bound_by_reading(job, row) ? "bandwidth" : "ceiling");
    json_number(json, "error", result->error >= 0 ? result->error : NAN);
    json_close(json, '}');
}

void ops_print_json(const struct ops_job *job) {
    struct json json;
    char text[128];
    int32_t version = dqg_version();
    json_begin(&json, stdout);
    json_text(&json, "benchmark", job->kind->word);
    snprintf(text, sizeof(text), "%d.%d.%d", (int)(version / 1000000), (int)(version / 1000 % 1000),
             (int)(version % 1000));
    json_text(&json, "version", text);
    json_text(&json, "machine", machine_name(text));
    json_int(&json, "cpus", machine_cpus());
    json_int(&json, "threads", job->threads);
    json_text(&json, "unit", job->kind->unit);
    json_text(&json, "rates_by", job->processor ? "processor" : "clock");
    json_number(&json, "bandwidth", job->bandwidth > 0 ? job->bandwidth : NAN);
    json_open(&json, "results", '[');
    for (size_t i = 0; i < job->row_count; i++) {
        json_row(&json, job, &job->rows[i]);
    }
    json_close(&json, ']');
    json_open(&json, "means", '[');
    for (size_t i = 0; i < job->row_count; i++) {
        if (is_first(job, i)) {
            struct mean mean = mean_of(job, &job->rows[i]);
            json_open(&json, NULL, '{');
            json_text(&json, "backend", job->rows[i].backend);
            json_text(&json, "format", job->rows[i].format);
            json_text(&json, "share_of", bound_by_reading(job, &job->rows[i]) ? "bandwidth" : "ceiling");
            json_number(&json, "rate", mean.rate);
            json_number(&json, "share", mean.share);
            json_number(&json, "least_share", mean.least);
            json_close(&json, '}');
        }
    }
    json_close(&json, ']');
    json_end(&json);
}
