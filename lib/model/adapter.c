/* SPDX-License-Identifier: MIT */
/*
 * A file of low-rank updates for a model: tensors are sorted by the module that they adapt, modules become parts of
 * weights, whose shapes they must fit, and the parts of a weight one update (adapter_update.c). Used by lib/api.
 */
#include "model/adapter_file.h"

enum { TOLD = 3 /* names in a message */ };

dqg_status dqg_adapter_alloc(struct dqg_adapter_file *file, struct dqg_arena *arena, size_t count, size_t size,
                             void *out) {
    size_t bytes;
    void *memory = dqg_mul_size(count, size, &bytes) ? dqg_arena_alloc(&file->context->alloc, arena, bytes) : NULL;
    memcpy(out, &memory, sizeof memory);
    return memory != NULL ? DQG_OK : dqg_fail_memory(file->context, "the adapter", count * size);
}

/* ---- which tensor is what ---- */

void dqg_adapter_note(struct dqg_adapter_file *file, const char *name) {
    size_t length = strlen(file->told);
    if (file->unmatched++ < TOLD) {
        dqg_format(file->told + length, sizeof file->told - length, length > 0 ? ", '%s'" : "'%s'", name);
    }
}

dqg_status dqg_adapter_tell(struct dqg_adapter_file *file, size_t found) {
    const char *more = file->unmatched > TOLD ? ", ..." : "";
    if (file->unmatched == 0) {
        return found > 0 ? DQG_OK : dqg_fail(file->context, DQG_ERROR_FORMAT, "the adapter's file holds no tensors");
    }
    if (found == 0) {
        return dqg_fail(file->context, DQG_ERROR_FORMAT, "none of the adapter's modules (%zu) is for this model: %s%s",
                        file->unmatched, file->told, more);
    }
    if (!file->partial) {
        return dqg_fail(file->context, DQG_ERROR_FORMAT,
                        "%zu of the adapter's modules are nothing in this model: %s%s; %zu are known, which "
                        "DQG_ADAPT_PARTIAL takes alone",
                        file->unmatched, file->told, more, found);
    }
    dqg_log(file->context, DQG_LOG_WARNING, "%zu of the adapter's modules are nothing in this model: %s%s",
            file->unmatched, file->told, more);
    return DQG_OK;
}

static dqg_status sort_tensors(struct dqg_adapter_file *file) {
    const struct dqg_source *source = file->source;
    DQG_TRY(dqg_adapter_alloc(file, &file->arena, source->tensor_count, sizeof *file->pieces, &file->pieces));
    for (size_t i = 0; i < source->tensor_count; i++) {
        struct dqg_adapter_tensor *piece = &file->pieces[file->piece_count];
        char module[256];
        const char *other;
        if (!dqg_adapter_parse(source->tensors[i].name, module, &piece->kind, &other)) {
            return dqg_fail(file->context, DQG_ERROR_UNSUPPORTED,
                            "tensor '%s' says that this adapter is %s; known are LoRA and LoCon",
                            source->tensors[i].name, other);
        }
        if (module[0] == '\0') {
            dqg_adapter_note(file, source->tensors[i].name);
            continue;
        }
        piece->module = dqg_arena_copy(&file->context->alloc, &file->arena, module, strlen(module));
        piece->tensor = i;
        file->piece_count++;
        if (piece->module == NULL) {
            return dqg_fail_memory(file->context, "the adapter", sizeof module);
        }
    }
    return DQG_OK;
}

static bool piece_before(const void *items, size_t a, size_t b) {
    const struct dqg_adapter_tensor *pieces = items;
    int order = strcmp(pieces[a].module, pieces[b].module);
    return order != 0 ? order < 0 : pieces[a].kind < pieces[b].kind;
}

/* The pieces of one module as a patch. */
static dqg_status gather(struct dqg_adapter_file *file, const uint32_t *order, size_t count, struct dqg_patch *patch) {
    *patch = (struct dqg_patch){.module = file->pieces[order[0]].module,
                                .tensors = {DQG_NO_TENSOR, DQG_NO_TENSOR, DQG_NO_TENSOR, DQG_NO_TENSOR}};
    for (size_t i = 0; i < count; i++) {
        const struct dqg_adapter_tensor *piece = &file->pieces[order[i]];
        if (patch->tensors[piece->kind] != DQG_NO_TENSOR) {
            return dqg_fail(file->context, DQG_ERROR_FORMAT, "the adapter has two tensors '%s' of one kind",
                            file->source->tensors[piece->tensor].name);
        }
        patch->tensors[piece->kind] = (int64_t)piece->tensor;
    }
    if (patch->tensors[DQG_PIECE_DOWN] == DQG_NO_TENSOR || patch->tensors[DQG_PIECE_UP] == DQG_NO_TENSOR) {
        return dqg_fail(file->context, DQG_ERROR_FORMAT, "the adapter's '%s' lacks its %s matrix", patch->module,
                        patch->tensors[DQG_PIECE_UP] == DQG_NO_TENSOR ? "up (B)" : "down (A)");
    }
    return DQG_OK;
}

