/* SPDX-License-Identifier: MIT */
/* What the parts of the reader of PyTorch checkpoints share. Private to lib/io. */
#ifndef DQG_TORCH_H
#define DQG_TORCH_H

#include "io/pickle.h"
#include "io/stored_tensor.h"

enum { DQG_TORCH_TENSORS_MAX = 16384 };

/* Bytes of one or more tensors. */
struct dqg_torch_storage {
    struct dqg_torch_storage *next;      /* all of a pickle, the latest first */
    const struct dqg_encoding *encoding; /* NULL: untyped */
    const char *key;                     /* its name in the file; not terminated */
    size_t key_length;
    uint64_t count;    /* elements, or bytes where untyped */
    uint64_t position; /* in the file, once located */
    bool located;
};

struct dqg_torch_tensor {
    struct dqg_torch_storage *storage;
    const struct dqg_encoding *encoding;
    int32_t rank;
    uint64_t offset, sizes[DQG_MAX_RANK], strides[DQG_MAX_RANK]; /* in elements */
};

/* Give a pickle the functions that make storages, tensors and dicts; storages receives the list of storages. */
void dqg_torch_begin(struct dqg_pickle *pickle, struct dqg_torch_storage **storages);

/* A tensor of a state dict under the name it will have, which is allocated with the pickle. */
struct dqg_torch_entry {
    const char *name;
    const struct dqg_torch_tensor *tensor;
};

/* The state dict of a checkpoint: up to DQG_TORCH_TENSORS_MAX entries, their names different. See pickle->status. */
struct dqg_torch_entry *dqg_torch_state(struct dqg_pickle *pickle, const struct dqg_pickle_value *root, size_t *count);

#endif
