/* SPDX-License-Identifier: MIT */
/*
 * Sharded safetensors checkpoints: a JSON index that says which file beside it holds each tensor. The index is
 * authoritative: every tensor that it names must be where it says, and tensors that it does not name are ignored.
 * Called by source.c.
 */
#include "io/safetensors.h"

enum { INDEX_MAX = 100000000 };

/* One line of the weight map. */
struct mapping {
    const char *name;
    const char *file;
    uint32_t shard;
    bool found;
};

struct index {
    struct dqg_source *source;
    struct mapping *map; /* in the order of the text */
    uint32_t *by_name;
    size_t count;
    const char *files[DQG_SHARDS_MAX];
    size_t file_count;
};

static const char *index_name(const struct index *index) {
    return index->source->inputs[0].name;
}

/* ---- the text of the index ---- */

/* A relative path that stays in or below the folder of the index: no part is empty, which would begin at the root, or
 * leads up. */
static bool safe_path(const char *file) {
    for (const char *part = file; part != NULL;) {
        const char *slash = strchr(part, '/');
        size_t length = slash != NULL ? (size_t)(slash - part) : strlen(part);
        if (length == 0 || (length == 2 && part[0] == '.' && part[1] == '.')) {
            return false;
        }
        part = slash != NULL ? slash + 1 : NULL;
    }
    return true;
}

static dqg_status find_shard(struct index *index, struct mapping *mapping) {
    struct dqg_context *context = index->source->context;
    if (!safe_path(mapping->file)) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "%s: tensor '%s' is said to be in '%s', which is not beside the index", index_name(index),
                        mapping->name, mapping->file);
    }
    for (size_t i = index->file_count; i > 0; i--) { /* neighbours mostly share a file */
        if (strcmp(index->files[i - 1], mapping->file) == 0) {
            mapping->shard = (uint32_t)(i - 1);
            return DQG_OK;
        }
    }
    if (index->file_count == DQG_SHARDS_MAX) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "%s names more than %d files", index_name(index), DQG_SHARDS_MAX);
    }
    mapping->shard = (uint32_t)index->file_count;
    index->files[index->file_count++] = mapping->file;
    return DQG_OK;
}

static dqg_status parse_map(struct index *index, struct dqg_json *json) {
    struct dqg_source *source = index->source;
    const struct dqg_alloc *alloc = &source->context->alloc;
    if (index->map != NULL || dqg_json_peek(json) != DQG_JSON_OBJECT) {
        dqg_json_fail(json, "weight_map must be one object");
        return DQG_OK;
    }
    size_t capacity = dqg_json_count(json);
    DQG_TRY(dqg_source_alloc(source, "the weight map", capacity, sizeof *index->map, &index->map));
    dqg_json_enter(json);
    while (dqg_json_next(json)) {
        struct mapping mapping = {NULL, NULL, 0, false};
        if (!dqg_json_key(json, alloc, &source->arena, &mapping.name) ||
            !dqg_json_string(json, alloc, &source->arena, &mapping.file) || index->count == capacity) {
            return DQG_OK;
        }
        DQG_TRY(find_shard(index, &mapping));
        index->map[index->count++] = mapping;
    }
    return DQG_OK;
}

/* Texts are kept; numbers (total_size) too, as they are written; anything else is of no use here. */
static dqg_status parse_metadata(struct index *index, struct dqg_json *json) {
    struct dqg_source *source = index->source;
    const struct dqg_alloc *alloc = &source->context->alloc;
    if (source->metadata != NULL || dqg_json_peek(json) != DQG_JSON_OBJECT) {
        dqg_json_skip(json);
        return DQG_OK;
    }
    size_t capacity = dqg_json_count(json);
    DQG_TRY(dqg_source_alloc(source, "the metadata", capacity, sizeof *source->metadata, &source->metadata));
    dqg_json_enter(json);
    while (dqg_json_next(json)) {
        struct dqg_metadata entry = {NULL, NULL};
        if (!dqg_json_key(json, alloc, &source->arena, &entry.key)) {
            return DQG_OK;
        }
        enum dqg_json_kind kind = dqg_json_peek(json);
        const char *text = json->at;
        if (kind == DQG_JSON_STRING) {
            dqg_json_string(json, alloc, &source->arena, &entry.value);
        } else if (dqg_json_skip(json) && kind == DQG_JSON_NUMBER) {
            DQG_TRY(dqg_source_copy_text(source, text, (size_t)(json->at - text), &entry.value));
        }
        if (entry.value != NULL && json->error == NULL && source->metadata_count < capacity) {
            source->metadata[source->metadata_count++] = entry;
        }
    }
    return DQG_OK;
}

static dqg_status parse_index(struct index *index, const char *text, size_t size) {
    struct dqg_source *source = index->source;
    struct dqg_json json;
    dqg_json_init(&json, text, size);
    if (dqg_json_peek(&json) != DQG_JSON_OBJECT) {
        dqg_json_fail(&json, "expected '{'");
    }
    dqg_json_enter(&json);
    for (const char *key; dqg_json_next(&json) && dqg_json_key(&json, &source->context->alloc, &source->arena, &key);) {
        if (strcmp(key, "weight_map") == 0) {
            DQG_TRY(parse_map(index, &json));
        } else if (strcmp(key, "metadata") == 0) {
            DQG_TRY(parse_metadata(index, &json));
        } else {
            dqg_json_skip(&json);
        }
    }
    if (!dqg_json_end(&json)) {
        return dqg_json_report(source, &json, "index");
    }
    return index->map != NULL ? DQG_OK
                              : dqg_fail(source->context, DQG_ERROR_FORMAT,
                                         "%s has no weight_map: it is not the index "
                                         "of a sharded checkpoint",
                                         index_name(index));
}

