/* SPDX-License-Identifier: MIT */
/*
 * Names of FLUX.1's tensors: those of its authors are the family's own; diffusers has other ones, splits q, k, v (and
 * of single blocks the first matrix of the MLP) from each other, and stores the last modulation as (scale, shift).
 */
#include "model/flux.h"
#include "model/layer_parts.h"

#define PAIR "transformer_blocks.#."
#define LONE "single_transformer_blocks.#."
#define EMBED "time_text_embed."

static const struct dqg_layer_name names[] = {
    {"img_in.", "img_in.", 0, 0, false},
    {"txt_in.", "txt_in.", 0, 0, false},
    {"time_in.", "time_in.", 0, 0, false},
    {"vector_in.", "vector_in.", 0, 0, false},
    {"guidance_in.", "guidance_in.", 0, 0, false},
    {DQG_FLUX_DOUBLE, DQG_FLUX_DOUBLE, 0, 0, false},
    {DQG_FLUX_SINGLE, DQG_FLUX_SINGLE, 0, 0, false},
    {"final_layer.", "final_layer.", 0, 0, false},
    /* diffusers */
    {"x_embedder.", "img_in.", 0, 0, false},
    {"context_embedder.", "txt_in.", 0, 0, false},
    {EMBED "timestep_embedder.linear_1.", "time_in.in_layer.", 0, 0, false},
    {EMBED "timestep_embedder.linear_2.", "time_in.out_layer.", 0, 0, false},
    {EMBED "guidance_embedder.linear_1.", "guidance_in.in_layer.", 0, 0, false},
    {EMBED "guidance_embedder.linear_2.", "guidance_in.out_layer.", 0, 0, false},
    {EMBED "text_embedder.linear_1.", "vector_in.in_layer.", 0, 0, false},
    {EMBED "text_embedder.linear_2.", "vector_in.out_layer.", 0, 0, false},
    {PAIR "norm1.linear.", DQG_FLUX_DOUBLE "img_mod.lin.", 0, 0, false},
    {PAIR "attn.to_q.", DQG_FLUX_DOUBLE "img_attn.qkv.", 0, 3, false},
    {PAIR "attn.to_k.", DQG_FLUX_DOUBLE "img_attn.qkv.", 1, 3, false},
    {PAIR "attn.to_v.", DQG_FLUX_DOUBLE "img_attn.qkv.", 2, 3, false},
    {PAIR "attn.norm_q.weight", DQG_FLUX_DOUBLE "img_attn.norm.query_norm.scale", 0, 0, false},
    {PAIR "attn.norm_k.weight", DQG_FLUX_DOUBLE "img_attn.norm.key_norm.scale", 0, 0, false},
    {PAIR "attn.to_out.0.", DQG_FLUX_DOUBLE "img_attn.proj.", 0, 0, false},
    {PAIR "ff.net.0.proj.", DQG_FLUX_DOUBLE "img_mlp.0.", 0, 0, false},
    {PAIR "ff.net.2.", DQG_FLUX_DOUBLE "img_mlp.2.", 0, 0, false},
    {PAIR "norm1_context.linear.", DQG_FLUX_DOUBLE "txt_mod.lin.", 0, 0, false},
    {PAIR "attn.add_q_proj.", DQG_FLUX_DOUBLE "txt_attn.qkv.", 0, 3, false},
    {PAIR "attn.add_k_proj.", DQG_FLUX_DOUBLE "txt_attn.qkv.", 1, 3, false},
    {PAIR "attn.add_v_proj.", DQG_FLUX_DOUBLE "txt_attn.qkv.", 2, 3, false},
    {PAIR "attn.norm_added_q.weight", DQG_FLUX_DOUBLE "txt_attn.norm.query_norm.scale", 0, 0, false},
    {PAIR "attn.norm_added_k.weight", DQG_FLUX_DOUBLE "txt_attn.norm.key_norm.scale", 0, 0, false},
    {PAIR "attn.to_add_out.", DQG_FLUX_DOUBLE "txt_attn.proj.", 0, 0, false},
    {PAIR "ff_context.net.0.proj.", DQG_FLUX_DOUBLE "txt_mlp.0.", 0, 0, false},
    {PAIR "ff_context.net.2.", DQG_FLUX_DOUBLE "txt_mlp.2.", 0, 0, false},
    {LONE "norm.linear.", DQG_FLUX_SINGLE "modulation.lin.", 0, 0, false},
    {LONE "attn.to_q.", DQG_FLUX_SINGLE "linear1.", 0, 4, false},
    {LONE "attn.to_k.", DQG_FLUX_SINGLE "linear1.", 1, 4, false},
    {LONE "attn.to_v.", DQG_FLUX_SINGLE "linear1.", 2, 4, false},
    {LONE "proj_mlp.", DQG_FLUX_SINGLE "linear1.", 3, 4, false},
    {LONE "attn.norm_q.weight", DQG_FLUX_SINGLE "norm.query_norm.scale", 0, 0, false},
    {LONE "attn.norm_k.weight", DQG_FLUX_SINGLE "norm.key_norm.scale", 0, 0, false},
    {LONE "proj_out.", DQG_FLUX_SINGLE "linear2.", 0, 0, false},
    {"norm_out.linear.", "final_layer.adaLN_modulation.1.", 0, 0, false},
    {"proj_out.", "final_layer.linear.", 0, 0, false},
};

bool dqg_flux_rename(const char *name, struct dqg_rename *to) {
    to->swapped = strncmp(name, "norm_out.", 9) == 0;
    return dqg_layer_rename(names, DQG_COUNT_OF(names), name, to);
}
