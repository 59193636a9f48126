/* SPDX-License-Identifier: MIT */
/*
 * Reader for GGUF files, versions 2 and 3: magic | version | counts | keys and values | tensors | data. Weights in
 * blocks are seen as F16, in the order of dimensions that other checkpoints have. The format has no checksums. Called
 * by source.c.
 */
#include "io/gguf.h"
#include "io/bytes.h"

enum {
    TENSORS_MAX = 16384,
    RANK_MAX = 4,
    LISTS_MAX = 4 << 20 /* bytes that all lists together may take as texts */
};

/* ---- walking through the header ---- */

dqg_status dqg_gguf_skip(struct dqg_gguf *gguf, uint64_t size) {
    const struct dqg_input *input = &gguf->source->inputs[0];
    if (size > input->size - gguf->at) {
        return dqg_fail(gguf->source->context, DQG_ERROR_TRUNCATED,
                        "%s ends inside its header, after byte %llu: copy or download it again", input->name,
                        (unsigned long long)gguf->at);
    }
    gguf->at += size;
    return DQG_OK;
}

dqg_status dqg_gguf_take(struct dqg_gguf *gguf, void *out, size_t size) {
    const struct dqg_input *input = &gguf->source->inputs[0];
    uint64_t from = gguf->at;
    DQG_TRY(dqg_gguf_skip(gguf, size));
    if (size > DQG_GGUF_WINDOW) {
        return dqg_input_read(gguf->source->context, input, from, out, size);
    }
    if (from < gguf->window_at || gguf->at > gguf->window_end) {
        uint64_t left = input->size - from;
        size_t next = left < DQG_GGUF_WINDOW ? (size_t)left : (size_t)DQG_GGUF_WINDOW;
        gguf->window_at = gguf->window_end = from;
        DQG_TRY(dqg_input_read(gguf->source->context, input, from, gguf->window, next));
        gguf->window_end = from + next;
    }
    memcpy(out, gguf->window + (from - gguf->window_at), size);
    return DQG_OK;
}

dqg_status dqg_gguf_u32(struct dqg_gguf *gguf, uint32_t *value) {
    uint8_t bytes[4] = {0};
    dqg_status status = dqg_gguf_take(gguf, bytes, sizeof bytes);
    *value = dqg_get_u32(bytes);
    return status;
}

dqg_status dqg_gguf_u64(struct dqg_gguf *gguf, uint64_t *value) {
    uint8_t bytes[8] = {0};
    dqg_status status = dqg_gguf_take(gguf, bytes, sizeof bytes);
    *value = dqg_get_u64(bytes);
    return status;
}

dqg_status dqg_gguf_text(struct dqg_gguf *gguf, struct dqg_arena *arena, size_t most, const char **text) {
    uint64_t length;
    *text = NULL;
    DQG_TRY(dqg_gguf_u64(gguf, &length));
    if (length > most) {
        return dqg_gguf_skip(gguf, length);
    }
    uint64_t from = gguf->at;
    DQG_TRY(dqg_gguf_skip(gguf, length)); /* the size is checked before it is used */
    gguf->at = from;
    char *copy = dqg_arena_alloc(&gguf->source->context->alloc, arena, (size_t)length + 1);
    if (copy == NULL) {
        return dqg_fail_memory(gguf->source->context, "a text of the header", (size_t)length + 1);
    }
    DQG_TRY(dqg_gguf_take(gguf, copy, (size_t)length));
    *text = dqg_utf8_valid(copy, (size_t)length) ? copy : NULL;
    return DQG_OK;
}

/* ---- tensors ---- */

static dqg_status fail_tensor(const struct dqg_source *source, size_t tensor, const char *what) {
    return dqg_fail(source->context, DQG_ERROR_FORMAT, "tensor '%s' in %s: %s", source->tensors[tensor].name,
                    source->inputs[0].name, what);
}

/* The dimension that changes fastest comes first in the file, and last here. */
static dqg_status read_shape(struct dqg_gguf *gguf, size_t tensor, uint32_t *rank, uint64_t *fastest) {
    struct dqg_tensor_desc *desc = &gguf->source->tensors[tensor];
    *fastest = 1;
    DQG_TRY(dqg_gguf_u32(gguf, rank));
    if (*rank > RANK_MAX) {
        return fail_tensor(gguf->source, tensor, "it has more than 4 dimensions");
    }
    desc->rank = (int32_t)*rank;
    for (uint32_t i = 0; i < *rank; i++) {
        uint64_t size;
        DQG_TRY(dqg_gguf_u64(gguf, &size));
        if (size > INT64_MAX) {
            return fail_tensor(gguf->source, tensor, "its shape is too large");
        }
        desc->shape[*rank - 1 - i] = (int64_t)size;
        *fastest = i == 0 ? size : *fastest;
    }
    return DQG_OK;
}

static dqg_status fail_type(const struct dqg_source *source, size_t tensor, uint32_t type) {
    static const char names[43][8] = {
        [9] = "Q8_1",   [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS",
        [19] = "IQ1_S", [21] = "IQ3_S", [22] = "IQ2_S",   [29] = "IQ1_M",  [34] = "TQ1_0",
        [35] = "TQ2_0", [39] = "MXFP4", [40] = "NVFP4",   [41] = "Q1_0",   [42] = "Q2_0"};
    const char *name = type < DQG_COUNT_OF(names) && names[type][0] != '\0' ? names[type] : "unknown";
    return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                    "tensor '%s' in %s is stored in a way that cannot be read (%s, number %u); use a file of Q4_0 to "
                    "Q8_0, Q2_K to Q6_K, IQ4_NL or IQ4_XS",
                    source->tensors[tensor].name, source->inputs[0].name, name, (unsigned)type);
}

