/* SPDX-License-Identifier: MIT */
/* Between the names of a file of adapters (adapter.c) and its numbers (adapter_update.c). */
#ifndef DQG_ADAPTER_FILE_H
#define DQG_ADAPTER_FILE_H

#include "model/adapter.h"
#include "tensor/format.h"

enum { DQG_NO_TENSOR = -1 };

/* A tensor of the file. */
struct dqg_adapter_tensor {
    const char *module;
    enum dqg_adapter_piece kind;
    size_t tensor;
};

/* The tensors of a module, and the rows of a weight that they change. */
struct dqg_patch {
    const char *module;
    struct dqg_adapter_target target;
    int64_t tensors[DQG_PIECE_COUNT]; /* DQG_NO_TENSOR: there is none */
    size_t rank, inner;               /* columns of up; rows of down, as many but with a tensor between them */
    size_t rows, first;               /* of the weight */
};

struct dqg_adapter_file {
    struct dqg_context *context;
    struct dqg_source *source;
    const struct dqg_model *model;
    struct dqg_adapter *adapter;
    bool partial;
    struct dqg_arena arena; /* of what is needed while the file is read */
    struct dqg_adapter_tensor *pieces;
    struct dqg_patch *patches;
    size_t piece_count, patch_count;
    size_t unmatched;
    char told[256]; /* names of those */
};

/* Zeroed memory of an arena of the file's context, through a pointer to a pointer. */
dqg_status dqg_adapter_alloc(struct dqg_adapter_file *file, struct dqg_arena *arena, size_t count, size_t size,
                             void *out);

/* Fails with what is wrong with a patch. */
dqg_status dqg_patch_fail(const struct dqg_adapter_file *file, const struct dqg_patch *patch, const char *why);

/* The patches of one weight, order[0 .. count), as one update; arena: for the time of the call. */
dqg_status dqg_update_make(struct dqg_adapter_file *file, struct dqg_arena *arena, const uint32_t *order, size_t count);

/* A float tensor of the file as F32, all of it; fails where it is no float tensor or a value is not finite. */
dqg_status dqg_adapter_read(struct dqg_adapter_file *file, size_t tensor, float *out);

/* The file as rows for token tables: adapter_tokens.c. */
dqg_status dqg_adapter_read_tokens(struct dqg_adapter_file *file);

/* Note a tensor or module that is nothing in this model; at the end fail, or warn where the caller knows of such and
 * others were found. */
void dqg_adapter_note(struct dqg_adapter_file *file, const char *name);
dqg_status dqg_adapter_tell(struct dqg_adapter_file *file, size_t found);

#endif
