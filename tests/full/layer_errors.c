/* SPDX-License-Identifier: MIT */
/* Networks of which one part is quantized, made by exchanging weights; see layer_errors.h. */
#include "layer_errors.h"

#include <math.h>
#include <stdlib.h>

#include "model/inputs.h"

enum { TOKENS = 77 };

/* A network to be evaluated on one sample, and what it is given. */
struct study {
    struct dqg_context *context;
    const struct dqg_model *original, *quantized;
    size_t height, width;
    struct dqg_given given;
    char *block; /* of given */
    float *x, *out;
    int32_t *tokens;
    float *reference, *result; /* [count] */
    size_t count;
};

const struct dqg_model *layer_errors_network(const struct dqg_model *model, const char *role) {
    const struct dqg_model *found = role == NULL || strcmp(model->family->role, role) == 0 ? model : NULL;
    for (size_t i = 0; i < model->part_count && found == NULL; i++) {
        found = strcmp(model->parts[i]->role, role) == 0 ? model->parts[i] : NULL;
    }
    return found;
}

/* ---- evaluations ---- */

static dqg_status open_graph(const struct study *study, const struct dqg_model *model,
                             enum dqg_attention_mode attention, struct dqg_graph *graph) {
    const struct dqg_graph_config config = {
        .samples = 1, .height = study->height, .width = study->width, .attention = attention};
    return dqg_model_graph(study->context, model, &config, graph);
}

static dqg_status evaluate(const struct study *study, const struct dqg_model *model, enum dqg_attention_mode attention,
                           float *out) {
    struct dqg_graph graph;
    struct dqg_exec exec = {0};
    double timestep = 0.5 * (model->hyper.timestep_scale > 0.0 ? model->hyper.timestep_scale : 1000.0);
    struct dqg_exec_io io = {.x = study->x, .timesteps = &timestep, .tokens = study->tokens, .out = out};
    DQG_TRY(open_graph(study, model, attention, &graph));
    dqg_given_io(&study->given, &io);
    dqg_status status = dqg_exec_init(study->context, &graph, &exec);
    for (status = status >= 0 ? DQG_PENDING : status; status == DQG_PENDING;) {
        status = dqg_exec_next(&exec, &io);
    }
    dqg_exec_free(&exec);
    dqg_graph_free(&graph);
    return status;
}

static double relative(const struct study *study) {
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < study->count; i++) {
        double d = (double)study->reference[i] - (double)study->result[i];
        difference += d * d;
        norm += (double)study->reference[i] * (double)study->reference[i];
    }
    return sqrt(difference / norm);
}

/* Numbers that an evaluation gives. */
static size_t count_results(const struct dqg_graph *graph) {
    const struct dqg_node *last = &graph->nodes[graph->node_count - 1];
    return last->kind == DQG_NODE_RESULT ? graph->values[last->x].rows * graph->values[last->x].columns
                                         : graph->out_channels * graph->height * graph->width;
}

static bool make_inputs(struct study *study, const struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &study->original->hyper;
    const struct dqg_kernels *kernels = study->context->kernels;
    size_t used = 0, pixels = graph->height * graph->width;
    study->given = (struct dqg_given){.samples = 1, .tokens = graph->context_tokens};
    study->count = count_results(graph);
    study->x = malloc(pixels * graph->channels * sizeof(float) + 1);
    study->tokens = malloc(pixels * sizeof *study->tokens);
    study->reference = malloc(study->count * sizeof(float));
    study->result = malloc(study->count * sizeof(float));
    study->block = dqg_given_lay_out(&study->given, hyper, &used, NULL) ? malloc(used) : NULL;
    if (study->x == NULL || study->tokens == NULL || study->reference == NULL || study->result == NULL ||
        study->block == NULL) {
        return false;
    }
    used = 0;
    dqg_given_lay_out(&study->given, hyper, &used, study->block);
    dqg_given_clear(&study->given);
    dqg_kernels_normal(kernels, 1, 0, 0, study->x, pixels * graph->channels);
    dqg_kernels_normal(kernels, 2, 0, 0, study->given.context, study->given.tokens * hyper->context_width);
    dqg_kernels_normal(kernels, 3, 0, 0, study->given.pooled, hyper->pooled_width);
    for (size_t i = 0; i < pixels && hyper->vocabulary > 0; i++) {
        study->tokens[i] = (int32_t)(i * 2654435761u % hyper->vocabulary);
    }
    return true;
}

/* ---- parts ---- */

/* The name with a star for each number. */
static void kind_of(const char *name, char kind[128]) {
    size_t at = 0;
    for (; *name != '\0' && at < 127; at++) {
        size_t digits = strspn(name, "0123456789");
        kind[at] = digits > 0 ? '*' : *name;
        name += digits > 0 ? digits : 1;
    }
    kind[at] = '\0';
}

