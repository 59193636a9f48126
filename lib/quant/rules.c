/* SPDX-License-Identifier: MIT */
/* Which tensor is stored how: patterns in order, the caller's first. */
#include "quant/quant.h"

bool dqg_recipe_parse(const char *text, int32_t group, struct dqg_recipe *recipe) {
    static const int32_t dtypes[] = {DQG_DTYPE_F32,  DQG_DTYPE_F16,  DQG_DTYPE_BF16,
                                     DQG_DTYPE_INT8, DQG_DTYPE_INT4, DQG_DTYPE_INT4Z};
    const char *colon = strchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
    for (size_t i = 0; i < DQG_COUNT_OF(dtypes); i++) {
        const char *name = dqg_dtype_name(dtypes[i]);
        if (strlen(name) != length || strncmp(name, text, length) != 0) {
            continue;
        }
        bool grouped = dtypes[i] == DQG_DTYPE_INT4 || dtypes[i] == DQG_DTYPE_INT4Z;
        int64_t size = group;
        if (colon != NULL && (!grouped || !dqg_parse_int64(colon + 1, strlen(colon + 1), &size))) {
            return false;
        }
        if (grouped && size != 32 && size != 64 && size != 128) {
            return false;
        }
        *recipe = (struct dqg_recipe){dtypes[i], grouped ? (int32_t)size : 0};
        return true;
    }
    return false;
}

/* Tensors that are not matrices keep their format: they are small. */
static bool is_matrix(const struct dqg_tensor_desc *desc) {
    struct dqg_matrix_size size;
    return dqg_matrix_size(DQG_DTYPE_INT8, 0, desc->rank, desc->shape, &size) && size.rows > 1;
}

/* "f16" of a checkpoint that has 16 bits already is that format: nothing is gained by rounding again. */
static struct dqg_recipe keep_half(struct dqg_recipe recipe, int32_t from) {
    if (recipe.dtype == DQG_DTYPE_F16 && from == DQG_DTYPE_BF16) {
        recipe.dtype = DQG_DTYPE_BF16;
    }
    return recipe;
}

struct dqg_recipe dqg_recipe_choose(const struct dqg_quantizer *quantizer, const struct dqg_family *family,
                                    const struct dqg_tensor_desc *desc) {
    struct dqg_recipe recipe = {desc->dtype, 0};
    for (const struct dqg_rule *rule = quantizer->rules; rule != NULL; rule = rule->next) {
        bool fits = is_matrix(desc) || dqg_dtype_is_float(rule->recipe.dtype);
        if (fits && dqg_match(rule->pattern, desc->name)) {
            return rule->recipe;
        }
    }
    if (!is_matrix(desc) && desc->rank < 2) {
        return recipe;
    }
    for (size_t i = 0; quantizer->default_rules && family->rules[i][0] != NULL; i++) {
        if (dqg_match(family->rules[i][0], desc->name) &&
            dqg_recipe_parse(family->rules[i][1], quantizer->group, &recipe)) {
            return keep_half(recipe, desc->dtype);
        }
    }
    if (!is_matrix(desc)) {
        return recipe;
    }
    if (quantizer->bits == 4) {
        return (struct dqg_recipe){quantizer->zero_point ? DQG_DTYPE_INT4Z : DQG_DTYPE_INT4, quantizer->group};
    }
    return quantizer->bits == 8 ? (struct dqg_recipe){DQG_DTYPE_INT8, 0}
                                : keep_half((struct dqg_recipe){DQG_DTYPE_F16, 0}, desc->dtype);
}
