/* SPDX-License-Identifier: MIT */
/*
 * Reader for safetensors files: u64 header size | JSON header | data. Checks all that the reference reader checks:
 * names differ, each size is what shape and type give, and the tensors fill the data without gaps or overlaps. Called
 * by source.c, and by sharded.c for each shard. The format has no checksums.
 */
#include "io/bytes.h"
#include "io/safetensors.h"

enum { HEADER_MAX = 100000000 };

/* A header being read. */
struct header {
    struct dqg_source *source;
    struct dqg_json json;
    struct dqg_arena scratch; /* strings that are not kept */
    struct entry {
        struct dqg_tensor_desc desc;
        struct dqg_stored stored;
        int64_t begin, end; /* in the data */
    } * entries;
    size_t count;
    bool has_metadata;
};

dqg_status dqg_json_report(const struct dqg_source *source, const struct dqg_json *json, const char *what) {
    if (json->out_of_memory) {
        return dqg_fail_memory(source->context, what, (size_t)(json->end - json->start));
    }
    return dqg_fail(source->context, DQG_ERROR_FORMAT, "the %s of %s is not as it should be, at its byte %zu: %s", what,
                    source->inputs[0].name, (size_t)(json->at - json->start),
                    json->error != NULL ? json->error : "unexpected contents");
}

dqg_status dqg_source_load_text(struct dqg_source *source, uint64_t offset, size_t size, char **text) {
    *text = dqg_malloc(&source->context->alloc, size);
    if (*text == NULL) {
        return dqg_fail_memory(source->context, "the text of the header", size);
    }
    dqg_status status = dqg_input_read(source->context, &source->inputs[0], offset, *text, size);
    if (status < 0) {
        dqg_free(&source->context->alloc, *text, size);
        *text = NULL;
    }
    return status;
}

/* ---- one tensor ---- */

static dqg_status fail_tensor(const struct header *header, const struct entry *entry, const char *what) {
    return dqg_fail(header->source->context, DQG_ERROR_FORMAT, "tensor '%s' in %s: %s", entry->desc.name,
                    header->source->inputs[0].name, what);
}

static bool scratch_text(struct header *header, bool key, const char **text) {
    const struct dqg_alloc *alloc = &header->source->context->alloc;
    return key ? dqg_json_key(&header->json, alloc, &header->scratch, text)
               : dqg_json_string(&header->json, alloc, &header->scratch, text);
}

static dqg_status parse_type(struct header *header, struct entry *entry) {
    const char *name;
    if (!scratch_text(header, false, &name)) {
        return DQG_OK; /* reported with the JSON */
    }
    entry->stored.encoding = dqg_encoding_find(name);
    return entry->stored.encoding != NULL
               ? DQG_OK
               : dqg_fail(header->source->context, DQG_ERROR_UNSUPPORTED, "tensor '%s' in %s has the unknown type '%s'",
                          entry->desc.name, header->source->inputs[0].name, name);
}

static dqg_status parse_shape(struct header *header, struct entry *entry) {
    struct dqg_json *json = &header->json;
    if (dqg_json_peek(json) != DQG_JSON_ARRAY) {
        return fail_tensor(header, entry, "its shape is not a list");
    }
    dqg_json_enter(json);
    while (dqg_json_next(json)) {
        int64_t size;
        if (entry->desc.rank == DQG_MAX_RANK) {
            return dqg_fail(header->source->context, DQG_ERROR_UNSUPPORTED,
                            "tensor '%s' in %s has more than %d dimensions", entry->desc.name,
                            header->source->inputs[0].name, DQG_MAX_RANK);
        }
        if (dqg_json_int(json, &size) && size < 0) {
            return fail_tensor(header, entry, "its shape has a negative size");
        }
        entry->desc.shape[entry->desc.rank++] = size;
    }
    return DQG_OK;
}

static void parse_offsets(struct header *header, struct entry *entry) {
    struct dqg_json *json = &header->json;
    if (dqg_json_peek(json) != DQG_JSON_ARRAY) {
        dqg_json_fail(json, "data_offsets is not a list");
    }
    dqg_json_enter(json);
    if (dqg_json_next(json) && dqg_json_int(json, &entry->begin) && dqg_json_next(json)) {
        dqg_json_int(json, &entry->end);
    }
    if (dqg_json_next(json) || entry->begin < 0 || entry->end < entry->begin) {
        dqg_json_fail(json, "data_offsets are not a begin and an end");
    }
}