static dqg_status read_tensor(struct dqg_gguf *gguf, size_t tensor) {
    struct dqg_source *source = gguf->source;
    struct dqg_tensor_desc *desc = &source->tensors[tensor];
    struct dqg_stored *stored = (struct dqg_stored *)source->detail + tensor;
    uint32_t rank, type;
    uint64_t fastest, offset;
    DQG_TRY(dqg_gguf_text(gguf, &source->arena, DQG_NAME_MAX - 1, &desc->name));
    if (desc->name == NULL || desc->name[0] == '\0') {
        return dqg_fail(source->context, DQG_ERROR_FORMAT, "tensor %zu in %s has no valid name", tensor,
                        source->inputs[0].name);
    }
    DQG_TRY(read_shape(gguf, tensor, &rank, &fastest));
    DQG_TRY(dqg_gguf_u32(gguf, &type));
    DQG_TRY(dqg_gguf_u64(gguf, &offset));
    const struct dqg_encoding *encoding = dqg_gguf_encoding(type);
    if (encoding == NULL) {
        return fail_type(source, tensor, type);
    }
    const char *error = dqg_stored_describe(encoding, desc, stored);
    if (error != NULL || fastest % encoding->block != 0) {
        return fail_tensor(source, tensor, error != NULL ? error : "its rows are not whole blocks");
    }
    if (offset % gguf->alignment != 0) {
        return fail_tensor(source, tensor, "its data begins at an odd place");
    }
    stored->offset = offset; /* in the data, for now */
    return DQG_OK;
}

static bool placed_before(const void *items, size_t a, size_t b) {
    const struct dqg_source *source = items;
    const struct dqg_stored *stored = source->detail;
    return stored[a].offset != stored[b].offset ? stored[a].offset < stored[b].offset
                                                : source->tensors[a].stored_bytes < source->tensors[b].stored_bytes;
}

/* The data begin behind the header, aligned. Tensors must be in there and not overlap. */
static dqg_status place_tensors(struct dqg_gguf *gguf) {
    struct dqg_source *source = gguf->source;
    struct dqg_stored *stored = source->detail;
    uint64_t start = (gguf->at + gguf->alignment - 1) / gguf->alignment * gguf->alignment, end = 0;
    uint64_t bytes = source->inputs[0].size > start ? source->inputs[0].size - start : 0;
    uint32_t *order;
    DQG_TRY(dqg_source_alloc(source, "the tensor list", source->tensor_count, sizeof *order, &order));
    dqg_sort_indices(order, source->tensor_count, placed_before, source);
    for (size_t i = 0; i < source->tensor_count; i++) {
        size_t tensor = order[i];
        uint64_t size = source->tensors[tensor].stored_bytes;
        if (stored[tensor].offset > bytes || size > bytes - stored[tensor].offset) {
            return dqg_fail(source->context, DQG_ERROR_TRUNCATED,
                            "%s ends before the end of tensor '%s': copy or download it again", source->inputs[0].name,
                            source->tensors[tensor].name);
        }
        if (size > 0 && stored[tensor].offset < end) {
            return fail_tensor(source, tensor, "it overlaps its neighbour");
        }
        end = stored[tensor].offset + size > end ? stored[tensor].offset + size : end;
        stored[tensor].offset += start;
    }
    return DQG_OK;
}

/* ---- open ---- */

static dqg_status read_counts(struct dqg_gguf *gguf, uint64_t *tensors, uint64_t *keys) {
    struct dqg_source *source = gguf->source;
    uint32_t magic, version;
    DQG_TRY(dqg_gguf_u32(gguf, &magic));
    DQG_TRY(dqg_gguf_u32(gguf, &version));
    if (version != 2 && version != 3) {
        bool swapped = (version & 0xffff) == 0 && version != 0;
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        swapped ? "%s is a GGUF file for machines of the other byte order"
                                : "%s is a GGUF file of a version other than 2 and 3",
                        source->inputs[0].name);
    }
    DQG_TRY(dqg_gguf_u64(gguf, tensors));
    DQG_TRY(dqg_gguf_u64(gguf, keys));
    return *tensors <= TENSORS_MAX ? DQG_OK
                                   : dqg_fail(source->context, DQG_ERROR_LIMIT, "%s has %llu tensors, the limit is %d",
                                              source->inputs[0].name, (unsigned long long)*tensors, TENSORS_MAX);
}

static dqg_status read_header(struct dqg_gguf *gguf) {
    uint64_t tensors = 0, keys = 0;
    DQG_TRY(read_counts(gguf, &tensors, &keys));
    DQG_TRY(dqg_gguf_keys(gguf, keys));
    DQG_TRY(dqg_stored_alloc(gguf->source, (size_t)tensors));
    for (uint64_t i = 0; i < tensors; i++) {
        DQG_TRY(read_tensor(gguf, (size_t)i));
        gguf->source->tensor_count++;
    }
    return place_tensors(gguf);
}

dqg_status dqg_gguf_open(struct dqg_source *source) {
    struct dqg_gguf gguf = {.source = source, .alignment = 32, .text_left = LISTS_MAX};
    source->type = &dqg_stored_type;
    source->format = "GGUF";
    gguf.window = dqg_malloc(&source->context->alloc, DQG_GGUF_WINDOW);
    if (gguf.window == NULL) {
        return dqg_fail_memory(source->context, "the header", DQG_GGUF_WINDOW);
    }
    dqg_status status = read_header(&gguf);
    dqg_free(&source->context->alloc, gguf.window, DQG_GGUF_WINDOW);
    DQG_TRY(status);
    DQG_TRY(dqg_source_index_names(source));
    DQG_TRY(dqg_gguf_shapes(source));
    return dqg_gguf_rename(source);
}
