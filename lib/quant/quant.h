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

/* Where a tokenizer of text encoders is; role NULL: of all that lack one. */
struct dqg_tokenizer_path {
    struct dqg_tokenizer_path *next;
    const char *role, *path;
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
    struct dqg_recipe recipe; /* of matrices that no rule names */
    int32_t group, search, level;
    bool default_rules;
    struct dqg_arena arena; /* rules and metadata of the caller */
    struct dqg_rule *rules, *last_rule;
    struct dqg_tokenizer_path *tokenizers; /* the last one given first */
    struct dqg_metadata *metadata; /* grown by doubling */
    size_t metadata_count, metadata_capacity;
    struct dqg_arena report_arena; /* of the last run */
    struct dqg_report_entry *report;
    size_t report_count;
    uint64_t file_bytes;
    struct dqg_text report_text;
};

/* "f32", "int8", "int4", "nf4:64", ...: false where it is none. group: of formats that name none. */
bool dqg_recipe_parse(const char *text, int32_t group, struct dqg_recipe *recipe);

/* A format by its name, or where that is NULL or empty, integers of so many bits; values as the options allow. */
struct dqg_recipe dqg_recipe_default(const char *format, int32_t bits, bool zero_point, int32_t group);

/* What becomes of a float tensor: the caller's rules, the family's, the default. */
struct dqg_recipe dqg_recipe_choose(const struct dqg_quantizer *quantizer, const struct dqg_checkpoint *checkpoint,
                                    const struct dqg_tensor_desc *desc);

/* A tensor being stored: in is the checkpoint's bytes, planes the file's. */
struct dqg_packing {
    const struct dqg_tensor_desc *from;
    struct dqg_tensor_desc *to; /* dtype, group, plane_bytes set; scale is set here */
    const void *in;
    void *planes[DQG_PLANE_COUNT];
    int32_t search;
    double error; /* set by dqg_quantize_tensor(), as are the next two */
    struct dqg_matrix_size size;
    float inverse_scale; /* 1 / the tensor's scale */
};

/* Round to nearest with searched scales, or convert between float formats. */
dqg_status dqg_quantize_tensor(struct dqg_context *context, struct dqg_packing *packing);

/* What a file of several networks says of them, to a list with room for DQG_COMPONENT_ENTRIES more. */
enum { DQG_COMPONENT_ENTRIES = 64 };
dqg_status dqg_quantizer_add_components(struct dqg_quantizer *quantizer, struct dqg_checkpoint *checkpoint,
                                        struct dqg_metadata *list, size_t *count);

dqg_status dqg_quantizer_convert(struct dqg_quantizer *quantizer, const char *input, const char *output);
dqg_status dqg_quantizer_write_report(struct dqg_quantizer *quantizer, int32_t format);

#endif
