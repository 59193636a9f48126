/* SPDX-License-Identifier: MIT */
/* Rounding to nearest, group by group: what rtn.c asks of search.c, round.c and codebook.c. */
#ifndef DQG_ROUND_H
#define DQG_ROUND_H

#include "quant/quant.h"

enum { DQG_ROUND_PARTS = DQG_FIT_PARTS /* groups are padded with zeros to a multiple of this */ };

/* Sixteen levels in ascending order; x / scale goes to level i + 1 or higher where it is above limits[i]. */
struct dqg_level_table {
    int count;
    float values[16];
    float limits[15];
    uint8_t codes[16];
};
void dqg_level_table_init(struct dqg_level_table *table, const struct dqg_format *format);

/* Codewords for weights divided by the root of their row's mean square. */
struct dqg_codebook {
    size_t width; /* inputs of a codeword, 2 or 4 */
    float entries[4][DQG_CODEBOOK_ENTRIES];
    float half_norms[DQG_CODEBOOK_ENTRIES]; /* infinite where there is no entry */
};
dqg_status dqg_codebook_train(struct dqg_context *context, struct dqg_packing *packing); /* fills the third plane */
void dqg_codebook_load(struct dqg_codebook *book, size_t width, const uint16_t *entries);
uint8_t dqg_codebook_nearest(const struct dqg_codebook *book, const float *x);
float dqg_row_scale(const float *x, size_t n); /* root of the mean square */

/* What the groups of a tensor are rounded with. */
struct dqg_rounding {
    const struct dqg_kernels *kernels;
    const struct dqg_format *format;
    int32_t search;
    struct dqg_level_table table;
    struct dqg_codebook book;
};
void dqg_rounding_init(struct dqg_rounding *rounding, const struct dqg_kernels *kernels,
                       const struct dqg_format *format, const struct dqg_packing *packing);

/* A rounded group: scales[1] and zero of formats that have them; values are what the codes stand for. */
struct dqg_rounded {
    float scales[2];
    int zero;
    uint8_t *codes;
    float *values;
};

/* count weights, padded with zeros to n. */
void dqg_round_group(const struct dqg_rounding *rounding, const float *x, size_t count, size_t n,
                     struct dqg_rounded *rounded);

/* The scale (and with zero != NULL the zero point) of n weights that minimises the squared error of codes in
 * lowest..highest over a grid of clipping thresholds. codes receive code - zero point. half: the scale is rounded to
 * F16. The other form is for levels of a table. */
struct dqg_code_range {
    int lowest, highest;
    bool half;
};
float dqg_search_scale(const struct dqg_kernels *kernels, const float *x, size_t n, struct dqg_code_range range,
                       int32_t steps, float *codes, int *zero);
float dqg_search_levels(const struct dqg_level_table *table, const float *x, size_t n, int32_t steps, float *levels);

/* Row of the checkpoint as floats divided by the tensor's scale, padded with zeros to dqg_packing_width(). */
void dqg_packing_row(const struct dqg_packing *packing, size_t row, float *out);
static inline size_t dqg_packing_width(const struct dqg_packing *packing) {
    return dqg_round_up(packing->size.columns_padded, DQG_ROUND_PARTS);
}

#endif
