/* SPDX-License-Identifier: MIT */
/* dqgen bench of a model, measuring: each figure is the median of several repetitions with the extremes beside it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum { BENCH_LOADS = 5 };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the seconds. */
static struct timing summarize(double *seconds, size_t count) {
    qsort(seconds, count, sizeof(*seconds), by_value);
    double middle = 0.5 * (seconds[(count - 1) / 2] + seconds[count / 2]);
    return (struct timing){1e3 * middle, 1e3 * seconds[0], 1e3 * seconds[count - 1]};
}

/* What the operating system keeps of a file in memory is given up, so that the disk is read. */
static void forget_file(const char *path) {
    int file = open(path, O_RDONLY);
    if (file >= 0) {
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        close(file);
    }
}

int bench_load(struct cli *cli, struct bench *job) {
    double seconds[BENCH_LOADS];
    size_t count = 0;
    int code = EXIT_OK;
    for (double total = 0; code == EXIT_OK && count < BENCH_LOADS && total < 1; total += seconds[count++]) {
        dqg_model_release(job->model);
        if (job->cold && !job->random) {
            forget_file(job->path);
        }
        double start = now_s();
        job->model = job->random ? random_network(cli, job->path, job->format, job->group, &code)
                                 : cli_load(cli, job->path, &code);
        seconds[count] = now_s() - start;
    }
    if (code == EXIT_OK) {
        job->load = summarize(seconds, count);
    }
    return code;
}

static int measure_evaluations(struct cli *cli, struct bench *job, struct result *result) {
    dqg_measure_spec spec;
    dqg_measure_result measured;
    DQG_INIT(&spec);
    DQG_INIT(&measured);
    spec.samples = job->count;
    spec.height = job->height;
    spec.width = job->width;
    spec.repeats = (int32_t)job->repeats;
    spec.seconds = 1e-6;
    dqg_status status = dqg_measure_network(cli->context, job->model, &spec, job->profile ? profile_add : NULL,
                                            &result->profile, &measured);
    if (status < 0) {
        return cli_library_error(cli, status, "evaluate the network");
    }
    if (job->profile && !profile_complete(&result->profile, &job->sampling.info)) {
        return cli_error(cli, EXIT_FAILED, "out of memory");
    }
    job->operations = measured.operations;
    result->profile.ceiling = measured.ceiling;
    result->evaluation =
        (struct timing){1e3 * measured.seconds_median, 1e3 * measured.seconds_min, 1e3 * measured.seconds_max};
    result->gops = 1e-9 * measured.operations / measured.seconds_min;
    result->ceiling = 1e-9 * measured.ceiling;
    result->processor = measured.processor_seconds;
    return EXIT_OK;
}

static int measure_steps(struct cli *cli, struct bench *job, double *seconds, struct result *result) {
    int code;
    dqg_run *run = sampling_run(cli, &job->sampling, job->model, 0, (int32_t)job->count, job->count, &code);
    if (run == NULL) {
        return code;
    }
    double total = 0;
    int32_t steps = 0;
    dqg_status status = DQG_OK;
    while (status == DQG_OK) {
        double start = now_s();
        status = dqg_run_step(run);
        seconds[steps] = now_s() - start;
        total += seconds[steps++];
    }
    dqg_run_destroy(run);
    if (status < 0) {
        return cli_library_error(cli, status, "run");
    }
    result->step = summarize(seconds, (size_t)steps);
    result->pictures_per_second = (double)job->count / total;
    return EXIT_OK;
}

static int measure_backend(struct cli *cli, struct bench *job, const char *name, double *seconds) {
    dqg_status status = dqg_context_set_backend(cli->context, name);
    if (status < 0) {
        return cli_library_error(cli, status, "use --backend %s", name);
    }
    struct result *result = &job->results[job->result_count++];
    result->backend = dqg_context_backend(cli->context);
    progress_begin(&cli->progress, result->backend);
    int code = (job->parts & BENCH_EVALUATION) != 0 ? measure_evaluations(cli, job, result) : EXIT_OK;
    if (code == EXIT_OK && (job->parts & BENCH_STEP) != 0) {
        code = measure_steps(cli, job, seconds, result);
    }
    progress_end(&cli->progress);
    return code;
}

int bench_measure(struct cli *cli, struct bench *job) {
    dqg_memory_info memory;
    DQG_INIT(&memory);
    dqg_options_set_int(job->sampling.run_options, DQG_RUN_COUNT, job->count);
    dqg_status status =
        dqg_model_memory(cli->context, job->model, job->sampling.scheduler, job->sampling.run_options, &memory);
    if (status < 0) {
        return cli_library_error(cli, status, "tell the memory of a run");
    }
    job->run_bytes = memory.run_bytes;
    job->model_bytes = memory.model_bytes;
    double *seconds = calloc((size_t)job->sampling.steps + 1, sizeof(*seconds));
    int code = seconds == NULL ? cli_error(cli, EXIT_FAILED, "out of memory") : EXIT_OK;
    if (code == EXIT_OK && strcmp(job->backend, "all") != 0) {
        code = measure_backend(cli, job, job->backend, seconds);
    } else {
        const char *name;
        for (int32_t i = 0; code == EXIT_OK && i < BENCH_BACKENDS && (name = dqg_backend_name(i)) != NULL; i++) {
            code = measure_backend(cli, job, name, seconds);
        }
    }
    free(seconds);
    return code;
}
