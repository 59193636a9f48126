/* SPDX-License-Identifier: MIT */
/*
 * Reader for checkpoints that torch.save() wrote: a zip archive of a pickle and storages, or, before PyTorch 1.6, five
 * pickles and the storages in a row. The pickle is never executed (pickle.h). Tensors may share storages, and be
 * strided views of them. Called by source.c and archive.c.
 */
#include "io/torch.h"
#include "io/archive.h"
#include "io/bytes.h"

enum {
    PICKLE_MAX = 512 << 20,
    OBJECTS = 8 << 20, /* bytes that values may take, beside as many as the pickle has */
    WINDOW = 1 << 20   /* bytes of an old checkpoint that are read at first to find its pickles */
};

static dqg_status fail_pickle(struct dqg_source *source, const struct dqg_pickle *pickle) {
    if (pickle->status == DQG_ERROR_MEMORY) {
        return dqg_fail_memory(source->context, "the description of tensors", pickle->arena.total);
    }
    return dqg_fail(source->context, pickle->status, "the pickle in %s cannot be used: %s (at its byte %zu)",
                    source->inputs[0].name, pickle->error, pickle->at);
}

/* ---- tensors ---- */

/* Row-major, without gaps. Sides of 1 may have any stride. */
static bool is_dense(const struct dqg_torch_tensor *tensor) {
    uint64_t dense = 1;
    for (int32_t i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->sizes[i] != 1 && tensor->strides[i] != dense) {
            return false;
        }
        dense *= tensor->sizes[i];
    }
    return true;
}

/* Is the last element in the storage? The tensor has elements. */
static bool is_inside(const struct dqg_torch_tensor *tensor, uint64_t elements) {
    uint64_t last = tensor->offset;
    for (int32_t i = 0; i < tensor->rank; i++) {
        uint64_t step;
        if (__builtin_mul_overflow(tensor->sizes[i] - 1, tensor->strides[i], &step) ||
            __builtin_add_overflow(last, step, &last)) {
            return false;
        }
    }
    return last < elements;
}

static dqg_status fail_tensor(struct dqg_source *source, const struct dqg_tensor_desc *desc, const char *what) {
    return dqg_fail(source->context, DQG_ERROR_FORMAT, "tensor '%s' in %s: %s", desc->name, source->inputs[0].name,
                    what);
}

static dqg_status place_tensor(struct dqg_source *source, const struct dqg_torch_entry *entry) {
    const struct dqg_torch_tensor *tensor = entry->tensor;
    const struct dqg_torch_storage *storage = tensor->storage;
    struct dqg_tensor_desc *desc = &source->tensors[source->tensor_count];
    struct dqg_stored *stored = (struct dqg_stored *)source->detail + source->tensor_count;
    DQG_TRY(dqg_source_copy_text(source, entry->name, strlen(entry->name), &desc->name));
    desc->rank = tensor->rank;
    for (int32_t i = 0; i < tensor->rank; i++) {
        desc->shape[i] = (int64_t)tensor->sizes[i]; /* it was an int64 */
    }
    const char *error = dqg_stored_describe(tensor->encoding, desc, stored);
    if (error != NULL) {
        return fail_tensor(source, desc, error);
    }
    source->tensor_count++;
    if (desc->stored_bytes == 0) {
        return DQG_OK;
    }
    uint64_t item = tensor->encoding->bytes;
    if (!is_inside(tensor, storage->encoding != NULL ? storage->count : storage->count / item)) {
        return fail_tensor(source, desc, "it is larger than its storage");
    }
    stored->offset = storage->position + tensor->offset * item;
    stored->strided = !is_dense(tensor);
    memcpy(stored->strides, tensor->strides, sizeof stored->strides);
    /* A repeated element costs nothing in the file: a limit for what it may cost in memory. */
    if (desc->stored_bytes > source->inputs[0].size + WINDOW) {
        return fail_tensor(source, desc, "it repeats more elements than can be read");
    }
    return DQG_OK;
}

/* ---- archives ---- */

struct archive {
    const struct dqg_zip *zip;
    const char *root; /* "archive/" */
    size_t root_length;
};

