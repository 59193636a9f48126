/* SPDX-License-Identifier: MIT */
/*
 * Opens a file of tensors by what its first bytes say, and hands calls on to the reader of that format. Also what the
 * readers share: memory with messages, and the order of names by which tensors are found. Called by layers 4 to 6.
 */
#include "io/container.h"
#include "io/source.h"

/* ---- what the readers share ---- */

dqg_status dqg_source_alloc(struct dqg_source *source, const char *what, size_t count, size_t size, void *out) {
    size_t bytes;
    void *memory = NULL;
    if (!dqg_mul_size(count, size, &bytes)) {
        bytes = SIZE_MAX;
    } else {
        memory = dqg_arena_alloc(&source->context->alloc, &source->arena, bytes);
    }
    memcpy(out, &memory, sizeof memory);
    return memory != NULL ? DQG_OK : dqg_fail_memory(source->context, what, bytes);
}

dqg_status dqg_source_copy_text(struct dqg_source *source, const char *text, size_t length, const char **out) {
    *out = dqg_arena_copy(&source->context->alloc, &source->arena, text, length);
    return *out != NULL ? DQG_OK : dqg_fail_memory(source->context, "a name", length + 1);
}

static void sift_down(uint32_t *indices, size_t root, size_t count, dqg_before_fn before, const void *items) {
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && before(items, indices[child], indices[child + 1])) {
            child++;
        }
        if (!before(items, indices[root], indices[child])) {
            return;
        }
        uint32_t held = indices[root];
        indices[root] = indices[child];
        indices[child] = held;
    }
}

/* Heap sort: no memory, and no input makes it slow. */
void dqg_sort_indices(uint32_t *indices, size_t count, dqg_before_fn before, const void *items) {
    for (size_t i = 0; i < count; i++) {
        indices[i] = (uint32_t)i;
    }
    for (size_t i = count / 2; i > 0; i--) {
        sift_down(indices, i - 1, count, before, items);
    }
    for (size_t last = count; last > 1; last--) {
        uint32_t held = indices[0];
        indices[0] = indices[last - 1];
        indices[last - 1] = held;
        sift_down(indices, 0, last - 1, before, items);
    }
}

static bool name_before(const void *items, size_t a, size_t b) {
    const struct dqg_tensor_desc *tensors = items;
    return strcmp(tensors[a].name, tensors[b].name) < 0;
}

void dqg_sort_names(const struct dqg_tensor_desc *tensors, size_t count, uint32_t *order, size_t *twin) {
    *twin = count;
    dqg_sort_indices(order, count, name_before, tensors);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(tensors[order[i - 1]].name, tensors[order[i]].name) == 0) {
            *twin = order[i];
        }
    }
}

dqg_status dqg_source_index_names(struct dqg_source *source) {
    size_t twin;
    DQG_TRY(dqg_source_alloc(source, "the order of names", source->tensor_count, sizeof(uint32_t), &source->by_name));
    dqg_sort_names(source->tensors, source->tensor_count, source->by_name, &twin);
    if (twin < source->tensor_count) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT, "two tensors are called '%s' in %s",
                        source->tensors[twin].name, source->inputs[0].name);
    }
    return DQG_OK;
}

/* ---- open and close ---- */

enum { SNIFF_BYTES = 16 };

static bool contains(const uint8_t *bytes, size_t count, const char *part, size_t part_size) {
    for (size_t i = 0; i + part_size <= count; i++) {
        if (memcmp(bytes + i, part, part_size) == 0) {
            return true;
        }
    }
    return false;
}

static char first_mark(const uint8_t *bytes, size_t from, size_t count) {
    while (from < count && (bytes[from] == ' ' || bytes[from] == '\n' || bytes[from] == '\r' || bytes[from] == '\t')) {
        from++;
    }
    return from < count ? (char)bytes[from] : ' ';
}

static bool plausible_safetensors(const uint8_t *bytes, size_t count) {
    if (count < 10) {
        return false;
    }
    char mark = first_mark(bytes, 8, count);
    bool length_fits = bytes[7] == 0 && bytes[6] == 0 && bytes[5] == 0 && bytes[4] == 0;
    return mark == '{' || (mark == ' ' && length_fits);
}

/* Not a file of a known kind: say what it looks like. */
static dqg_status fail_unknown(struct dqg_source *source, const uint8_t *bytes, size_t count) {
    const char *name = source->inputs[0].name;
    if (count < 8 && memcmp(bytes, DQG_CONTAINER_MAGIC, count) == 0) {
        return dqg_fail(source->context, DQG_ERROR_TRUNCATED, "%s ends after %zu bytes: copy or download it again",
                        name, count);
    }
    /* One changed, lost or added byte breaks at most one half of the magic number. PNG and MNG share the second. */
    if (contains(bytes, count, "DQG", 3) ||
        (contains(bytes, count, "\r\n\x1a\n", 4) && !contains(bytes, count, "NG", 2))) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT,
                        "the header of %s is damaged: it resembles a .dqg file, but its first bytes are wrong; copy or "
                        "download it again, in binary mode",
                        name);
    }
    return dqg_fail(source->context, DQG_ERROR_FORMAT,
                    "%s is neither a .dqg nor a .safetensors, GGUF, PyTorch or NumPy file, nor the .index.json of a "
                    "sharded checkpoint",
                    name);
}

/* Formats of other programs that begin with a word of their own. */
typedef dqg_status (*dqg_source_open_fn)(struct dqg_source *source);

