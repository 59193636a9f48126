/* SPDX-License-Identifier: MIT */
/* A weight tensor in memory, in the storage format of its file, and its decoding to floats. */
#ifndef DQG_WEIGHT_H
#define DQG_WEIGHT_H

#include "tensor/format.h"

struct dqg_weight {
    const char *name;
    int32_t dtype;
    int32_t group;
    int32_t rank;
    int64_t shape[DQG_MAX_RANK];
    struct dqg_matrix_size size; /* zero for tensors that are not matrices */
    float scale;                 /* multiplies the stored scales */
    uint64_t bytes[3];           /* of the planes */
    uint64_t stored_bytes;
    void *codes;         /* floats row-major, or panels */
    void *scales;        /* F16 [groups][rows_padded], of SIGN formats [groups][bits][rows_padded]; else F32
                            [rows_padded] */
    uint8_t *zeros;      /* [groups][rows_padded]; VECTOR formats: the codebook, F16 [256][width] */
    float *column_scale; /* [rows_padded]: what an int8 panel value is multiplied by */
    float *inverse;      /* [rows_padded]: formats with groups only, for their decoders */
    int32_t *sums;       /* [rows_padded]: of an output's int8 panel values; dqg_op_weight_sums() fills them */
    int8_t *codebook;    /* [256][width]: VECTOR formats only, for their decoder */
};

/* Elements of a tensor. */
size_t dqg_weight_count(const struct dqg_weight *weight);

/*
 * Allocate the planes for a description that dqg_format_plane_bytes() accepted; the caller fills codes, scales and
 * zeros, then calls dqg_weight_finish(), which checks them and derives the rest.
 */
dqg_status dqg_weight_allocate(struct dqg_context *context, struct dqg_weight *weight);
dqg_status dqg_weight_finish(struct dqg_context *context, struct dqg_weight *weight);
void dqg_weight_free(const struct dqg_alloc *alloc, struct dqg_weight *weight);
uint64_t dqg_weight_bytes(const struct dqg_weight *weight); /* memory taken */

/* Rows [first, first + count) of a matrix as floats [count][columns], exactly as the format defines them; zeros where
 * there are no planes. scratch: dqg_weight_scratch() bytes. */
size_t dqg_weight_scratch(const struct dqg_weight *weight);
void dqg_weight_decode_rows(const struct dqg_weight *weight, size_t first, size_t count, float *out, void *scratch);

#endif
