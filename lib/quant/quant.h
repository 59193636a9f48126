/* SPDX-License-Identifier: MIT */
/* Layer 5, quant: checkpoint in, .dqg out. A tensor at a time: rule -> scales and codes -> packing -> file and report.
 */
#ifndef DQG_QUANT_H
#define DQG_QUANT_H

#include "io/io.h"
#include "model/model.h"
#include "tensor/format.h"

/* How a tensor is stored. */
struct dqg_recipe {
    int32_t dtype;
    int32_t group;
};

struct dqg_rule {
    struct dqg_rule *next;
    const char *pattern;
    struct dqg_recipe recipe;
};

/* One line of the report. */
struct dqg_report_entry {
    const char *name;
    int32_t rank;
    int64_t shape[DQG_MAX_RANK];
    int32_t from;
    struct dqg_recipe to;
    uint64_t count;        /* elements */
    uint64_t source_bytes; /* in the checkpoint */
    uint64_t memory_bytes;
    uint64_t stored_bytes;
    double error; /* ||W - Q(W)|| / ||W|| */
};

struct dqg_quantizer {
    struct dqg_context *context;
    int32_t bits, group, search, level;
    bool zero_point, default_rules;
    struct dqg_arena arena; /* rules and metadata of the caller */
    struct dqg_rule *rules, *last_rule;
    struct dqg_metadata *metadata; /* grown by doubling */
    size_t metadata_count, metadata_capacity;
    struct dqg_arena report_arena; /* of the last run */
    struct dqg_report_entry *report;
    size_t report_count;
    uint64_t file_bytes;
    struct dqg_text report_text;
};

/* "f32", "f16", "bf16", "int8", "int4", "int4:64", ...: false where it is none. group: of formats that name none. */
bool dqg_recipe_parse(const char *text, int32_t group, struct dqg_recipe *recipe);

/* What becomes of a float tensor: the caller's rules, the family's, the default. */
struct dqg_recipe dqg_recipe_choose(const struct dqg_quantizer *quantizer, const struct dqg_family *family,
                                    const struct dqg_tensor_desc *desc);

/* A tensor being stored: in is the checkpoint's bytes, planes the file's. */
struct dqg_packing {
    const struct dqg_tensor_desc *from;
    struct dqg_tensor_desc *to; /* dtype, group, plane_bytes set; scale is set here */
    const void *in;
    void *planes[DQG_PLANE_COUNT];
    int32_t search;
    double error;
};

/* Round to nearest with searched scales, or convert between float formats. */
dqg_status dqg_quantize_tensor(struct dqg_context *context, struct dqg_packing *packing);

/* The scale (and with zero != NULL the zero point) of n weights, n a multiple of 16, that minimises the squared error
 * of codes in lowest..highest over a grid of clipping thresholds. codes receive code - zero point. half: the scale is
 * rounded to F16. */
struct dqg_code_range {
    int lowest, highest;
    bool half;
};
float dqg_search_scale(const float *x, size_t n, struct dqg_code_range range, int32_t steps, float *codes, int *zero);

dqg_status dqg_quantizer_convert(struct dqg_quantizer *quantizer, const char *input, const char *output);
dqg_status dqg_quantizer_write_report(struct dqg_quantizer *quantizer, int32_t format);

#endif