static dqg_source_open_fn find_format(const uint8_t *bytes, size_t count) {
    static const struct {
        char word[7];
        size_t length;
        dqg_source_open_fn open;
    } formats[] = {{"GGUF", 4, dqg_gguf_open}, {"PK\3\4", 4, dqg_archive_open}, {"\x93NUMPY", 6, dqg_numpy_open}};
    for (size_t i = 0; i < DQG_COUNT_OF(formats); i++) {
        if (count >= formats[i].length && memcmp(bytes, formats[i].word, formats[i].length) == 0) {
            return formats[i].open;
        }
    }
    return NULL;
}

/* path is NULL where the input is not a file of its own. */
static dqg_status open_by_contents(struct dqg_source *source, const char *path) {
    const struct dqg_input *input = &source->inputs[0];
    uint8_t bytes[SNIFF_BYTES] = {0};
    size_t count = input->size < sizeof bytes ? (size_t)input->size : sizeof bytes;
    DQG_TRY(dqg_input_read(source->context, input, 0, bytes, count));
    if (count >= 8 && memcmp(bytes, DQG_CONTAINER_MAGIC, 8) == 0) {
        return dqg_container_open(source);
    }
    dqg_source_open_fn other = find_format(bytes, count);
    if (other != NULL) {
        return other(source);
    }
    bool json = first_mark(bytes, 0, count) == '{' && dqg_utf8_valid((const char *)bytes, count < 8 ? count : 8);
    if (path != NULL && (json || dqg_ends_with(path, ".json"))) {
        return dqg_sharded_open(source, path);
    }
    if (json) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        "%s holds JSON: the index of a sharded checkpoint can be opened by its path only", input->name);
    }
    if (plausible_safetensors(bytes, count)) {
        return dqg_safetensors_open(source);
    }
    if (count >= 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5) {
        return dqg_torch_open(source); /* a pickle */
    }
    return fail_unknown(source, bytes, count);
}

static dqg_status open_source(struct dqg_context *context, struct dqg_input *input, const char *path,
                              struct dqg_source *source) {
    *source = (struct dqg_source){.context = context};
    dqg_status status = dqg_source_alloc(source, "the file", 1, sizeof *source->inputs, &source->inputs);
    if (status < 0) {
        dqg_input_close(input);
    } else {
        source->inputs[0] = *input;
        source->input_count = 1;
        input->close = NULL;
        status = dqg_source_copy_text(source, input->name, strlen(input->name), &source->inputs[0].name);
    }
    if (status >= 0) {
        status = open_by_contents(source, path);
    }
    if (status < 0) {
        dqg_source_close(source);
    }
    return status;
}

dqg_status dqg_source_open(struct dqg_context *context, struct dqg_input *input, struct dqg_source *source) {
    return open_source(context, input, NULL, source);
}

dqg_status dqg_source_open_path(struct dqg_context *context, const char *path, struct dqg_source *source) {
    struct dqg_input input;
    memset(source, 0, sizeof *source);
    if (dqg_path_is_folder(path)) {
        return dqg_folder_open(context, path, source);
    }
    DQG_TRY(dqg_input_open_path(context, path, &input));
    return open_source(context, &input, path, source);
}

void dqg_source_close(struct dqg_source *source) {
    if (source->context == NULL) {
        return;
    }
    if (source->type != NULL && source->type->close != NULL) {
        source->type->close(source);
    }
    for (size_t i = 0; i < source->input_count; i++) {
        dqg_input_close(&source->inputs[i]);
    }
    dqg_arena_free(&source->context->alloc, &source->arena);
    memset(source, 0, sizeof *source);
}

/* ---- use ---- */

int64_t dqg_source_find(const struct dqg_source *source, const char *name) {
    size_t from = 0, to = source->tensor_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(name, source->tensors[source->by_name[middle]].name);
        if (order == 0) {
            return source->by_name[middle];
        }
        if (order < 0) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    return -1;
}

const char *dqg_source_metadata(const struct dqg_source *source, const char *key) {
    for (size_t i = 0; i < source->metadata_count; i++) {
        if (strcmp(source->metadata[i].key, key) == 0) {
            return source->metadata[i].value;
        }
    }
    return NULL;
}

static dqg_status check_range(struct dqg_source *source, const struct dqg_plane_read *read) {
    if (read->tensor >= source->tensor_count || read->plane >= DQG_PLANE_COUNT) {
        return dqg_fail(source->context, DQG_ERROR_RANGE, "%s has no tensor %zu, plane %d", source->inputs[0].name,
                        read->tensor, (int)read->plane);
    }
    const struct dqg_tensor_desc *desc = &source->tensors[read->tensor];
    uint64_t bytes = desc->plane_bytes[read->plane];
    if (read->offset > bytes || read->size > bytes - read->offset) {
        return dqg_fail(source->context, DQG_ERROR_RANGE, "tensor '%s' has %llu bytes, not %llu from byte %llu",
                        desc->name, (unsigned long long)bytes, (unsigned long long)read->size,
                        (unsigned long long)read->offset);
    }
    return DQG_OK;
}

dqg_status dqg_source_read_planes(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                                  struct dqg_work *work) {
    for (size_t i = 0; i < count; i++) {
        DQG_TRY(check_range(source, &reads[i]));
    }
    return source->type->read(source, reads, count, work);
}

dqg_status dqg_source_read(struct dqg_source *source, size_t tensor, enum dqg_plane plane, uint64_t offset,
                           void *buffer, size_t size) {
    struct dqg_plane_read read = {tensor, plane, offset, size, buffer};
    return dqg_source_read_planes(source, &read, 1, NULL);
}

uint64_t dqg_source_reading_bytes(const struct dqg_source *source) {
    bool frames = strcmp(source->format, "dqg") == 0;
    return source->arena.total + (frames ? dqg_concurrency(source->context) * dqg_container_lane_bytes() : 0);
}

dqg_status dqg_source_verify(struct dqg_source *source) {
    return source->type->verify(source);
}
