/* SPDX-License-Identifier: MIT */
/*
 * dqgen bench: of a model, time to load, time for a network evaluation and for a solver step, pictures a second,
 * memory; of operators see bench_ops.c. One backend, or with --backend all every one this machine can run. This file
 * reads the arguments and prints; measuring is done in bench_measure.c.
 */
#include "bench.h"

#include <string.h>
#include <sys/resource.h>

#include "bench_ops.h"

static const char notes[] =
    "MODEL is a file, or a network with random weights: dit-xl2, dit-l2, dit-b2, dit-s2. An evaluation is the network\n"
    "once for --count pictures without guidance; a step is what the solver does, with guidance. GOP/s counts products\n"
    "and attention, two operations each, in the best evaluation; the ceiling is int8 on registers alone.\n\n"
    "'dqgen bench load MODEL' and 'dqgen bench step MODEL' measure only that. 'dqgen bench matmul', 'attention', "
    "'norm',\n"
    "'quantize', 'decode', 'ceiling', 'ceiling-f32' and 'bandwidth' measure operators without a model.\n\n"
    "examples:\n"
    "  dqgen bench sprites.dqg --backend all --count 4 --json > bench.json\n"
    "  dqgen bench dit-xl2 --profile";

static uint64_t peak_memory(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

static void print_timing(const char *label, const struct timing *timing) {
    printf("  %-12s %10.3f ms  (%.3f to %.3f)\n", label, timing->median_ms, timing->least_ms, timing->most_ms);
}

/* Megabytes a second of the quickest load. */
static double load_rate(const struct bench *job, uint64_t bytes) {
    return 1e-3 * (double)bytes / job->load.least_ms;
}

static void print_text(const struct bench *job) {
    char a[32], b[32], c[32];
    printf("%s: %lld picture%s of %dx%d in a run, %d steps, guidance %g\n", job->path, (long long)job->count,
           job->count == 1 ? "" : "s", (int)job->width, (int)job->height, (int)job->sampling.steps,
           job->sampling.guidance);
    printf("  memory       model %s, run %s, whole process at most %s\n", bytes_text(a, job->model_bytes),
           bytes_text(b, job->run_bytes), bytes_text(c, peak_memory()));
    if ((job->parts & BENCH_LOAD) != 0) {
        print_timing(job->random ? "making" : "load", &job->load);
        if (!job->random) {
            printf("  %-12s %10.1f MB/s of the file, %.1f of weights in memory\n", "",
                   load_rate(job, file_bytes(job->path)), load_rate(job, job->model_bytes));
        }
    }
    for (size_t i = 0; job->parts != BENCH_LOAD && i < job->result_count; i++) {
        const struct result *result = &job->results[i];
        printf("%s\n", result->backend);
        if ((job->parts & BENCH_EVALUATION) != 0) {
            print_timing("evaluation", &result->evaluation);
            printf("  %-12s %10.1f GOP/s, %.1f%% of the ceiling of %.1f\n", "", result->gops,
                   100 * result->gops / result->ceiling, result->ceiling);
            double alone = 1e-9 * job->operations * (double)job->threads / result->processor;
            printf("  %-12s %10.3f ms, on %lld threads without waiting %.1f GOP/s, %.1f%%\n", "processor",
                   1e3 * result->processor, (long long)job->threads, alone, 100 * alone / result->ceiling);
        }
        if ((job->parts & BENCH_STEP) != 0) {
            print_timing("step", &result->step);
            printf("  %-12s %10.3f a second\n", "pictures", result->pictures_per_second);
        }
        if (job->profile) {
            profile_print(&result->profile, (size_t)job->top);
        }
    }
}

static void json_timing(struct json *json, const char *key, const struct timing *timing) {
    json_open(json, key, '{');
    json_number(json, "median", timing->median_ms);
    json_number(json, "min", timing->least_ms);
    json_number(json, "max", timing->most_ms);
    json_close(json, '}');
}

static void json_result(struct json *json, const struct bench *job, const struct result *result) {
    json_open(json, NULL, '{');
    json_text(json, "name", result->backend);
    if ((job->parts & BENCH_EVALUATION) != 0) {
        json_timing(json, "evaluation_ms", &result->evaluation);
        json_number(json, "processor_ms", 1e3 * result->processor);
        json_number(json, "gops", result->gops);
        json_number(json, "ceiling_gops", result->ceiling);
        json_number(json, "share", result->gops / result->ceiling);
    }
    if ((job->parts & BENCH_STEP) != 0) {
        json_timing(json, "step_ms", &result->step);
        json_number(json, "pictures_per_second", result->pictures_per_second);
    }
    if (job->profile) {
        profile_json(&result->profile, json);
    }
    json_close(json, '}');
}

static void print_json(const struct bench *job) {
    struct json json;
    char text[128];
    json_begin(&json, stdout);
    json_text(&json, "file", job->path);
    json_text(&json, "machine", machine_name(text));
    json_int(&json, "count", job->count);
    json_int(&json, "height", job->height);
    json_int(&json, "width", job->width);
    json_int(&json, "steps", job->sampling.steps);
    json_number(&json, "guidance", job->sampling.guidance);
    json_int(&json, "threads", job->threads);
    json_int(&json, "model_bytes", (int64_t)job->model_bytes);
    json_int(&json, "run_bytes", (int64_t)job->run_bytes);
    json_int(&json, "peak_process_bytes", (int64_t)peak_memory());
    json_number(&json, "evaluation_operations", job->operations);
    json_timing(&json, "load_ms", &job->load);
    json_open(&json, "backends", '[');
    for (size_t i = 0; i < job->result_count; i++) {
        json_result(&json, job, &job->results[i]);
    }
    json_close(&json, ']');
    json_end(&json);
}

/* Is it one of the networks that need no file? */
static bool is_random(const char *name) {
    const char *known;
    for (size_t i = 0; (known = random_network_name(i)) != NULL; i++) {
        if (strcmp(name, known) == 0) {
            return true;
        }
    }
    return false;
}

static int measure_model(struct cli *cli, struct bench *job, const struct args *args) {
    job->path = args->operand[0];
    job->threads = cli->threads > 0 ? cli->threads : machine_cpus();
    job->random = is_random(job->path);
    int code = bench_load(cli, job);
    if (code == EXIT_OK) {
        code = sampling_resolve(cli, &job->sampling, args, job->model);
    }
    if (code == EXIT_OK) {
        sampling_size(&job->sampling, &job->height, &job->width);
        code = bench_measure(cli, job);
    }
    return code;
}

static int bench_model_main(struct cli *cli, int parts, const char *command, int argc, char **argv) {
    struct bench job = {.parts = parts,
                        .count = 1,
                        .repeats = 10,
                        .top = 15,
                        .format = "int4",
                        .backend = "auto",
                        .sampling = {.spread = 1}};
    const struct arg_row rows[] = {
        {"backend", 0, ARG_TEXT, "NAME", "kernels: all, auto, or the name of one (default auto)", 0, 0, &job.backend},
        {"count", 'n', ARG_INT, "N", "pictures in a run (default 1)", 1, SAMPLING_BATCH, &job.count},
        {"repeats", 0, ARG_INT, "N", "network evaluations to time (default 10)", 1, 500, &job.repeats},
        {"profile", 0, ARG_FLAG, NULL, "the time of each kind of operator and of layers", 0, 0, &job.profile},
        {"top", 0, ARG_INT, "N", "layers that --profile shows (default 15)", 1, 10000, &job.top},
        {"format", 0, ARG_TEXT, "NAME", "storage of random weights: int4, nf4, int8, f16, ... (default int4)", 0, 0,
         &job.format},
        {"group", 0, ARG_INT, "N", "inputs that share a scale in them: 32, 64, 128 (default 64)", 1, 4096, &job.group},
        {"cold", 0, ARG_FLAG, NULL, "load from the disk and not from the system's cache", 0, 0, &job.cold},
        {"json", 0, ARG_FLAG, NULL, "print JSON", 0, 0, &job.json},
        {"seeds", 0, ARG_TEXT, NULL, NULL, 0, 0, &job.sampling.seeds_text},
        SAMPLING_ROWS(&job.sampling),
    };
    struct args args = {.cli = cli,
                        .command = command,
                        .operands = "MODEL",
                        .summary = "Measures speed and memory of a model on this machine.",
                        .notes = notes,
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .min_operands = 1,
                        .max_operands = 1};
    int code = sampling_init(cli, &job.sampling, &args);
    if (code == EXIT_OK && args_parse(&args, argc, argv, &code)) {
        code = measure_model(cli, &job, &args);
        if (code == EXIT_OK && job.json) {
            print_json(&job);
        } else if (code == EXIT_OK) {
            print_text(&job);
        }
    }
    for (size_t i = 0; i < job.result_count; i++) {
        profile_free(&job.results[i].profile);
    }
    dqg_model_release(job.model);
    sampling_free(&job.sampling);
    return code;
}

int bench_main(struct cli *cli, int argc, char **argv) {
    const char *word = argc > 0 ? argv[0] : "";
    for (size_t i = 0; i < op_kind_count; i++) {
        if (strcmp(word, op_kinds[i].word) == 0) {
            return bench_ops_main(cli, &op_kinds[i], argc - 1, argv + 1);
        }
    }
    if (strcmp(word, "load") == 0) {
        return bench_model_main(cli, BENCH_LOAD, "bench load", argc - 1, argv + 1);
    }
    if (strcmp(word, "step") == 0) {
        return bench_model_main(cli, BENCH_STEP, "bench step", argc - 1, argv + 1);
    }
    return bench_model_main(cli, BENCH_ALL, "bench", argc, argv);
}
