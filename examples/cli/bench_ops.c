/* SPDX-License-Identifier: MIT */
/*
 * dqgen bench matmul, attention, norm and so on: operators on random data, through dqg_measure(). This file reads the
 * arguments, walks over backends, formats, shapes and rows, and keeps the results; bench_table.c prints them.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_ops.h"

static const char notes[] =
    "Networks of --shapes: dit-xl, sd15, sdxl, sd3, flux, modulation (single rows), vae, other (convolutions), all;\n"
    "commas between. Sizes given by hand replace the shapes; --m alone replaces their rows. Lists have commas.\n"
    "The ceiling is what the same instructions reach on registers alone, measured between the calls.\n\n"
    "examples:\n"
    "  dqgen bench matmul --shapes dit-xl,flux --format int4,int8\n"
    "  dqgen bench matmul --m 1,256 --n 4096 --k 4096 --backend all --json > matmul.json\n"
    "  dqgen bench attention --attention float --m 4096 --keys 77 --heads 8 --k 40\n"
    "  dqgen bench conv --height 64 --width 96 --inputs 320 --outputs 640 --stride 2\n"
    "  dqgen bench ceiling --backend all";

/* Is word one of a list with commas between? */
static bool in_list(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; *at != '\0';) {
        size_t part = strcspn(at, ",");
        if (part == length && strncmp(at, word, part) == 0) {
            return true;
        }
        at += part + (at[part] == ',');
    }
    return false;
}

/* Every part of a list must be "all" or one of the names that known() tells. */
static int check_list(struct cli *cli, const char *option, const char *list, const char *(*known)(size_t index)) {
    char word[32];
    do {
        size_t length = strcspn(list, ",");
        snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : sizeof(word) - 1), list);
        bool found = strcmp(word, "all") == 0;
        for (size_t i = 0; !found && known(i) != NULL; i++) {
            found = strcmp(word, known(i)) == 0;
        }
        if (!found) {
            return cli_error(cli, EXIT_USAGE, "--%s does not know '%s'", option, word);
        }
        list += length + (list[length] == ',');
    } while (*list != '\0');
    return EXIT_OK;
}

static const char *format_name(size_t index) {
    return index < STORAGE_FORMATS ? storage_formats[index].name : NULL;
}

static const char *network_name(size_t index) {
    for (size_t kind = 0; kind < op_kind_count; kind++) {
        if (index < op_kinds[kind].shape_count) {
            return op_kinds[kind].shapes[index].network;
        }
        index -= op_kinds[kind].shape_count;
    }
    return NULL;
}

static int read_sizes(struct cli *cli, const char *option, const char *text, struct op_sizes *sizes) {
    while (text != NULL && *text != '\0') {
        char word[24];
        size_t length = strcspn(text, ",");
        snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : sizeof(word) - 1), text);
        int64_t value;
        if (!parse_int(word, &value) || value < 1 || value > 1 << 20) {
            return cli_error(cli, EXIT_USAGE,
                             "--%s takes whole numbers from 1 to 1048576 with commas between, not '%s'", option, word);
        }
        if (sizes->count == OPS_LIST) {
            return cli_error(cli, EXIT_USAGE, "--%s takes %d numbers at most", option, OPS_LIST);
        }
        sizes->values[sizes->count++] = value;
        text += length + (text[length] == ',');
    }
    return EXIT_OK;
}

/* ---- the walk ---- */

static int add_row(struct cli *cli, struct ops_job *job, struct op_shape shape, const struct storage_format *format) {
    if (job->row_count == OPS_ROWS) {
        return cli_error(cli, EXIT_USAGE, "that makes more than %d measurements", OPS_ROWS);
    }
    struct op_row *row = &job->rows[job->row_count++];
    *row = (struct op_row){.shape = shape};
    if (job->kind->weights) {
        row->format = format->name;
        row->group = !format->grouped ? 0 : job->group > 0 ? (int32_t)job->group : 64;
    }
    return EXIT_OK;
}

/* A shape with each of the rows asked for, or its own, or the usual ones. */
static int add_shape(struct cli *cli, struct ops_job *job, struct op_shape shape, const struct storage_format *format) {
    static const struct op_sizes usual = {{256, 1024, 4096}, 3};
    struct op_sizes own = {{shape.rows}, 1};
    const struct op_sizes *m = job->sizes[SIZE_M].count > 0                                   ? &job->sizes[SIZE_M]
                               : shape.rows > 0 || job->kind->operation != DQG_MEASURE_LINEAR ? &own
                                                                                              : &usual;
    int code = EXIT_OK;
    for (size_t i = 0; code == EXIT_OK && i < m->count; i++) {
        shape.rows = m->values[i];
        code = add_row(cli, job, shape, format);
    }
    return code;
}

