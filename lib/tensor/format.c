/* SPDX-License-Identifier: MIT */
/* Storage formats: sizes, float conversion, panel layout. Everything about a format that is not speed. */
#include "tensor/format.h"
#include "tensor/half.h"

static bool is_kind(int32_t dtype, enum dqg_format_kind lowest, enum dqg_format_kind highest) {
    const struct dqg_format *format = dqg_format_find(dtype);
    return format != NULL && format->kind >= lowest && format->kind <= highest;
}

bool dqg_dtype_is_float(int32_t dtype) {
    return is_kind(dtype, DQG_FORMAT_FLOAT, DQG_FORMAT_FLOAT);
}

bool dqg_dtype_is_quantized(int32_t dtype) {
    return is_kind(dtype, DQG_FORMAT_INT8, DQG_FORMAT_VECTOR);
}

size_t dqg_dtype_size(int32_t dtype) {
    return is_kind(dtype, DQG_FORMAT_IMAGE, DQG_FORMAT_FLOAT) ? (size_t)dqg_format_find(dtype)->bits / 8 : 0;
}

const char *dqg_dtype_name(int32_t dtype) {
    const struct dqg_format *format = dqg_format_find(dtype);
    return format != NULL ? format->name : "unknown";
}

bool dqg_shape_count(int32_t rank, const int64_t *shape, uint64_t *count) {
    uint64_t product = 1;
    bool empty = false;
    if (rank < 0 || rank > DQG_MAX_RANK) {
        return false;
    }
    for (int32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return false;
        }
        if (shape[i] == 0) {
            empty = true;
        } else if (__builtin_mul_overflow(product, (uint64_t)shape[i], &product)) {
            return false;
        }
    }
    *count = empty ? 0 : product;
    return *count <= INT64_MAX / 16; /* room for bytes, padding and alignment of any format */
}

bool dqg_matrix_size(int32_t dtype, int32_t group, int32_t rank, const int64_t *shape, struct dqg_matrix_size *size) {
    uint64_t count;
    const struct dqg_format *format = dqg_format_find(dtype);
    bool grouped = format != NULL && dqg_format_has_groups(format);
    if (rank < 2 || !dqg_shape_count(rank, shape, &count) || count == 0 || count > SIZE_MAX / 16) {
        return false;
    }
    if (grouped ? group != 32 && group != 64 && group != 128 : group != 0) {
        return false;
    }
    size->rows = (size_t)shape[0];
    size->columns = (size_t)count / size->rows;
    size->rows_padded = dqg_round_up(size->rows, DQG_PANEL);
    size->taps = size->columns / (size_t)shape[1];
    size->tap_padded = dqg_round_up((size_t)shape[1], grouped ? (size_t)group : 8);
    /* A long thin matrix can grow much by padding: check the products again. */
    size_t codes;
    if (!dqg_mul_size(size->taps, size->tap_padded, &size->columns_padded) ||
        !dqg_mul_size(size->rows_padded, size->columns_padded, &codes) || codes > SIZE_MAX / 16) {
        return false;
    }
    size->groups = grouped ? size->columns_padded / (size_t)group : 1;
    return true;
}

bool dqg_format_plane_bytes(int32_t dtype, int32_t group, int32_t rank, const int64_t *shape, uint64_t bytes[3]) {
    bytes[0] = bytes[1] = bytes[2] = 0;
    if (dqg_dtype_is_float(dtype)) {
        uint64_t count;
        if (group != 0 || !dqg_shape_count(rank, shape, &count)) {
            return false;
        }
        bytes[0] = count * dqg_dtype_size(dtype);
        return true;
    }
    struct dqg_matrix_size size;
    if (!dqg_dtype_is_quantized(dtype) || !dqg_matrix_size(dtype, group, rank, shape, &size)) {
        return false;
    }
    const struct dqg_format *format = dqg_format_find(dtype);
    uint64_t scales = (uint64_t)size.rows_padded * size.groups;
    bytes[0] = (uint64_t)size.rows_padded / DQG_PANEL * dqg_panel_bytes(format, size.columns_padded);
    if (!dqg_format_has_groups(format)) {
        bytes[1] = scales * sizeof(float);
    } else {
        bytes[1] = scales * sizeof(uint16_t) * (format->kind == DQG_FORMAT_SIGN ? (uint64_t)format->bits : 1);
    }
    if (format->kind == DQG_FORMAT_VECTOR) {
        bytes[2] = DQG_CODEBOOK_ENTRIES * dqg_vector_width(format) * sizeof(uint16_t);
    } else if (format->zeros) {
        bytes[2] = scales;
    }
    return true;
}

