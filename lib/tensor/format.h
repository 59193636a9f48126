/* SPDX-License-Identifier: MIT */
/*
 * Storage formats: how many bytes a tensor takes, and how codes are laid out in panels (the pictures are in
 * kernel/kernel.h). Used by files, quantizer and weights alike.
 */
#ifndef DQG_FORMAT_H
#define DQG_FORMAT_H

#include "kernel/kernel.h"
#include "support/support.h"

/* A matrix as panels: rows are output channels, columns inputs. */
struct dqg_matrix_size {
    size_t rows, columns;
    size_t rows_padded;    /* to a multiple of DQG_PANEL */
    size_t columns_padded; /* to a multiple of the group, or of 8 where there is none */
    size_t groups;         /* scales of an output channel */
};

bool dqg_dtype_is_float(int32_t dtype); /* F32, F16, BF16 */
bool dqg_dtype_is_quantized(int32_t dtype);
size_t dqg_dtype_size(int32_t dtype);      /* bytes of an element; 0 for quantized and unknown types */
const char *dqg_dtype_name(int32_t dtype); /* "f32", "int4", ... or "unknown" */

/* Product of a shape; false on overflow or a negative size. */
bool dqg_shape_count(int32_t rank, const int64_t *shape, uint64_t *count);

/* The matrix that a shape is: rows = shape[0], columns = the product of the rest. False where it cannot be one. */
bool dqg_matrix_size(int32_t dtype, int32_t group, int32_t rank, const int64_t *shape, struct dqg_matrix_size *size);

/* Bytes of codes, scales and zero points: planes 0, 1, 2 of the file format. False for unknown formats, groups that do
 * not belong to them, and sizes that do not fit. */
bool dqg_format_plane_bytes(int32_t dtype, int32_t group, int32_t rank, const int64_t *shape, uint64_t bytes[3]);

/* Elements [first, first + count) of a float array to F32, and back with round to nearest even. */
void dqg_floats_decode(float *out, const void *in, int32_t dtype, size_t count);
void dqg_floats_encode(void *out, const float *in, int32_t dtype, size_t count);

/* One panel: codes is [DQG_PANEL][columns_padded], one code a byte. */
void dqg_pack_i4_panel(uint8_t *panel, const uint8_t *codes, size_t columns_padded);
void dqg_unpack_i4_panel(uint8_t *codes, const uint8_t *panel, size_t columns_padded);
void dqg_pack_i8_panel(int8_t *panel, const int8_t *codes, size_t columns_padded);
void dqg_unpack_i8_panel(int8_t *codes, const int8_t *panel, size_t columns_padded);

#endif