/* Squared error and squared norm of a matrix. */
static bool weight_sums(const struct dqg_weight *a, const struct dqg_weight *b, double sums[2]) {
    size_t columns = a->size.columns;
    float *rows = malloc(2 * columns * sizeof *rows);
    void *scratch = malloc(dqg_weight_scratch(a) + dqg_weight_scratch(b) + 1);
    for (size_t row = 0; rows != NULL && scratch != NULL && row < a->size.rows; row++) {
        dqg_weight_decode_rows(a, row, 1, rows, scratch);
        dqg_weight_decode_rows(b, row, 1, rows + columns, scratch);
        for (size_t i = 0; i < columns; i++) {
            double difference = (double)rows[i] - (double)rows[columns + i];
            sums[0] += difference * difference;
            sums[1] += (double)rows[i] * (double)rows[i];
        }
    }
    bool done = rows != NULL && scratch != NULL;
    free(rows);
    free(scratch);
    return done;
}

/* Quantized weights of one part in a copy of the original's. */
static bool add_matrix(const struct study *study, struct dqg_weight *weight, struct layer_error *part, double sums[3]) {
    const struct dqg_weight *to = dqg_model_find(study->quantized, weight->name);
    sums[2] += (double)(to->bytes[0] + to->bytes[1] + to->bytes[2]);
    part->bits += (double)dqg_weight_count(weight);
    part->matrices++;
    bool done = weight_sums(weight, to, sums);
    *weight = *to;
    return done;
}

static bool is_quantized(const struct study *study, size_t index) {
    const struct dqg_weight *to = dqg_model_find(study->quantized, study->original->weights[index].name);
    return to != NULL && dqg_dtype_is_quantized(to->dtype);
}

/* The part that begins with this matrix, and which it has: those of the same name after it, which are marked done. */
static dqg_status measure_part(struct study *study, size_t first, bool kinds, struct dqg_weight *weights, bool *done,
                               struct layer_error *part) {
    struct dqg_model mixed = *study->original;
    double sums[3] = {0.0, 0.0, 0.0};
    char kind[128], other[128];
    memcpy(weights, mixed.weights, mixed.weight_count * sizeof *weights);
    kind_of(weights[first].name, kind);
    for (size_t i = first; i < (kinds ? mixed.weight_count : first + 1); i++) {
        kind_of(weights[i].name, other);
        if (!done[i] && is_quantized(study, i) && strcmp(kind, other) == 0) {
            done[i] = true;
            if (!add_matrix(study, &weights[i], part, sums)) {
                return DQG_ERROR_MEMORY;
            }
        }
    }
    dqg_format(part->name, sizeof part->name, "%s", kinds ? kind : weights[first].name);
    part->bits = 8.0 * sums[2] / part->bits;
    part->weight = sqrt(sums[0] / sums[1]);
    mixed.weights = weights;
    DQG_TRY(evaluate(study, &mixed, DQG_ATTENTION_FLOAT, study->result));
    part->output = relative(study);
    return DQG_OK;
}

static dqg_status measure_parts(struct study *study, bool kinds, struct layer_errors *errors) {
    size_t all = study->original->weight_count;
    bool *done = calloc(all, sizeof *done);
    struct dqg_weight *weights = calloc(all, sizeof *weights);
    errors->parts = calloc(all, sizeof *errors->parts);
    dqg_status status = done != NULL && weights != NULL && errors->parts != NULL ? DQG_OK : DQG_ERROR_MEMORY;
    double squares = errors->attention * errors->attention;
    for (size_t i = 0; i < all && status >= 0; i++) {
        if (!done[i] && is_quantized(study, i)) {
            struct layer_error *part = &errors->parts[errors->count++];
            status = measure_part(study, i, kinds, weights, done, part);
            squares += part->output * part->output;
        }
    }
    errors->predicted = sqrt(squares);
    free(done);
    free(weights);
    return status;
}

static dqg_status measure(struct study *study, bool kinds, struct layer_errors *errors) {
    struct dqg_graph graph;
    DQG_TRY(open_graph(study, study->quantized, DQG_ATTENTION_AUTO, &graph));
    bool made = make_inputs(study, &graph), integers = false;
    for (int32_t i = 0; i < graph.node_count; i++) {
        integers = integers || (graph.nodes[i].kind == DQG_NODE_ATTENTION && graph.nodes[i].int8);
    }
    dqg_graph_free(&graph);
    if (!made) {
        return DQG_ERROR_MEMORY;
    }
    DQG_TRY(evaluate(study, study->original, DQG_ATTENTION_FLOAT, study->reference));
    DQG_TRY(evaluate(study, study->quantized, DQG_ATTENTION_AUTO, study->result));
    errors->measured = relative(study);
    if (integers) {
        DQG_TRY(evaluate(study, study->original, DQG_ATTENTION_INT8, study->result));
        errors->attention = relative(study);
    }
    return measure_parts(study, kinds, errors);
}

dqg_status layer_errors_measure(struct dqg_context *context, const struct dqg_model *original,
                                const struct dqg_model *quantized, size_t height, size_t width, bool kinds,
                                struct layer_errors *errors) {
    struct study study = {
        .context = context, .original = original, .quantized = quantized, .height = height, .width = width};
    *errors = (struct layer_errors){0};
    if (original->hyper.vocabulary > 0) {
        study.height = 1;
        study.width = original->hyper.positions > 0 ? original->hyper.positions : TOKENS;
    }
    dqg_status status = measure(&study, kinds, errors);
    free(study.x);
    free(study.tokens);
    free(study.reference);
    free(study.result);
    free(study.block);
    return status;
}
