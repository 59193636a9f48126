/* SPDX-License-Identifier: MIT */
/*
 * Models that carry adapters: networks that borrow everything from the model that they were made from, but for the
 * lists of branches, weights that an update was merged into, and rows behind token tables. Used by lib/api.
 */
#include "model/adapter.h"
#include "text/text.h"

bool dqg_adapted_owns(const struct dqg_model *network, size_t weight) {
    return network->adapted == NULL ||
           network->weights[weight].codes != network->adapted->lender->weights[weight].codes;
}

void dqg_adapted_free(struct dqg_adapted *adapted) {
    if (adapted == NULL) {
        return;
    }
    struct dqg_alloc alloc = adapted->alloc;
    for (size_t i = 0; i < adapted->adapter_count; i++) {
        dqg_adapter_release(adapted->adapters[i]);
    }
    dqg_model_release_(adapted->root);
    dqg_free(&alloc, adapted->adapters, adapted->adapter_count * sizeof *adapted->adapters);
    dqg_free(&alloc, adapted, sizeof *adapted);
}

static dqg_status from_arena(struct dqg_context *context, struct dqg_model *network, size_t count, size_t size,
                             void *out) {
    size_t bytes;
    bool fits = dqg_mul_size(count, size, &bytes);
    void *memory = fits ? dqg_arena_alloc(&context->alloc, &network->arena, bytes) : NULL;
    memcpy(out, &memory, sizeof memory);
    return memory != NULL ? DQG_OK : dqg_fail_memory(context, "the adapted model", fits ? bytes : SIZE_MAX);
}

/* A network that borrows everything. */
static dqg_status borrow(struct dqg_context *context, const struct dqg_model *lender, struct dqg_model **network) {
    struct dqg_model *made = dqg_calloc(&context->alloc, 1, sizeof *made);
    struct dqg_adapted *adapted = dqg_calloc(&context->alloc, 1, sizeof *adapted);
    if (made == NULL || adapted == NULL) {
        dqg_free(&context->alloc, adapted, sizeof *adapted);
        dqg_free(&context->alloc, made, sizeof *made);
        return dqg_fail_memory(context, "the adapted model", sizeof *made + sizeof *adapted);
    }
    size_t counted = offsetof(struct dqg_model, alloc); /* others may be counting the lender's references */
    memcpy((char *)made + counted, (const char *)lender + counted, sizeof *made - counted);
    made->references = 1;
    made->alloc = adapted->alloc = context->alloc;
    made->arena = (struct dqg_arena){0};
    made->part_count = 0;
    made->adapted = adapted;
    made->lender = NULL;
    if (made->control != NULL) {
        dqg_model_retain_(made->control);
    }
    adapted->lender = lender;
    *network = made;
    return DQG_OK;
}

/* The model, with all its networks. */
static dqg_status borrow_all(struct dqg_context *context, struct dqg_model *root, struct dqg_model **model) {
    DQG_TRY(borrow(context, root, model));
    (*model)->adapted->root = root;
    dqg_model_retain_(root);
    while ((*model)->part_count < root->part_count) {
        size_t part = (*model)->part_count;
        DQG_TRY(borrow(context, root->parts[part], &(*model)->parts[part]));
        (*model)->part_count++;
    }
    return DQG_OK;
}

static dqg_status keep_adapters(struct dqg_context *context, const struct dqg_adapter_use *uses, size_t count,
                                struct dqg_adapted *adapted) {
    adapted->adapters = dqg_malloc(&context->alloc, count * sizeof *adapted->adapters);
    if (adapted->adapters == NULL) {
        return dqg_fail_memory(context, "the adapted model", count * sizeof *adapted->adapters);
    }
    adapted->adapter_count = count;
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_add_explicit(&uses[i].adapter->references, 1, memory_order_relaxed);
        adapted->adapters[i] = uses[i].adapter;
    }
    return DQG_OK;
}

