/* SPDX-License-Identifier: MIT */
/*
 * Names in files of adapters. Programs call modules as their own networks do, with words in front that say which
 * network; kohya's write "_" for every ".", which words from those networks resolve. What a family understands in a
 * checkpoint it understands here. Called by adapter.c.
 */
#include "model/adapter.h"

#include "tensor/format.h"

/* ---- tensors ---- */

static const struct {
    const char *ending;
    enum dqg_adapter_piece piece;
} endings[] = {
    {".lora_down.weight", DQG_PIECE_DOWN},
    {".lora_up.weight", DQG_PIECE_UP},
    {".lora_mid.weight", DQG_PIECE_MID},
    {".alpha", DQG_PIECE_ALPHA},
    {".lora_A.weight", DQG_PIECE_DOWN},
    {".lora_B.weight", DQG_PIECE_UP},
    {".lora_A.default.weight", DQG_PIECE_DOWN},
    {".lora_B.default.weight", DQG_PIECE_UP},
    {".lora.down.weight", DQG_PIECE_DOWN},
    {".lora.up.weight", DQG_PIECE_UP},
    {"_lora.down.weight", DQG_PIECE_DOWN},
    {"_lora.up.weight", DQG_PIECE_UP},
    {".lora_linear_layer.down.weight", DQG_PIECE_DOWN},
    {".lora_linear_layer.up.weight", DQG_PIECE_UP},
};

/* Adapters of other kinds, by what only their names have. */
static const char *const others[][2] = {
    {"*.dora_scale", "DoRA"},
    {"*.lora_magnitude_vector*", "DoRA"},
    {"*.hada_w*", "LoHa"},
    {"*.hada_t*", "LoHa"},
    {"*.lokr_w*", "LoKr"},
    {"*.lokr_t*", "LoKr"},
    {"*ia3_l*", "IA3"},
    {"*.on_input", "IA3"},
    {"*.oft_*", "OFT"},
    {"*.diff", "a file of whole differences"},
    {"*.diff_b", "a file of whole differences"},
    {"*.lora_embedding_*", "LoRA of embedding tables"},
    {"*.lora_B*.bias", "LoRA with biases"},
};

/* Older diffusers: the layer is an attribute of the attention's processor. */
static void drop_processor(char *module) {
    static const char word[] = ".processor.";
    char *at = strstr(module, word);
    if (at != NULL) {
        memmove(at + 1, at + strlen(word), strlen(at + strlen(word)) + 1);
        size_t length = strlen(module);
        if (dqg_ends_with(module, ".to_out") && length + 2 < 256) {
            memcpy(module + length, ".0", 3);
        }
    }
}

bool dqg_adapter_parse(const char *tensor, char module[256], enum dqg_adapter_piece *piece, const char **other) {
    size_t length = strlen(tensor);
    module[0] = '\0';
    for (size_t i = 0; i < DQG_COUNT_OF(others); i++) {
        if (dqg_match(others[i][0], tensor)) {
            *other = others[i][1];
            return false;
        }
    }
    for (size_t i = 0; i < DQG_COUNT_OF(endings); i++) {
        size_t size = strlen(endings[i].ending);
        if (length > size && length - size < 256 && strcmp(tensor + length - size, endings[i].ending) == 0) {
            *piece = endings[i].piece;
            memcpy(module, tensor, length - size);
            module[length - size] = '\0';
            drop_processor(module);
            break;
        }
    }
    return true;
}

/* ---- modules ---- */

/* What stands in front of modules, and the networks that it may mean, the likeliest first. */
static const struct prefix {
    const char *text, *roles;
    bool flat; /* "_" for "." follows */
} prefixes[] = {
    {"lora_unet_", "denoiser", true},
    {"lora_transformer_", "denoiser", true},
    {"lycoris_", "denoiser", true},
    {"lora_te_", "clip|t5", true},
    {"lora_te1_", "clip|t5", true},
    {"lora_te2_", "clip_2|t5|clip", true},
    {"lora_te3_", "t5", true},
    {"unet.", "denoiser", false},
    {"transformer.", "denoiser", false},
    {"diffusion_model.", "denoiser", false},
    {"model.diffusion_model.", "denoiser", false},
    {"text_encoder.", "clip|t5", false},
    {"text_encoder_2.", "clip_2|t5|clip", false},
    {"text_encoder_3.", "t5", false},
    {"text_encoders.clip_l.transformer.", "clip", false},
    {"text_encoders.clip_g.transformer.", "clip_2|clip", false},
    {"text_encoders.t5xxl.transformer.", "t5", false},
    {"vae.", "vae", false},
    {"", "denoiser|clip|clip_2|t5|vae", false},
};