/* Shapes made of the sizes on the command line alone. */
static int add_typed_shapes(struct cli *cli, struct ops_job *job, const struct storage_format *format) {
    const struct op_sizes one = {{0}, 1};
    const struct op_sizes *n = job->sizes[SIZE_N].count > 0 ? &job->sizes[SIZE_N] : &one;
    const struct op_sizes *k = job->sizes[SIZE_K].count > 0 ? &job->sizes[SIZE_K] : &one;
    const struct op_sizes *heads = job->sizes[SIZE_HEADS].count > 0 ? &job->sizes[SIZE_HEADS] : &one;
    int code = EXIT_OK;
    for (size_t h = 0; h < heads->count; h++) {
        for (size_t i = 0; i < n->count; i++) {
            for (size_t j = 0; code == EXIT_OK && j < k->count; j++) {
                struct op_shape shape = job->typed;
                shape.heads = heads->values[h];
                shape.outputs = n->values[i];
                shape.inputs = k->values[j];
                shape.keys = job->sizes[SIZE_KEYS].values[0];
                code = add_shape(cli, job, shape, format);
            }
        }
    }
    return code;
}

static int add_format(struct cli *cli, struct ops_job *job, const struct storage_format *format) {
    if (job->sizes[SIZE_N].count + job->sizes[SIZE_K].count + job->sizes[SIZE_HEADS].count > 0 ||
        job->typed.height > 0) {
        return add_typed_shapes(cli, job, format);
    }
    bool all = in_list(job->shapes, "all");
    int code = EXIT_OK;
    for (size_t i = 0; code == EXIT_OK && i < job->kind->shape_count; i++) {
        if (all || in_list(job->shapes, job->kind->shapes[i].network)) {
            code = add_shape(cli, job, job->kind->shapes[i], format);
        }
    }
    return code;
}

/* Weights that are used as they are stored have no decoder. */
static bool can_measure(const struct ops_job *job, const struct storage_format *format) {
    const int32_t stored[] = {DQG_DTYPE_INT8, DQG_DTYPE_F16, DQG_DTYPE_BF16, DQG_DTYPE_F32};
    bool decoded = true;
    for (size_t i = 0; i < COUNT_OF(stored); i++) {
        decoded = decoded && format->dtype != stored[i];
    }
    return decoded || job->kind->operation != DQG_MEASURE_DECODE;
}

/* All rows for one backend. */
static int add_rows(struct cli *cli, struct ops_job *job) {
    int code = EXIT_OK;
    for (size_t i = 0; code == EXIT_OK && i < STORAGE_FORMATS; i++) {
        if (!job->kind->weights) {
            return add_format(cli, job, NULL);
        }
        bool wanted = in_list(job->format, "all") && can_measure(job, &storage_formats[i]);
        if (wanted || in_list(job->format, storage_formats[i].name)) {
            code = add_format(cli, job, &storage_formats[i]);
        }
    }
    return code;
}

/* ---- measuring ---- */

static int measure(struct cli *cli, const struct ops_job *job, int32_t operation, struct op_row *row) {
    dqg_measure_spec spec;
    DQG_INIT(&spec);
    DQG_INIT(&row->result);
    spec.operation = operation;
    spec.flags = job->flags | (job->cold ? DQG_MEASURE_COLD : 0) | (row->shape.upsample ? DQG_MEASURE_UPSAMPLE : 0);
    spec.group = row->group;
    spec.seconds = 1e-3 * (double)job->milliseconds;
    spec.rows = row->shape.rows;
    spec.outputs = row->shape.outputs;
    spec.inputs = row->shape.inputs;
    spec.heads = row->shape.heads;
    spec.keys = row->shape.keys;
    spec.depth = row->shape.depth;
    spec.height = row->shape.height;
    spec.width = row->shape.width;
    spec.kernel = row->shape.kernel;
    spec.stride = row->shape.stride;
    spec.dtype = row->format != NULL ? storage_find(row->format)->dtype : job->dtype;
    dqg_status status = dqg_measure(cli->context, &spec, &row->result);
    return status < 0 ? cli_library_error(cli, status, "measure %s", job->kind->word) : EXIT_OK;
}

static int measure_bandwidth(struct cli *cli, struct ops_job *job) {
    struct op_row row = {0};
    int code = measure(cli, job, DQG_MEASURE_BANDWIDTH, &row);
    double rate = code == EXIT_OK ? row.result.bytes / row.result.seconds_min : 0;
    job->bandwidth = rate > job->bandwidth ? rate : job->bandwidth;
    return code;
}

