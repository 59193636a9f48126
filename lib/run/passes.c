/* SPDX-License-Identifier: MIT */
/*
 * Which networks an evaluation runs, one after the other in the same memory: for guidance by a perturbed network, the
 * conditions perturbed; then all conditions and the unconditional as one batch, or the conditions alone where nothing
 * is asked of the unconditional; or in place of all this the active tokens of all copies. create.c plans them, step.c
 * goes through them. A step cache belongs to the pass of all copies; the others compute everything.
 */
#include "run/run.h"

static dqg_status plan(const struct dqg_run *run, size_t samples, const struct dqg_perturbation *perturbation,
                       struct dqg_graph *graph) {
    struct dqg_graph_config config = run->network;
    config.samples = samples;
    config.height = (size_t)run->shape[2];
    config.width = (size_t)run->shape[3];
    config.perturbation = perturbation;
    config.fewer_samples = config.fewer_samples && graph == &run->graph; /* the others have no cache */
    config.active_tokens = graph == &run->sparse ? run->ras.active_count : 0;
    return dqg_model_graph(run->context, run->model, &config, graph);
}

dqg_status dqg_run_plan_passes(struct dqg_run *run, const struct dqg_run_config *config) {
    size_t alone = run->conditions * run->images;
    DQG_TRY(plan(run, run->copies * run->images, NULL, &run->graph));
    if (run->copies > run->conditions && config->ras.ratio == 0) { /* all copies have keys and values to keep */
        DQG_TRY(plan(run, alone, NULL, &run->plain));
    }
    if (config->guidance.perturbed_scale == 0) {
        return DQG_OK;
    }
    const struct dqg_hyper *hyper = &run->model->hyper;
    int64_t middle = (int64_t)(hyper->middle > 0 ? hyper->middle : hyper->depth / 2);
    bool named = config->perturbation.count > 0;
    struct dqg_perturbation perturbation = {.kind = config->perturbation.kind,
                                            .blocks = named ? config->perturbation.blocks : &middle,
                                            .count = named ? config->perturbation.count : 1};
    return plan(run, alone, &perturbation, &run->perturbed);
}

dqg_status dqg_run_plan_sparse(struct dqg_run *run) {
    return run->ras.ratio > 0 ? plan(run, run->copies * run->images, NULL, &run->sparse) : DQG_OK;
}

enum { SPARSE = 3, PASSES = 4 };

static const struct dqg_graph *pass_graph(const struct dqg_run *run, int index) {
    const struct dqg_graph *const graphs[PASSES] = {&run->graph, &run->plain, &run->perturbed, &run->sparse};
    return graphs[index];
}

dqg_status dqg_run_copy_passes(const struct dqg_run *run, struct dqg_run *copy) {
    struct dqg_graph *to[SPARSE] = {&copy->graph, &copy->plain, &copy->perturbed};
    for (int i = 0; i < SPARSE; i++) {
        const struct dqg_graph *from = pass_graph(run, i);
        if (from->node_count > 0) {
            DQG_TRY(plan(copy, from->samples, from->perturbation, to[i]));
        }
    }
    return DQG_OK;
}

void dqg_run_swap_passes(struct dqg_run *a, struct dqg_run *b) {
    struct dqg_graph *of_a[PASSES] = {&a->graph, &a->plain, &a->perturbed, &a->sparse};
    struct dqg_graph *of_b[PASSES] = {&b->graph, &b->plain, &b->perturbed, &b->sparse};
    struct dqg_exec exec = a->exec;
    a->exec = b->exec;
    b->exec = exec;
    for (int i = 0; i < PASSES; i++) {
        struct dqg_graph graph = *of_a[i];
        *of_a[i] = *of_b[i];
        *of_b[i] = graph;
        if (b->exec.graph == of_a[i]) {
            b->exec.graph = of_b[i];
        } else if (a->exec.graph == of_b[i]) {
            a->exec.graph = of_a[i];
        }
    }
}

bool dqg_run_passes_bytes(const struct dqg_run *run, size_t *bytes) {
    size_t network = 0, graphs = 0;
    for (int i = 0; i < PASSES; i++) {
        size_t one = 0;
        const struct dqg_graph *graph = pass_graph(run, i);
        if (graph->node_count > 0 && !dqg_exec_bytes(run->context, graph, &one)) {
            return false;
        }
        network = one > network ? one : network;
        graphs += graph->arena.total;
    }
    return dqg_add_size(network, graphs, bytes);
}

dqg_status dqg_run_init_passes(struct dqg_run *run) {
    /* The largest first: the others fit where it does. */
    const struct dqg_graph *largest = &run->graph;
    size_t most = 0;
    for (int i = 0; i < PASSES; i++) {
        size_t bytes = 0;
        const struct dqg_graph *graph = pass_graph(run, i);
        if (graph->node_count > 0 && dqg_exec_bytes(run->context, graph, &bytes) && bytes > most) {
            most = bytes;
            largest = graph;
        }
    }
    run->exec.keep_steady = true;
    return dqg_exec_init(run->context, largest, &run->exec);
}

void dqg_run_free_passes(struct dqg_run *run) {
    dqg_exec_free(&run->exec);
    dqg_graph_free(&run->graph);
    dqg_graph_free(&run->plain);
    dqg_graph_free(&run->perturbed);
    dqg_graph_free(&run->sparse);
}

/* ---- going through them: the perturbed one first, since a cache is final when its own pass is ---- */

static const struct dqg_graph *last_pass(const struct dqg_run *run) {
    if (dqg_ras_is_sparse(&run->ras, run->state.step, run->scheduler->sched.steps)) {
        return &run->sparse;
    }
    bool alone = run->plain.node_count > 0 && !dqg_run_asks_unconditional(run);
    return alone ? &run->plain : &run->graph;
}

bool dqg_run_asks_all_copies(const struct dqg_run *run) {
    return dqg_run_asks_network(run) && last_pass(run) == &run->graph;
}

void dqg_run_first_pass(struct dqg_run *run) {
    dqg_exec_set_graph(&run->exec, dqg_run_asks_perturbed(run) ? &run->perturbed : last_pass(run));
}

bool dqg_run_next_pass(struct dqg_run *run) {
    if (run->exec.graph != &run->perturbed) {
        return false;
    }
    dqg_exec_set_graph(&run->exec, last_pass(run));
    return true;
}

float *dqg_run_pass_output(const struct dqg_run *run) {
    size_t ratio = run->model->hyper.out_channels / run->model->hyper.channels;
    bool perturbed = run->exec.graph == &run->perturbed;
    return run->net_out + (perturbed ? run->copies * run->size * ratio : 0);
}

int32_t dqg_run_node_count(const struct dqg_run *run) {
    return run->graph.node_count + run->plain.node_count + run->perturbed.node_count + run->sparse.node_count;
}

int32_t *dqg_run_node_us(const struct dqg_run *run) {
    int32_t *at = run->node_us;
    for (int i = 0; pass_graph(run, i) != run->exec.graph; i++) {
        at += pass_graph(run, i)->node_count;
    }
    return at + run->exec.next;
}

int32_t dqg_run_operators(const struct dqg_run *run) {
    if (run->model == NULL || run->state.step >= run->scheduler->sched.steps) {
        return run->graph.node_count;
    }
    return last_pass(run)->node_count + (dqg_run_asks_perturbed(run) ? run->perturbed.node_count : 0);
}

int32_t dqg_run_operators_done(const struct dqg_run *run) {
    bool second = run->exec.graph != &run->perturbed && dqg_run_asks_perturbed(run);
    return run->evaluating ? run->exec.next + (second ? run->perturbed.node_count : 0) : 0;
}
