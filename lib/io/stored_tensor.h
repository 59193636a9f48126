/* SPDX-License-Identifier: MIT */
/*
 * Tensors as other programs' files keep them: whole or strided runs of elements, some of them in blocks that must be
 * decoded. The readers of such files only say where each tensor is and how it is encoded; reading them is common.
 * Private to lib/io.
 */
#ifndef DQG_STORED_H
#define DQG_STORED_H

#include "io/source.h"

/* How a file keeps elements: blocks of equal size. */
struct dqg_encoding {
    const char *name;
    uint16_t block; /* elements in a block, */
    uint16_t bytes; /* and its bytes */
    int32_t dtype;  /* what the tensor is seen as: F32, F16 or BF16, or 0 where the library has no use for it */
    void (*decode)(float *out, const uint8_t *in, size_t blocks); /* NULL: the bytes are elements of dtype */
};

/* Where a tensor is. source->detail is an array of these, one for each tensor. */
struct dqg_stored {
    const struct dqg_encoding *encoding;
    size_t input;                   /* which file */
    uint64_t offset;                /* in the file */
    float scale;                    /* multiplies what is decoded */
    bool strided;                   /* elements are apart as strides say; their blocks hold one each */
    uint64_t strides[DQG_MAX_RANK]; /* in elements */
};

extern const struct dqg_source_type dqg_stored_type;

/* Plain elements by their safetensors names: "F32", "I64", "F8_E4M3", ... NULL: unknown. */
const struct dqg_encoding *dqg_encoding_find(const char *name);

/* A tensor block of a GGUF file by its number there; NULL: unknown, or cannot be decoded. */
const struct dqg_encoding *dqg_gguf_encoding(uint32_t type);

/*
 * Fill type, sizes and scale of a description whose name, rank and shape (no negative sizes) are set, and begin the
 * place. Returns NULL, or what is wrong with the shape.
 */
const char *dqg_stored_describe(const struct dqg_encoding *encoding, struct dqg_tensor_desc *desc,
                                struct dqg_stored *stored);

/* Memory for the descriptions and places of up to count tensors: source->tensors and source->detail. */
dqg_status dqg_stored_alloc(struct dqg_source *source, size_t count);

#endif