/* ---- shapes ---- */

dqg_status dqg_patch_fail(const struct dqg_adapter_file *file, const struct dqg_patch *patch, const char *why) {
    return dqg_fail(file->context, DQG_ERROR_FORMAT, "the adapter's '%s' does not fit '%s': %s", patch->module,
                    patch->target.to.name, why);
}

/* Elements of a kernel's window. */
static uint64_t window(int32_t rank, const int64_t *shape) {
    uint64_t taps = 1;
    for (int32_t i = 2; i < rank; i++) {
        taps *= (uint64_t)shape[i]; /* of a tensor whose size was checked */
    }
    return taps;
}

static bool same_window(const struct dqg_tensor_desc *desc, const struct dqg_weight *weight) {
    bool same = desc->rank == weight->rank;
    for (int32_t i = 2; same && i < desc->rank; i++) {
        same = desc->shape[i] == weight->shape[i];
    }
    return same;
}

/* Rows of the weight: parts in front are as large as this one, the last ends where the weight does. */
static bool place_rows(struct dqg_patch *patch, size_t rows) {
    size_t part = patch->target.to.part, end;
    if (part > 0 && part + 1 == patch->target.to.parts) {
        patch->first = rows - patch->rows;
        return patch->rows < rows;
    }
    return dqg_mul_size(part, patch->rows, &patch->first) && dqg_add_size(patch->first, patch->rows, &end) &&
           (patch->target.to.parts == 1 ? patch->rows == rows : end < rows);
}

static dqg_status check_patch(const struct dqg_adapter_file *file, struct dqg_patch *patch) {
    const struct dqg_model *network = dqg_adapter_network(file->model, patch->target.network);
    const struct dqg_weight *weight = &network->weights[patch->target.weight];
    const struct dqg_tensor_desc *tensors = file->source->tensors;
    const struct dqg_tensor_desc *down = &tensors[patch->tensors[DQG_PIECE_DOWN]];
    const struct dqg_tensor_desc *up = &tensors[patch->tensors[DQG_PIECE_UP]];
    const struct dqg_tensor_desc *mid =
        patch->tensors[DQG_PIECE_MID] != DQG_NO_TENSOR ? &tensors[patch->tensors[DQG_PIECE_MID]] : NULL;
    dqg_format(patch->target.to.name, sizeof patch->target.to.name, "%s", weight->name);
    if (down->rank < 2 || up->rank < 2 || down->shape[0] < 1 || up->shape[0] < 1 || up->shape[1] < 1 ||
        down->shape[1] < 1 || window(up->rank, up->shape) != 1) {
        return dqg_patch_fail(file, patch, "up and down are no matrices of rank 1 or more");
    }
    patch->rank = (size_t)up->shape[1];
    patch->inner = (size_t)down->shape[0];
    patch->rows = (size_t)up->shape[0];
    const struct dqg_tensor_desc *kernel = mid != NULL ? mid : down;
    if (mid != NULL && (mid->rank < 3 || (size_t)mid->shape[0] != patch->rank ||
                        (size_t)mid->shape[1] != patch->inner || window(down->rank, down->shape) != 1)) {
        return dqg_patch_fail(file, patch, "its mid tensor does not join up and down");
    }
    if (mid == NULL && patch->inner != patch->rank) {
        return dqg_patch_fail(file, patch, "up and down are of different rank");
    }
    bool single = window(kernel->rank, kernel->shape) == 1 && window(weight->rank, weight->shape) == 1;
    if (down->shape[1] != weight->shape[1] || (!single && !same_window(kernel, weight))) {
        return dqg_patch_fail(file, patch, "the inputs are others");
    }
    if (!place_rows(patch, weight->size.rows) || (patch->target.to.swapped && patch->rows % 2 != 0)) {
        return dqg_patch_fail(file, patch, "the outputs are others");
    }
    return DQG_OK;
}

/* ---- modules ---- */

