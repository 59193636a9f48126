# SPDX-License-Identifier: MIT
"""Shared parts of the training example: network, files, sampler, data.

The network is a DiT (Peebles and Xie, "Scalable Diffusion Models with
Transformers") with the tensor names of the original facebookresearch/DiT
code.  It works directly on 32x32 RGBA pixels.
"""
import copy
import json
import math
import os
import re
import struct

import numpy as np
import torch
from torch import nn


def sincos_1d(dim, pos):
    omega = 1.0 / 10000 ** (np.arange(dim // 2) / (dim / 2))
    out = np.outer(pos.reshape(-1), omega)
    return np.concatenate([np.sin(out), np.cos(out)], axis=1)


def sincos_2d(dim, n):
    """Fixed position table, [n*n, dim]; the first half encodes the column."""
    line = np.arange(n, dtype=np.float64)
    col, row = np.meshgrid(line, line)
    return np.concatenate([sincos_1d(dim // 2, col),
                           sincos_1d(dim // 2, row)], axis=1)


def gelu_tanh(x):
    """GELU, tanh form, written with a sigmoid (equal, but much faster)."""
    return x * torch.sigmoid(x * (1.5957691216057308
                                  + 0.0713548162726009 * x * x))


def layer_norm(width):
    return nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = layer_norm(width)
        self.norm2 = layer_norm(width)
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(width, 3 * width)
        self.attn.proj = nn.Linear(width, width)
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Linear(width, 4 * width)
        self.mlp.fc2 = nn.Linear(4 * width, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(),
                                              nn.Linear(width, 6 * width))

    def forward(self, x, c):
        batch, tokens, width = x.shape
        hd = width // self.heads
        shift1, scale1, gate1, shift2, scale2, gate2 = \
            self.adaLN_modulation(c)[:, None].chunk(6, -1)
        h = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.attn.qkv(h).view(
            batch, tokens, 3, self.heads, hd).permute(2, 0, 3, 1, 4)
        h = ((q @ k.transpose(-1, -2)) * hd ** -0.5).softmax(-1) @ v
        h = h.transpose(1, 2).reshape(batch, tokens, width)
        x = x + gate1 * self.attn.proj(h)
        h = self.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * self.mlp.fc2(gelu_tanh(self.mlp.fc1(h)))


class DiT(nn.Module):
    def __init__(self, width, depth, heads, patch, classes, ch=4, size=32):
        super().__init__()
        self.patch, self.ch, self.n = patch, ch, size // patch
        self.x_embedder = nn.Module()
        self.x_embedder.proj = nn.Conv2d(ch, width, patch, patch)
        self.t_embedder = nn.Module()
        self.t_embedder.mlp = nn.Sequential(
            nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.y_embedder = nn.Module()  # the last row means "no class"
        self.y_embedder.embedding_table = nn.Embedding(classes + 1, width)
        self.register_buffer("pos_embed", torch.from_numpy(
            sincos_2d(width, self.n)).float()[None])
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.final_layer = nn.Module()
        self.final_layer.norm_final = layer_norm(width)
        self.final_layer.linear = nn.Linear(width, patch * patch * ch)
        self.final_layer.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(width, 2 * width))
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.zeros_(m.bias)
        nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for block in self.blocks:  # every block starts as the identity
            nn.init.zeros_(block.adaLN_modulation[1].weight)
        nn.init.zeros_(self.final_layer.adaLN_modulation[1].weight)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(self, x, t, y):
        """x [B,ch,H,W], t [B] in [0,1], y [B] -> velocity [B,ch,H,W]."""
        dtype = self.blocks[0].attn.qkv.weight.dtype
        freq = torch.exp(-math.log(10000) * torch.arange(128) / 128)
        angle = t[:, None] * 1000 * freq[None]
        emb = torch.cat([angle.cos(), angle.sin()], -1)
        c = self.t_embedder.mlp(emb) + self.y_embedder.embedding_table(y)
        h = self.x_embedder.proj(x).flatten(2).transpose(1, 2)
        h = (h + self.pos_embed).to(dtype)
        for block in self.blocks:
            h = block(h, c.to(dtype))
        shift, scale = self.final_layer.adaLN_modulation(c)[:, None].chunk(
            2, -1)
        h = self.final_layer.norm_final(h.float()) * (1 + scale) + shift
        h = self.final_layer.linear(h)
        h = h.view(-1, self.n, self.n, self.patch, self.patch, self.ch)
        return h.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


def low_precision_copy(net):
    """A copy with bfloat16 blocks; embeddings and output stay float32."""
    low = copy.deepcopy(net)
    low.blocks.bfloat16()
    return low


def replace_file(path, write):
    """Write to a temporary file first: an interruption loses nothing."""
    with open(path + ".tmp", "wb") as f:
        write(f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".tmp", path)


def save_safetensors(path, state, meta):
    header = {"__metadata__": {k: str(v) for k, v in meta.items()}}
    offset, blobs = 0, []
    for name, tensor in state.items():
        blob = tensor.detach().numpy().astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    replace_file(path, lambda f: f.write(
        struct.pack("<Q", len(text)) + text + b"".join(blobs)))


def load_safetensors(path):
    """Return (state dict in float32, metadata) of an F16 file."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        blob = f.read()
    meta, state = header.pop("__metadata__"), {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(blob[begin:end], "<f2").reshape(entry["shape"])
        state[name] = torch.from_numpy(array.astype(np.float32))
    return state, meta


def load_model(path):
    """Return (network, list of class names) of a checkpoint."""
    state, meta = load_safetensors(path)
    classes = json.loads(meta["classes"])
    net = DiT(int(meta["hidden_size"]), int(meta["depth"]),
              int(meta["num_heads"]), int(meta["patch_size"]), len(classes))
    net.load_state_dict(state)
    return net.eval(), classes


@torch.no_grad()
def sample(net, y, null, steps=50, cfg=3.0, seed=1):
    """Euler integration with classifier-free guidance, float32 in and out."""
    z = torch.randn(len(y), 4, 32, 32,
                    generator=torch.Generator().manual_seed(seed))
    times = torch.linspace(1, 0, steps + 1)
    labels = torch.cat([y, torch.full_like(y, null)])
    for i in range(steps):
        v = net(torch.cat([z, z]), times[i].repeat(2 * len(y)), labels)
        cond, uncond = v.chunk(2)
        z = z + (times[i + 1] - times[i]) * (uncond + cfg * (cond - uncond))
    return z


def save_grid(path, z, columns=11, zoom=3):
    """PNG of premultiplied tiles composited on dark grey."""
    from PIL import Image
    z = (z.clamp(-1, 1) + 1).div(2).permute(0, 2, 3, 1).numpy()
    rgb = np.clip(z[..., :3] + (1 - z[..., 3:]) * 0.25, 0, 1)
    rows = -(-len(z) // columns)
    out = np.zeros((rows * 34, columns * 34, 3), np.float32)
    for i, tile in enumerate(rgb):
        r, c = i // columns * 34 + 1, i % columns * 34 + 1
        out[r:r + 32, c:c + 32] = tile
    im = Image.fromarray((out * 255).astype(np.uint8))
    im = im.resize((im.width * zoom, im.height * zoom), Image.NEAREST)
    replace_file(path, lambda f: im.save(f, "PNG"))


def is_overlay(path, class_name, rgba):
    """True for tiles that the game only draws on top of another tile.

    These do not show what their class name says: the small identification
    marks of items (i-*), the clothes of draconians, and the edges, shadows
    and signs that cover a part of a floor, wall or water tile.
    """
    if re.search(r"(^|/)(i-|draco-job-)[^/]*$", path):
        return True
    return (class_name in ("floor", "wall", "water")
            and (rgba[..., 3] > 0).mean() < 0.7)


def load_data(path):
    """Return (x, labels, class names, tile paths) without overlay tiles."""
    data = np.load(path, allow_pickle=False)
    classes = [str(c) for c in data["classes"]]
    keep = np.array([
        not is_overlay(str(p), classes[k], tile)
        for p, k, tile in zip(data["path"], data["label"], data["rgba"])])
    rgba = data["rgba"][keep].astype(np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    x = torch.from_numpy(rgba * 2 - 1).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(data["label"][keep].astype(np.int64))
    return x, labels, classes, [str(p) for p in data["path"][keep]]
