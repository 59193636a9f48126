#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write what MMDiT networks of reduced widths give, by diffusers' SD3Transformer2DModel in float64, to mmdit/.

No weights are stored: each follows from its name and place, see weight() in make_autoencoder_golden.py. For each case
NAME.txt lists the tensors as tests/support/named_weights.h says: diffusers' name, the authors' name, shape. Each
NAME_<shape>_x.npy is a batch of latents (of heads with channels of a picture to edit behind them), _t.npy their times, _context.npy and _pooled.npy what they are conditioned on,
_out.npy the result, _skip.npy that without block 1.
"""
import os
import re

import numpy as np
import torch
from diffusers import SD3Transformer2DModel

from make_autoencoder_golden import weight

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mmdit")

PLAIN = (("pos_embed.pos_embed", "pos_embed"), ("pos_embed.proj", "x_embedder.proj"),
         ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
         ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
         ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
         ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
         ("norm_out.linear", "final_layer.adaLN_modulation.1"), ("proj_out", "final_layer.linear"))
BLOCK = (("norm1.linear", "x_block.adaLN_modulation.1"), ("norm1_context.linear", "context_block.adaLN_modulation.1"),
         ("attn.norm_added_q", "context_block.attn.ln_q"), ("attn.norm_added_k", "context_block.attn.ln_k"),
         ("attn.norm_", "x_block.attn.ln_"), ("attn2.norm_", "x_block.attn2.ln_"),
         ("attn.to_out.0", "x_block.attn.proj"), ("attn2.to_out.0", "x_block.attn2.proj"),
         ("attn.to_add_out", "context_block.attn.proj"),
         ("ff.net.0.proj", "x_block.mlp.fc1"), ("ff.net.2", "x_block.mlp.fc2"),
         ("ff_context.net.0.proj", "context_block.mlp.fc1"), ("ff_context.net.2", "context_block.mlp.fc2"))


def original(name, depth):
    """The authors' name, "~" in front where halves are exchanged, and which part of that tensor it is."""
    swapped = name.startswith("norm_out.") or name.startswith(f"transformer_blocks.{depth - 1}.norm1_context.")
    mark = "~" if swapped else ""
    block = re.match(r"transformer_blocks\.(\d+)\.(.*)", name)
    if not block:
        for old, new in PLAIN:
            if name.startswith(old):
                return mark + new + name[len(old):], 0
        return name, 0
    begin, rest = f"{mark}joint_blocks.{block[1]}.", block[2]
    third = re.match(r"(attn2?)\.(to_|add_)([qkv])(_proj)?\.(.*)", rest)
    if third:
        stream = "context_block" if third[2] == "add_" else "x_block"
        return f"{begin}{stream}.{third[1]}.qkv.{third[5]}", "qkv".index(third[3])
    for old, new in BLOCK:
        if rest.startswith(old):
            return begin + new + rest[len(old):], 0
    raise KeyError(name)


def make(name, shapes, tokens, depth, channels=16, **config):
    torch.manual_seed(len(name))
    net = SD3Transformer2DModel(sample_size=32, num_layers=depth, in_channels=channels, out_channels=16,
                                caption_projection_dim=config["num_attention_heads"] * config["attention_head_dim"],
                                **config).eval()
    parts = {}
    for key, tensor in net.state_dict().items():
        shape = tuple(tensor.shape)
        tensor.copy_(torch.from_numpy(weight(key, shape)))
        own, part = original(key, depth)
        parts.setdefault(own, {})[part] = " ".join([key, own] + [str(n) for n in shape])
    with open(f"{HERE}/{name}.txt", "w") as f:
        for lines in parts.values():
            f.write("".join(lines[i] + "\n" for i in sorted(lines)))
    net = net.double()
    for (height, width), count in zip(shapes, tokens):
        x = torch.randn(2, channels, height, width).float()
        t = torch.tensor([981.0, 237.5])
        context = torch.randn(2, count, config["joint_attention_dim"]).float()
        pooled = torch.randn(2, config["pooled_projection_dim"]).float()
        given = (x.double(), context.double(), pooled.double(), t.double())
        with torch.no_grad():
            out = net(*given).sample
            skip = net(*given, skip_layers=[1]).sample
        print(f"{name} {height}x{width}: std {out.std():.3f}, without block 1 it differs by {(out - skip).std():.3f}")
        for part, value in (("x", x), ("t", t), ("context", context), ("pooled", pooled), ("out", out),
                            ("skip", skip)):
            np.save(f"{HERE}/{name}_{height}x{width}_{part}.npy", value.numpy().astype(np.float32))


def main():
    torch.set_num_threads(1)
    os.makedirs(HERE, exist_ok=True)
    make("sd3", ((8, 12), (14, 6)), (13, 7), 3, num_attention_heads=2, attention_head_dim=64, joint_attention_dim=72,
         pooled_projection_dim=40, pos_embed_max_size=9)
    make("sd35", ((6, 16), (18, 10)), (11, 21), 3, num_attention_heads=3, attention_head_dim=32,
         joint_attention_dim=56, pooled_projection_dim=24, pos_embed_max_size=10, dual_attention_layers=(0,),
         qk_norm="rms_norm")
    make("heads", ((4, 6),), (5,), 2, channels=20, num_attention_heads=4, attention_head_dim=24, joint_attention_dim=40,
         pooled_projection_dim=24, pos_embed_max_size=4)


if __name__ == "__main__":
    main()
