/* SPDX-License-Identifier: MIT */
/*
 * Adapters: files of low-rank updates (LoRA, LoCon) and of new tokens (textual inversion), and models that carry them.
 * An adapted model borrows the weights of the one it was made from. Its graphs have branches beside products; weights
 * are copied only where an update is merged into them.
 *
 *   W x + sum over adapters of scale * alpha / rank * up (down x)
 */
#ifndef DQG_ADAPTER_H
#define DQG_ADAPTER_H

#include "model/model.h"

/* ---- names: adapter_names.c ---- */

/* What a tensor of a file is to the module that it adapts. */
enum dqg_adapter_piece { DQG_PIECE_DOWN, DQG_PIECE_UP, DQG_PIECE_MID, DQG_PIECE_ALPHA, DQG_PIECE_COUNT };

/* The module that a tensor's name begins with, "" for no tensor of an adapter. False: of a kind that is not LoRA, and
 * its name. */
bool dqg_adapter_parse(const char *tensor, char module[256], enum dqg_adapter_piece *piece, const char **other);

/* A weight of a model, of one of its networks: 0 is the model itself, i its parts[i - 1]. */
struct dqg_adapter_target {
    size_t network, weight;
    struct dqg_rename to;
};

/* The weight that a file calls module; false where there is none. */
bool dqg_adapter_match(const struct dqg_model *model, const char *module, struct dqg_adapter_target *target);

static inline const struct dqg_model *dqg_adapter_network(const struct dqg_model *model, size_t network) {
    return network == 0 ? model : model->parts[network - 1];
}

/* ---- files: adapter.c ---- */

struct dqg_update {
    size_t network, weight;
    struct dqg_weight down, up; /* floats, see struct dqg_branch */
    const float *factors;       /* [rank]: alpha / rank */
};

/* Rows for the token table of a network. */
struct dqg_inversion {
    size_t network;
    const char *token; /* the file's word for it, else the file's name; "": it has none */
    const float *rows;
    size_t count;
};

/* A file, matched to the weights of a model. Never changes, counted. */
struct dqg_adapter {
    _Atomic int32_t references;
    struct dqg_alloc alloc;
    struct dqg_arena arena;
    const char *path; /* "": none */
    struct dqg_update *updates;
    size_t update_count;
    struct dqg_inversion *inversions;
    size_t inversion_count;
    uint64_t bytes; /* of the updates and rows */
};

/*
 * Read a file for a model, an adapted one or not. partial: tensors that match nothing are left out, with a warning;
 * else they fail with DQG_ERROR_FORMAT. Kinds that are not LoRA fail with DQG_ERROR_UNSUPPORTED.
 */
dqg_status dqg_adapter_open(struct dqg_context *context, struct dqg_source *source, const struct dqg_model *model,
                            const char *path, bool partial, struct dqg_adapter **adapter);
void dqg_adapter_release(struct dqg_adapter *adapter); /* NULL is fine */

/* ---- models: adapted.c ---- */

/* What an adapted network borrows. */
struct dqg_adapted {
    struct dqg_alloc alloc;
    const struct dqg_model *lender; /* the network that the weights are of */
    struct dqg_model *root;         /* the model of the lender, kept alive; NULL in parts */
    struct dqg_adapter **adapters;  /* kept alive; of the model itself, none in parts */
    size_t adapter_count;
};

struct dqg_adapter_use {
    struct dqg_adapter *adapter;
    double scale;
    const char *name; /* of its tokens, or NULL: the file's own */
    bool merge;
};

/* A model that carries these adapters and no others. */
dqg_status dqg_model_adapt_(struct dqg_context *context, struct dqg_model *model, const struct dqg_adapter_use *uses,
                            size_t count, struct dqg_model **adapted);

/* The weights of the model itself, whether or not it is adapted. */
static inline struct dqg_model *dqg_adapted_root(struct dqg_model *model) {
    return model->adapted != NULL ? model->adapted->root : model;
}

/* Is the memory of a weight the network's own? */
bool dqg_adapted_owns(const struct dqg_model *network, size_t weight);
void dqg_adapted_free(struct dqg_adapted *adapted); /* NULL is fine */

/* Add scale times the update to a weight of the network, which becomes its own: adapted_merge.c. */
dqg_status dqg_adapted_merge(struct dqg_context *context, struct dqg_model *network, const struct dqg_update *update,
                             double scale);

#endif
