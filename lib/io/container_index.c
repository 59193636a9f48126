/* SPDX-License-Identifier: MIT */
/*
 * The index of a .dqg file: every number in it is checked against every other before it is used. The layout has no
 * freedom: planes follow one another in the order of the index, so that nothing can overlap. container_open.c has read
 * it and checked its hash.
 */
#include <math.h>

#include "io/bytes.h"
#include "io/container.h"
#include "support/hash.h"
#include "tensor/format.h"

/* A place in the index that moves forward. */
struct cursor {
    struct dqg_source *source;
    struct dqg_container *container;
    const uint8_t *at;
    const uint8_t *end;
    uint64_t position; /* end of the planes so far, in the file */
};

static const char *file_name(const struct dqg_source *source) {
    return source->inputs[0].name;
}

static size_t left(const struct cursor *cursor) {
    return (size_t)(cursor->end - cursor->at);
}

static dqg_status contradiction(const struct dqg_source *source, const char *what) {
    return dqg_fail(source->context, DQG_ERROR_FORMAT, "the index of %s contradicts itself: %s", file_name(source),
                    what);
}

/* ---- pieces of the index that have a hash of their own ---- */

bool dqg_metadata_intact(const uint8_t *at, const uint8_t *end, uint32_t count, size_t *size) {
    const uint8_t *from = at;
    for (uint32_t i = 0; i < count; i++) {
        if (end - at < 8) {
            return false;
        }
        uint64_t bytes = 8 + (uint64_t)dqg_get_u32(at) + dqg_get_u32(at + 4);
        if ((uint64_t)(end - at) < bytes) {
            return false;
        }
        at += bytes;
    }
    *size = (size_t)(at - from) + 8;
    return end - at >= 8 && dqg_get_u64(at) == dqg_hash64(from, (size_t)(at - from));
}

bool dqg_record_intact(const uint8_t *at, const uint8_t *end, size_t *size) {
    if (end - at < DQG_RECORD_MIN) {
        return false;
    }
    *size = dqg_get_u32(at + DQG_RECORD_BYTES);
    if (*size < DQG_RECORD_MIN || *size > (size_t)(end - at)) {
        return false;
    }
    size_t hashed = *size - DQG_RECORD_HASH_BYTES;
    return dqg_get_u64(at + hashed) == dqg_hash64(at, hashed);
}

/* ---- metadata ---- */

static dqg_status take_text(struct cursor *cursor, size_t length, const char **text) {
    if (!dqg_utf8_valid((const char *)cursor->at, length)) {
        return contradiction(cursor->source, "a name or a metadata entry is not valid UTF-8");
    }
    DQG_TRY(dqg_source_copy_text(cursor->source, (const char *)cursor->at, length, text));
    cursor->at += length;
    return DQG_OK;
}

static dqg_status parse_metadata(struct cursor *cursor, uint32_t count) {
    struct dqg_source *source = cursor->source;
    size_t size;
    if (!dqg_metadata_intact(cursor->at, cursor->end, count, &size)) {
        return contradiction(source, "the metadata do not match their count or checksum");
    }
    DQG_TRY(dqg_source_alloc(source, "the metadata", count, sizeof *source->metadata, &source->metadata));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = dqg_get_u32(cursor->at), value = dqg_get_u32(cursor->at + 4);
        if (key == 0 || key > DQG_NAME_MAX || value > DQG_VALUE_MAX) {
            return contradiction(source, "a metadata entry has no key, or is too long");
        }
        cursor->at += 8;
        DQG_TRY(take_text(cursor, key, &source->metadata[i].key));
        DQG_TRY(take_text(cursor, value, &source->metadata[i].value));
        source->metadata_count = i + 1;
    }
    cursor->at += 8;
    return DQG_OK;
}

/* ---- tensors ---- */

static bool known_dtype(int32_t dtype) {
    return dqg_dtype_is_float(dtype) || dqg_dtype_is_quantized(dtype);
}