static int measure_rows(struct cli *cli, struct ops_job *job, size_t first) {
    int code = EXIT_OK;
    for (size_t i = first; code == EXIT_OK && i < job->row_count; i++) {
        struct op_row *row = &job->rows[i];
        row->backend = dqg_context_backend(cli->context);
        progress_share(&cli->progress, (double)(i - first) / (double)(job->row_count - first),
                       1.0 / (double)(job->row_count - first));
        bool reads = job->kind->operation == DQG_MEASURE_LINEAR && row->shape.rows <= OPS_FEW_ROWS;
        if (reads && job->bandwidth == 0) {
            code = measure_bandwidth(cli, job);
        }
        if (code == EXIT_OK) {
            code = measure(cli, job, job->kind->operation, row);
        }
    }
    return code == EXIT_OK && job->bandwidth > 0 ? measure_bandwidth(cli, job) : code;
}

static int measure_backend(struct cli *cli, struct ops_job *job, const char *name) {
    dqg_status status = dqg_context_set_backend(cli->context, name);
    if (status < 0) {
        return cli_library_error(cli, status, "use --backend %s", name);
    }
    size_t first = job->row_count;
    int code = add_rows(cli, job);
    progress_begin(&cli->progress, dqg_context_backend(cli->context));
    code = code == EXIT_OK ? measure_rows(cli, job, first) : code;
    progress_end(&cli->progress);
    return code;
}

/* --attention and --compute. */
static int read_choices(struct cli *cli, struct ops_job *job) {
    static const char *const kinds[] = {"auto", "float", "int8"}, *const computes[] = {"f32", "bf16"};
    static const int32_t dtypes[] = {0, DQG_DTYPE_F32, DQG_DTYPE_INT8};
    size_t kind = 0, compute = 0;
    while (kind < COUNT_OF(kinds) && strcmp(kinds[kind], job->attention) != 0) {
        kind++;
    }
    while (compute < COUNT_OF(computes) && strcmp(computes[compute], job->compute) != 0) {
        compute++;
    }
    if (kind == COUNT_OF(kinds)) {
        return cli_error(cli, EXIT_USAGE, "--attention is auto, float or int8, not '%s'", job->attention);
    }
    if (compute == COUNT_OF(computes)) {
        return cli_error(cli, EXIT_USAGE, "--compute is f32 or bf16, not '%s'", job->compute);
    }
    job->dtype = dtypes[kind];
    job->flags = compute > 0 ? DQG_MEASURE_BF16 : 0;
    return EXIT_OK;
}

static int run(struct cli *cli, struct ops_job *job) {
    static const char *const names[OPS_SIZES] = {"m", "n", "k", "heads", "keys"};
    int code = check_list(cli, "format", job->format, format_name);
    code = code == EXIT_OK ? read_choices(cli, job) : code;
    code = code == EXIT_OK ? check_list(cli, "shapes", job->shapes, network_name) : code;
    for (size_t i = 0; code == EXIT_OK && i < COUNT_OF(names); i++) {
        code = read_sizes(cli, names[i], job->texts[i], &job->sizes[i]);
    }
    if (code == EXIT_OK && strcmp(job->backend, "all") != 0) {
        return measure_backend(cli, job, job->backend);
    }
    const char *name;
    for (int32_t i = 0; code == EXIT_OK && (name = dqg_backend_name(i)) != NULL; i++) {
        code = measure_backend(cli, job, name);
    }
    return code;
}

enum { MOST_OPTIONS = 24 };

static size_t append(struct arg_row *rows, size_t count, const struct arg_row *more, size_t more_count) {
    memcpy(rows + count, more, more_count * sizeof(*more));
    return count + more_count;
}

