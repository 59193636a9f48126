/* SPDX-License-Identifier: MIT */
/* dqgen bench, measuring: each figure is the median of several repetitions with the extremes beside it. */
#include <stdlib.h>
#include <string.h>

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

/* Load a few times while that is quick; the last one stays. */
int bench_load(struct cli *cli, struct bench *job) {
    double seconds[BENCH_LOADS];
    size_t count = 0;
    int code = EXIT_OK;
    for (double total = 0; code == EXIT_OK && count < BENCH_LOADS && total < 1; total += seconds[count++]) {
        dqg_model_release(job->model);
        double start = now_s();
        job->model = cli_load(cli, job->path, &code);
        seconds[count] = now_s() - start;
    }
    if (code == EXIT_OK) {
        job->load = summarize(seconds, count);
    }
    return code;
}

/* Weights that act on every token do so once for each patch; embeddings of time and class, and the modulation made from
 * them, once for each picture. */
static double count_operations(const struct bench *job) {
    const dqg_model_info *info = &job->sampling.info;
    double tokens = (double)(job->height / info->patch_size) * (job->width / info->patch_size);
    double products = 0;
    dqg_tensor_info tensor;
    DQG_INIT(&tensor);
    for (int32_t t = 0; dqg_model_tensor_at(job->model, t, &tensor) == DQG_OK; t++) {
        bool table = strstr(tensor.name, "embedding_table") != NULL || strstr(tensor.name, "pos_embed") != NULL;
        bool once = strstr(tensor.name, "t_embedder") != NULL || strstr(tensor.name, "adaLN") != NULL;
        double weights = tensor.rank >= 2 && !table ? 1 : 0;
        for (int32_t d = 0; d < tensor.rank; d++) {
            weights *= (double)tensor.shape[d];
        }
        products += weights * (once ? 1 : tokens);
    }
    return 2 * products * (double)job->count;
}

static int measure_evaluations(struct cli *cli, struct bench *job, double *seconds, struct result *result) {
    const dqg_model_info *info = &job->sampling.info;
    size_t n = (size_t)job->count;
    size_t size = n * (size_t)info->channels * (size_t)job->height * (size_t)job->width;
    float *values = calloc(2 * size, sizeof(float));
    double *timesteps = calloc(n, sizeof(*timesteps));
    int32_t *labels = calloc(n, sizeof(*labels));
    dqg_status status = values == NULL || timesteps == NULL || labels == NULL ? DQG_ERROR_MEMORY : DQG_OK;
    if (status >= 0) {
        dqg_tensor_view input;
        DQG_INIT(&input);
        input.data = values;
        input.dtype = DQG_DTYPE_F32;
        input.rank = 4;
        input.shape[0] = (int64_t)n;
        input.shape[1] = info->channels;
        input.shape[2] = job->height;
        input.shape[3] = job->width;
        dqg_tensor_view output = input;
        output.data = values + size;
        for (size_t i = 0; i < size; i++) {
            values[i] = (float)((i * 7919) % 2003) / 1001.0f - 1.0f; /* numbers of no meaning from -1 to 1 */
        }
        for (size_t i = 0; i < n; i++) {
            timesteps[i] = 500;
            labels[i] = sampling_class(&job->sampling, (int64_t)i, 1);
        }
        for (int64_t i = -1; i < job->repeats && status >= 0; i++) { /* the first one warms up */
            double start = now_s();
            status = dqg_model_evaluate(cli->context, job->model, &input, timesteps, labels, NULL, NULL, &output);
            seconds[i < 0 ? 0 : i] = now_s() - start;
            status = status >= 0 && cli_interrupted() ? DQG_ERROR_CANCELLED : status;
        }
    }
    free(values);
    free(timesteps);
    free(labels);
    if (status < 0) {
        return cli_library_error(cli, status, "evaluate the network");
    }
    result->evaluation = summarize(seconds, (size_t)job->repeats);
    result->gops = job->operations / (1e6 * result->evaluation.median_ms);
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
    int code = measure_evaluations(cli, job, seconds, result);
    if (code == EXIT_OK) {
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
    job->operations = count_operations(job);
    size_t room = (size_t)(job->repeats > job->sampling.steps ? job->repeats : job->sampling.steps) + 1;
    double *seconds = calloc(room, sizeof(*seconds));
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
