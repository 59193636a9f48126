/* SPDX-License-Identifier: MIT */
/*
 * A source made of tensors of other sources: under other names, as rows of several put together, transposed. What a
 * network's builder sees of a checkpoint that somebody else named, and of several files at once. Used by lib/model.
 */
#include "io/source.h"
#include "tensor/format.h"

struct mapped {
    struct dqg_source *inner;
    size_t inner_count;
    struct dqg_mapping *mappings; /* [tensor_count] */
    bool owner;                   /* of inner */
};

static const struct dqg_tensor_desc *desc_of(const struct mapped *mapped, const struct dqg_part *piece) {
    return &mapped->inner[piece->source].tensors[piece->tensor];
}

/* One read of a tensor put together is one read of each piece that its range touches. */
static dqg_status read_pieces(struct mapped *mapped, const struct dqg_mapping *mapping,
                              const struct dqg_plane_read *read) {
    uint64_t at = 0, end = read->offset + read->size;
    for (size_t i = 0; i < mapping->piece_count; i++) {
        const struct dqg_part *piece = &mapping->pieces[i];
        uint64_t from = read->offset > at ? read->offset - at : 0;
        uint64_t to = end < at + piece->size ? end - at : piece->size;
        if (end > at && from < to) {
            char *out = (char *)read->out + (at + from - read->offset);
            DQG_TRY(dqg_source_read(&mapped->inner[piece->source], piece->tensor, DQG_PLANE_CODES, piece->offset + from,
                                    out, (size_t)(to - from)));
        }
        at += piece->size;
    }
    return DQG_OK;
}

/* The whole tensor, rows and columns exchanged. */
static dqg_status read_transposed(struct dqg_source *source, const struct dqg_mapping *mapping,
                                  const struct dqg_plane_read *read) {
    struct mapped *mapped = source->detail;
    const struct dqg_tensor_desc *desc = &source->tensors[read->tensor];
    size_t rows = (size_t)desc->shape[0], columns = (size_t)desc->shape[1], size = (size_t)read->size;
    if (read->offset != 0 || read->size != desc->plane_bytes[DQG_PLANE_CODES]) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED, "tensor '%s' can be read as a whole only", desc->name);
    }
    char *copy = dqg_malloc(&source->context->alloc, size);
    if (copy == NULL) {
        return dqg_fail_memory(source->context, desc->name, size);
    }
    struct dqg_plane_read whole = *read;
    whole.out = copy;
    dqg_status status = read_pieces(mapped, mapping, &whole);
    size_t element = rows * columns > 0 ? size / (rows * columns) : 0;
    for (size_t i = 0; status >= 0 && i < rows * columns; i++) {
        memcpy((char *)read->out + i * element, copy + (i % columns * rows + i / columns) * element, element);
    }
    dqg_free(&source->context->alloc, copy, size);
    return status;
}

/* Reads of whole tensors of one source go on together, so that lanes share them. */
static dqg_status read_batch(struct mapped *mapped, size_t inner, struct dqg_plane_read *batch, size_t count,
                             struct dqg_work *work) {
    return count > 0 ? dqg_source_read_planes(&mapped->inner[inner], batch, count, work) : DQG_OK;
}

static dqg_status read_each(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                            struct dqg_plane_read *batch, struct dqg_work *work) {
    struct mapped *mapped = source->detail;
    size_t waiting = 0, inner = 0;
    for (size_t i = 0; i < count; i++) {
        const struct dqg_mapping *mapping = &mapped->mappings[reads[i].tensor];
        if (reads[i].size == 0) {
            continue;
        }
        bool whole = mapping->piece_count == 1 && !mapping->transposed &&
                     mapping->pieces[0].size == desc_of(mapped, &mapping->pieces[0])->plane_bytes[DQG_PLANE_CODES];
        if (whole && waiting > 0 && inner != mapping->pieces[0].source) {
            DQG_TRY(read_batch(mapped, inner, batch, waiting, work));
            waiting = 0;
        }
        if (whole) {
            inner = mapping->pieces[0].source;
            batch[waiting] = reads[i];
            batch[waiting++].tensor = mapping->pieces[0].tensor;
            continue;
        }
        if (work != NULL) {
            DQG_TRY(dqg_work_set(work, work->done, source->tensors[reads[i].tensor].name));
        }
        DQG_TRY(mapping->transposed ? read_transposed(source, mapping, &reads[i])
                                    : read_pieces(mapped, mapping, &reads[i]));
        if (work != NULL) {
            work->done += reads[i].size;
        }
    }
    return read_batch(mapped, inner, batch, waiting, work);
}

static dqg_status read_mapped(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                              struct dqg_work *work) {
    size_t bytes = count * sizeof *reads; /* the caller's list has this size too */
    struct dqg_plane_read *batch = dqg_malloc(&source->context->alloc, bytes > 0 ? bytes : 1);
    if (batch == NULL) {
        return dqg_fail_memory(source->context, "the list of reads", bytes);
    }
    dqg_status status = read_each(source, reads, count, batch, work);
    dqg_free(&source->context->alloc, batch, bytes > 0 ? bytes : 1);
    return status;
}