static dqg_status locate_in_archive(struct dqg_source *source, const struct archive *archive,
                                    struct dqg_torch_storage *storage) {
    char name[512];
    size_t length = archive->root_length + strlen("data/");
    uint64_t bytes;
    if (storage->located) {
        return DQG_OK;
    }
    const struct dqg_zip_entry *entry = NULL;
    if (length + storage->key_length < sizeof name) {
        memcpy(name, archive->root, archive->root_length);
        memcpy(name + archive->root_length, "data/", strlen("data/"));
        memcpy(name + length, storage->key, storage->key_length);
        name[length + storage->key_length] = '\0';
        entry = dqg_zip_find(archive->zip, name);
    }
    if (entry == NULL) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT, "%s lacks the storage of a tensor", source->inputs[0].name);
    }
    if (__builtin_mul_overflow(storage->count, storage->encoding != NULL ? (uint64_t)storage->encoding->bytes : 1,
                               &bytes) ||
        bytes > entry->size) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT, "'%s' in %s is smaller than its tensors say", name,
                        source->inputs[0].name);
    }
    storage->located = true;
    return dqg_zip_locate(source, entry, &storage->position);
}

static dqg_status take_state(struct dqg_source *source, struct dqg_pickle *pickle, const struct dqg_pickle_value *root,
                             const struct archive *archive) {
    size_t count;
    struct dqg_torch_entry *entries = dqg_torch_state(pickle, root, &count);
    if (pickle->status < 0) {
        return fail_pickle(source, pickle);
    }
    DQG_TRY(dqg_stored_alloc(source, count));
    for (size_t i = 0; i < count; i++) {
        if (archive != NULL) {
            DQG_TRY(locate_in_archive(source, archive, entries[i].tensor->storage));
        }
        DQG_TRY(place_tensor(source, &entries[i]));
    }
    return dqg_source_index_names(source);
}

static dqg_status check_archive(struct dqg_source *source, const struct archive *archive) {
    char name[300];
    uint64_t offset;
    char order[3] = {0};
    dqg_format(name, sizeof name, "%sconstants.pkl", archive->root);
    if (dqg_zip_find(archive->zip, name) != NULL) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        "%s is a scripted module (TorchScript), which holds a program; save its state_dict() instead",
                        source->inputs[0].name);
    }
    dqg_format(name, sizeof name, "%sbyteorder", archive->root);
    const struct dqg_zip_entry *entry = dqg_zip_find(archive->zip, name);
    if (entry != NULL && entry->size >= sizeof order) {
        DQG_TRY(dqg_zip_locate(source, entry, &offset));
        DQG_TRY(dqg_input_read(source->context, &source->inputs[0], offset, order, sizeof order));
        if (memcmp(order, "big", sizeof order) == 0) {
            return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                            "%s was written on a machine of the other byte order", source->inputs[0].name);
        }
    }
    return DQG_OK;
}

/* Run the pickle of an archive and take what it describes. */
static dqg_status run_archive(struct dqg_source *source, const struct archive *archive, const uint8_t *data,
                              size_t size) {
    struct dqg_torch_storage *storages;
    struct dqg_pickle pickle = {.alloc = &source->context->alloc, .left = OBJECTS + size, .data = data, .size = size};
    dqg_torch_begin(&pickle, &storages);
    const struct dqg_pickle_value *root = dqg_pickle_run(&pickle);
    dqg_status status = pickle.status < 0 ? fail_pickle(source, &pickle) : take_state(source, &pickle, root, archive);
    dqg_pickle_free(&pickle);
    return status;
}

dqg_status dqg_torch_open_archive(struct dqg_source *source, const struct dqg_zip *zip,
                                  const struct dqg_zip_entry *entry) {
    const struct dqg_alloc *alloc = &source->context->alloc;
    char root[256];
    struct archive archive = {zip, root, strlen(entry->name) - strlen("data.pkl")};
    uint64_t offset;
    source->type = &dqg_stored_type;
    source->format = "PyTorch";
    if (archive.root_length >= sizeof root || entry->size > PICKLE_MAX) {
        return dqg_fail(source->context, DQG_ERROR_LIMIT, "the pickle in %s is too large", source->inputs[0].name);
    }
    memcpy(root, entry->name, archive.root_length);
    root[archive.root_length] = '\0';
    DQG_TRY(check_archive(source, &archive));
    DQG_TRY(dqg_zip_locate(source, entry, &offset));
    size_t size = (size_t)entry->size;
    uint8_t *data = dqg_malloc(alloc, size);
    if (data == NULL) {
        return dqg_fail_memory(source->context, "the description of tensors", size);
    }
    dqg_status status = dqg_input_read(source->context, &source->inputs[0], offset, data, size);
    if (status >= 0) {
        status = run_archive(source, &archive, data, size);
    }
    dqg_free(alloc, data, size);
    return status;
}

