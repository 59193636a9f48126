/* SPDX-License-Identifier: MIT */
/* Storage formats: sizes, float conversion, panel layout. Everything about a format that is not speed. */
#include "tensor/format.h"
#include "tensor/half.h"

bool dqg_dtype_is_float(int32_t dtype) {
    return dtype == DQG_DTYPE_F32 || dtype == DQG_DTYPE_F16 || dtype == DQG_DTYPE_BF16;
}

bool dqg_dtype_is_quantized(int32_t dtype) {
    return dtype == DQG_DTYPE_INT8 || dtype == DQG_DTYPE_INT4 || dtype == DQG_DTYPE_INT4Z;
}

size_t dqg_dtype_size(int32_t dtype) {
    switch (dtype) {
    case DQG_DTYPE_F32:
        return 4;
    case DQG_DTYPE_F16:
    case DQG_DTYPE_BF16:
    case DQG_DTYPE_U16:
        return 2;
    case DQG_DTYPE_U8:
        return 1;
    default:
        return 0;
    }
}

const char *dqg_dtype_name(int32_t dtype) {
    switch (dtype) {
    case DQG_DTYPE_F32:
        return "f32";
    case DQG_DTYPE_F16:
        return "f16";
    case DQG_DTYPE_BF16:
        return "bf16";
    case DQG_DTYPE_U8:
        return "u8";
    case DQG_DTYPE_U16:
        return "u16";
    case DQG_DTYPE_INT8:
        return "int8";
    case DQG_DTYPE_INT4:
        return "int4";
    case DQG_DTYPE_INT4Z:
        return "int4z";
    default:
        return "unknown";
    }
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
    bool grouped = dtype == DQG_DTYPE_INT4 || dtype == DQG_DTYPE_INT4Z;
    if (rank < 2 || !dqg_shape_count(rank, shape, &count) || count == 0 || count > SIZE_MAX / 16) {
        return false;
    }
    if (grouped ? group != 32 && group != 64 && group != 128 : group != 0) {
        return false;
    }
    size->rows = (size_t)shape[0];
    size->columns = (size_t)count / size->rows;
    size->rows_padded = dqg_round_up(size->rows, DQG_PANEL);
    size->columns_padded = dqg_round_up(size->columns, grouped ? (size_t)group : 8);
    size->groups = grouped ? size->columns_padded / (size_t)group : 1;
    size_t codes;
    /* A long thin matrix can grow much by padding: check the product again. */
    return dqg_mul_size(size->rows_padded, size->columns_padded, &codes) && codes <= SIZE_MAX / 16;
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
    uint64_t codes = (uint64_t)size.rows_padded * size.columns_padded;
    uint64_t scales = (uint64_t)size.rows_padded * size.groups;
    bytes[0] = dtype == DQG_DTYPE_INT8 ? codes : codes / 2;
    bytes[1] = scales * (dtype == DQG_DTYPE_INT8 ? sizeof(float) : sizeof(uint16_t));
    bytes[2] = dtype == DQG_DTYPE_INT4Z ? scales : 0;
    return true;
}

void dqg_floats_decode(float *out, const void *in, int32_t dtype, size_t count) {
    const uint16_t *half = in;
    if (dtype == DQG_DTYPE_F32) {
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

void dqg_pack_i4_panel(uint8_t *panel, const uint8_t *codes, size_t columns_padded) {
    for (size_t k = 0; k < columns_padded; k += 8) {
        for (size_t n = 0; n < DQG_PANEL; n++) {
            const uint8_t *row = codes + n * columns_padded + k;
            for (size_t i = 0; i < 4; i++) {
                *panel++ = (uint8_t)(row[i] | row[4 + i] << 4);
            }
        }
    }
}

void dqg_unpack_i4_panel(uint8_t *codes, const uint8_t *panel, size_t columns_padded) {
    for (size_t k = 0; k < columns_padded; k += 8) {
        for (size_t n = 0; n < DQG_PANEL; n++) {
            uint8_t *row = codes + n * columns_padded + k;
            for (size_t i = 0; i < 4; i++, panel++) {
                row[i] = *panel & 15;
                row[4 + i] = *panel >> 4;
            }
        }
    }
}

void dqg_pack_i8_panel(int8_t *panel, const int8_t *codes, size_t columns_padded) {
    for (size_t k = 0; k < columns_padded; k += 4) {
        for (size_t n = 0; n < DQG_PANEL; n++, panel += 4) {
            memcpy(panel, codes + n * columns_padded + k, 4);
        }
    }
}

void dqg_unpack_i8_panel(int8_t *codes, const int8_t *panel, size_t columns_padded) {
    for (size_t k = 0; k < columns_padded; k += 4) {
        for (size_t n = 0; n < DQG_PANEL; n++, panel += 4) {
            memcpy(codes + n * columns_padded + k, panel, 4);
        }
    }
}
