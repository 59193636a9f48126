#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write what autoencoders of reduced widths give for random pictures and latents to autoencoder/.

No weights are stored: each follows from its name and place, see weight() here and in test_autoencoder.c. For each case
NAME.txt lists the tensors, "<diffusers' name> <the authors' name> <shape>"; NAME_<shape>_z.npy is a latent, _dec.npy
the picture (0..1) decoded from it, _x.npy a picture, _enc.npy the latent (the mean) encoded from it, _std.npy, of one
case, the standard deviation beside it.  Latents are as the autoencoder has them: scale 1, shift 0.
"""
import os
import re

import numpy as np
import torch
import torch.nn as nn
from diffusers import AutoencoderKL, AutoencoderTiny

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "autoencoder")


def weight(name, shape):
    """Uniform numbers from a hash of the name (FNV-1a) and the place."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    h = (np.arange(int(np.prod(shape)), dtype=np.uint64) * 2654435769 + seed) % 2**32
    h = (h ^ (h >> 16)) * 0x7feb352d % 2**32
    h = (h ^ (h >> 15)) * 0x846ca68b % 2**32
    h ^= h >> 16
    v = (h >> 8).astype(np.float64) / 2**23 - 1
    if len(shape) == 1:
        v = v * 0.2 + (1.0 if name.endswith(".weight") else 0.0)
    elif not name.endswith("pos_embed"):
        v = v * np.sqrt(3.0 / np.prod(shape[1:]))
    return v.reshape(shape).astype(np.float32)


def original_kl(name, levels):
    """The authors' name of a tensor of diffusers' AutoencoderKL."""
    m = re.match(r"decoder\.up_blocks\.(\d+)\.(.*)", name)
    if m:
        name = f"decoder.up.{levels - 1 - int(m[1])}.{m[2]}"
    for old, new in (("down_blocks", "down"), ("mid_block.resnets.0", "mid.block_1"),
                     ("mid_block.resnets.1", "mid.block_2"), ("mid_block.attentions.0", "mid.attn_1"),
                     ("resnets", "block"), ("downsamplers.0", "downsample"), ("upsamplers.0", "upsample"),
                     ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"),
                     ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut")):
        name = name.replace(old, new)
    return name


def original_tiny(name):
    m = re.match(r"(encoder|decoder)\.layers\.(\d+)(.*)", name)
    return f"{m[1]}.{int(m[2]) + (m[1] == 'decoder')}{m[3]}"


def fill(model, original):
    lines = []
    for name, tensor in model.state_dict().items():
        own = original(name)
        tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
        lines.append(" ".join([name, own] + [str(n) for n in tensor.shape]))
    return "\n".join(lines) + "\n"


def write(name, model, original, encode, decode, channels, reduction, shapes, deviation=None):
    with torch.no_grad():
        with open(f"{HERE}/{name}.txt", "w") as f:
            f.write(fill(model, original))
        model = model.double()
        for height, width in shapes:
            z = torch.randn(2, channels, height, width).float()
            x = torch.rand(2, 3, height * reduction, width * reduction).float()
            picture, latent = decode(model, z.double()), encode(model, x.double())
            clamped = ((picture <= 0) | (picture >= 1)).double().mean()
            print(f"{name} {height}x{width}: picture std {picture.std():.3f}, {100 * clamped:.0f} % at the ends, "
                  f"latent std {latent.std():.3f}")
            for part, value in (("z", z), ("x", x), ("dec", picture), ("enc", latent)):
                np.save(f"{HERE}/{name}_{height}x{width}_{part}.npy", value.numpy().astype(np.float32))
            if deviation is not None:
                value = deviation(model, x.double()).numpy()
                np.save(f"{HERE}/{name}_{height}x{width}_std.npy", value.astype(np.float32))
                deviation = None


def kl(name, widths, blocks, channels, quant):
    n = len(widths)
    model = AutoencoderKL(block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * n,
                          up_block_types=("UpDecoderBlock2D",) * n, layers_per_block=blocks,
                          latent_channels=channels, use_quant_conv=quant, use_post_quant_conv=quant)
    write(name, model, lambda name: original_kl(name, n),
          lambda m, x: m.encode(2 * x - 1).latent_dist.mean,
          lambda m, z: (m.decode(z).sample / 2 + 0.5).clamp(0, 1), channels, 2 ** (n - 1), ((8, 8), (5, 7)),
          (lambda m, x: m.encode(2 * x - 1).latent_dist.std) if quant else None)


def tiny(name, width, channels, pool):
    model = AutoencoderTiny(encoder_block_out_channels=(width,) * 4, decoder_block_out_channels=(width,) * 4,
                            latent_channels=channels)
    if pool:
        for block in [model.encoder.layers[i] for i in (11, 12, 13)] + [model.decoder.layers[i] for i in (2, 3, 4)]:
            add_pool(block, width)
    write(name, model, original_tiny, lambda m, x: m.encode(2 * x - 1).latents,
          lambda m, z: (m.decode(z).sample / 2 + 0.5).clamp(0, 1), channels, 8, ((4, 4), (3, 5)))


def add_pool(block, width):
    """The variant for FLUX.2: a normed branch in front of a block."""
    block.pool = nn.Sequential(nn.Conv2d(width, 4 * width, 1, bias=False), nn.GroupNorm(4, 4 * width), nn.ReLU(),
                               nn.Conv2d(4 * width, width, 1, bias=False))
    plain = block.forward
    block.forward = lambda x: plain(x + block.pool(x))


def main():
    torch.manual_seed(1)
    os.makedirs(HERE, exist_ok=True)
    kl("kl4", (32, 64), 1, 4, True)
    kl("kl16", (32, 64, 32), 2, 16, False)
    tiny("tiny4", 16, 4, False)
    tiny("tiny32", 24, 32, True)


if __name__ == "__main__":
    main()