/* ---- before PyTorch 1.6 ---- */

/* The first bytes: a pickle of a number. */
static const uint8_t magic[15] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                  0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

static bool key_before(const void *items, size_t a, size_t b) {
    struct dqg_torch_storage *const *storages = items;
    size_t length = dqg_min_size(storages[a]->key_length, storages[b]->key_length);
    int order = memcmp(storages[a]->key, storages[b]->key, length);
    return order != 0 ? order < 0 : storages[a]->key_length < storages[b]->key_length;
}

static int compare_key(const struct dqg_torch_storage *storage, const struct dqg_pickle_value *key) {
    size_t length = dqg_min_size(storage->key_length, key->text.length);
    int order = memcmp(key->text.data, storage->key, length);
    return order != 0                                ? order
           : key->text.length == storage->key_length ? 0
           : key->text.length < storage->key_length  ? -1
                                                     : 1;
}

/* Storages by key; several may have one. */
struct shelf {
    struct dqg_torch_storage **storages;
    uint32_t *order;
    size_t count;
};

/* Number in the order of the first storage of that key, or count. */
static size_t find_storage(const struct shelf *shelf, const struct dqg_pickle_value *key) {
    size_t from = 0, to = shelf->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare_key(shelf->storages[shelf->order[middle]], key) <= 0) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    return from < shelf->count && compare_key(shelf->storages[shelf->order[from]], key) == 0 ? from : shelf->count;
}

static dqg_status make_shelf(struct dqg_source *source, struct dqg_pickle *pickle, struct dqg_torch_storage *storages,
                             struct shelf *shelf) {
    for (struct dqg_torch_storage *storage = storages; storage != NULL; storage = storage->next) {
        shelf->count++;
    }
    shelf->storages = dqg_pickle_alloc(pickle, shelf->count * sizeof *shelf->storages);
    shelf->order = dqg_pickle_alloc(pickle, shelf->count * sizeof *shelf->order);
    if (pickle->status < 0) {
        return fail_pickle(source, pickle);
    }
    for (size_t i = 0; i < shelf->count; i++, storages = storages->next) {
        shelf->storages[i] = storages;
    }
    dqg_sort_indices(shelf->order, shelf->count, key_before, shelf->storages);
    return DQG_OK;
}

/* Storages follow the pickles in the order of the keys: the number of elements, and their bytes. */
static dqg_status locate_in_row(struct dqg_source *source, struct dqg_pickle *pickle,
                                const struct dqg_pickle_value *keys, struct dqg_torch_storage *storages) {
    const struct dqg_input *input = &source->inputs[0];
    struct shelf shelf = {0};
    uint64_t position = pickle->at;
    DQG_TRY(make_shelf(source, pickle, storages, &shelf));
    for (size_t i = 0; keys->kind == DQG_PICKLE_LIST && i < keys->list.count; i++) {
        const struct dqg_pickle_value *key = keys->list.items[i];
        size_t first = key->kind == DQG_PICKLE_TEXT ? find_storage(&shelf, key) : shelf.count;
        uint8_t number[8];
        uint64_t bytes;
        if (first == shelf.count) {
            return dqg_fail(source->context, DQG_ERROR_FORMAT, "%s has a storage that no tensor uses", input->name);
        }
        DQG_TRY(dqg_input_read(source->context, input, position, number, sizeof number));
        position += sizeof number;
        uint64_t count = dqg_get_u64(number);
        const struct dqg_encoding *encoding = shelf.storages[shelf.order[first]]->encoding;
        if (__builtin_mul_overflow(count, encoding != NULL ? (uint64_t)encoding->bytes : 1, &bytes) ||
            bytes > input->size - position) {
            return dqg_fail(source->context, DQG_ERROR_TRUNCATED, "%s ends inside a storage: copy or download it again",
                            input->name);
        }
        for (size_t j = first; j < shelf.count && compare_key(shelf.storages[shelf.order[j]], key) == 0; j++) {
            struct dqg_torch_storage *storage = shelf.storages[shelf.order[j]];
            if (storage->encoding != encoding || storage->count > count || storage->located) {
                return dqg_fail(source->context, DQG_ERROR_FORMAT, "%s contradicts itself about a storage",
                                input->name);
            }
            storage->position = position;
            storage->located = true;
        }
        position += bytes;
    }
    for (; storages != NULL; storages = storages->next) {
        if (!storages->located) {
            return dqg_fail(source->context, DQG_ERROR_FORMAT, "%s lacks the storage of a tensor", input->name);
        }
    }
    return DQG_OK;
}