/* Does the distance of the offsets fit shape and type? */
static dqg_status check_size(struct header *header, struct entry *entry) {
    const char *error = dqg_stored_describe(entry->stored.encoding, &entry->desc, &entry->stored);
    if (error == NULL && (uint64_t)(entry->end - entry->begin) != entry->desc.stored_bytes) {
        error = "its size in the file is not what its shape and type give";
    }
    return error == NULL ? DQG_OK : fail_tensor(header, entry, error);
}

static dqg_status parse_tensor(struct header *header, struct entry *entry) {
    enum { HAS_TYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };
    struct dqg_json *json = &header->json;
    uint32_t has = 0;
    if (dqg_json_peek(json) != DQG_JSON_OBJECT) {
        return json->error == NULL ? fail_tensor(header, entry, "its entry is not an object") : DQG_OK;
    }
    dqg_json_enter(json);
    while (dqg_json_next(json)) {
        const char *key;
        if (!scratch_text(header, true, &key)) {
            break;
        }
        uint32_t field = strcmp(key, "dtype") == 0          ? HAS_TYPE
                         : strcmp(key, "shape") == 0        ? HAS_SHAPE
                         : strcmp(key, "data_offsets") == 0 ? HAS_OFFSETS
                                                            : 0;
        if ((has & field) != 0) {
            return fail_tensor(header, entry, "its entry says something twice");
        }
        has |= field;
        if (field == HAS_TYPE) {
            DQG_TRY(parse_type(header, entry));
        } else if (field == HAS_SHAPE) {
            DQG_TRY(parse_shape(header, entry));
        } else if (field == HAS_OFFSETS) {
            parse_offsets(header, entry);
        } else {
            dqg_json_skip(json);
        }
    }
    if (json->error != NULL) {
        return DQG_OK;
    }
    return has == HAS_ALL ? check_size(header, entry)
                          : fail_tensor(header, entry, "its entry lacks dtype, shape or data_offsets");
}

/* ---- the header ---- */

static dqg_status parse_metadata(struct header *header) {
    struct dqg_source *source = header->source;
    const struct dqg_alloc *alloc = &source->context->alloc;
    struct dqg_json *json = &header->json;
    if (header->has_metadata || dqg_json_peek(json) != DQG_JSON_OBJECT) {
        dqg_json_fail(json, "__metadata__ must be one object");
        return DQG_OK;
    }
    header->has_metadata = true;
    size_t count = dqg_json_count(json);
    DQG_TRY(dqg_source_alloc(source, "the metadata", count, sizeof *source->metadata, &source->metadata));
    dqg_json_enter(json);
    while (dqg_json_next(json)) {
        struct dqg_metadata entry;
        if (!dqg_json_key(json, alloc, &source->arena, &entry.key) ||
            !dqg_json_string(json, alloc, &source->arena, &entry.value) || source->metadata_count == count) {
            return DQG_OK;
        }
        source->metadata[source->metadata_count++] = entry;
    }
    return DQG_OK;
}

static dqg_status parse_members(struct header *header, size_t capacity) {
    struct dqg_json *json = &header->json;
    const struct dqg_alloc *alloc = &header->source->context->alloc;
    dqg_json_enter(json);
    for (const char *name; dqg_json_next(json) && dqg_json_key(json, alloc, &header->source->arena, &name);) {
        if (strcmp(name, "__metadata__") == 0) {
            DQG_TRY(parse_metadata(header));
        } else if (header->count < capacity) {
            header->entries[header->count].desc.name = name;
            DQG_TRY(parse_tensor(header, &header->entries[header->count++]));
        }
    }
    return dqg_json_end(json) ? DQG_OK : dqg_json_report(header->source, json, "header");
}

static bool placed_before(const void *items, size_t a, size_t b) {
    const struct entry *entries = items;
    return entries[a].begin != entries[b].begin ? entries[a].begin < entries[b].begin : entries[a].end < entries[b].end;
}