static struct dqg_model *network_of(struct dqg_model *model, size_t network) {
    return network == 0 ? model : model->parts[network - 1];
}

/* ---- branches ---- */

/* An update before the other branches of its weight. */
static dqg_status add_branch(struct dqg_context *context, struct dqg_model *network, const struct dqg_update *update,
                             double scale) {
    struct dqg_graph_additions *additions = &network->additions;
    size_t rank = update->down.size.rows;
    struct dqg_branch *branch;
    float *factors;
    if (additions->branches == NULL) {
        DQG_TRY(from_arena(context, network, network->weight_count, sizeof branch, &additions->branches));
        additions->weights = network->weights;
        additions->weight_count = network->weight_count;
    }
    DQG_TRY(from_arena(context, network, rank, 2 * sizeof *factors, &factors));
    DQG_TRY(from_arena(context, network, 1, sizeof *branch, &branch));
    for (size_t r = 0; r < rank; r++) {
        factors[r] = (float)((double)update->factors[r] * scale);
    }
    *branch = (struct dqg_branch){.down = &update->down, .up = &update->up, .factors = factors};
    branch->next = additions->branches[update->weight];
    additions->branches[update->weight] = branch;
    return DQG_OK;
}

/* A scale of 0 leaves the model as it is, to the bit. */
static dqg_status apply(struct dqg_context *context, struct dqg_model *model, const struct dqg_adapter_use *use) {
    for (size_t i = 0; i < use->adapter->update_count && use->scale != 0.0; i++) {
        const struct dqg_update *update = &use->adapter->updates[i];
        struct dqg_model *network = network_of(model, update->network);
        DQG_TRY(use->merge ? dqg_adapted_merge(context, network, update, use->scale)
                           : add_branch(context, network, update, use->scale));
    }
    return DQG_OK;
}

/* Every branch must be beside a product: no other reader of a weight knows of it. */
static dqg_status check_branches(struct dqg_context *context, const struct dqg_model *network,
                                 const struct dqg_graph *graph) {
    const struct dqg_graph_additions *additions = &network->additions;
    for (size_t i = 0; additions->branches != NULL && i < additions->weight_count; i++) {
        bool found = additions->branches[i] == NULL;
        for (int32_t n = 0; n < graph->node_count && !found; n++) {
            found = graph->nodes[n].weight == additions->branches[i]->down;
        }
        if (!found) {
            return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                            "the adapter changes '%s', which this network multiplies nothing with",
                            network->weights[i].name);
        }
    }
    return DQG_OK;
}

/* The operators of an evaluation; autoencoders, whose matrices are all convolutions, have several graphs. */
static dqg_status describe(struct dqg_context *context, struct dqg_model *network) {
    struct dqg_graph graph;
    const struct dqg_graph_config config = {
        .samples = 1, .text = {.pooled = network->hyper.positions > 0}, .control = dqg_model_control(network) != NULL};
    DQG_TRY(dqg_model_graph(context, network, &config, &graph));
    dqg_status status = network->hyper.reduction == 0 ? check_branches(context, network, &graph) : DQG_OK;
    network->operators = graph.node_count;
    dqg_graph_free(&graph);
    return status;
}

/* ---- tokens ---- */

struct tokens {
    struct dqg_context *context;
    struct dqg_model *network;
    float *rows; /* NULL while they are counted */
    size_t row_count, name_count;
};

