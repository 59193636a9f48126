/* SPDX-License-Identifier: MIT */
/*
 * One frame of compressed data. The states are opaque and belong to one lane at a time; they take their memory from the
 * host's allocator. None of these calls writes a message, so that lanes may use them. Private to lib/io.
 */
#ifndef DQG_FRAME_H
#define DQG_FRAME_H

#include "support/support.h"

struct dqg_decoder;
struct dqg_encoder;

/* NULL when memory runs out. alloc must stay valid until the matching destroy, which accepts NULL. */
size_t dqg_decoder_bytes(void); /* of memory that one takes */
struct dqg_decoder *dqg_decoder_create(const struct dqg_alloc *alloc);
void dqg_decoder_destroy(struct dqg_decoder *decoder);
struct dqg_encoder *dqg_encoder_create(const struct dqg_alloc *alloc);
void dqg_encoder_destroy(struct dqg_encoder *encoder);

/* stored must be exactly one frame that holds exactly raw_size bytes. DQG_ERROR_FORMAT, DQG_ERROR_MEMORY. */
dqg_status dqg_frame_decode(struct dqg_decoder *decoder, const void *stored, size_t stored_size, void *raw,
                            size_t raw_size);

/* *stored_size is 0 where the result would take more than capacity bytes. DQG_ERROR_MEMORY, DQG_ERROR_INTERNAL. */
dqg_status dqg_frame_encode(struct dqg_encoder *encoder, int32_t level, const void *raw, size_t raw_size, void *stored,
                            size_t capacity, size_t *stored_size);

#endif
