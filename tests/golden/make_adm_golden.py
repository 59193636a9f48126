#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write what small ADM U-Nets give to adm/, and count the parameters of published ones.

The network is written down here from its publication, "Diffusion Models Beat GANs on Image Synthesis" (arXiv
2105.05233), under the tensor names of the authors' code.  Weights follow from names and places, see weight() in
make_autoencoder_golden.py; NAME.txt lists the tensors.  For each shape NAME_<shape>_x.npy is the input, _t.npy the
times, _y.npy the labels as floats (where there are classes), _out.npy the result and _block<n>.npy what block n gave,
counted from 1 along the network.  plain_<shape>_alone.npy is the result where tokens of the middle see no others.
"""
import math
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from make_autoencoder_golden import weight

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "adm")


def norm(channels):
    return nn.GroupNorm(32, channels)


class Residual(nn.Module):
    """Residual block; change: 0.5 halves both ways by averages, 2 doubles them by the nearest pixel."""

    def __init__(self, channels, outputs, emb, modulate, change=1):
        super().__init__()
        self.modulate, self.change = modulate, change
        self.in_layers = nn.Sequential(norm(channels), nn.SiLU(), nn.Conv2d(channels, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, outputs * (2 if modulate else 1)))
        self.out_layers = nn.Sequential(norm(outputs), nn.SiLU(), nn.Identity(),
                                        nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip_connection = nn.Conv2d(channels, outputs, 1) if channels != outputs else nn.Identity()

    def resample(self, x):
        if self.change == 0.5:
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.change == 2 else x

    def forward(self, x, emb):
        y = self.resample(F.silu(self.in_layers[0](x)))
        y = self.in_layers[2](y)
        e = self.emb_layers(emb)[:, :, None, None]
        if self.modulate:
            scale, shift = e.chunk(2, dim=1)
            y = self.out_layers[0](y) * (1 + scale) + shift
        else:
            y = self.out_layers[0](y + e)
        return self.skip_connection(self.resample(x)) + self.out_layers[3](F.silu(y))


class Attention(nn.Module):
    """legacy: rows of qkv belong to the heads, one after the other; else to all queries, keys, values."""

    def __init__(self, channels, heads, legacy):
        super().__init__()
        self.heads, self.legacy, self.identity = heads, legacy, False
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, emb):
        n, c, h, w = x.shape
        rows = self.qkv(self.norm(x).reshape(n, c, h * w))
        width = c // self.heads
        if self.legacy:
            q, k, v = rows.reshape(n, self.heads, 3, width, h * w).unbind(2)
        else:
            q, k, v = rows.reshape(n, 3, self.heads, width, h * w).unbind(1)
        score = torch.einsum("bhct,bhcs->bhts", q, k) / math.sqrt(width)
        y = v if self.identity else torch.einsum("bhts,bhcs->bhct", score.softmax(-1), v)
        return x + self.proj_out(y.reshape(n, c, h * w)).reshape(n, c, h, w)


class Halve(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, emb):
        return self.op(x)


class Double(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class First(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class Adm(nn.Module):
    """attend: levels with attention; heads: their number, or head_width: the width of each."""

    def __init__(self, width, mults, blocks, attend, heads=None, head_width=None, classes=0, legacy=True,
                 modulate=True, residual=True, channels=3, outputs=6):
        super().__init__()
        emb = 4 * width
        self.width = width
        self.time_embed = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        if classes:
            self.label_emb = nn.Embedding(classes, emb)

        def res(inputs, made, change=1):
            return Residual(inputs, made, emb, modulate, change)

        def attention(c):
            return Attention(c, heads or c // head_width, legacy)

        c = int(mults[0] * width)
        skips = [c]
        ways = [[First(channels, c, 3, padding=1)]]
        for level, mult in enumerate(mults):
            for _ in range(blocks):
                ways.append([res(c, int(mult * width))])
                c = int(mult * width)
                if level in attend:
                    ways[-1].append(attention(c))
                skips.append(c)
            if level < len(mults) - 1:
                ways.append([res(c, c, 0.5) if residual else Halve(c)])
                skips.append(c)
        self.input_blocks = nn.ModuleList([nn.ModuleList(way) for way in ways])
        self.middle_block = nn.ModuleList([res(c, c), attention(c), res(c, c)])
        ways = []
        for level in reversed(range(len(mults))):
            made = int(mults[level] * width)
            for i in range(blocks + 1):
                ways.append([res(c + skips.pop(), made)])
                c = made
                if level in attend:
                    ways[-1].append(attention(c))
                if level > 0 and i == blocks:
                    ways[-1].append(res(c, c, 2) if residual else Double(c))
        self.output_blocks = nn.ModuleList([nn.ModuleList(way) for way in ways])
        self.out = nn.Sequential(norm(c), nn.SiLU(), nn.Conv2d(c, outputs, 3, padding=1))

    def forward(self, x, t, y=None):
        half = self.width // 2
        angle = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half, dtype=t.dtype) / half)
        emb = self.time_embed(torch.cat([angle.cos(), angle.sin()], 1))
        if y is not None:
            emb = emb + self.label_emb(y)
        self.given, skips = [], []
        for block in [*self.input_blocks, self.middle_block, *self.output_blocks]:
            if len(self.given) > len(self.input_blocks):
                x = torch.cat([x, skips.pop()], 1)
            for part in block:
                x = part(x, emb)
            self.given.append(x)
            if len(self.given) <= len(self.input_blocks):
                skips.append(x)
        return self.out(x)


def make(name, shapes, block, classes=0, **args):
    torch.manual_seed(len(name))
    with torch.no_grad():
        model = Adm(classes=classes, **args)
        lines = []
        for key, tensor in model.state_dict().items():
            tensor.copy_(torch.from_numpy(weight(key, tuple(tensor.shape))))
            lines.append(" ".join([key, key] + [str(n) for n in tensor.shape]))
        with open(f"{HERE}/{name}.txt", "w") as f:
            f.write("\n".join(lines) + "\n")
        model = model.double()
        for height, width in shapes:
            x = torch.randn(2, 3, height, width).float()
            t = torch.tensor([17.0, 801.5])
            y = torch.tensor([classes - 1, 0]) if classes else None
            out = model(x.double(), t.double(), y)
            count = sum(p.numel() for p in model.parameters())
            print(f"{name} {height}x{width}: {count} parameters, {len(model.given)} blocks, out std {out.std():.3f}")
            parts = {"x": x, "t": t, "out": out, f"block{block}": model.given[block - 1]}
            if classes:
                parts["y"] = y
            if name == "plain":
                attention = model.middle_block[1]
                attention.identity = True
                parts["alone"] = model(x.double(), t.double(), y)
                attention.identity = False
            for part, value in parts.items():
                np.save(f"{HERE}/{name}_{height}x{width}_{part}.npy", value.numpy().astype(np.float32))


PUBLISHED = (
    ("256x256, no classes", 552814086,
     dict(width=256, mults=(1, 1, 2, 2, 4, 4), blocks=2, attend=(3, 4, 5), head_width=64)),
    ("64x64", 295904454,
     dict(width=192, mults=(1, 2, 3, 4), blocks=3, attend=(1, 2, 3), head_width=64, classes=1000, legacy=False)),
)


def main():
    for name, expected, args in PUBLISHED:
        with torch.device("meta"):
            model = Adm(**args)
        count = sum(p.numel() for p in model.parameters())
        print(f"{name}: {count} parameters, {len(model.input_blocks) * 2 + 1} blocks")
        assert count == expected
    os.makedirs(HERE, exist_ok=True)
    make("plain", ((16, 16), (8, 24)), 5, width=32, mults=(1, 2), blocks=1, attend=(1,), head_width=16)
    make("classes", ((8, 8), (4, 12)), 9, width=64, mults=(0.5, 1, 1), blocks=1, attend=(1, 2), heads=4, classes=7,
         legacy=False)
    make("summed", ((8, 8), (6, 10)), 6, width=32, mults=(1, 2), blocks=2, attend=(0,), heads=2, classes=3,
         modulate=False, residual=False, outputs=3)
    make("resampled", ((8, 8), (4, 6)), 4, width=32, mults=(1, 1), blocks=1, attend=(), head_width=32, modulate=False)


if __name__ == "__main__":
    main()
