/* SPDX-License-Identifier: MIT */
/*
 * What programs for diffusion models do to tensors when they write GGUF files: matrices whose rows are not whole blocks
 * are reshaped, and encoders get names of their own. Undone here, for gguf.c.
 */
#include "io/gguf.h"
#include "tensor/format.h"

/* ---- shapes ---- */

static const char shape_key[] = "comfy.gguf.orig_shape.";

/* The shape as a key tells it, first dimension first; it must have as many elements as before. */
static bool take_shape(const char *text, struct dqg_tensor_desc *desc) {
    struct dqg_json json;
    uint64_t before, after;
    bool counted = dqg_shape_count(desc->rank, desc->shape, &before);
    desc->rank = 0;
    dqg_json_init(&json, text, strlen(text));
    if (dqg_json_peek(&json) != DQG_JSON_ARRAY) {
        return false;
    }
    for (dqg_json_enter(&json); dqg_json_next(&json);) {
        if (desc->rank == DQG_MAX_RANK || !dqg_json_int(&json, &desc->shape[desc->rank++])) {
            return false;
        }
    }
    return dqg_json_end(&json) && counted && dqg_shape_count(desc->rank, desc->shape, &after) && before == after;
}

dqg_status dqg_gguf_shapes(struct dqg_source *source) {
    size_t kept = 0, prefix = strlen(shape_key);
    for (size_t i = 0; i < source->metadata_count; i++) {
        const struct dqg_metadata entry = source->metadata[i];
        int64_t tensor = strncmp(entry.key, shape_key, prefix) == 0 ? dqg_source_find(source, entry.key + prefix) : -1;
        if (tensor < 0) {
            source->metadata[kept++] = entry;
        } else if (!take_shape(entry.value, &source->tensors[tensor])) {
            return dqg_fail(source->context, DQG_ERROR_FORMAT,
                            "key '%s' in %s is not a shape with as many elements as the tensor has", entry.key,
                            source->inputs[0].name);
        }
    }
    source->metadata_count = kept;
    return DQG_OK;
}

/* ---- names ---- */

struct renamed {
    const char *from, *to;
};

static const struct renamed outer_names[] = {
    {"token_embd.", "shared."},
    {"enc.output_norm.", "encoder.final_layer_norm."},
};

static const struct renamed block_names[] = {
    {"attn_q.", "layer.0.SelfAttention.q."},     {"attn_k.", "layer.0.SelfAttention.k."},
    {"attn_v.", "layer.0.SelfAttention.v."},     {"attn_o.", "layer.0.SelfAttention.o."},
    {"attn_norm.", "layer.0.layer_norm."},       {"attn_rel_b.", "layer.0.SelfAttention.relative_attention_bias."},
    {"ffn_norm.", "layer.1.layer_norm."},        {"ffn_gate.", "layer.1.DenseReluDense.wi_0."},
    {"ffn_up.", "layer.1.DenseReluDense.wi_1."}, {"ffn_down.", "layer.1.DenseReluDense.wo."},
};

static const struct renamed *find_name(const struct renamed *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strncmp(name, names[i].from, strlen(names[i].from)) == 0) {
            return &names[i];
        }
    }
    return NULL;
}

static dqg_status rename_tensor(struct dqg_source *source, const char **name) {
    static const char block[] = "enc.blk.";
    char text[DQG_NAME_MAX + 64];
    const struct renamed *found = find_name(outer_names, DQG_COUNT_OF(outer_names), *name);
    if (found != NULL) {
        dqg_format(text, sizeof text, "%s%s", found->to, *name + strlen(found->from));
        return dqg_source_copy_text(source, text, strlen(text), name);
    }
    const char *number = *name + strlen(block);
    const char *dot = strncmp(*name, block, strlen(block)) == 0 ? strchr(number, '.') : NULL;
    found = dot != NULL ? find_name(block_names, DQG_COUNT_OF(block_names), dot + 1) : NULL;
    if (found == NULL) {
        return DQG_OK;
    }
    size_t length = dqg_format(text, sizeof text, "encoder.block.%s", number);
    length -= strlen(dot + 1);
    dqg_format(text + length, sizeof text - length, "%s%s", found->to, dot + 1 + strlen(found->from));
    return dqg_source_copy_text(source, text, strlen(text), name);
}

dqg_status dqg_gguf_rename(struct dqg_source *source) {
    if (dqg_source_find(source, "enc.blk.0.attn_q.weight") < 0) {
        return DQG_OK;
    }
    for (size_t i = 0; i < source->tensor_count; i++) {
        DQG_TRY(rename_tensor(source, &source->tensors[i].name));
    }
    return dqg_source_index_names(source);
}