static dqg_status find_patches(struct dqg_adapter_file *file) {
    uint32_t *order;
    DQG_TRY(dqg_adapter_alloc(file, &file->arena, file->piece_count, sizeof *order, &order));
    DQG_TRY(dqg_adapter_alloc(file, &file->arena, file->piece_count, sizeof *file->patches, &file->patches));
    dqg_sort_indices(order, file->piece_count, piece_before, file->pieces);
    for (size_t i = 0, count; i < file->piece_count; i += count) {
        struct dqg_patch *patch = &file->patches[file->patch_count];
        const char *module = file->pieces[order[i]].module;
        for (count = 1; i + count < file->piece_count; count++) {
            if (strcmp(file->pieces[order[i + count]].module, module) != 0) {
                break;
            }
        }
        DQG_TRY(gather(file, &order[i], count, patch));
        if (dqg_adapter_match(file->model, module, &patch->target)) {
            DQG_TRY(check_patch(file, patch));
            file->patch_count++;
        } else {
            dqg_adapter_note(file, module);
        }
    }
    return DQG_OK;
}

static bool patch_before(const void *items, size_t a, size_t b) {
    const struct dqg_adapter_target *x = &((const struct dqg_patch *)items)[a].target;
    const struct dqg_adapter_target *y = &((const struct dqg_patch *)items)[b].target;
    if (x->network != y->network || x->weight != y->weight) {
        return x->network != y->network ? x->network < y->network : x->weight < y->weight;
    }
    return x->to.part < y->to.part;
}

static dqg_status make_updates(struct dqg_adapter_file *file) {
    uint32_t *order;
    DQG_TRY(dqg_adapter_alloc(file, &file->arena, file->patch_count, sizeof *order, &order));
    DQG_TRY(dqg_adapter_alloc(file, &file->adapter->arena, file->patch_count, sizeof *file->adapter->updates,
                              &file->adapter->updates));
    dqg_sort_indices(order, file->patch_count, patch_before, file->patches);
    for (size_t i = 0, count; i < file->patch_count; i += count) {
        const struct dqg_adapter_target *target = &file->patches[order[i]].target;
        for (count = 1; i + count < file->patch_count; count++) {
            const struct dqg_adapter_target *next = &file->patches[order[i + count]].target;
            if (next->network != target->network || next->weight != target->weight) {
                break;
            }
        }
        struct dqg_arena arena = {0};
        dqg_status status = dqg_update_make(file, &arena, &order[i], count);
        dqg_arena_free(&file->context->alloc, &arena);
        DQG_TRY(status);
    }
    return DQG_OK;
}

/* ---- files ---- */

static dqg_status read_file(struct dqg_adapter_file *file, const char *path) {
    file->adapter->path = dqg_arena_copy(&file->adapter->alloc, &file->adapter->arena, path, strlen(path));
    if (file->adapter->path == NULL) {
        return dqg_fail_memory(file->context, "the adapter", strlen(path) + 1);
    }
    DQG_TRY(sort_tensors(file));
    if (file->piece_count == 0) {
        return dqg_adapter_read_tokens(file);
    }
    DQG_TRY(find_patches(file));
    DQG_TRY(dqg_adapter_tell(file, file->patch_count));
    return make_updates(file);
}

dqg_status dqg_adapter_open(struct dqg_context *context, struct dqg_source *source, const struct dqg_model *model,
                            const char *path, bool partial, struct dqg_adapter **adapter) {
    struct dqg_adapter *made = dqg_calloc(&context->alloc, 1, sizeof *made);
    *adapter = NULL;
    if (made == NULL) {
        return dqg_fail_memory(context, "the adapter", sizeof *made);
    }
    made->references = 1;
    made->alloc = context->alloc;
    struct dqg_adapter_file file = {
        .context = context, .source = source, .model = model, .adapter = made, .partial = partial};
    dqg_status status = read_file(&file, path);
    dqg_arena_free(&context->alloc, &file.arena);
    if (status < 0) {
        dqg_adapter_release(made);
        return status;
    }
    *adapter = made;
    return DQG_OK;
}

void dqg_adapter_release(struct dqg_adapter *adapter) {
    if (adapter != NULL && atomic_fetch_sub_explicit(&adapter->references, 1, memory_order_acq_rel) == 1) {
        struct dqg_alloc alloc = adapter->alloc;
        dqg_arena_free(&alloc, &adapter->arena);
        dqg_free(&alloc, adapter, sizeof *adapter);
    }
}