/* The tensors must fill the data exactly. data_bytes: what the file has. */
static dqg_status place_tensors(struct header *header, const uint32_t *order, uint64_t data_bytes) {
    struct dqg_source *source = header->source;
    struct dqg_stored *places = source->detail;
    uint64_t data_start = source->inputs[0].size - data_bytes, position = 0;
    for (size_t i = 0; i < header->count; i++) {
        const struct entry *entry = &header->entries[order[i]];
        if ((uint64_t)entry->begin != position) {
            return fail_tensor(header, entry, "there is a gap before it, or it overlaps its neighbour");
        }
        position = (uint64_t)entry->end;
        if (position > data_bytes) {
            return dqg_fail(source->context, DQG_ERROR_TRUNCATED,
                            "%s ends inside tensor '%s', of which %llu bytes are missing: copy or download it again",
                            source->inputs[0].name, entry->desc.name, (unsigned long long)(position - data_bytes));
        }
        source->tensors[i] = entry->desc;
        places[i] = entry->stored;
        places[i].offset = data_start + (uint64_t)entry->begin;
    }
    source->tensor_count = header->count;
    if (position != data_bytes) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT, "%s has %llu bytes that belong to no tensor, at its end",
                        source->inputs[0].name, (unsigned long long)(data_bytes - position));
    }
    return DQG_OK;
}

static dqg_status sort_tensors(struct header *header, uint64_t data_bytes) {
    struct dqg_source *source = header->source;
    const struct dqg_alloc *alloc = &source->context->alloc;
    size_t count = header->count;
    DQG_TRY(dqg_stored_alloc(source, count));
    uint32_t *order = dqg_calloc(alloc, count, sizeof *order);
    if (order == NULL) {
        return dqg_fail_memory(source->context, "the tensor list", count * sizeof *order);
    }
    dqg_sort_indices(order, count, placed_before, header->entries);
    dqg_status status = place_tensors(header, order, data_bytes);
    dqg_free(alloc, order, count * sizeof *order);
    return status;
}

static dqg_status parse_header(struct dqg_source *source, const char *text, size_t size) {
    const struct dqg_alloc *alloc = &source->context->alloc;
    struct header header = {.source = source};
    dqg_json_init(&header.json, text, size);
    if (dqg_json_peek(&header.json) != DQG_JSON_OBJECT) {
        dqg_json_fail(&header.json, "expected '{'");
        return dqg_json_report(source, &header.json, "header");
    }
    size_t capacity = dqg_json_count(&header.json);
    header.entries = dqg_calloc(alloc, capacity, sizeof *header.entries);
    if (header.entries == NULL) {
        return dqg_fail_memory(source->context, "the tensor list", capacity * sizeof *header.entries);
    }
    dqg_status status = parse_members(&header, capacity);
    if (status >= 0) {
        status = sort_tensors(&header, source->inputs[0].size - 8 - size);
    }
    dqg_arena_free(alloc, &header.scratch);
    dqg_free(alloc, header.entries, capacity * sizeof *header.entries);
    return status;
}

dqg_status dqg_safetensors_open(struct dqg_source *source) {
    const struct dqg_input *input = &source->inputs[0];
    uint8_t bytes[8];
    char *text;
    source->type = &dqg_stored_type;
    source->format = "safetensors";
    DQG_TRY(dqg_input_read(source->context, input, 0, bytes, sizeof bytes));
    uint64_t size = dqg_get_u64(bytes);
    if (size > HEADER_MAX) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT,
                        "%s: a header of %llu bytes is more than the %d that a safetensors file may have", input->name,
                        (unsigned long long)size, HEADER_MAX);
    }
    if (size > input->size - sizeof bytes) {
        return dqg_fail(source->context, DQG_ERROR_TRUNCATED,
                        "%s ends inside its header of %llu bytes: copy or download it again", input->name,
                        (unsigned long long)size);
    }
    DQG_TRY(dqg_source_load_text(source, sizeof bytes, (size_t)size, &text));
    dqg_status status = parse_header(source, text, (size_t)size);
    dqg_free(&source->context->alloc, text, (size_t)size);
    DQG_TRY(status);
    DQG_TRY(dqg_source_index_names(source));
    return dqg_safetensors_scales(source);
}
