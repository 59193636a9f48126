/* SPDX-License-Identifier: MIT */
/*
 * dqgen bench: time to load, time for a network evaluation and for a solver step, pictures a second, memory. One
 * backend, or with --backend all every one this machine can run. This file reads the arguments and prints; measuring is
 * done in bench_measure.c.
 */
#include "bench.h"

#include <string.h>
#include <sys/resource.h>

#include "bench_ops.h"

static const char notes[] =
    "An evaluation is the network once for --count pictures without guidance; a step is what the solver does, with\n"
    "guidance. GOP/s counts products with weights, two operations each, attention not included.\n\n"
    "example:\n"
    "  dqgen bench sprites.dqg --backend all --count 4 --json > bench.json";

static uint64_t peak_memory(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

static void print_timing(const char *label, const struct timing *timing) {
    printf("  %-12s %10.3f ms  (%.3f to %.3f)\n", label, timing->median_ms, timing->least_ms, timing->most_ms);
}

static void print_text(const struct bench *job) {
    char a[32], b[32], c[32];
    printf("%s: %lld picture%s of %dx%d in a run, %d steps, guidance %g\n", job->path, (long long)job->count,
           job->count == 1 ? "" : "s", (int)job->width, (int)job->height, (int)job->sampling.steps,
           job->sampling.guidance);
    printf("  memory       model %s, run %s, whole process at most %s\n", bytes_text(a, job->model_bytes),
           bytes_text(b, job->run_bytes), bytes_text(c, peak_memory()));
    print_timing("load", &job->load);
    for (size_t i = 0; i < job->result_count; i++) {
        const struct result *result = &job->results[i];
        printf("%s\n", result->backend);
        print_timing("evaluation", &result->evaluation);
        print_timing("step", &result->step);
        printf("  %-12s %10.3f a second\n  %-12s %10.1f GOP/s\n", "pictures", result->pictures_per_second, "products",
               result->gops);
    }
}

static void json_timing(struct json *json, const char *key, const struct timing *timing) {
    json_open(json, key, '{');
    json_number(json, "median", timing->median_ms);
    json_number(json, "min", timing->least_ms);
    json_number(json, "max", timing->most_ms);
    json_close(json, '}');
}

static void print_json(const struct bench *job, int64_t threads) {
    struct json json;
    json_begin(&json, stdout);
    json_text(&json, "file", job->path);
    json_int(&json, "count", job->count);
    json_int(&json, "height", job->height);
    json_int(&json, "width", job->width);
    json_int(&json, "steps", job->sampling.steps);
    json_number(&json, "guidance", job->sampling.guidance);
    json_int(&json, "threads", threads);
    json_int(&json, "model_bytes", (int64_t)job->model_bytes);
    json_int(&json, "run_bytes", (int64_t)job->run_bytes);
    json_int(&json, "peak_process_bytes", (int64_t)peak_memory());
    json_number(&json, "evaluation_operations", job->operations);
    json_timing(&json, "load_ms", &job->load);
    json_open(&json, "backends", '[');
    for (size_t i = 0; i < job->result_count; i++) {
        const struct result *result = &job->results[i];
        json_open(&json, NULL, '{');
        json_text(&json, "name", result->backend);
        json_timing(&json, "evaluation_ms", &result->evaluation);
        json_timing(&json, "step_ms", &result->step);
        json_number(&json, "pictures_per_second", result->pictures_per_second);
        json_number(&json, "gops", result->gops);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_end(&json);
}

static int bench_model_main(struct cli *cli, int argc, char **argv) {
    struct bench job = {.count = 1, .repeats = 10, .backend = "auto", .sampling = {.spread = 1}};
    const struct arg_row rows[] = {
        {"backend", 0, ARG_TEXT, "NAME", "kernels: all, auto, scalar, avx2, avx512, neon (default auto)", 0, 0,
         &job.backend},
        {"count", 'n', ARG_INT, "N", "pictures in a run (default 1)", 1, SAMPLING_BATCH, &job.count},
        {"repeats", 0, ARG_INT, "N", "network evaluations to time (default 10)", 1, 100000, &job.repeats},
        {"json", 0, ARG_FLAG, NULL, "print JSON", 0, 0, &job.json},
        {"seeds", 0, ARG_TEXT, NULL, NULL, 0, 0, &job.sampling.seeds_text},
        SAMPLING_ROWS(&job.sampling),
    };
    struct args args = {.cli = cli,
                        .command = "bench",
                        .operands = "MODEL",
                        .summary = "Measures speed and memory of a model on this machine.",
                        .notes = notes,
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .min_operands = 1,
                        .max_operands = 1};
    int code = sampling_init(cli, &job.sampling, &args);
    if (code == EXIT_OK && args_parse(&args, argc, argv, &code)) {
        job.path = args.operand[0];
        code = bench_load(cli, &job);
        if (code == EXIT_OK) {
            code = sampling_resolve(cli, &job.sampling, &args, job.model);
        }
        if (code == EXIT_OK) {
            sampling_size(&job.sampling, &job.height, &job.width);
            code = bench_measure(cli, &job);
        }
        if (code == EXIT_OK && job.json) {
            print_json(&job, cli->threads);
        } else if (code == EXIT_OK) {
            print_text(&job);
        }
    }
    dqg_model_release(job.model);
    sampling_free(&job.sampling);
    return code;
}

int bench_main(struct cli *cli, int argc, char **argv) {
    for (size_t i = 0; argc > 0 && i < op_kind_count; i++) {
        if (strcmp(argv[0], op_kinds[i].word) == 0) {
            return bench_ops_main(cli, &op_kinds[i], argc - 1, argv + 1);
        }
    }
    return bench_model_main(cli, argc, argv);
}