void dqg_floats_decode(float *out, const void *in, int32_t dtype, size_t count) {
    const uint16_t *half = in;
    if (in == NULL) {
        memset(out, 0, count * sizeof *out);
    } else if (dtype == DQG_DTYPE_F32) {
        memcpy(out, in, count * sizeof *out);
    } else if (dtype == DQG_DTYPE_F16) {
        for (size_t i = 0; i < count; i++) {
            out[i] = dqg_f16_to_f32(half[i]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            out[i] = dqg_bf16_to_f32(half[i]);
        }
    }
}

void dqg_floats_encode(void *out, const float *in, int32_t dtype, size_t count) {
    uint16_t *half = out;
    if (dtype == DQG_DTYPE_F32) {
        memcpy(out, in, count * sizeof *in);
    } else if (dtype == DQG_DTYPE_F16) {
        for (size_t i = 0; i < count; i++) {
            half[i] = dqg_f32_to_f16(in[i]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            half[i] = dqg_f32_to_bf16(in[i]);
        }
    }
}

/* ---- panels ---- */

enum { BLOCK = 32 /* inputs of a block of code planes */ };

size_t dqg_panel_bytes(const struct dqg_format *format, size_t columns_padded) {
    return DQG_PANEL * columns_padded * (size_t)format->bits / 8;
}

/* A place in a panel: bits shift .. shift + width - 1 of a byte. */
struct place {
    size_t byte;
    int shift, width;
};

/* Where a code, or its lower bits, are; width is that of the plane. */
static struct place plane_place(const struct dqg_format *format, size_t n, size_t k, int plane) {
    static const int8_t widths[7][2] = {{0, 0}, {1, 0}, {2, 0}, {2, 1}, {4, 0}, {4, 1}, {4, 2}};
    const int8_t *width = widths[format->bits];
    size_t block = k / BLOCK * BLOCK / 8 * DQG_PANEL * (size_t)format->bits;
    size_t bit = k % BLOCK / 4 * (size_t)width[plane]; /* of the 8 * width bits that a byte's column of a plane has */
    size_t row = bit / 8 + (plane > 0 ? (size_t)width[0] : 0);
    return (struct place){block + row * DQG_PANEL * 4 + n * 4 + k % 4, (int)(bit % 8), width[plane]};
}

/* Formats of whole bytes, each for some inputs: in the order of the int8 panel. */
static size_t byte_place(size_t n, size_t k, size_t width) {
    return (k / 4 * DQG_PANEL + n) * (4 / width) + k % 4 / width;
}

/* Inputs that share a byte, or 0 where the panel has planes. */
static size_t byte_width(const struct dqg_format *format) {
    return format->kind == DQG_FORMAT_VECTOR ? dqg_vector_width(format) : format->bits == 8 ? 1 : 0;
}

static void pack_code(const struct dqg_format *format, uint8_t *panel, uint8_t code, size_t n, size_t k) {
    size_t width = byte_width(format);
    if (width > 0) {
        if (k % width == 0) {
            panel[byte_place(n, k, width)] = code;
        }
        return;
    }
    struct place low = plane_place(format, n, k, 0);
    struct place high = plane_place(format, n, k, 1);
    panel[low.byte] |= (uint8_t)((code & ((1 << low.width) - 1)) << low.shift);
    if (high.width > 0) {
        panel[high.byte] |= (uint8_t)(code >> low.width << high.shift);
    }
}

static uint8_t unpack_code(const struct dqg_format *format, const uint8_t *panel, size_t n, size_t k) {
    size_t width = byte_width(format);
    if (width > 0) {
        return panel[byte_place(n, k, width)];
    }
    struct place low = plane_place(format, n, k, 0);
    struct place high = plane_place(format, n, k, 1);
    int code = panel[low.byte] >> low.shift & ((1 << low.width) - 1);
    if (high.width > 0) {
        code |= (panel[high.byte] >> high.shift & ((1 << high.width) - 1)) << low.width;
    }
    return (uint8_t)code;
}

void dqg_pack_panel(const struct dqg_format *format, uint8_t *panel, const uint8_t *codes, size_t columns_padded) {
    memset(panel, 0, dqg_panel_bytes(format, columns_padded));
    for (size_t n = 0; n < DQG_PANEL; n++) {
        for (size_t k = 0; k < columns_padded; k++) {
            pack_code(format, panel, *codes++, n, k);
        }
    }
}

void dqg_unpack_panel(const struct dqg_format *format, uint8_t *codes, const uint8_t *panel, size_t columns_padded) {
    for (size_t n = 0; n < DQG_PANEL; n++) {
        for (size_t k = 0; k < columns_padded; k++) {
            *codes++ = unpack_code(format, panel, n, k);
        }
    }
}