/* Words of module names with "_" in them. */
static const char *const words[] = {
    /* blocks */
    "down_blocks",
    "up_blocks",
    "mid_block",
    "transformer_blocks",
    "single_transformer_blocks",
    "input_blocks",
    "output_blocks",
    "middle_block",
    "joint_blocks",
    "double_blocks",
    "single_blocks",
    "x_block",
    "context_block",
    /* layers */
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "to_add_out",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "proj_in",
    "proj_out",
    "proj_mlp",
    "norm_out",
    "proj_out_1",
    "proj_out_2",
    "ff_context",
    "norm1_context",
    "conv_in",
    "conv_out",
    "conv_shortcut",
    "time_emb_proj",
    "in_layers",
    "out_layers",
    "emb_layers",
    "skip_connection",
    "q_linear",
    "kv_linear",
    "cross_attn",
    "img_attn",
    "txt_attn",
    "img_mlp",
    "txt_mlp",
    "img_mod",
    "txt_mod",
    /* what surrounds them */
    "time_embedding",
    "time_embed",
    "label_emb",
    "add_embedding",
    "class_embedding",
    "linear_1",
    "linear_2",
    "x_embedder",
    "t_embedder",
    "y_embedder",
    "context_embedder",
    "pos_embed",
    "time_text_embed",
    "timestep_embedder",
    "text_embedder",
    "guidance_embedder",
    "class_embedder",
    "caption_projection",
    "adaln_single",
    "resolution_embedder",
    "aspect_ratio_embedder",
    "adaLN_modulation",
    "final_layer",
    "img_in",
    "txt_in",
    "time_in",
    "vector_in",
    "guidance_in",
    "in_layer",
    "out_layer",
    "t_block",
    "y_proj",
    /* text encoders */
    "text_model",
    "self_attn",
    "q_proj",
    "k_proj",
    "v_proj",
    "out_proj",
    "text_projection",
    "c_fc",
    "c_proj",
    "wi_0",
    "wi_1",
};

/* Bytes of the word that a flat name begins with. */
static size_t word_length(const char *flat) {
    const char *end = strchr(flat, '_');
    size_t longest = end != NULL ? (size_t)(end - flat) : strlen(flat);
    for (size_t i = 0; i < DQG_COUNT_OF(words); i++) {
        size_t length = strlen(words[i]);
        if (length > longest && strncmp(flat, words[i], length) == 0 && (flat[length] == '_' || flat[length] == '\0')) {
            longest = length;
        }
    }
    return longest;
}

/* A flat name, of less than 256 bytes, with its dots. */
static void add_dots(const char *flat, char dotted[256]) {
    size_t at = 0;
    while (flat[at] != '\0') {
        size_t end = at + word_length(flat + at);
        memcpy(dotted + at, flat + at, end - at);
        dotted[end] = flat[end] != '\0' ? '.' : '\0';
        at = flat[end] != '\0' ? end + 1 : end;
    }
    dotted[at] = '\0';
}

/* Is it a matrix or convolution "<module>.weight", where flat names may have "_" for "."? */
static bool is_weight_of(const struct dqg_weight *weight, const char *module, bool flat) {
    const char *name = weight->name;
    while (*module != '\0' && (*name == *module || (flat && *name == '.' && *module == '_'))) {
        name++;
        module++;
    }
    return *module == '\0' && strcmp(name, ".weight") == 0 && weight->size.rows > 0;
}

static bool find_weight(const struct dqg_model *network, const char *module, bool flat,
                        struct dqg_adapter_target *target) {
    for (size_t i = 0; i < network->weight_count; i++) {
        if (is_weight_of(&network->weights[i], module, flat)) {
            target->weight = i;
            return true;
        }
    }
    return false;
}

/* By the family's own name, or by one that the family understands. */
static bool match_network(const struct dqg_model *network, const char *module, bool flat,
                          struct dqg_adapter_target *target) {
    char dotted[256], full[256 + sizeof ".weight"];
    target->to = (struct dqg_rename){.parts = 1};
    if (find_weight(network, module, flat, target)) {
        return true;
    }
    if (flat) {
        add_dots(module, dotted);
    }
    dqg_format(full, sizeof full, "%s.weight", flat ? dotted : module);
    const struct dqg_family *family = network->family;
    bool known = family->rename_loaded != NULL ? family->rename_loaded(network, full, &target->to)
                                               : family->rename != NULL && family->rename(full, &target->to);
    if (!known || target->to.transposed) {
        return false;
    }
    size_t length = strlen(target->to.name), ending = strlen(".weight");
    if (length <= ending || strcmp(target->to.name + length - ending, ".weight") != 0) {
        return false;
    }
    target->to.name[length - ending] = '\0';
    return find_weight(network, target->to.name, false, target);
}

bool dqg_adapter_match(const struct dqg_model *model, const char *module, struct dqg_adapter_target *target) {
    static const char wrapper[] = "base_model.model.";
    module += strncmp(module, wrapper, strlen(wrapper)) == 0 ? strlen(wrapper) : 0;
    for (size_t p = 0; p < DQG_COUNT_OF(prefixes); p++) {
        const struct prefix *prefix = &prefixes[p];
        size_t length = strlen(prefix->text);
        if (strncmp(module, prefix->text, length) != 0) {
            continue;
        }
        for (int32_t choice = 0; choice < DQG_COMPONENTS; choice++) {
            for (target->network = 0; target->network <= model->part_count; target->network++) {
                const struct dqg_model *network = dqg_adapter_network(model, target->network);
                if (dqg_choice(prefix->roles, network->role) == choice &&
                    match_network(network, module + length, prefix->flat, target)) {
                    return true;
                }
            }
        }
    }
    return false;
}
