/* SPDX-License-Identifier: MIT */
/* Which tensor is stored how: patterns in order, the caller's first. */
#include "quant/quant.h"

bool dqg_recipe_parse(const char *text, int32_t group, struct dqg_recipe *recipe) {
    const char *colon = strchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
    const struct dqg_format *format;
    for (size_t i = 0; (format = dqg_format_at(i)) != NULL; i++) {
        if (strlen(format->name) == length && strncmp(format->name, text, length) == 0) {
            break;
        }
    }
    if (format == NULL || format->kind == DQG_FORMAT_IMAGE) {
        return false;
    }
    bool grouped = dqg_format_has_groups(format);
    int64_t size = group;
    if (colon != NULL && (!grouped || !dqg_parse_int64(colon + 1, strlen(colon + 1), &size))) {
        return false;
    }
    if (grouped && size != 32 && size != 64 && size != 128) {
        return false;
    }
    *recipe = (struct dqg_recipe){format->dtype, grouped ? (int32_t)size : 0};
    return true;
}

struct dqg_recipe dqg_recipe_default(const char *format, int32_t bits, bool zero_point, int32_t group) {
    struct dqg_recipe recipe = {DQG_DTYPE_INT4, group};
    char name[16];
    if (format == NULL || format[0] == '\0') {
        dqg_format(name, sizeof name, bits == 16 ? "f%d" : zero_point && bits < 8 ? "int%dz" : "int%d", (int)bits);
        format = name;
    }
    dqg_recipe_parse(format, group, &recipe);
    return recipe;
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

/* What a family says of a matrix, where that is not less precise than what is wanted of all; ":64" is about groups. */
static struct dqg_recipe family_recipe(const struct dqg_quantizer *quantizer, const char *text) {
    struct dqg_recipe all = quantizer->recipe, recipe = all;
    int64_t group;
    if (text[0] == ':' && dqg_parse_int64(text + 1, strlen(text + 1), &group)) {
        recipe.group = all.group > 0 && all.group < group ? (int32_t)group : all.group;
        return recipe;
    }
    dqg_recipe_parse(text, quantizer->group, &recipe);
    return dqg_format_find(recipe.dtype)->bits < dqg_format_find(all.dtype)->bits ? all : recipe;
}

struct dqg_recipe dqg_recipe_choose(const struct dqg_quantizer *quantizer, const struct dqg_checkpoint *checkpoint,
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
    const char *name = desc->name; /* the family's rules do not know of roles */
    const struct dqg_family *family = dqg_checkpoint_family(checkpoint, &name);
    for (size_t i = 0; quantizer->default_rules && family->rules[i][0] != NULL; i++) {
        if (dqg_match(family->rules[i][0], name)) {
            return keep_half(family_recipe(quantizer, family->rules[i][1]), desc->dtype);
        }
    }
    if (!is_matrix(desc)) {
        return recipe;
    }
    return keep_half(quantizer->recipe, desc->dtype);
}
