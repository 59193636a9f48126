/* SPDX-License-Identifier: MIT */
/* Rounding of one group of weights to nearest in each kind of storage format. Called by rtn.c. */
#include "quant/round.h"

#include <math.h>

#include "tensor/half.h"

void dqg_rounding_init(struct dqg_rounding *rounding, const struct dqg_kernels *kernels,
                       const struct dqg_format *format, const struct dqg_packing *packing) {
    rounding->kernels = kernels;
    rounding->format = format;
    rounding->search = packing->search;
    if (format->kind == DQG_FORMAT_GROUP && format->levels != NULL) {
        dqg_level_table_init(&rounding->table, format);
    }
    if (format->kind == DQG_FORMAT_VECTOR) {
        dqg_codebook_load(&rounding->book, dqg_vector_width(format), packing->planes[DQG_PLANE_ZEROS]);
    }
}

/* Codes that are evenly spaced: INT8 of a whole row, and groups. */
static void round_integers(const struct dqg_rounding *rounding, const float *x, size_t n, struct dqg_rounded *rounded) {
    const struct dqg_format *format = rounding->format;
    bool eight = format->kind == DQG_FORMAT_INT8;
    int top = (1 << format->bits) - 1;
    int offset = eight || format->zeros ? 0 : (top + 1) / 2;
    struct dqg_code_range range = {eight ? -127 : -offset, eight ? 127 : top - offset, !eight};
    float scale = dqg_search_scale(rounding->kernels, x, n, range, rounding->search, rounded->values,
                                   format->zeros ? &rounded->zero : NULL);
    rounded->scales[0] = scale;
    for (size_t i = 0; i < n; i++) {
        rounded->codes[i] = (uint8_t)((int)rounded->values[i] + (format->zeros ? rounded->zero : offset));
        rounded->values[i] *= scale;
    }
}

static void round_levels(const struct dqg_rounding *rounding, const float *x, size_t n, struct dqg_rounded *rounded) {
    const struct dqg_level_table *table = &rounding->table;
    float scale = dqg_search_levels(table, x, n, rounding->search, rounded->values);
    rounded->scales[0] = scale;
    for (size_t i = 0; i < n; i++) {
        int level = 0;
        while (table->values[level] < rounded->values[i]) {
            level++;
        }
        rounded->codes[i] = table->codes[level];
        rounded->values[i] *= scale;
    }
}

/* The code of the nearest sum +-first +-second, and the sum. second is not larger than first. */
static uint8_t round_signs(float x, float first, float second, float *value) {
    bool plus = x >= 0.0f;
    float base = plus ? first : -first;
    bool more = x >= base;
    *value = base + (more ? second : -second);
    return (uint8_t)(plus | more << 1);
}

/* Signs first, then the scales that fit them in the least-squares sense (a 2 x 2 system), some rounds of it. */
static void round_bases(const struct dqg_rounding *rounding, const float *x, size_t count,
                        struct dqg_rounded *rounded) {
    enum { ROUNDS = 4 };
    bool two = rounding->format->bits == 2;
    double norm = (double)count;
    double mean = 0.0;
    for (size_t i = 0; i < count; i++) {
        mean += fabs((double)x[i]) / norm;
    }
    double first = mean;
    double second = 0.0;
    for (size_t i = 0; two && i < count; i++) {
        second += fabs(fabs((double)x[i]) - mean) / norm;
    }
    for (int round = 0; two && round < ROUNDS; round++) {
        double with_first = 0.0;
        double with_second = 0.0;
        double both = 0.0;
        for (size_t i = 0; i < count; i++) {
            uint8_t code = round_signs(x[i], (float)first, (float)second, &rounded->values[i]);
            with_first += code & 1 ? x[i] : -x[i];
            with_second += code & 2 ? x[i] : -x[i];
            both += code == 0 || code == 3 ? 1.0 : -1.0;
        }
        double determinant = norm * norm - both * both;
        if (determinant > 0.0) {
            first = fmax((norm * with_first - both * with_second) / determinant, 0.0);
            second = fmax((norm * with_second - both * with_first) / determinant, 0.0);
        }
    }
    rounded->scales[0] = dqg_f16_to_f32(dqg_f32_to_f16((float)fmax(first, second)));
    rounded->scales[1] = dqg_f16_to_f32(dqg_f32_to_f16((float)fmin(first, second)));
    for (size_t i = 0; i < count; i++) {
        uint8_t code = round_signs(x[i], rounded->scales[0], rounded->scales[1], &rounded->values[i]);
        rounded->codes[i] = two ? code : code & 1;
    }
}

/* A row of 8-bit floats: the largest magnitude becomes the largest number. */
static void round_f8(const struct dqg_rounding *rounding, const float *x, size_t count, struct dqg_rounded *rounded) {
    const struct dqg_format *format = rounding->format;
    float largest = 0.0f;
    for (size_t i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    float scale = largest / dqg_code_value(format, dqg_largest_code(format));
    rounded->scales[0] = scale;
    for (size_t i = 0; i < count; i++) {
        rounded->codes[i] = dqg_f8_code(format, scale > 0.0f ? x[i] / scale : 0.0f);
        rounded->values[i] = dqg_code_value(format, rounded->codes[i]) * scale;
    }
}

/* A row of codewords, and the scale that fits them in the least-squares sense. */
static void round_vectors(const struct dqg_rounding *rounding, const float *x, size_t count,
                          struct dqg_rounded *rounded) {
    const struct dqg_codebook *book = &rounding->book;
    float scale = dqg_row_scale(x, count);
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    double above = 0.0;
    double below = 0.0;
    for (size_t i = 0; i < count; i += book->width) {
        float part[4] = {0.0f};
        for (size_t j = 0; j < book->width; j++) {
            part[j] = x[i + j] * inverse;
        }
        uint8_t code = dqg_codebook_nearest(book, part);
        for (size_t j = 0; j < book->width; j++) {
            rounded->codes[i + j] = code;
            rounded->values[i + j] = book->entries[j][code];
            above += (double)x[i + j] * rounded->values[i + j];
            below += (double)rounded->values[i + j] * rounded->values[i + j];
        }
    }
    rounded->scales[0] = above > 0.0 && below > 0.0 ? (float)(above / below) : 0.0f;
    for (size_t i = 0; i < count; i++) {
        rounded->values[i] *= rounded->scales[0];
    }
}

void dqg_round_group(const struct dqg_rounding *rounding, const float *x, size_t count, size_t n,
                     struct dqg_rounded *rounded) {
    switch (rounding->format->kind) {
    case DQG_FORMAT_SIGN:
        round_bases(rounding, x, count, rounded);
        break;
    case DQG_FORMAT_F8:
        round_f8(rounding, x, count, rounded);
        break;
    case DQG_FORMAT_VECTOR:
        round_vectors(rounding, x, count, rounded);
        break;
    default:
        if (rounding->format->levels != NULL) {
            round_levels(rounding, x, n, rounded);
        } else {
            round_integers(rounding, x, n, rounded);
        }
    }
}
