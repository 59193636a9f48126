#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write tiny DiT models with random weights and their outputs to dit/.

For each case NAME the files are NAME.safetensors (F32 or F16 weights, metadata
as in the shipped models) and NAME_x.npy, NAME_t.npy, NAME_y.npy, NAME_out.npy:
float32 arrays in C order, computed with a plain float64 network.

The values in NAME_t.npy are what the time embedding receives, that is,
0 ... 1000 and already multiplied by the time-step scale.  NAME_y.npy holds
class numbers as floats; the number of classes stands for "no class".
"""
import json
import math
import os
import struct

import numpy as np
import torch
import torch.nn as nn

HERE = os.path.dirname(os.path.abspath(__file__))


class Attention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)

    def forward(self, x):
        hidden = x.shape[-1]
        size = hidden // self.heads
        qkv = self.qkv(x)
        parts = []
        for head in range(self.heads):
            q, k, v = (qkv[..., i * hidden + head * size:
                           i * hidden + (head + 1) * size] for i in range(3))
            score = torch.matmul(q, k.transpose(1, 2)) / math.sqrt(size)
            parts.append(torch.matmul(torch.softmax(score, dim=-1), v))
        return self.proj(torch.cat(parts, dim=-1))


class Mlp(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.fc1 = nn.Linear(hidden, 4 * hidden)
        self.fc2 = nn.Linear(4 * hidden, hidden)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x), approximate="tanh"))


def modulate(x, shift, scale):
    normal = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)
    return normal * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.attn = Attention(hidden, heads)
        self.mlp = Mlp(hidden)
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def forward(self, x, c):
        m = self.adaLN_modulation(c)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = m.chunk(6, dim=1)
        x = x + gate_a.unsqueeze(1) * self.attn(modulate(x, shift_a, scale_a))
        return x + gate_m.unsqueeze(1) * self.mlp(
            modulate(x, shift_m, scale_m))


class FinalLayer(nn.Module):
    def __init__(self, hidden, outputs):
        super().__init__()
        self.linear = nn.Linear(hidden, outputs)
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.linear(modulate(x, shift, scale))


class PatchEmbed(nn.Module):
    def __init__(self, channels, hidden, patch):
        super().__init__()
        self.proj = nn.Conv2d(channels, hidden, patch, stride=patch)


class TimeEmbed(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, hidden), nn.SiLU(),
                                 nn.Linear(hidden, hidden))

    def forward(self, t):
        freqs = [math.exp(-math.log(10000.0) * i / 128) for i in range(128)]
        angle = t.unsqueeze(1) * torch.tensor(freqs, dtype=t.dtype)
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=1))


class LabelEmbed(nn.Module):
    def __init__(self, classes, hidden):
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, hidden)


def position_table(hidden, grid):
    """[1, grid*grid, hidden]: sin and cos of the column, then of the row."""
    table = torch.zeros(1, grid * grid, hidden, dtype=torch.float64)
    quarter = hidden // 4
    for row in range(grid):
        for col in range(grid):
            for i in range(quarter):
                omega = 10000.0 ** (-i / quarter)
                table[0, row * grid + col, i::quarter] = torch.tensor(
                    [math.sin(col * omega), math.cos(col * omega),
                     math.sin(row * omega), math.cos(row * omega)],
                    dtype=torch.float64)
    return table


class DiT(nn.Module):
    def __init__(self, hidden, depth, heads, patch, channels, size, classes,
                 learn_sigma):
        super().__init__()
        self.patch, self.grid = patch, size // patch
        self.outputs = channels * (2 if learn_sigma else 1)
        self.register_buffer("pos_embed", position_table(hidden, self.grid))
        self.x_embedder = PatchEmbed(channels, hidden, patch)
        self.t_embedder = TimeEmbed(hidden)
        self.y_embedder = LabelEmbed(classes, hidden)
        self.blocks = nn.ModuleList(
            [Block(hidden, heads) for _ in range(depth)])
        self.final_layer = FinalLayer(hidden, patch * patch * self.outputs)

    def forward(self, x, t, y):
        c = self.t_embedder(t) + self.y_embedder.embedding_table(y)
        x = self.x_embedder.proj(x)                  # [B, hidden, grid, grid]
        x = x.flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            x = block(x, c)
        x = self.final_layer(x, c)
        p, g, o = self.patch, self.grid, self.outputs
        x = x.reshape(len(x), g, g, p, p, o)         # row, column of patch
        return torch.einsum("nhwpqc->nchpwq", x).reshape(
            len(x), o, g * p, g * p)


def randomize(net, dtype):
    """Non-zero weights everywhere, of a size that exercises every term."""
    for name, w in net.named_parameters():
        if w.dim() > 1 and "embedding_table" not in name:
            scale = 1.0 / math.sqrt(w[0].numel())
        else:
            scale = 0.3
        # Rounded at once: the file holds exactly these values.
        value = torch.randn(w.shape, dtype=torch.float64) * scale
        w.data = value.to(dtype).double()
    net.pos_embed = net.pos_embed.to(dtype).double()


def write_safetensors(path, state, meta, dtype):
    header = {"__metadata__": {k: str(v) for k, v in meta.items()}}
    short, numpy_type = {torch.float32: ("F32", "<f4"),
                         torch.float16: ("F16", "<f2")}[dtype]
    data = b""
    for name, tensor in state.items():
        raw = tensor.numpy().astype(numpy_type).tobytes()
        header[name] = {"dtype": short, "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def write_array(path, value):
    np.save(path, np.ascontiguousarray(value, dtype="<f4"))


def make(name, seed, hidden, depth, heads, patch, size, classes=5,
         learn_sigma=False, dtype=torch.float16):
    torch.manual_seed(seed)
    channels = 4
    net = DiT(hidden, depth, heads, patch, channels, size, classes,
              learn_sigma).double()
    randomize(net, dtype)
    t = torch.tensor([0.0, 1000.0, 517.25, 3.5]).double()
    y = torch.tensor([0, classes, classes - 1, 2])
    x = torch.randn(len(t), channels, size, size).double()
    with torch.no_grad():
        out = net(x, t, y)
    meta = dict(
        format="pt", architecture="DiT", hidden_size=hidden, depth=depth,
        num_heads=heads, patch_size=patch, in_channels=channels,
        input_size=size, learn_sigma=learn_sigma, num_classes=classes,
        prediction="epsilon" if learn_sigma else "flow_velocity",
        timestep_scale=1 if learn_sigma else 1000,
        layout="RGBA premultiplied, -1..1",
        classes=json.dumps([f"class{i}" for i in range(classes)]),
        license="CC0-1.0", provenance="random weights for tests")
    base = os.path.join(HERE, "dit", name)
    os.makedirs(os.path.dirname(base), exist_ok=True)
    write_safetensors(base + ".safetensors", net.state_dict(), meta, dtype)
    for suffix, value in (("x", x), ("t", t), ("y", y), ("out", out)):
        write_array(f"{base}_{suffix}.npy", value.numpy())
    print(f"{name}: output {tuple(out.shape)}, std {out.std():.3f}")


def main():
    torch.set_num_threads(1)
    make("tiny", 1, hidden=64, depth=2, heads=4, patch=2, size=8,
         dtype=torch.float32)
    make("tiny_sigma", 2, hidden=64, depth=2, heads=4, patch=2, size=8,
         learn_sigma=True)
    make("odd", 3, hidden=96, depth=2, heads=3, patch=4, size=16)


if __name__ == "__main__":
    main()
