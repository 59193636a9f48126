/* SPDX-License-Identifier: MIT */
/* dqgen info: what a model file holds - sizes, classes, metadata, how the weights are stored - as text or JSON. */
#include <string.h>

#include "cli.h"

enum { VALUE_MOST = 300 }; /* bytes of metadata shown in a line */

struct info {
    bool json;
    bool tensors;
    const char *path;
    dqg_context *context;
    dqg_model *model;
    dqg_model_info model_info;
};

/* How much of a file each storage format takes. */
struct storage_sum {
    int64_t tensors;
    uint64_t memory_bytes;
    uint64_t stored_bytes;
};

/* "256x1024" */
static const char *shape_text(char *buffer, size_t size, const dqg_tensor_info *tensor) {
    size_t used = 0;
    buffer[0] = '\0';
    for (int32_t i = 0; i < tensor->rank && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%lld", i > 0 ? "x" : "", (long long)tensor->shape[i]);
    }
    return buffer;
}

/* "int4:32" */
static const char *format_text(char *buffer, size_t size, const dqg_tensor_info *tensor) {
    if (tensor->group > 0) {
        snprintf(buffer, size, "%s:%d", storage_name(tensor->dtype), (int)tensor->group);
    } else {
        snprintf(buffer, size, "%s", storage_name(tensor->dtype));
    }
    return buffer;
}

static bool tensor_at(const struct info *job, int32_t index, dqg_tensor_info *tensor) {
    DQG_INIT(tensor);
    return dqg_model_tensor_at(job->model, index, tensor) == DQG_OK;
}

static void sum_storage(const struct info *job, struct storage_sum sums[STORAGE_FORMATS]) {
    dqg_tensor_info tensor;
    for (int32_t t = 0; tensor_at(job, t, &tensor); t++) {
        for (size_t i = 0; i < STORAGE_FORMATS; i++) {
            if (storage_formats[i].dtype == tensor.dtype) {
                sums[i].tensors++;
                sums[i].memory_bytes += tensor.memory_bytes;
                sums[i].stored_bytes += tensor.stored_bytes;
            }
        }
    }
}

static bool text_at(const struct info *job, int32_t index, dqg_text_info *text) {
    DQG_INIT(text);
    return dqg_model_text_at(job->model, index, text) == DQG_OK;
}

static void print_encoders(const struct info *job) {
    dqg_text_info text;
    for (int32_t i = 0; text_at(job, i, &text); i++) {
        printf("  text        %s: %s, %d columns in %d layers, %.2f million parameters, %d ids", text.role, text.family,
               (int)text.columns, (int)text.layers, 1e-6 * (double)text.parameters, (int)text.vocabulary);
        if (text.tokens > 0) {
            printf(", at most %d tokens", (int)text.tokens);
        }
        if (text.projection > 0) {
            printf(", pooled row projected to %d", (int)text.projection);
        }
        printf("\n");
    }
}

static bool component_at(const struct info *job, int32_t index, dqg_component_info *component) {
    DQG_INIT(component);
    return dqg_model_component_at(job->model, index, component) == DQG_OK;
}

/* NULL where a prompt can be drawn, else what is lacking. */
static const char *prompt_lack(const struct info *job) {
    const char *const prompts[] = {""};
    dqg_prompt_info prompt;
    DQG_INIT(&prompt);
    if (dqg_model_prompt_info(job->context, job->model, prompts, 1, NULL, &prompt) < 0) {
        return dqg_context_error(job->context);
    }
    return job->model_info.reduction > 0 ? NULL : "the file has no autoencoder, which makes pictures of latents";
}

/* The networks of a file of several, and how they work together. */
static void print_components(const struct info *job) {
    static const char *const wires[][2] = {{"pipeline.context", "context"}, {"pipeline.pooled", "pooled row"}};
    dqg_component_info component;
    char a[32];
    for (int32_t i = 0; component_at(job, 1, &component) && component_at(job, i, &component); i++) {
        bool text = strcmp(component.family, "clip") == 0 || strcmp(component.family, "t5") == 0;
        const char *tokenizer = (component.flags & DQG_COMPONENT_TOKENIZER) != 0 ? ", with its tokenizer"
                                                                                  : ", without a tokenizer";
        printf("%s  %-11s %s, %.2f million parameters, %s%s\n", i == 0 ? "\nnetworks\n" : "", component.role,
               component.family, 1e-6 * (double)component.parameters, bytes_text(a, component.weight_bytes),
               text ? tokenizer : "");
    }
    if (job->model_info.context_columns == 0) {
        return;
    }
    printf("\nprompts\n");
    for (size_t i = 0; i < COUNT_OF(wires); i++) {
        const char *value = dqg_model_metadata(job->model, wires[i][0]);
        if (value != NULL) {
            printf("  %-11s %s\n", wires[i][1], value);
        }
    }
    const char *lack = prompt_lack(job);
    printf("  %-11s %s\n", lack != NULL ? "not drawn" : "drawn", lack != NULL ? lack : "by 'dqgen generate --prompt'");
}

