/* SPDX-License-Identifier: MIT */
/*
 * Compression through zstd; no other file knows it. Its "static only" calls are used to give it memory from the host:
 * libzstd.so exports them, and their signatures have not changed since zstd 1.3.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "io/frame.h"

/* zstd frees without a size, so each block is preceded by its own. */
static void *zstd_allocate(void *user, size_t size) {
    size_t whole;
    char *block = dqg_add_size(size, DQG_ALIGNMENT, &whole) ? dqg_malloc(user, whole) : NULL;
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &whole, sizeof whole);
    return block + DQG_ALIGNMENT;
}

static void zstd_release(void *user, void *address) {
    if (address != NULL) {
        char *block = (char *)address - DQG_ALIGNMENT;
        size_t whole;
        memcpy(&whole, block, sizeof whole);
        dqg_free(user, block, whole);
    }
}

static ZSTD_customMem host_memory(const struct dqg_alloc *alloc) {
    ZSTD_customMem memory = {zstd_allocate, zstd_release, NULL};
    memcpy(&memory.opaque, &alloc, sizeof alloc);
    return memory;
}

struct dqg_decoder *dqg_decoder_create(const struct dqg_alloc *alloc) {
    return (struct dqg_decoder *)ZSTD_createDCtx_advanced(host_memory(alloc));
}

size_t dqg_decoder_bytes(void) {
    return ZSTD_estimateDCtxSize() + DQG_ALIGNMENT;
}

void dqg_decoder_destroy(struct dqg_decoder *decoder) {
    ZSTD_freeDCtx((ZSTD_DCtx *)decoder);
}

struct dqg_encoder *dqg_encoder_create(const struct dqg_alloc *alloc) {
    return (struct dqg_encoder *)ZSTD_createCCtx_advanced(host_memory(alloc));
}

void dqg_encoder_destroy(struct dqg_encoder *encoder) {
    ZSTD_freeCCtx((ZSTD_CCtx *)encoder);
}

dqg_status dqg_frame_decode(struct dqg_decoder *decoder, const void *stored, size_t stored_size, void *raw,
                            size_t raw_size) {
    if (ZSTD_getFrameContentSize(stored, stored_size) != raw_size ||
        ZSTD_findFrameCompressedSize(stored, stored_size) != stored_size) {
        return DQG_ERROR_FORMAT;
    }
    size_t result = ZSTD_decompressDCtx((ZSTD_DCtx *)decoder, raw, raw_size, stored, stored_size);
    if (ZSTD_isError(result)) {
        return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? DQG_ERROR_MEMORY : DQG_ERROR_FORMAT;
    }
    return result == raw_size ? DQG_OK : DQG_ERROR_FORMAT;
}

dqg_status dqg_frame_encode(struct dqg_encoder *encoder, int32_t level, const void *raw, size_t raw_size, void *stored,
                            size_t capacity, size_t *stored_size) {
    *stored_size = 0;
    level = level > ZSTD_maxCLevel() ? ZSTD_maxCLevel() : level < ZSTD_minCLevel() ? ZSTD_minCLevel() : level;
    size_t result = ZSTD_compressCCtx((ZSTD_CCtx *)encoder, stored, capacity, raw, raw_size, level);
    if (!ZSTD_isError(result)) {
        *stored_size = result;
        return DQG_OK;
    }
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_dstSize_tooSmall:
        return DQG_OK;
    case ZSTD_error_memory_allocation:
        return DQG_ERROR_MEMORY;
    default:
        return DQG_ERROR_INTERNAL;
    }
}
