/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: .dqg files. Each input is tried as it is, and then with its checksums repaired, because no random change
 * would get past them. Quantized tensors that the reader lets through are decoded as a network would.
 */
#include "fuzz.h"

#include "io/bytes.h"
#include "io/container.h"
#include "ops/ops.h"
#include "support/hash.h"

/* Hashes of the frames of a plane whose entry is at; returns the byte after the last frame's entry. */
static size_t repair_plane(uint8_t *data, size_t size, size_t at, size_t end) {
    uint64_t offset = dqg_get_u64(data + at + DQG_PLANE_OFFSET);
    uint32_t frames = dqg_get_u32(data + at + DQG_PLANE_FRAMES);
    at += DQG_PLANE_BYTES;
    for (uint32_t i = 0; i < frames && end - at >= DQG_FRAME_ENTRY; i++, at += DQG_FRAME_ENTRY) {
        uint32_t stored = dqg_get_u32(data + at + DQG_FRAME_STORED);
        if (offset > size || stored > size - offset) {
            break;
        }
        dqg_put_u64(data + at + DQG_FRAME_HASH, dqg_hash64(data + offset, stored));
        offset += stored;
    }
    return at;
}

static void repair_record(uint8_t *data, size_t size, size_t from, size_t end) {
    uint64_t at = (uint64_t)from + DQG_RECORD_NAME + dqg_get_u32(data + from + DQG_RECORD_NAME_BYTES);
    uint32_t rank = dqg_get_u32(data + from + DQG_RECORD_RANK);
    at += 8 * (uint64_t)(rank <= DQG_MAX_RANK ? rank : 0);
    end -= DQG_RECORD_HASH_BYTES;
    for (int plane = 0; plane < DQG_PLANE_COUNT && at <= end && end - at >= DQG_PLANE_BYTES; plane++) {
        at = repair_plane(data, size, (size_t)at, end);
    }
    dqg_put_u64(data + end, dqg_hash64(data + from, end - from));
}

/* As far as the index can be followed. */
static void repair(uint8_t *data, size_t size) {
    if (size < DQG_HEADER_BYTES || dqg_get_u64(data + DQG_HEADER_INDEX_BYTES) > size - DQG_HEADER_BYTES) {
        return;
    }
    size_t end = DQG_HEADER_BYTES + (size_t)dqg_get_u64(data + DQG_HEADER_INDEX_BYTES);
    size_t at = DQG_HEADER_BYTES;
    for (uint32_t i = dqg_get_u32(data + DQG_HEADER_METADATA); i > 0 && end - at >= 8; i--) {
        uint64_t bytes = 8 + (uint64_t)dqg_get_u32(data + at) + dqg_get_u32(data + at + 4);
        if (bytes > end - at) {
            break;
        }
        at += (size_t)bytes;
    }
    if (end - at >= 8) {
        dqg_put_u64(data + at, dqg_hash64(data + DQG_HEADER_BYTES, at - DQG_HEADER_BYTES));
        at += 8;
    }
    while (end - at >= DQG_RECORD_MIN) {
        size_t bytes = dqg_get_u32(data + at);
        if (bytes < DQG_RECORD_MIN || bytes > end - at) {
            break;
        }
        repair_record(data, size, at, at + bytes);
        at += bytes;
    }
    dqg_container_hash(data, end, data + DQG_HEADER_HASH);
}

/* ---- decoding ---- */

/* Integer products rely on panels without -128. */
static void decode(const struct dqg_ops *ops, const struct dqg_weight *weight) {
    size_t bytes = DQG_PANEL * weight->size.columns_padded;
    char *room = malloc(bytes), *scratch = malloc(dqg_weight_scratch(weight));
    float *row = malloc(weight->size.columns * sizeof *row);
    for (size_t n = 0; n < weight->size.rows; n += DQG_PANEL) {
        const int8_t *panel = dqg_panels_int8(ops, weight, n / DQG_PANEL, 1, room);
        FUZZ_REQUIRE(memchr(panel, 0x80, bytes) == NULL);
        dqg_weight_decode_rows(weight, n, 1, row, scratch);
    }
    free(room);
    free(scratch);
    free(row);
}

/* Planes that are not what the format allows are refused; what is left decodes on every backend. */
static void try_weight(struct fuzz_context *fuzz, struct dqg_source *source, size_t index) {
    const struct dqg_tensor_desc *tensor = &source->tensors[index];
    struct dqg_weight weight = {.name = tensor->name, .dtype = tensor->dtype, .group = tensor->group};
    weight.rank = tensor->rank;
    weight.scale = tensor->scale;
    memcpy(weight.shape, tensor->shape, sizeof weight.shape);
    memcpy(weight.bytes, tensor->plane_bytes, sizeof weight.bytes);
    FUZZ_REQUIRE(dqg_matrix_size(weight.dtype, weight.group, weight.rank, weight.shape, &weight.size));
    FUZZ_REQUIRE(dqg_weight_allocate(fuzz->context, &weight) == DQG_OK);
    void *planes[DQG_PLANE_COUNT] = {weight.codes, weight.scales, weight.zeros};
    dqg_status status = DQG_OK;
    for (int plane = 0; plane < DQG_PLANE_COUNT && status >= 0; plane++) {
        status = dqg_source_read(source, index, (enum dqg_plane)plane, 0, planes[plane], (size_t)weight.bytes[plane]);
    }
    if (status >= 0) {
        status = dqg_weight_finish(fuzz->context, &weight);
        FUZZ_REQUIRE(status == DQG_OK || status == DQG_ERROR_FORMAT);
    }
    fuzz_check_status(fuzz, status);
    struct dqg_ops ops = {.context = fuzz->context};
    for (int32_t i = 0; status >= 0 && (ops.kernels = dqg_kernels_at(i)) != NULL; i++) {
        decode(&ops, &weight);
    }
    dqg_weight_free(&fuzz->context->alloc, &weight);
}

static void try_weights(struct fuzz_context *fuzz, const uint8_t *data, size_t size) {
    enum { MOST = 1 << 20 };
    struct dqg_source source;
    struct dqg_input input;
    dqg_error_clear(fuzz->context);
    dqg_input_open_memory(data, size, &input);
    if (dqg_source_open(fuzz->context, &input, &source) < 0) {
        return;
    }
    for (size_t i = 0; i < source.tensor_count; i++) {
        dqg_error_clear(fuzz->context);
        if (dqg_dtype_is_quantized(source.tensors[i].dtype) && source.tensors[i].plane_bytes[0] <= MOST) {
            try_weight(fuzz, &source, i);
        }
    }
    dqg_source_close(&source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_context fuzz;
    fuzz_begin(&fuzz);
    fuzz_source(&fuzz, data, size);
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    repair(copy, size);
    fuzz_source(&fuzz, copy, size);
    try_weights(&fuzz, copy, size);
    free(copy);
    fuzz_end(&fuzz, size);
    return 0;
}
