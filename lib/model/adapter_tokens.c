/* SPDX-License-Identifier: MIT */
/*
 * Textual inversions: files of rows for the token tables of text encoders, by the programs that write them. How many
 * columns the rows have says which encoder they are for. Called by adapter.c for files without low-rank updates.
 */
#include "model/adapter_file.h"

/* Tensors whose names say nothing of the token's. */
static const char *const nameless[] = {"emb_params", "string_to_param.*", "clip_l", "clip_g", "t5xxl"};

/* The text encoder with so many columns, the last of several for "clip_g"; false where there is none. */
static bool find_encoder(const struct dqg_model *model, const char *name, size_t columns, size_t *network) {
    bool last = strcmp(name, "clip_g") == 0;
    for (size_t i = 0; i <= model->part_count; i++) {
        *network = last ? model->part_count - i : i;
        const struct dqg_hyper *hyper = &dqg_adapter_network(model, *network)->hyper;
        if (hyper->vocabulary > 0 && hyper->hidden == columns) {
            return true;
        }
    }
    return false;
}

/* The tensor's own name, or that of the file without folders and ending. */
static const char *name_token(const struct dqg_adapter_file *file, const char *name) {
    struct dqg_adapter *adapter = file->adapter;
    const char *slash = strrchr(adapter->path, '/');
    size_t length = strlen(name);
    for (size_t i = 0; i < DQG_COUNT_OF(nameless); i++) {
        if (dqg_match(nameless[i], name)) {
            name = slash != NULL ? slash + 1 : adapter->path;
            const char *dot = strrchr(name, '.');
            length = dot != NULL && dot > name ? (size_t)(dot - name) : strlen(name);
            break;
        }
    }
    return dqg_arena_copy(&adapter->alloc, &adapter->arena, name, length);
}

static dqg_status read_rows(struct dqg_adapter_file *file, size_t tensor, size_t network) {
    const struct dqg_tensor_desc *desc = &file->source->tensors[tensor];
    struct dqg_adapter *adapter = file->adapter;
    size_t columns = (size_t)desc->shape[desc->rank - 1];
    struct dqg_inversion *inversion = &adapter->inversions[adapter->inversion_count];
    float *rows;
    inversion->network = network;
    inversion->count = desc->rank == 2 ? (size_t)desc->shape[0] : 1;
    inversion->token = name_token(file, desc->name);
    if (inversion->token == NULL) {
        return dqg_fail_memory(file->context, "the adapter", strlen(adapter->path) + 1);
    }
    DQG_TRY(dqg_adapter_alloc(file, &adapter->arena, inversion->count, columns * sizeof *rows, &rows));
    DQG_TRY(dqg_adapter_read(file, tensor, rows));
    inversion->rows = rows;
    adapter->bytes += inversion->count * columns * sizeof *rows;
    adapter->inversion_count++;
    return DQG_OK;
}

dqg_status dqg_adapter_read_tokens(struct dqg_adapter_file *file) {
    const struct dqg_source *source = file->source;
    struct dqg_adapter *adapter = file->adapter;
    file->unmatched = 0; /* they were no low-rank updates */
    file->told[0] = '\0';
    DQG_TRY(dqg_adapter_alloc(file, &adapter->arena, source->tensor_count, sizeof *adapter->inversions,
                              &adapter->inversions));
    for (size_t i = 0; i < source->tensor_count; i++) {
        const struct dqg_tensor_desc *desc = &source->tensors[i];
        bool rows = (desc->rank == 1 || desc->rank == 2) && desc->shape[0] > 0;
        size_t network;
        if (rows && find_encoder(file->model, desc->name, (size_t)desc->shape[desc->rank - 1], &network)) {
            DQG_TRY(read_rows(file, i, network));
        } else {
            dqg_adapter_note(file, desc->name);
        }
    }
    return dqg_adapter_tell(file, adapter->inversion_count);
}
