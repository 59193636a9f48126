/* SPDX-License-Identifier: MIT */
/* Names of PixArt's tensors: the authors', which are the family's own, and those of diffusers. */
#include "model/pixart.h"
#include "model/layer_parts.h"

#define BLOCK "blocks.#."
#define OTHERS "transformer_blocks.#."

static const struct dqg_layer_name names[] = {
    {"pos_embed", "pos_embed", 0, 0, false},
    {"y_embedder.y_embedding", "y_embedder.y_embedding", 0, 0, false},
    {"x_embedder.proj.", "x_embedder.proj.", 0, 0, false},
    {"t_embedder.mlp.", "t_embedder.mlp.", 0, 0, false},
    {"csize_embedder.mlp.", "csize_embedder.mlp.", 0, 0, false},
    {"ar_embedder.mlp.", "ar_embedder.mlp.", 0, 0, false},
    {"t_block.1.", "t_block.1.", 0, 0, false},
    {"y_embedder.y_proj.", "y_embedder.y_proj.", 0, 0, false},
    {BLOCK "scale_shift_table", BLOCK "scale_shift_table", 0, 0, false},
    {BLOCK "attn.", BLOCK "attn.", 0, 0, false},
    {BLOCK "cross_attn.", BLOCK "cross_attn.", 0, 0, false},
    {BLOCK "mlp.", BLOCK "mlp.", 0, 0, false},
    {"final_layer.scale_shift_table", "final_layer.scale_shift_table", 0, 0, false},
    {"final_layer.linear.", "final_layer.linear.", 0, 0, false},
    /* diffusers */
    {"pos_embed.proj.", "x_embedder.proj.", 0, 0, false},
    {"adaln_single.emb.timestep_embedder.linear_1.", "t_embedder.mlp.0.", 0, 0, false},
    {"adaln_single.emb.timestep_embedder.linear_2.", "t_embedder.mlp.2.", 0, 0, false},
    {"adaln_single.emb.resolution_embedder.linear_1.", "csize_embedder.mlp.0.", 0, 0, false},
    {"adaln_single.emb.resolution_embedder.linear_2.", "csize_embedder.mlp.2.", 0, 0, false},
    {"adaln_single.emb.aspect_ratio_embedder.linear_1.", "ar_embedder.mlp.0.", 0, 0, false},
    {"adaln_single.emb.aspect_ratio_embedder.linear_2.", "ar_embedder.mlp.2.", 0, 0, false},
    {"adaln_single.linear.", "t_block.1.", 0, 0, false},
    {"caption_projection.linear_1.", "y_embedder.y_proj.fc1.", 0, 0, false},
    {"caption_projection.linear_2.", "y_embedder.y_proj.fc2.", 0, 0, false},
    {OTHERS "scale_shift_table", BLOCK "scale_shift_table", 0, 0, false},
    {OTHERS "attn1.to_q.", BLOCK "attn.qkv.", 0, 3, false},
    {OTHERS "attn1.to_k.", BLOCK "attn.qkv.", 1, 3, false},
    {OTHERS "attn1.to_v.", BLOCK "attn.qkv.", 2, 3, false},
    {OTHERS "attn1.to_out.0.", BLOCK "attn.proj.", 0, 0, false},
    {OTHERS "attn2.to_q.", BLOCK "cross_attn.q_linear.", 0, 0, false},
    {OTHERS "attn2.to_k.", BLOCK "cross_attn.kv_linear.", 0, 2, false},
    {OTHERS "attn2.to_v.", BLOCK "cross_attn.kv_linear.", 1, 2, false},
    {OTHERS "attn2.to_out.0.", BLOCK "cross_attn.proj.", 0, 0, false},
    {OTHERS "ff.net.0.proj.", BLOCK "mlp.fc1.", 0, 0, false},
    {OTHERS "ff.net.2.", BLOCK "mlp.fc2.", 0, 0, false},
    {"scale_shift_table", "final_layer.scale_shift_table", 0, 0, false},
    {"proj_out.", "final_layer.linear.", 0, 0, false},
    /* Video networks that are otherwise alike. */
    {"temporal_transformer_blocks.", "temporal_transformer_blocks.", 0, 0, false},
};

bool dqg_pixart_rename(const char *name, struct dqg_rename *to) {
    return dqg_layer_rename(names, DQG_COUNT_OF(names), name, to);
}