dqg_status dqg_container_check_tensor(struct dqg_context *context, const struct dqg_tensor_desc *desc,
                                      uint64_t plane_bytes[DQG_PLANE_COUNT]) {
    if (!known_dtype(desc->dtype)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "tensor '%s' is stored in format %d, which this version does not know", desc->name,
                        (int)desc->dtype);
    }
    bool sizes_fit = desc->rank >= 0 && desc->rank <= DQG_MAX_RANK;
    for (int32_t i = 0; sizes_fit && i < desc->rank; i++) {
        sizes_fit = desc->shape[i] >= 0;
    }
    if (!sizes_fit || !dqg_format_plane_bytes(desc->dtype, desc->group, desc->rank, desc->shape, plane_bytes)) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "tensor '%s': format %s with groups of %d and %d dimensions of these sizes cannot be",
                        desc->name, dqg_dtype_name(desc->dtype), (int)desc->group, (int)desc->rank);
    }
    if (!isfinite(desc->scale) || (dqg_dtype_is_float(desc->dtype) && desc->scale != 1.0f)) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "tensor '%s': its scale %g cannot be", desc->name,
                        (double)desc->scale);
    }
    return DQG_OK;
}

static dqg_status fail_plane(const struct cursor *cursor, const struct dqg_tensor_desc *desc, const char *what) {
    return dqg_fail(cursor->source->context, DQG_ERROR_FORMAT, "the index of %s contradicts itself: tensor '%s': %s",
                    file_name(cursor->source), desc->name, what);
}

/* Stored sizes of the frames; cursor->position moves over them. */
static dqg_status parse_frames(struct cursor *cursor, struct dqg_tensor_desc *desc, uint64_t raw_bytes,
                               struct dqg_stored_plane *plane) {
    plane->frames = cursor->at;
    for (uint32_t i = 0; i < plane->frame_count; i++, cursor->at += DQG_FRAME_ENTRY) {
        uint32_t stored = dqg_get_u32(cursor->at + DQG_FRAME_STORED);
        uint32_t codec = dqg_get_u32(cursor->at + DQG_FRAME_CODEC);
        uint64_t raw = raw_bytes < DQG_FRAME_BYTES ? raw_bytes : DQG_FRAME_BYTES;
        if (codec == DQG_CODEC_RAW ? stored != raw : codec != DQG_CODEC_ZSTD || stored == 0 || stored >= raw) {
            return fail_plane(cursor, desc, "a frame has an unknown codec or an impossible size");
        }
        if (__builtin_add_overflow(cursor->position, stored, &cursor->position)) {
            return fail_plane(cursor, desc, "its frames end past the largest file");
        }
        desc->stored_bytes += stored;
        raw_bytes -= raw;
    }
    plane->end = cursor->position;
    return DQG_OK;
}

static dqg_status parse_plane(struct cursor *cursor, struct dqg_tensor_desc *desc, uint64_t raw_bytes,
                              struct dqg_stored_plane *plane, struct dqg_stored_plane **last) {
    if (left(cursor) < DQG_PLANE_BYTES) {
        return fail_plane(cursor, desc, "its record is too short");
    }
    const uint8_t *entry = cursor->at;
    cursor->at += DQG_PLANE_BYTES;
    plane->offset = dqg_get_u64(entry + DQG_PLANE_OFFSET);
    plane->frame_count = dqg_get_u32(entry + DQG_PLANE_FRAMES);
    uint32_t frame_bytes = dqg_get_u32(entry + DQG_PLANE_FRAME);
    if (dqg_get_u64(entry + DQG_PLANE_RAW) != raw_bytes) {
        return fail_plane(cursor, desc, "a plane has not the size that shape and format give");
    }
    if (plane->frame_count != dqg_frame_count(raw_bytes) || frame_bytes != (raw_bytes > 0 ? DQG_FRAME_BYTES : 0)) {
        return fail_plane(cursor, desc, "a plane is not cut into frames as it should be");
    }
    if (left(cursor) / DQG_FRAME_ENTRY < plane->frame_count) {
        return fail_plane(cursor, desc, "its record is too short for its frames");
    }
    if (raw_bytes == 0) {
        return plane->offset == 0 ? DQG_OK : fail_plane(cursor, desc, "an empty plane has a place");
    }
    uint64_t padding = (DQG_CONTAINER_ALIGN - cursor->position % DQG_CONTAINER_ALIGN) % DQG_CONTAINER_ALIGN;
    if (__builtin_add_overflow(cursor->position, padding, &cursor->position) || plane->offset != cursor->position) {
        return fail_plane(cursor, desc, "a plane does not start where the one before it ends");
    }
    if (*last != NULL) {
        (*last)->padding = (uint32_t)padding;
    }
    *last = plane;
    return parse_frames(cursor, desc, raw_bytes, plane);
}

