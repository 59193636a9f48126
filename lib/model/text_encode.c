/* SPDX-License-Identifier: MIT */
/* One evaluation of a text encoder on token ids. Called by pipeline_encode.c and lib/api. */
#include "model/pipeline.h"

enum { END_TOKEN = 49407 /* of CLIP's vocabulary */ };

int32_t dqg_text_end_token(const struct dqg_model *encoder, int32_t token) {
    int32_t last = (int32_t)(encoder->hyper.vocabulary - encoder->additions.token_count) - 1;
    return token > 0 ? token : last < END_TOKEN ? last : END_TOKEN;
}

int32_t dqg_text_pick(const int32_t *ids, size_t tokens, int32_t end) {
    size_t row = 0;
    while (row + 1 < tokens && ids[row] != end) {
        row++;
    }
    return (int32_t)row;
}

static dqg_status make_graph(struct dqg_context *context, const struct dqg_model *encoder,
                             const struct dqg_text_job *job, struct dqg_graph *graph) {
    const struct dqg_graph_config config = {
        .samples = job->prompts, .height = 1, .width = job->tokens, .text = job->form};
    return dqg_model_graph(context, encoder, &config, graph);
}

dqg_status dqg_text_run(struct dqg_context *context, const struct dqg_model *encoder, const struct dqg_text_job *job) {
    const struct dqg_exec_io io = {
        .tokens = job->ids, .lengths = job->lengths, .picks = job->picks, .out = job->rows, .pooled_out = job->pooled};
    struct dqg_graph graph;
    struct dqg_exec exec = {0};
    DQG_TRY(make_graph(context, encoder, job, &graph));
    dqg_status status = dqg_exec_init(context, &graph, &exec);
    for (status = status >= 0 ? DQG_PENDING : status; status == DQG_PENDING;) {
        status = dqg_exec_next(&exec, &io);
    }
    dqg_exec_free(&exec);
    dqg_graph_free(&graph);
    return status < 0 ? status : DQG_OK;
}

dqg_status dqg_text_bytes(struct dqg_context *context, const struct dqg_model *encoder, const struct dqg_text_job *job,
                          size_t *bytes) {
    struct dqg_graph graph;
    DQG_TRY(make_graph(context, encoder, job, &graph));
    bool fits = dqg_exec_bytes(context, &graph, bytes) && dqg_add_size(*bytes, graph.arena.total, bytes);
    dqg_graph_free(&graph);
    return fits ? DQG_OK : dqg_fail(context, DQG_ERROR_LIMIT, "prompts of this length do not fit the address space");
}