static dqg_status add_tokens(struct tokens *tokens, const char *name, const struct dqg_inversion *inversion) {
    struct dqg_model *network = tokens->network;
    size_t columns = network->hyper.hidden;
    if (name[0] == '\0') {
        return dqg_fail(tokens->context, DQG_ERROR_ARGUMENT,
                        "the new tokens have no name: neither the file nor the adaptation says one");
    }
    if (tokens->rows != NULL) {
        struct dqg_token_name *entry = &network->token_names[tokens->name_count];
        *entry = (struct dqg_token_name){
            .name = dqg_arena_copy(&tokens->context->alloc, &network->arena, name, strlen(name)),
            .first = (int32_t)(network->adapted->lender->hyper.vocabulary + tokens->row_count),
            .count = (int32_t)inversion->count};
        if (entry->name == NULL) {
            return dqg_fail_memory(tokens->context, "the adapted model", strlen(name) + 1);
        }
        memcpy(tokens->rows + tokens->row_count * columns, inversion->rows, inversion->count * columns * sizeof(float));
    }
    tokens->row_count += inversion->count;
    tokens->name_count++;
    return DQG_OK;
}

static dqg_status visit_tokens(struct tokens *tokens, size_t network, const struct dqg_adapter_use *uses,
                               size_t count) {
    tokens->row_count = tokens->name_count = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < uses[i].adapter->inversion_count; j++) {
            const struct dqg_inversion *inversion = &uses[i].adapter->inversions[j];
            if (inversion->network == network) {
                const char *name = uses[i].name != NULL ? uses[i].name : inversion->token;
                DQG_TRY(add_tokens(tokens, name, inversion));
            }
        }
    }
    return DQG_OK;
}

static dqg_status extend_table(struct dqg_context *context, struct dqg_model *model, size_t network,
                               const struct dqg_adapter_use *uses, size_t count) {
    struct tokens tokens = {.context = context, .network = network_of(model, network)};
    struct dqg_model *encoder = tokens.network;
    DQG_TRY(visit_tokens(&tokens, network, uses, count));
    if (tokens.row_count == 0) {
        return DQG_OK;
    }
    if (encoder->hyper.vocabulary + tokens.row_count > DQG_TOKEN_ID_MAX) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "%zu more tokens are too many", tokens.row_count);
    }
    DQG_TRY(from_arena(context, encoder, tokens.name_count, sizeof *encoder->token_names, &encoder->token_names));
    DQG_TRY(from_arena(context, encoder, tokens.row_count, encoder->hyper.hidden * sizeof(float), &tokens.rows));
    DQG_TRY(visit_tokens(&tokens, network, uses, count));
    encoder->token_name_count = tokens.name_count;
    encoder->additions.tokens = tokens.rows;
    encoder->additions.token_count = tokens.row_count;
    encoder->hyper.vocabulary += tokens.row_count;
    return DQG_OK;
}

/* ---- models ---- */

static dqg_status fill(struct dqg_context *context, const struct dqg_adapter_use *uses, size_t count,
                       struct dqg_model *model) {
    DQG_TRY(keep_adapters(context, uses, count, model->adapted));
    for (size_t i = 0; i < count; i++) {
        DQG_TRY(apply(context, model, &uses[i]));
        model->weight_bytes += uses[i].adapter->bytes;
    }
    for (size_t network = 0; network <= model->part_count; network++) {
        DQG_TRY(extend_table(context, model, network, uses, count));
        DQG_TRY(describe(context, network_of(model, network)));
    }
    return DQG_OK;
}

dqg_status dqg_model_adapt_(struct dqg_context *context, struct dqg_model *model, const struct dqg_adapter_use *uses,
                            size_t count, struct dqg_model **adapted) {
    struct dqg_model *made = NULL;
    dqg_status status = borrow_all(context, dqg_adapted_root(model), &made);
    if (status >= 0 && made->control != model->control) { /* attached to the adapted one */
        dqg_model_release_(made->control);
        made->control = model->control;
        dqg_model_retain_(made->control);
        made->hyper.control_channels = model->hyper.control_channels;
        made->hyper.control_times = model->hyper.control_times;
    }
    if (status >= 0) {
        status = fill(context, uses, count, made);
    }
    if (status < 0 && made != NULL) {
        dqg_model_free(made);
    }
    *adapted = status < 0 ? NULL : made;
    return status;
}
