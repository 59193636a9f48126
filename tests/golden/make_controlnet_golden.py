#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write what U-Nets give with control networks of reduced widths to controlnet/, and count those of published ones.

The U-Nets are those of unet/, see make_unet_golden.py. NAME.txt lists the tensors of the control network,
"control.<diffusers' name> control.<the authors' name> <shape>"; weights follow from the first, see weight() in
make_autoencoder_golden.py. NAME_<shape>_x.npy is the latent, _t.npy the timesteps, _c.npy the context, _p.npy the
pooled row, _s.npy the sizes, _out.npy the result at scale 1, _weak.npy that at 0.6. The picture is computed, see
picture(). full_NAME.txt lists the tensors of published control networks.
"""
import os

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from make_autoencoder_golden import weight
from make_unet_golden import ENDS, levels, original, places

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "controlnet")


def picture(shape):
    """Numbers of 0..1 from their places."""
    place = np.arange(int(np.prod(shape)), dtype=np.uint64) * 2654435761 % 2**32
    return torch.from_numpy((place >> 8).astype(np.float64) / 2**24).reshape(shape)


class Half:
    """The way down and the middle, which U-Nets and control networks share."""

    def __init__(self, control):
        self.down_blocks, self.mid_block, self.up_blocks = control.down_blocks, control.mid_block, []


def control_places(control):
    names = {k: v for k, v in places(Half(control)).items() if k not in ENDS or not k.startswith("conv_")}
    names["conv_in"] = ENDS["conv_in"]
    hints = control.controlnet_cond_embedding
    names["controlnet_cond_embedding.conv_in"] = "input_hint_block.0"
    for i in range(len(hints.blocks)):
        names[f"controlnet_cond_embedding.blocks.{i}"] = f"input_hint_block.{2 * i + 2}"
    names["controlnet_cond_embedding.conv_out"] = f"input_hint_block.{2 * len(hints.blocks) + 2}"
    for i in range(len(control.controlnet_down_blocks)):
        names[f"controlnet_down_blocks.{i}"] = f"zero_convs.{i}.0"
    names["controlnet_mid_block"] = "middle_block_out.0"
    return names


def fill(model, prefix):
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(weight(prefix + name, tuple(tensor.shape))))


def write_list(name, control):
    names = control_places(control)
    with open(f"{HERE}/{name}.txt", "w") as f:
        for key, tensor in control.state_dict().items():
            f.write(" ".join([f"control.{key}", f"control.{original(key, names)}"] + [str(n) for n in tensor.shape]))
            f.write("\n")


def case(name, shapes, tokens, pattern, widths, hints, pooled=0, **config):
    config = dict(config, block_out_channels=widths, down_block_types=levels(pattern, False))
    with torch.no_grad():
        unet = UNet2DConditionModel(sample_size=16, up_block_types=levels(pattern, True), **config).eval()
        control = ControlNetModel(conditioning_embedding_out_channels=hints, **config).eval()
        fill(unet, "")
        fill(control, "control.")
        write_list(name, control)
        unet, control = unet.double(), control.double()
        for height, width in shapes:
            x, t = torch.randn(2, 4, height, width).float(), torch.tensor([981.0, 17.5])
            c = torch.randn(2, tokens, config["cross_attention_dim"]).float()
            arrays, added = {"x": x, "t": t, "c": c}, {}
            if pooled:
                arrays["p"] = torch.randn(2, pooled).float()
                arrays["s"] = torch.tensor([[1024.0, 768, 0, 64, 1024, 1024], [512, 512, 8, 0, 768, 640]])
                added = {"text_embeds": arrays["p"].double(), "time_ids": arrays["s"].double()}
            hint = picture((2, 3, 8 * height, 8 * width))
            for part, scale in (("out", 1.0), ("weak", 0.6)):
                down, middle = control(x.double(), t.double(), c.double(), hint, conditioning_scale=scale,
                                       added_cond_kwargs=added, return_dict=False)
                arrays[part] = unet(x.double(), t.double(), c.double(), added_cond_kwargs=added,
                                    down_block_additional_residuals=down, mid_block_additional_residual=middle).sample
            plain = unet(x.double(), t.double(), c.double(), added_cond_kwargs=added).sample
            print(f"{name} {height}x{width}: std {arrays['out'].std():.3f}, "
                  f"{(arrays['out'] - plain).std():.3f} of it from the control network, "
                  f"{sum(p.numel() for p in control.parameters())} parameters")
            for part, value in arrays.items():
                np.save(f"{HERE}/{name}_{height}x{width}_{part}.npy", value.numpy().astype(np.float32))


def count(name, expected, **config):
    with torch.device("meta"):
        control = ControlNetModel(**config)
    found = sum(p.numel() for p in control.parameters())
    print(f"{name}: {found} parameters")
    assert found == expected
    write_list(f"full_{name}", control)


def main():
    os.makedirs(HERE, exist_ok=True)
    label = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True}
    count("sd1", 361279120, cross_attention_dim=768)
    count("sdxl", 1251014160, block_out_channels=(320, 640, 1280), down_block_types=levels("dcc", False),
          cross_attention_dim=2048, attention_head_dim=(5, 10, 20), transformer_layers_per_block=(1, 2, 10),
          projection_class_embeddings_input_dim=2816, **label)
    torch.manual_seed(1)
    case("sd1", ((4, 6), (5, 3)), 7, "cccd", (32, 64, 96, 96), (8, 16, 24, 40), cross_attention_dim=40,
         attention_head_dim=8)
    case("sdxl", ((4, 4), (3, 6)), 9, "dcc", (32, 64, 128), (4, 8, 12, 16), pooled=48, cross_attention_dim=80,
         attention_head_dim=(9, 1, 2), transformer_layers_per_block=(1, 2, 3),
         projection_class_embeddings_input_dim=48 + 6 * 256, **label)


if __name__ == "__main__":
    main()