static dqg_status verify_mapped(struct dqg_source *source) {
    struct mapped *mapped = source->detail;
    for (size_t i = 0; i < mapped->inner_count; i++) {
        DQG_TRY(dqg_source_verify(&mapped->inner[i]));
    }
    return DQG_OK;
}

static void close_mapped(struct dqg_source *source) {
    struct mapped *mapped = source->detail;
    for (size_t i = 0; mapped->owner && i < mapped->inner_count; i++) {
        dqg_source_close(&mapped->inner[i]);
    }
}

static const struct dqg_source_type mapped_type = {.read = read_mapped, .verify = verify_mapped, .close = close_mapped};

/* ---- open ---- */

/* A tensor of one whole piece has all its planes and any shape of as many elements; others are floats of one type. */
static dqg_status check_mapping(struct dqg_source *source, size_t index) {
    const struct mapped *mapped = source->detail;
    const struct dqg_mapping *mapping = &mapped->mappings[index];
    const struct dqg_tensor_desc *desc = &source->tensors[index];
    uint64_t total = 0;
    for (size_t i = 0; i < mapping->piece_count; i++) {
        const struct dqg_tensor_desc *from = desc_of(mapped, &mapping->pieces[i]);
        bool joined = mapping->piece_count > 1 || mapping->transposed;
        if (from->dtype != desc->dtype || (joined && !dqg_dtype_is_float(from->dtype))) {
            return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                            "tensors '%s' and '%s' become one, '%s', but are of different or quantized types",
                            desc_of(mapped, mapping->pieces)->name, from->name, desc->name);
        }
        total += mapping->pieces[i].size;
    }
    if (total != desc->plane_bytes[DQG_PLANE_CODES] || (mapping->transposed && desc->rank != 2)) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT, "tensor '%s' (here '%s') has an impossible shape",
                        desc_of(mapped, mapping->pieces)->name, desc->name);
    }
    return DQG_OK;
}

static dqg_status take_mappings(struct dqg_source *source, const struct dqg_mapping *mappings, size_t count) {
    struct mapped *mapped = source->detail;
    DQG_TRY(dqg_source_alloc(source, "the names of tensors", count, sizeof *source->tensors, &source->tensors));
    DQG_TRY(dqg_source_alloc(source, "the names of tensors", count, sizeof *mappings, &mapped->mappings));
    source->tensor_count = count;
    for (size_t i = 0; i < count; i++) {
        struct dqg_part *pieces;
        DQG_TRY(dqg_source_alloc(source, "the names of tensors", mappings[i].piece_count, sizeof *pieces, &pieces));
        memcpy(pieces, mappings[i].pieces, mappings[i].piece_count * sizeof *pieces);
        mapped->mappings[i] = mappings[i];
        mapped->mappings[i].pieces = pieces;
        source->tensors[i] = mappings[i].desc;
        const char *name = mappings[i].desc.name;
        DQG_TRY(dqg_source_copy_text(source, name, strlen(name), &source->tensors[i].name));
        DQG_TRY(check_mapping(source, i));
    }
    return dqg_source_index_names(source);
}

static dqg_status take_metadata(struct dqg_source *source, const struct dqg_metadata *metadata, size_t count) {
    DQG_TRY(dqg_source_alloc(source, "the metadata", count, sizeof *metadata, &source->metadata));
    source->metadata_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *key = metadata[i].key, *value = metadata[i].value;
        DQG_TRY(dqg_source_copy_text(source, key, strlen(key), &source->metadata[i].key));
        DQG_TRY(dqg_source_copy_text(source, value, strlen(value), &source->metadata[i].value));
    }
    return DQG_OK;
}

static dqg_status fill(struct dqg_source *source, struct dqg_source *inner, size_t inner_count, bool owner) {
    struct mapped *mapped;
    DQG_TRY(dqg_source_alloc(source, "the names of tensors", 1, sizeof *mapped, &mapped));
    DQG_TRY(dqg_source_alloc(source, "the files", inner_count, sizeof *inner, &mapped->inner));
    DQG_TRY(dqg_source_alloc(source, "the files", 1, sizeof *source->inputs, &source->inputs));
    const char *name = inner[0].inputs[0].name;
    DQG_TRY(dqg_source_copy_text(source, name, strlen(name), &source->inputs[0].name));
    memcpy(mapped->inner, inner, inner_count * sizeof *inner);
    mapped->inner_count = inner_count;
    mapped->owner = owner;
    source->detail = mapped;
    source->format = inner[0].format;
    source->type = &mapped_type; /* from here on closing it closes the others */
    return DQG_OK;
}

dqg_status dqg_source_open_mapped(struct dqg_context *context, struct dqg_source *inner, size_t inner_count, bool owner,
                                  const struct dqg_mapping *mappings, size_t count, const struct dqg_metadata *metadata,
                                  size_t metadata_count, struct dqg_source *source) {
    *source = (struct dqg_source){.context = context};
    dqg_status status = fill(source, inner, inner_count, owner);
    if (status < 0) {
        for (size_t i = 0; owner && i < inner_count; i++) {
            dqg_source_close(&inner[i]);
        }
    } else {
        status = take_mappings(source, mappings, count);
    }
    if (status >= 0) {
        status = take_metadata(source, metadata, metadata_count);
    }
    if (status < 0) {
        dqg_source_close(source);
    }
    return status;
}