static void print_text(const struct info *job) {
    const dqg_model_info *info = &job->model_info;
    char a[32], b[32];
    printf("%s: %s, %s\n", job->path, info->family, bytes_text(a, file_bytes(job->path)));
    printf("  parameters  %.2f million in %d layers; %s of weights in memory\n", 1e-6 * (double)info->parameters,
           (int)info->layers, bytes_text(a, info->weight_bytes));
    if (info->channels > 0) { /* else a text encoder on its own */
        printf("  picture     %dx%d, %d channels; sizes must be multiples of %d\n", (int)info->width, (int)info->height,
               (int)info->channels, (int)info->patch_size);
    }
    print_encoders(job);
    if (info->context_columns > 0) {
        printf("  takes       a context of %d columns, %d rows as published", (int)info->context_columns,
               (int)info->context_tokens);
        if (info->pooled_columns > 0) {
            printf(", a pooled row of %d", (int)info->pooled_columns);
        }
        printf("%s%s%s%s\n", info->sizes > 0 ? ", sizes" : "", info->extra_channels > 0 ? ", a picture beside x" : "",
               (info->flags & DQG_MODEL_MASKED) != 0 ? ", a mask" : "",
               (info->flags & DQG_MODEL_GUIDED) != 0 ? ", the guidance scale" : "");
    }
    printf("  evaluation  %d operators\n", (int)info->operators);
    print_components(job);

    struct storage_sum sums[STORAGE_FORMATS] = {{0}};
    sum_storage(job, sums);
    printf("\nstorage\n");
    for (size_t i = 0; i < STORAGE_FORMATS; i++) {
        if (sums[i].tensors > 0) {
            printf("  %-6s %4lld tensors  %10s in memory  %10s in the file\n", storage_formats[i].name,
                   (long long)sums[i].tensors, bytes_text(a, sums[i].memory_bytes),
                   bytes_text(b, sums[i].stored_bytes));
        }
    }
    if (info->classes > 0) {
        printf("\nclasses (%d)\n ", (int)info->classes);
        size_t column = 1;
        for (int32_t i = 0; i < info->classes; i++) {
            const char *name = dqg_model_class_name(job->model, i);
            char number[16];
            snprintf(number, sizeof(number), "%d", (int)i);
            name = name != NULL ? name : number;
            if (column + strlen(name) > 96) {
                printf("\n ");
                column = 1;
            }
            column += (size_t)printf(" %s", name);
        }
        printf("\n");
    }
    const char *key, *value;
    for (int32_t i = 0; dqg_model_metadata_at(job->model, i, &key, &value) == DQG_OK; i++) {
        bool cut = strlen(value) > VALUE_MOST; /* whole vocabularies are metadata, too */
        printf("%s  %-18s %.*s%s\n", i == 0 ? "\nmetadata\n" : "", key, VALUE_MOST, value, cut ? " ..." : "");
    }
    dqg_tensor_info tensor;
    char shape[128], format[32];
    for (int32_t i = 0; job->tensors && tensor_at(job, i, &tensor); i++) {
        printf("%s  %-44s %-16s %-10s %12llu bytes\n", i == 0 ? "\ntensors\n" : "", tensor.name,
               shape_text(shape, sizeof(shape), &tensor), format_text(format, sizeof(format), &tensor),
               (unsigned long long)tensor.stored_bytes);
    }
}