static bool is_swapped(const struct dqg_pickle_value *about) {
    for (size_t i = 0; about->kind == DQG_PICKLE_DICT && i + 1 < about->list.count; i += 2) {
        if (dqg_pickle_is_text(about->list.items[i], "little_endian") &&
            about->list.items[i + 1]->kind == DQG_PICKLE_INT) {
            return about->list.items[i + 1]->integer == 0;
        }
    }
    return false;
}

/* The magic number, a version, something about the machine, the object, and the keys of storages. */
static dqg_status run_row(struct dqg_source *source, struct dqg_pickle *pickle) {
    struct dqg_torch_storage *storages;
    dqg_torch_begin(pickle, &storages);
    const struct dqg_pickle_value *version = dqg_pickle_run(pickle), *about = dqg_pickle_run(pickle);
    const struct dqg_pickle_value *root = dqg_pickle_run(pickle), *keys = dqg_pickle_run(pickle);
    if (pickle->status < 0) {
        return pickle->status; /* the caller may have more to read */
    }
    if (version->kind != DQG_PICKLE_INT || version->integer != 1001 || is_swapped(about)) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        "%s is of another version of PyTorch's format, or of another byte order",
                        source->inputs[0].name);
    }
    DQG_TRY(locate_in_row(source, pickle, keys, storages));
    return take_state(source, pickle, root, NULL);
}

/* With the first size bytes of the file; more says whether more of them may help. */
static dqg_status try_row(struct dqg_source *source, size_t size, bool *more) {
    const struct dqg_alloc *alloc = &source->context->alloc;
    uint8_t *data = dqg_malloc(alloc, size);
    if (data == NULL) {
        return dqg_fail_memory(source->context, "the description of tensors", size);
    }
    struct dqg_pickle pickle = {.alloc = alloc, .left = OBJECTS + size, .data = data, .size = size, .at = sizeof magic};
    dqg_status status = dqg_input_read(source->context, &source->inputs[0], 0, data, size);
    if (status >= 0) {
        status = run_row(source, &pickle);
    }
    *more = pickle.status == DQG_ERROR_TRUNCATED && size < source->inputs[0].size && size < PICKLE_MAX;
    if (pickle.status < 0 && !*more) {
        status = fail_pickle(source, &pickle);
    }
    dqg_pickle_free(&pickle);
    dqg_free(alloc, data, size);
    return status;
}

dqg_status dqg_torch_open(struct dqg_source *source) {
    const struct dqg_input *input = &source->inputs[0];
    uint8_t bytes[sizeof magic] = {0};
    bool more = true;
    dqg_status status = DQG_OK;
    source->type = &dqg_stored_type;
    source->format = "PyTorch";
    size_t count = input->size < sizeof bytes ? (size_t)input->size : sizeof bytes;
    DQG_TRY(dqg_input_read(source->context, input, 0, bytes, count));
    if (memcmp(bytes, magic, sizeof magic) != 0) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        "%s is a pickle, but not one of torch.save(): save a state_dict() with that", input->name);
    }
    for (size_t size = WINDOW; more; size *= 4) {
        status = try_row(source, input->size < size ? (size_t)input->size : size, &more);
    }
    return status;
}
