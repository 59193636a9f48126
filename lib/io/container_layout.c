/* SPDX-License-Identifier: MIT */
/*
 * Header and index of a .dqg file to be written. Their size depends on names, shapes and metadata alone, so they are
 * laid out before the first plane is compressed; container_write.c fills in what it learns about the frames.
 */
#include "io/bytes.h"
#include "io/container.h"
#include "support/hash.h"
#include "tensor/format.h"

static dqg_status layout_alloc(struct dqg_layout *layout, const char *what, size_t count, size_t size, void *out) {
    size_t bytes = SIZE_MAX;
    void *memory =
        dqg_mul_size(count, size, &bytes) ? dqg_arena_alloc(&layout->context->alloc, &layout->arena, bytes) : NULL;
    memcpy(out, &memory, sizeof memory);
    return memory != NULL ? DQG_OK : dqg_fail_memory(layout->context, what, bytes);
}

/* ---- sizes ---- */

static dqg_status check_text(struct dqg_context *context, const char *what, const char *text, size_t least,
                             size_t most) {
    size_t length = text != NULL ? strlen(text) : 0;
    if (text == NULL || length < least || length > most || !dqg_utf8_valid(text, length)) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s must be UTF-8 of %zu to %zu bytes", what, least, most);
    }
    return DQG_OK;
}

static dqg_status measure_metadata(struct dqg_context *context, const struct dqg_metadata *metadata, size_t count,
                                   size_t *size) {
    *size = DQG_RECORD_HASH_BYTES;
    if (count > DQG_METADATA_MAX) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "%zu metadata entries are more than a file may have", count);
    }
    for (size_t i = 0; i < count; i++) {
        DQG_TRY(check_text(context, "a metadata key", metadata[i].key, 1, DQG_NAME_MAX));
        DQG_TRY(check_text(context, "a metadata value", metadata[i].value, 0, DQG_VALUE_MAX));
        *size += 8 + strlen(metadata[i].key) + strlen(metadata[i].value);
    }
    return DQG_OK;
}

/* Bytes of the record of a tensor. */
static dqg_status measure_tensor(struct dqg_context *context, const struct dqg_tensor_desc *desc, uint64_t *size) {
    uint64_t planes[DQG_PLANE_COUNT], frames = 0;
    DQG_TRY(check_text(context, "the name of a tensor", desc->name, 1, DQG_NAME_MAX));
    DQG_TRY(dqg_container_check_tensor(context, desc, planes));
    for (size_t i = 0; i < DQG_PLANE_COUNT; i++) {
        if (planes[i] != desc->plane_bytes[i]) {
            return dqg_fail(context, DQG_ERROR_ARGUMENT, "tensor '%s': plane %zu has %llu bytes, not %llu", desc->name,
                            i, (unsigned long long)planes[i], (unsigned long long)desc->plane_bytes[i]);
        }
        frames += dqg_frame_count(planes[i]);
    }
    *size = DQG_RECORD_NAME + strlen(desc->name) + 8 * (uint64_t)desc->rank + DQG_PLANE_COUNT * DQG_PLANE_BYTES +
            frames * DQG_FRAME_ENTRY + DQG_RECORD_HASH_BYTES;
    return DQG_OK;
}

static dqg_status measure(struct dqg_layout *layout, const struct dqg_tensor_desc *tensors,
                          const struct dqg_metadata *metadata, size_t metadata_count) {
    struct dqg_context *context = layout->context;
    uint64_t total, size = 0;
    if (layout->tensor_count > DQG_TENSORS_MAX) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "%zu tensors are more than a file may have", layout->tensor_count);
    }
    DQG_TRY(measure_metadata(context, metadata, metadata_count, &layout->metadata_bytes));
    total = layout->metadata_bytes;
    for (size_t i = 0; i < layout->tensor_count; i++) {
        DQG_TRY(measure_tensor(context, &tensors[i], &size));
        total += size;
        if (total > DQG_INDEX_MAX) {
            return dqg_fail(context, DQG_ERROR_LIMIT, "tensor '%s' makes the index larger than a file may have",
                            tensors[i].name);
        }
    }
    layout->size = DQG_HEADER_BYTES + (size_t)total;
    return DQG_OK;
}

static dqg_status check_names_differ(struct dqg_layout *layout, const struct dqg_tensor_desc *tensors) {
    const struct dqg_alloc *alloc = &layout->context->alloc;
    size_t twin, count = layout->tensor_count;
    uint32_t *order = dqg_calloc(alloc, count, sizeof *order);
    if (order == NULL) {
        return dqg_fail_memory(layout->context, "the order of names", count * sizeof *order);
    }
    dqg_sort_names(tensors, count, order, &twin);
    dqg_free(alloc, order, count * sizeof *order);
    return twin == count
               ? DQG_OK
               : dqg_fail(layout->context, DQG_ERROR_ARGUMENT, "two tensors are called '%s'", tensors[twin].name);
}

/* ---- bytes ---- */

static void put_header(struct dqg_layout *layout, size_t metadata_count) {
    uint8_t *header = layout->bytes;
    memcpy(header, DQG_CONTAINER_MAGIC, 8);
    dqg_put_u32(header + DQG_HEADER_VERSION, DQG_CONTAINER_VERSION);
    dqg_put_u64(header + DQG_HEADER_INDEX_BYTES, layout->size - DQG_HEADER_BYTES);
    dqg_put_u32(header + DQG_HEADER_TENSORS, (uint32_t)layout->tensor_count);
    dqg_put_u32(header + DQG_HEADER_METADATA, (uint32_t)metadata_count);
}