static void print_json_tensors(const struct info *job, struct json *json) {
    dqg_tensor_info tensor;
    json_open(json, "tensors", '[');
    for (int32_t i = 0; tensor_at(job, i, &tensor); i++) {
        json_open(json, NULL, '{');
        json_text(json, "name", tensor.name);
        json_text(json, "format", storage_name(tensor.dtype));
        json_int(json, "group", tensor.group);
        json_open(json, "shape", '[');
        for (int32_t d = 0; d < tensor.rank; d++) {
            json_int(json, NULL, tensor.shape[d]);
        }
        json_close(json, ']');
        json_int(json, "memory_bytes", (int64_t)tensor.memory_bytes);
        json_int(json, "stored_bytes", (int64_t)tensor.stored_bytes);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void print_json_encoders(const struct info *job, struct json *json) {
    dqg_text_info text;
    json_open(json, "text_encoders", '[');
    for (int32_t i = 0; text_at(job, i, &text); i++) {
        json_open(json, NULL, '{');
        json_text(json, "role", text.role);
        json_text(json, "family", text.family);
        json_int(json, "layers", text.layers);
        json_int(json, "columns", text.columns);
        json_int(json, "tokens", text.tokens);
        json_int(json, "vocabulary", text.vocabulary);
        json_int(json, "projection", text.projection);
        json_int(json, "parameters", (int64_t)text.parameters);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void print_json_components(const struct info *job, struct json *json) {
    dqg_component_info component;
    json_open(json, "networks", '[');
    for (int32_t i = 0; component_at(job, i, &component); i++) {
        json_open(json, NULL, '{');
        json_text(json, "role", component.role);
        json_text(json, "family", component.family);
        json_int(json, "parameters", (int64_t)component.parameters);
        json_int(json, "weight_bytes", (int64_t)component.weight_bytes);
        json_int(json, "tokenizer", (component.flags & DQG_COMPONENT_TOKENIZER) != 0);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_int(json, "context_columns", job->model_info.context_columns);
    json_int(json, "context_tokens", job->model_info.context_tokens);
    json_int(json, "pooled_columns", job->model_info.pooled_columns);
    json_int(json, "reduction", job->model_info.reduction);
    json_text(json, "lacks_for_prompts", prompt_lack(job));
}

static void print_json(const struct info *job) {
    const dqg_model_info *info = &job->model_info;
    struct json json;
    json_begin(&json, stdout);
    json_text(&json, "file", job->path);
    json_int(&json, "file_bytes", (int64_t)file_bytes(job->path));
    json_text(&json, "family", info->family);
    json_int(&json, "parameters", (int64_t)info->parameters);
    json_int(&json, "weight_bytes", (int64_t)info->weight_bytes);
    json_int(&json, "channels", info->channels);
    json_int(&json, "height", info->height);
    json_int(&json, "width", info->width);
    json_int(&json, "patch_size", info->patch_size);
    json_int(&json, "layers", info->layers);
    json_int(&json, "operators", info->operators);
    print_json_components(job, &json);
    print_json_encoders(job, &json);
    json_open(&json, "classes", '[');
    for (int32_t i = 0; i < info->classes; i++) {
        json_text(&json, NULL, dqg_model_class_name(job->model, i));
    }
    json_close(&json, ']');
    json_open(&json, "metadata", '{');
    const char *key, *value;
    for (int32_t i = 0; dqg_model_metadata_at(job->model, i, &key, &value) == DQG_OK; i++) {
        json_text(&json, key, value);
    }
    json_close(&json, '}');
    struct storage_sum sums[STORAGE_FORMATS] = {{0}};
    sum_storage(job, sums);
    json_open(&json, "storage", '{');
    for (size_t i = 0; i < STORAGE_FORMATS; i++) {
        if (sums[i].tensors > 0) {
            json_open(&json, storage_formats[i].name, '{');
            json_int(&json, "tensors", sums[i].tensors);
            json_int(&json, "memory_bytes", (int64_t)sums[i].memory_bytes);
            json_int(&json, "stored_bytes", (int64_t)sums[i].stored_bytes);
            json_close(&json, '}');
        }
    }
    json_close(&json, '}');
    if (job->tensors) {
        print_json_tensors(job, &json);
    }
    json_end(&json);
}

int info_main(struct cli *cli, int argc, char **argv) {
    struct info job = {0};
    const struct arg_row rows[] = {
        {"json", 0, ARG_FLAG, NULL, "print JSON", 0, 0, &job.json},
        {"tensors", 0, ARG_FLAG, NULL, "list every tensor", 0, 0, &job.tensors},
    };
    struct args args = {.cli = cli,
                        .command = "info",
                        .operands = "MODEL",
                        .summary = "Shows what a model file holds. Loads it, so damage is found too.",
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .min_operands = 1,
                        .max_operands = 1};
    int code;
    if (!args_parse(&args, argc, argv, &code)) {
        return code;
    }
    job.path = args.operand[0];
    job.context = cli->context;
    job.model = cli_load(cli, job.path, &code);
    if (job.model == NULL) {
        return code;
    }
    DQG_INIT(&job.model_info);
    dqg_model_get_info(job.model, &job.model_info);
    if (job.json) {
        print_json(&job);
    } else {
        print_text(&job);
    }
    dqg_model_release(job.model);
    return EXIT_OK;
}
