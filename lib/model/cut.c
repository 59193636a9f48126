/* SPDX-License-Identifier: MIT */
/* Ranges of operators that are left out for some samples: their bounds, and moving samples together and apart. */
#include "model/cut.h"

/* How the nodes of a cut, and those behind it, use a value that was made before. */
struct use {
    bool inside, behind;
};

static struct use use_of(const struct dqg_cut *cut, int32_t value) {
    struct use use = {false, cut->graph->values[value].steady};
    for (int32_t i = cut->begin; i < cut->graph->node_count; i++) {
        int32_t inputs[DQG_NODE_INPUTS];
        dqg_node_inputs(&cut->graph->nodes[i], inputs);
        for (int input = 0; input < DQG_NODE_INPUTS; input++) {
            bool reads = inputs[input] == value;
            use.inside = use.inside || (reads && i < cut->end);
            use.behind = use.behind || (reads && i >= cut->end);
        }
    }
    return use;
}

/* Values that samples are moved in: made before the cut, read in it. */
static bool moves(const struct dqg_cut *cut, int32_t value, struct use *use) {
    *use = (struct use){false, false};
    if (cut->graph->values[value].producer < cut->begin) {
        *use = use_of(cut, value);
    }
    return use->inside;
}

static dqg_status check(struct dqg_context *context, const struct dqg_cut *cut) {
    const struct dqg_graph *graph = cut->graph;
    bool closed = cut->begin < cut->end && !graph->values[cut->leave].int8 && !graph->values[cut->enter].int8;
    for (int32_t i = cut->begin; i < cut->end; i++) {
        int32_t out = graph->nodes[i].out;
        closed = closed && (out == cut->leave || !use_of(cut, out).behind);
    }
    for (int32_t i = 0; i < graph->value_count; i++) {
        struct use use;
        closed = closed && (!moves(cut, i, &use) || graph->values[i].image_bytes == 0);
    }
    if (!closed) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "this network's operators before '%s' cannot be left out: more than their result is used",
                        graph->nodes[cut->end - 1].name);
    }
    return DQG_OK;
}

dqg_status dqg_cut_make(struct dqg_context *context, const struct dqg_graph *graph, int32_t enter, int32_t after,
                        int32_t leave, struct dqg_cut *cut) {
    *cut = (struct dqg_cut){.graph = graph,
                            .begin = graph->values[after].producer + 1,
                            .end = graph->values[leave].producer + 1,
                            .enter = enter,
                            .leave = leave};
    DQG_TRY(check(context, cut));
    for (int32_t i = 0; i < graph->value_count; i++) {
        struct use use;
        if (moves(cut, i, &use) && use.behind) {
            cut->side_bytes += graph->values[i].bytes; /* less than the graph's memory, which fits */
        }
    }
    return DQG_OK;
}

size_t dqg_cut_floats(const struct dqg_graph *graph, int32_t value) {
    return graph->values[value].rows / graph->samples * graph->values[value].ld;
}

float *dqg_cut_sample(const struct dqg_exec *exec, int32_t value, size_t sample) {
    return (float *)(exec->memory + exec->graph->values[value].offset) + sample * dqg_cut_floats(exec->graph, value);
}

/* Blocks of bytes of each sample to the front. */
static void pack(char *base, size_t bytes, const int32_t *samples, size_t count) {
    for (size_t i = 0; i < count; i++) {
        memmove(base + i * bytes, base + (size_t)samples[i] * bytes, bytes);
    }
}

void dqg_cut_shrink(const struct dqg_cut *cut, struct dqg_exec *exec, const int32_t *samples, size_t count,
                    char *side) {
    for (int32_t i = 0; i < cut->graph->value_count; i++) {
        const struct dqg_value *value = &cut->graph->values[i];
        char *at = exec->memory + value->offset;
        struct use use;
        if (!moves(cut, i, &use)) {
            continue;
        }
        if (use.behind) {
            memcpy(side, at, value->bytes);
            side += value->bytes;
        }
        size_t rows = value->rows / cut->graph->samples;
        pack(at, rows * value->ld * (value->int8 ? 1 : sizeof(float)), samples, count);
        if (value->int8) {
            pack(at + dqg_round_up(value->rows * value->ld, DQG_ALIGNMENT), rows * sizeof(float), samples, count);
        }
    }
    exec->samples = count;
}

void dqg_cut_grow(const struct dqg_cut *cut, struct dqg_exec *exec, const int32_t *samples, size_t count,
                  const char *side) {
    for (int32_t i = 0; i < cut->graph->value_count; i++) {
        const struct dqg_value *value = &cut->graph->values[i];
        struct use use;
        if (moves(cut, i, &use) && use.behind) {
            memcpy(exec->memory + value->offset, side, value->bytes);
            side += value->bytes;
        }
    }
    size_t bytes = dqg_cut_floats(cut->graph, cut->leave) * sizeof(float);
    for (size_t i = count; i-- > 0;) {
        char *base = exec->memory + cut->graph->values[cut->leave].offset;
        memmove(base + (size_t)samples[i] * bytes, base + i * bytes, bytes);
    }
    exec->samples = cut->graph->samples;
}