static uint8_t *put_metadata(uint8_t *at, const struct dqg_metadata *entry) {
    size_t key = strlen(entry->key), value = strlen(entry->value);
    at = dqg_put_u32(at, (uint32_t)key);
    at = dqg_put_u32(at, (uint32_t)value);
    at = dqg_put_bytes(at, entry->key, key);
    return dqg_put_bytes(at, entry->value, value);
}

static uint8_t *put_tensor(uint8_t *at, const struct dqg_tensor_desc *desc, struct dqg_tensor_place *place) {
    size_t name_bytes = strlen(desc->name);
    place->record = at;
    place->quantized = dqg_dtype_is_quantized(desc->dtype);
    dqg_put_u32(at + DQG_RECORD_NAME_BYTES, (uint32_t)name_bytes);
    dqg_put_u32(at + DQG_RECORD_DTYPE, (uint32_t)desc->dtype);
    dqg_put_u32(at + DQG_RECORD_GROUP, (uint32_t)desc->group);
    dqg_put_u32(at + DQG_RECORD_RANK, (uint32_t)desc->rank);
    dqg_put_f32(at + DQG_RECORD_SCALE, 1.0f);
    at = dqg_put_bytes(at + DQG_RECORD_NAME, desc->name, name_bytes);
    for (int32_t i = 0; i < desc->rank; i++) {
        at = dqg_put_u64(at, (uint64_t)desc->shape[i]);
    }
    for (size_t i = 0; i < DQG_PLANE_COUNT; i++) {
        uint64_t raw = desc->plane_bytes[i];
        place->planes[i] = at;
        place->plane_bytes[i] = raw;
        dqg_put_u64(at + DQG_PLANE_RAW, raw);
        dqg_put_u32(at + DQG_PLANE_FRAME, raw > 0 ? DQG_FRAME_BYTES : 0);
        dqg_put_u32(at + DQG_PLANE_FRAMES, (uint32_t)dqg_frame_count(raw));
        at += DQG_PLANE_BYTES + dqg_frame_count(raw) * DQG_FRAME_ENTRY;
    }
    at += DQG_RECORD_HASH_BYTES;
    dqg_put_u32(place->record + DQG_RECORD_BYTES, (uint32_t)(at - place->record));
    return at;
}

static dqg_status build(struct dqg_layout *layout, const struct dqg_tensor_desc *tensors,
                        const struct dqg_metadata *metadata, size_t metadata_count) {
    DQG_TRY(measure(layout, tensors, metadata, metadata_count));
    DQG_TRY(check_names_differ(layout, tensors));
    DQG_TRY(layout_alloc(layout, "the index", layout->size, 1, &layout->bytes));
    DQG_TRY(layout_alloc(layout, "the tensor list", layout->tensor_count, sizeof *layout->tensors, &layout->tensors));
    put_header(layout, metadata_count);
    uint8_t *at = layout->bytes + DQG_HEADER_BYTES;
    for (size_t i = 0; i < metadata_count; i++) {
        at = put_metadata(at, &metadata[i]);
    }
    at += DQG_RECORD_HASH_BYTES;
    for (size_t i = 0; i < layout->tensor_count; i++) {
        char *name;
        size_t name_size = strlen(tensors[i].name) + 1;
        DQG_TRY(layout_alloc(layout, "a name", name_size, 1, &name));
        memcpy(name, tensors[i].name, name_size);
        layout->tensors[i].name = name;
        at = put_tensor(at, &tensors[i], &layout->tensors[i]);
    }
    DQG_ASSERT(at == layout->bytes + layout->size);
    return DQG_OK;
}

dqg_status dqg_layout_create(struct dqg_context *context, const struct dqg_tensor_desc *tensors, size_t tensor_count,
                             const struct dqg_metadata *metadata, size_t metadata_count, struct dqg_layout *layout) {
    *layout = (struct dqg_layout){.context = context, .tensor_count = tensor_count};
    dqg_status status = build(layout, tensors, metadata, metadata_count);
    if (status < 0) {
        dqg_layout_destroy(layout);
    }
    return status;
}

/* Put the hash of size - 8 bytes behind them. */
static void seal_piece(uint8_t *piece, size_t size) {
    size_t hashed = size - DQG_RECORD_HASH_BYTES;
    dqg_put_u64(piece + hashed, dqg_hash64(piece, hashed));
}

void dqg_layout_seal(struct dqg_layout *layout, uint64_t file_bytes) {
    uint8_t *header = layout->bytes;
    dqg_put_u64(header + DQG_HEADER_FILE_BYTES, file_bytes);
    seal_piece(header + DQG_HEADER_BYTES, layout->metadata_bytes);
    for (size_t i = 0; i < layout->tensor_count; i++) {
        uint8_t *record = layout->tensors[i].record;
        seal_piece(record, dqg_get_u32(record + DQG_RECORD_BYTES));
    }
    dqg_container_hash(header, layout->size, header + DQG_HEADER_HASH);
}

void dqg_layout_destroy(struct dqg_layout *layout) {
    if (layout->context != NULL) {
        dqg_arena_free(&layout->context->alloc, &layout->arena);
    }
    *layout = (struct dqg_layout){.context = NULL};
}
