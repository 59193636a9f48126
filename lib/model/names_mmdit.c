/* SPDX-License-Identifier: MIT */
/*
 * Names of tensors of MMDiT networks: the authors', which are the family's own, and those of diffusers'
 * SD3Transformer2DModel. Called by arch_mmdit.c.
 */
#include "model/mmdit.h"
#include "model/layer_parts.h"

#define OWN "joint_blocks.#."
#define OTHER "transformer_blocks.#."

static const struct dqg_layer_name names[] = {
    {"x_embedder.proj.", "x_embedder.proj.", 0, 0, false},
    {"pos_embed", "pos_embed", 0, 0, false},
    {"t_embedder.mlp.#.", "t_embedder.mlp.#.", 0, 0, false},
    {"y_embedder.mlp.#.", "y_embedder.mlp.#.", 0, 0, false},
    {"context_embedder.", "context_embedder.", 0, 0, false},
    {OWN "x_block.", OWN "x_block.", 0, 0, false},
    {OWN "context_block.", OWN "context_block.", 0, 0, false},
    {"final_layer.linear.", "final_layer.linear.", 0, 0, false},
    {"final_layer.adaLN_modulation.1.", "final_layer.adaLN_modulation.1.", 0, 0, false},
    /* diffusers */
    {"pos_embed.proj.", "x_embedder.proj.", 0, 0, false},
    {"pos_embed.pos_embed", "pos_embed", 0, 0, false},
    {"time_text_embed.timestep_embedder.linear_1.", "t_embedder.mlp.0.", 0, 0, false},
    {"time_text_embed.timestep_embedder.linear_2.", "t_embedder.mlp.2.", 0, 0, false},
    {"time_text_embed.text_embedder.linear_1.", "y_embedder.mlp.0.", 0, 0, false},
    {"time_text_embed.text_embedder.linear_2.", "y_embedder.mlp.2.", 0, 0, false},
    {OTHER "norm1.linear.", OWN "x_block.adaLN_modulation.1.", 0, 0, false},
    {OTHER "norm1_context.linear.", OWN "context_block.adaLN_modulation.1.", 0, 0, false},
    {OTHER "attn.to_q.", OWN "x_block.attn.qkv.", 0, 3, false},
    {OTHER "attn.to_k.", OWN "x_block.attn.qkv.", 1, 3, false},
    {OTHER "attn.to_v.", OWN "x_block.attn.qkv.", 2, 3, false},
    {OTHER "attn.norm_q.", OWN "x_block.attn.ln_q.", 0, 0, false},
    {OTHER "attn.norm_k.", OWN "x_block.attn.ln_k.", 0, 0, false},
    {OTHER "attn.to_out.0.", OWN "x_block.attn.proj.", 0, 0, false},
    {OTHER "attn.add_q_proj.", OWN "context_block.attn.qkv.", 0, 3, false},
    {OTHER "attn.add_k_proj.", OWN "context_block.attn.qkv.", 1, 3, false},
    {OTHER "attn.add_v_proj.", OWN "context_block.attn.qkv.", 2, 3, false},
    {OTHER "attn.norm_added_q.", OWN "context_block.attn.ln_q.", 0, 0, false},
    {OTHER "attn.norm_added_k.", OWN "context_block.attn.ln_k.", 0, 0, false},
    {OTHER "attn.to_add_out.", OWN "context_block.attn.proj.", 0, 0, false},
    {OTHER "attn2.to_q.", OWN "x_block.attn2.qkv.", 0, 3, false},
    {OTHER "attn2.to_k.", OWN "x_block.attn2.qkv.", 1, 3, false},
    {OTHER "attn2.to_v.", OWN "x_block.attn2.qkv.", 2, 3, false},
    {OTHER "attn2.norm_q.", OWN "x_block.attn2.ln_q.", 0, 0, false},
    {OTHER "attn2.norm_k.", OWN "x_block.attn2.ln_k.", 0, 0, false},
    {OTHER "attn2.to_out.0.", OWN "x_block.attn2.proj.", 0, 0, false},
    {OTHER "ff.net.0.proj.", OWN "x_block.mlp.fc1.", 0, 0, false},
    {OTHER "ff.net.2.", OWN "x_block.mlp.fc2.", 0, 0, false},
    {OTHER "ff_context.net.0.proj.", OWN "context_block.mlp.fc1.", 0, 0, false},
    {OTHER "ff_context.net.2.", OWN "context_block.mlp.fc2.", 0, 0, false},
    {"norm_out.linear.", "final_layer.adaLN_modulation.1.", 0, 0, false},
    {"proj_out.", "final_layer.linear.", 0, 0, false},
};

/* diffusers has (scale, shift) in the order of rows where the authors have (shift, scale): in the last layer, and in
 * the text's modulation of the last block. */
static const char text_modulation[] = ".norm1_context.linear.";

static bool rename_swapped(const char *name, bool last_block, struct dqg_rename *to) {
    static const char last[] = "norm_out.linear.";
    to->swapped = strncmp(name, last, sizeof last - 1) == 0 || (strstr(name, text_modulation) != NULL && last_block);
    return dqg_layer_rename(names, DQG_COUNT_OF(names), name, to);
}

/* The last block is the one that has no projection of the text. */
bool dqg_mmdit_rename(const struct dqg_source *source, const char *prefix, const char *name, struct dqg_rename *to) {
    const char *part = strstr(name, text_modulation);
    char block[256], projection[256];
    if (part == NULL) {
        return rename_swapped(name, false, to);
    }
    dqg_format(block, dqg_min_size((size_t)(part - name) + 1, sizeof block), "%s", name); /* cut off */
    dqg_format(projection, sizeof projection, "%s%s.attn.to_add_out.weight", prefix, block);
    return rename_swapped(name, dqg_source_find(source, projection) < 0, to);
}

bool dqg_mmdit_rename_loaded(const struct dqg_model *model, const char *name, struct dqg_rename *to) {
    char last[64];
    dqg_format(last, sizeof last, "transformer_blocks.%zu.", model->hyper.depth - 1);
    return rename_swapped(name, strncmp(name, last, strlen(last)) == 0, to);
}