/* The fields of a record whose hash fits; the cursor is inside the record. */
static dqg_status parse_fields(struct cursor *cursor, struct dqg_tensor_desc *desc) {
    const uint8_t *record = cursor->at;
    uint32_t name_bytes = dqg_get_u32(record + DQG_RECORD_NAME_BYTES);
    uint32_t rank = dqg_get_u32(record + DQG_RECORD_RANK);
    cursor->at += DQG_RECORD_NAME;
    if (name_bytes == 0 || name_bytes > DQG_NAME_MAX || name_bytes > left(cursor)) {
        return contradiction(cursor->source, "a tensor has no name, or one that is too long");
    }
    DQG_TRY(take_text(cursor, name_bytes, &desc->name));
    if (rank > DQG_MAX_RANK || rank > left(cursor) / 8) {
        return fail_plane(cursor, desc, "it has too many dimensions");
    }
    desc->dtype = (int32_t)dqg_get_u32(record + DQG_RECORD_DTYPE);
    desc->group = (int32_t)dqg_get_u32(record + DQG_RECORD_GROUP);
    desc->scale = dqg_get_f32(record + DQG_RECORD_SCALE);
    desc->rank = (int32_t)rank;
    for (uint32_t i = 0; i < rank; i++, cursor->at += 8) {
        desc->shape[i] = (int64_t)dqg_get_u64(cursor->at);
    }
    desc->type_name = dqg_dtype_name(desc->dtype);
    return dqg_container_check_tensor(cursor->source->context, desc, desc->plane_bytes);
}

static dqg_status parse_record(struct cursor *cursor, size_t tensor, struct dqg_stored_plane **last) {
    struct dqg_tensor_desc *desc = &cursor->source->tensors[tensor];
    size_t size;
    if (!dqg_record_intact(cursor->at, cursor->end, &size)) {
        return contradiction(cursor->source, "the record of a tensor does not match its size or checksum");
    }
    struct cursor inside = *cursor;
    inside.end = cursor->at + size - DQG_RECORD_HASH_BYTES;
    DQG_TRY(parse_fields(&inside, desc));
    for (size_t i = 0; i < DQG_PLANE_COUNT; i++) {
        DQG_TRY(parse_plane(&inside, desc, desc->plane_bytes[i], &cursor->container->planes[tensor][i], last));
    }
    if (inside.at != inside.end) {
        return fail_plane(cursor, desc, "its record is too long");
    }
    cursor->at += size;
    cursor->position = inside.position;
    return DQG_OK;
}

dqg_status dqg_container_parse(struct dqg_source *source) {
    struct dqg_container *container = source->detail;
    const uint8_t *header = container->bytes;
    uint32_t tensors = dqg_get_u32(header + DQG_HEADER_TENSORS);
    uint32_t metadata = dqg_get_u32(header + DQG_HEADER_METADATA);
    struct cursor cursor = {source, container, header + DQG_HEADER_BYTES, header + container->bytes_size,
                            container->bytes_size};
    if (dqg_get_u32(header + DQG_HEADER_FLAGS) != 0 || dqg_get_u64(header + DQG_HEADER_RESERVED) != 0) {
        return contradiction(source, "flags or reserved bytes are set");
    }
    if (metadata > DQG_METADATA_MAX || metadata > left(&cursor) / 8 || tensors > DQG_TENSORS_MAX ||
        tensors > left(&cursor) / DQG_RECORD_MIN) {
        return contradiction(source, "it cannot hold as many entries as the header says");
    }
    DQG_TRY(parse_metadata(&cursor, metadata));
    DQG_TRY(dqg_source_alloc(source, "the tensor list", tensors, sizeof *source->tensors, &source->tensors));
    DQG_TRY(dqg_source_alloc(source, "the plane list", tensors, sizeof *container->planes, &container->planes));
    struct dqg_stored_plane *last = NULL;
    for (size_t i = 0; i < tensors; i++) {
        DQG_TRY(parse_record(&cursor, i, &last));
        source->tensor_count = i + 1;
    }
    if (cursor.at != cursor.end) {
        return contradiction(source, "bytes are left after the last tensor");
    }
    if (cursor.position != container->file_bytes) {
        return contradiction(source, "the file size in the header is not where the last plane ends");
    }
    return dqg_source_index_names(source);
}
