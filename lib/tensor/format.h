/* SPDX-License-Identifier: MIT */
/*
 * Storage formats: how many bytes a tensor takes, and how codes are laid out in panels (the pictures are in
 * kernel/kernel.h). Used by files, quantizer and weights alike.
 */
#ifndef DQG_FORMAT_H
#define DQG_FORMAT_H

#include "kernel/kernel.h"
#include "support/support.h"

/*
 * A matrix as panels: rows are output channels, columns inputs. The weights of a convolution, (outputs, channels,
 * kernel sizes), are a matrix too; its panels hold the channels of the window's first pixel, then those of the next.
 */
struct dqg_matrix_size {
    size_t rows, columns;
    size_t rows_padded;    /* to a multiple of DQG_PANEL */
    size_t columns_padded; /* taps * tap_padded */
    size_t taps;           /* pixels of a convolution's window; 1 for plain matrices */
    size_t tap_padded;     /* columns of a tap, to a multiple of the group, or of 8 where there is none */
    size_t groups;         /* scales of an output channel */
};

/* Where input k of the row-major shape stands among the padded columns. */
static inline size_t dqg_matrix_column(const struct dqg_matrix_size *size, size_t k) {
    return k % size->taps * size->tap_padded + k / size->taps;
}

/* Columns up to the last one that is not padding. */
static inline size_t dqg_matrix_extent(const struct dqg_matrix_size *size) {
    return size->columns_padded - size->tap_padded + size->columns / size->taps;
}

/* How a format stores weights. Panels of codes are described in kernel/kernel.h. */
enum dqg_format_kind {
    DQG_FORMAT_IMAGE,  /* no weights */
    DQG_FORMAT_FLOAT,  /* row-major floats */
    DQG_FORMAT_INT8,   /* int8 panels; F32 scales of the outputs */
    DQG_FORMAT_GROUP,  /* codes with F16 group scales and, for some, zero points */
    DQG_FORMAT_SIGN,   /* codes of signs with F16 group scales for each base */
    DQG_FORMAT_F8,     /* 8-bit floats; F32 scales of the outputs */
    DQG_FORMAT_VECTOR, /* indices of a codebook, which is F16; F32 scales of the outputs */
};

enum { DQG_CODEBOOK_ENTRIES = 256 };

struct dqg_format {
    int32_t dtype;
    const char *name; /* "f32", "int4", ... */
    enum dqg_format_kind kind;
    int32_t bits;         /* of a weight's code, or of an element */
    bool zeros;           /* has zero points */
    float unit;           /* a weight is about scale * unit * level, exactly so but for NF4 and 8-bit floats */
    const int8_t *levels; /* that the kernels use: 16, or those of 8-bit floats; NULL: code - zero */
};

const struct dqg_format *dqg_format_find(int32_t dtype); /* NULL: unknown */
const struct dqg_format *dqg_format_at(size_t index);    /* NULL after the last */
extern const char dqg_format_names[];                    /* of weights, with bars between: choices of an option */
bool dqg_format_has_groups(const struct dqg_format *format);

/* Inputs that share a code of a VECTOR format: 4 for 2 bits, 2 for 4 bits. */
static inline size_t dqg_vector_width(const struct dqg_format *format) {
    return 8 / (size_t)format->bits;
}

/* What a code stands for before scales: an integer without its zero point, the number of a float format. */
float dqg_code_value(const struct dqg_format *format, uint32_t code);

/* The 8-bit float nearest to a value, ties to even; beyond the largest number that one. */
uint8_t dqg_f8_code(const struct dqg_format *format, float value);

/* The largest code; of 8-bit floats, the largest magnitude that is a number. */
uint32_t dqg_largest_code(const struct dqg_format *format);

bool dqg_dtype_is_float(int32_t dtype); /* F32, F16, BF16 */
bool dqg_dtype_is_quantized(int32_t dtype);
size_t dqg_dtype_size(int32_t dtype);      /* bytes of an element; 0 for quantized and unknown types */
const char *dqg_dtype_name(int32_t dtype); /* "f32", "int4", ... or "unknown" */

/* Product of a shape; false on overflow or a negative size. */
bool dqg_shape_count(int32_t rank, const int64_t *shape, uint64_t *count);

/* The matrix that a shape is: rows = shape[0], columns = the product of the rest. False where it cannot be one. */
bool dqg_matrix_size(int32_t dtype, int32_t group, int32_t rank, const int64_t *shape, struct dqg_matrix_size *size);

/* Bytes of codes, scales, and zero points or codebook: planes 0, 1, 2 of the file format. False for unknown formats,
 * groups that do not belong to them, and sizes that do not fit. */
bool dqg_format_plane_bytes(int32_t dtype, int32_t group, int32_t rank, const int64_t *shape, uint64_t bytes[3]);

/* Elements [first, first + count) of a float array to F32, and back with round to nearest even. */
void dqg_floats_decode(float *out, const void *in, int32_t dtype, size_t count);
void dqg_floats_encode(void *out, const float *in, int32_t dtype, size_t count);

/* One panel: codes is [DQG_PANEL][columns_padded], one code a byte. In VECTOR formats the inputs of a code all have it;
 * packing takes that of the first. */
size_t dqg_panel_bytes(const struct dqg_format *format, size_t columns_padded);
void dqg_pack_panel(const struct dqg_format *format, uint8_t *panel, const uint8_t *codes, size_t columns_padded);
void dqg_unpack_panel(const struct dqg_format *format, uint8_t *codes, const uint8_t *panel, size_t columns_padded);

#endif
