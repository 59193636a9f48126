#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write what U-Nets of reduced widths give for random latents and prompts to unet/.

No weights are stored: each follows from its name and place, see weight() in make_autoencoder_golden.py and
tests/support/named_weights.c. NAME.txt lists the tensors, "<diffusers' name> <the authors' name> <shape>";
NAME_<shape>_x.npy is the input, _t.npy the timesteps, _c.npy the context, _out.npy the result; where the network takes
them _p.npy is the pooled row and _s.npy the numbers that say sizes.
"""
import os

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from make_autoencoder_golden import weight

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unet")
RESIDUAL = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
            "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}


def places(model):
    """The authors' name of each module of diffusers' network, by walking over it as they build theirs."""
    names = dict(ENDS)
    number = 1
    for i, block in enumerate(model.down_blocks):
        attentions = getattr(block, "attentions", None)
        for j in range(len(block.resnets)):
            names[f"down_blocks.{i}.resnets.{j}"] = f"input_blocks.{number}.0"
            if attentions is not None:
                names[f"down_blocks.{i}.attentions.{j}"] = f"input_blocks.{number}.1"
            number += 1
        if block.downsamplers is not None:
            names[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
            number += 1
    place = 0
    for j in range(len(model.mid_block.resnets) if model.mid_block is not None else 0):
        names[f"mid_block.resnets.{j}"] = f"middle_block.{place}"
        place += 1
        if j < len(model.mid_block.attentions) and model.mid_block.attentions[j] is not None:
            names[f"mid_block.attentions.{j}"] = f"middle_block.{place}"
            place += 1
    number = 0
    for i, block in enumerate(model.up_blocks):
        attentions = getattr(block, "attentions", None)
        for j in range(len(block.resnets)):
            names[f"up_blocks.{i}.resnets.{j}"] = f"output_blocks.{number}.0"
            if attentions is not None:
                names[f"up_blocks.{i}.attentions.{j}"] = f"output_blocks.{number}.1"
            number += 1
        if block.upsamplers is not None:
            names[f"up_blocks.{i}.upsamplers.0.conv"] = \
                f"output_blocks.{number - 1}.{1 if attentions is None else 2}.conv"
    return names


def original(name, names):
    for module in sorted(names, key=len, reverse=True):
        if name.startswith(module + "."):
            rest = name[len(module) + 1:]
            if ".resnets." in module:
                part, _, end = rest.partition(".")
                rest = f"{RESIDUAL[part]}.{end}"
            return f"{names[module]}.{rest}"
    raise KeyError(name)


def fill(model):
    names = places(model)
    lines = []
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
        lines.append(" ".join([name, original(name, names)] + [str(n) for n in tensor.shape]))
    return "\n".join(lines) + "\n"


def case(name, shapes, tokens, pooled=0, sizes=0, **config):
    model = UNet2DConditionModel(sample_size=16, **config).eval()
    with torch.no_grad():
        with open(f"{HERE}/{name}.txt", "w") as f:
            f.write(fill(model))
        model = model.double()
        for height, width in shapes:
            x = torch.randn(2, config.get("in_channels", 4), height, width).float()
            t = torch.tensor([981.0, 17.5])
            c = torch.randn(2, tokens, config["cross_attention_dim"]).float()
            arrays = {"x": x, "t": t, "c": c}
            added = {}
            if pooled:
                arrays["p"] = torch.randn(2, pooled).float()
                arrays["s"] = torch.tensor([[1024, 768, 0, 64, 1024, 1024], [512, 512, 8, 0, 768, 640]])[:, :sizes]
                if sizes == 5:
                    arrays["s"][:, 4] = torch.tensor([6, 2])
                added = {"text_embeds": arrays["p"].double(), "time_ids": arrays["s"].double()}
            arrays["out"] = model(x.double(), t.double(), c.double(), added_cond_kwargs=added).sample
            print(f"{name} {height}x{width}: std {arrays['out'].std():.3f}, "
                  f"{sum(p.numel() for p in model.parameters())} parameters")
            for part, value in arrays.items():
                np.save(f"{HERE}/{name}_{height}x{width}_{part}.npy", value.numpy().astype(np.float32))


def levels(pattern, up):
    """Types of blocks from the first level on: c with cross-attention, d without."""
    down = {"c": "CrossAttnDownBlock2D", "d": "DownBlock2D"}
    ups = {"c": "CrossAttnUpBlock2D", "d": "UpBlock2D"}
    return tuple(ups[p] for p in reversed(pattern)) if up else tuple(down[p] for p in pattern)


def unet(name, shapes, tokens, pattern, widths, **config):
    case(name, shapes, tokens, block_out_channels=widths, down_block_types=levels(pattern, False),
         up_block_types=levels(pattern, True), **config)


def main():
    torch.manual_seed(1)
    os.makedirs(HERE, exist_ok=True)
    label = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True}
    unet("sd1", ((8, 16), (9, 7)), 7, "cccd", (32, 64, 96, 96), cross_attention_dim=40, attention_head_dim=8)
    unet("sd2", ((8, 8), (5, 10)), 5, "cd", (64, 128), cross_attention_dim=72, attention_head_dim=(1, 2),
         use_linear_projection=True)
    unet("sdxl", ((8, 8), (7, 12)), 9, "dcc", (32, 64, 128), pooled=48, sizes=6, cross_attention_dim=80,
         attention_head_dim=(9, 1, 2), transformer_layers_per_block=(1, 2, 3),
         projection_class_embeddings_input_dim=48 + 6 * 256, **label)
    unet("refiner", ((8, 8), (11, 6)), 4, "dccd", (32, 64, 64, 64), pooled=40, sizes=5, cross_attention_dim=40,
         attention_head_dim=(1, 1, 1, 1), transformer_layers_per_block=2, layers_per_block=1,
         projection_class_embeddings_input_dim=40 + 5 * 256, **label)
    unet("inpaint", ((8, 4), (5, 5)), 3, "cc", (32, 64), in_channels=9, cross_attention_dim=24,
         attention_head_dim=(2, 4), layers_per_block=1)
    unet("bare", ((6, 8), (5, 3)), 6, "dc", (32, 96), cross_attention_dim=56, attention_head_dim=(4, 3),
         layers_per_block=(2, 1), mid_block_type=None, use_linear_projection=True)


if __name__ == "__main__":
    main()