/* The options that go with an operation. */
static size_t options(struct ops_job *job, struct arg_row rows[MOST_OPTIONS]) {
    struct op_shape *typed = &job->typed;
    const struct arg_row first[] = {
        {"shapes", 0, ARG_TEXT, "LIST", "networks whose layers are measured", 0, 0, &job->shapes},
    };
    const struct arg_row image[] = {
        {"height", 0, ARG_INT, "N", "height of the result", 1, 1 << 14, &typed->height},
        {"width", 0, ARG_INT, "N", "width of the result (default: the height)", 1, 1 << 14, &typed->width},
        {"depth", 0, ARG_INT, "N", "depth of the result: of a volume if more than 1", 1, 1024, &typed->depth},
        {"outputs", 'n', ARG_TEXT, "LIST", "channels of the result", 0, 0, &job->texts[SIZE_N]},
        {"inputs", 'k', ARG_TEXT, "LIST", "channels of the input", 0, 0, &job->texts[SIZE_K]},
        {"kernel", 0, ARG_INT, "N", "size of the window, an odd number (default 3)", 1, 31, &typed->kernel},
        {"stride", 0, ARG_INT, "N", "pixels from one window to the next (default 1)", 1, 8, &typed->stride},
        {"upsample", 0, ARG_FLAG, NULL, "the input is doubled in height and width", 0, 0, &typed->upsample},
    };
    const struct arg_row matrix[] = {
        {"m", 'm', ARG_TEXT, "LIST", "rows, or tokens", 0, 0, &job->texts[SIZE_M]},
        {"n", 'n', ARG_TEXT, "LIST", "outputs of the weights", 0, 0, &job->texts[SIZE_N]},
        {"k", 'k', ARG_TEXT, "LIST", "inputs of the weights, columns, or width of a head", 0, 0, &job->texts[SIZE_K]},
    };
    const struct arg_row heads[] = {
        {"heads", 0, ARG_TEXT, "LIST", "heads of attention", 0, 0, &job->texts[SIZE_HEADS]},
        {"keys", 0, ARG_TEXT, "N", "tokens attended to, if they are others", 0, 0, &job->texts[SIZE_KEYS]},
        {"attention", 0, ARG_TEXT, "KIND", "auto (what is faster here), float, int8", 0, 0, &job->attention},
    };
    const struct arg_row weights[] = {
        {"format", 0, ARG_TEXT, "LIST", "storage of weights: int4, nf4, int8, f16, ..., or all (default int4)", 0, 0,
         &job->format},
        {"group", 0, ARG_INT, "N", "inputs that share a scale: 32, 64, 128 (default 64)", 1, 4096, &job->group},
        {"compute", 0, ARG_TEXT, "TYPE", "products of weights kept as floats: f32 (default), bf16", 0, 0,
         &job->compute},
        {"cold", 0, ARG_FLAG, NULL, "weights come from memory, not from a cache", 0, 0, &job->cold},
    };
    const struct arg_row last[] = {
        {"milliseconds", 0, ARG_INT, "N", "to spend on each measurement (default 250)", 1, 60000, &job->milliseconds},
        {"processor-time", 0, ARG_FLAG, NULL, "rates by processor time: for a machine that others use too", 0, 0,
         &job->processor},
        {"backend", 0, ARG_TEXT, "NAME", "kernels: all, auto, or the name of one (default auto)", 0, 0, &job->backend},
        {"json", 0, ARG_FLAG, NULL, "print JSON", 0, 0, &job->json},
    };
    bool conv = job->kind->operation == DQG_MEASURE_CONV;
    size_t count = append(rows, 0, first, COUNT_OF(first));
    count = conv ? append(rows, count, image, COUNT_OF(image)) : append(rows, count, matrix, COUNT_OF(matrix));
    if (job->kind->operation == DQG_MEASURE_ATTENTION) {
        count = append(rows, count, heads, COUNT_OF(heads));
    }
    if (job->kind->weights) {
        count = append(rows, count, weights, COUNT_OF(weights));
    }
    return append(rows, count, last, COUNT_OF(last));
}

int bench_ops_main(struct cli *cli, const struct op_kind *kind, int argc, char **argv) {
    struct ops_job job = {.kind = kind,
                          .shapes = kind->first,
                          .format = "int4",
                          .attention = "auto",
                          .compute = "f32",
                          .backend = "auto",
                          .milliseconds = 250,
                          .typed = {.network = "", .name = ""}};
    struct arg_row rows[MOST_OPTIONS];
    char command[32];
    snprintf(command, sizeof(command), "bench %s", kind->word);
    struct args args = {.cli = cli,
                        .command = command,
                        .operands = "",
                        .summary = kind->summary,
                        .notes = notes,
                        .rows = rows,
                        .row_count = options(&job, rows)};
    int code = EXIT_OK;
    if (args_parse(&args, argc, argv, &code)) {
        job.typed.width = job.typed.width > 0 ? job.typed.width : job.typed.height;
        job.threads = cli->threads > 0 ? cli->threads : machine_cpus();
        job.rows = calloc(OPS_ROWS, sizeof(*job.rows));
        code = job.rows != NULL ? run(cli, &job) : cli_error(cli, EXIT_FAILED, "out of memory");
        if (code == EXIT_OK && job.json) {
            ops_print_json(&job);
        } else if (code == EXIT_OK) {
            ops_print(&job);
        }
    }
    free(job.rows);
    return code;
}