/* ---- the order of its names ---- */

static bool mapped_before(const void *items, size_t a, size_t b) {
    const struct mapping *map = items;
    return strcmp(map[a].name, map[b].name) < 0;
}

static dqg_status sort_map(struct index *index) {
    DQG_TRY(dqg_source_alloc(index->source, "the weight map", index->count, sizeof(uint32_t), &index->by_name));
    dqg_sort_indices(index->by_name, index->count, mapped_before, index->map);
    for (size_t i = 1; i < index->count; i++) {
        const char *name = index->map[index->by_name[i]].name;
        if (strcmp(index->map[index->by_name[i - 1]].name, name) == 0) {
            return dqg_fail(index->source->context, DQG_ERROR_FORMAT, "%s names tensor '%s' twice", index_name(index),
                            name);
        }
    }
    return DQG_OK;
}

static struct mapping *find_mapping(const struct index *index, const char *name) {
    size_t from = 0, to = index->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        struct mapping *mapping = &index->map[index->by_name[middle]];
        int order = strcmp(name, mapping->name);
        if (order == 0) {
            return mapping;
        }
        if (order < 0) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    return NULL;
}

/* ---- shards ---- */

/* Take over the tensors of an opened shard that the index expects in it. */
static dqg_status take_tensors(struct index *index, const struct dqg_source *shard, size_t number) {
    struct dqg_source *source = index->source;
    struct dqg_stored *places = source->detail;
    const struct dqg_stored *shard_places = shard->detail;
    for (size_t i = 0; i < shard->tensor_count; i++) {
        struct mapping *mapping = find_mapping(index, shard->tensors[i].name);
        if (mapping == NULL) {
            continue;
        }
        if (mapping->shard != number) {
            return dqg_fail(source->context, DQG_ERROR_FORMAT, "tensor '%s' is in '%s', and in '%s' too", mapping->name,
                            mapping->file, index->files[number]);
        }
        mapping->found = true;
        source->tensors[source->tensor_count] = shard->tensors[i];
        source->tensors[source->tensor_count].name = mapping->name;
        places[source->tensor_count] = shard_places[i];
        places[source->tensor_count++].input = number + 1;
    }
    return DQG_OK;
}

static dqg_status open_shard(struct index *index, const char *folder, size_t folder_length, size_t number) {
    struct dqg_source *source = index->source, shard;
    struct dqg_input input;
    size_t size = folder_length + strlen(index->files[number]) + 1;
    char *path;
    DQG_TRY(dqg_source_alloc(source, "a path", size, 1, &path));
    memcpy(path, folder, folder_length);
    memcpy(path + folder_length, index->files[number], size - folder_length);
    /* The shard is opened as a source of its own, without its path so that it cannot be an index, and then loses its
     * input to this source. */
    DQG_TRY(dqg_input_open_path(source->context, path, &input));
    DQG_TRY(dqg_source_open(source->context, &input, &shard));
    dqg_status status = DQG_OK;
    if (shard.type != &dqg_stored_type) {
        status = dqg_fail(source->context, DQG_ERROR_FORMAT,
                          "%s is not a .safetensors or PyTorch file, as a shard must be", path);
    }
    if (status >= 0) {
        status = take_tensors(index, &shard, number);
    }
    if (status >= 0) {
        source->inputs[number + 1] = shard.inputs[0];
        source->inputs[number + 1].name = path;
        source->input_count = number + 2;
        shard.input_count = 0;
    }
    dqg_source_close(&shard);
    return status;
}

static dqg_status open_shards(struct index *index, const char *path) {
    struct dqg_source *source = index->source;
    const char *slash = strrchr(path, '/');
    size_t folder_length = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    struct dqg_input *inputs;
    DQG_TRY(dqg_source_alloc(source, "the shards", index->file_count + 1, sizeof *inputs, &inputs));
    inputs[0] = source->inputs[0];
    source->inputs = inputs;
    DQG_TRY(dqg_stored_alloc(source, index->count));
    for (size_t i = 0; i < index->file_count; i++) {
        DQG_TRY(open_shard(index, path, folder_length, i));
    }
    for (size_t i = 0; i < index->count; i++) {
        if (!index->map[i].found) {
            return dqg_fail(source->context, DQG_ERROR_FORMAT, "tensor '%s' is not in '%s', where %s says it is",
                            index->map[i].name, index->map[i].file, index_name(index));
        }
    }
    DQG_TRY(dqg_source_index_names(source));
    return dqg_safetensors_scales(source);
}

dqg_status dqg_sharded_open(struct dqg_source *source, const char *path) {
    const struct dqg_input *input = &source->inputs[0];
    struct index *index;
    char *text;
    source->type = &dqg_stored_type;
    source->format = "safetensors";
    if (input->size > INDEX_MAX) {
        return dqg_fail(source->context, DQG_ERROR_LIMIT, "%s: an index of %llu bytes is more than the limit of %d",
                        input->name, (unsigned long long)input->size, INDEX_MAX);
    }
    DQG_TRY(dqg_source_alloc(source, "the index", 1, sizeof *index, &index));
    index->source = source;
    size_t size = (size_t)input->size;
    DQG_TRY(dqg_source_load_text(source, 0, size, &text));
    dqg_status status = parse_index(index, text, size);
    dqg_free(&source->context->alloc, text, size);
    DQG_TRY(status);
    DQG_TRY(sort_map(index));
    return open_shards(index, path);
}
