#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write reference outputs of the shipped sprites checkpoint to sprites/.

Four real tiles of different classes, each at t = 0.9, 0.5 and 0.1, as
z = (1 - t) x0 + t eps; the network of make_dit_golden.py evaluates them in
float32 from the F16 weights.  Arrays are float32 in C order, n = 12:

    x.npy  (12, 4, 32, 32)  noisy input z
    t.npy  (12,)            input of the time embedding, 1000 t
    y.npy  (12,)            class number; row 3 of each group has no class
    v.npy  (12, 4, 32, 32)  output, the velocity
"""
import argparse
import json
import os
import struct

import numpy as np
import torch

from make_dit_golden import DiT, write_array

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CLASSES = ("dragon", "potion", "weapon", "wall")


def load(path):
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    meta = header.pop("__metadata__")
    net = DiT(int(meta["hidden_size"]), int(meta["depth"]),
              int(meta["num_heads"]), int(meta["patch_size"]),
              int(meta["in_channels"]), int(meta["input_size"]),
              int(meta["num_classes"]), meta["learn_sigma"] == "True")
    state = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[first:last], "<f2").astype(np.float32)
        state[name] = torch.from_numpy(values.reshape(entry["shape"]))
    net.load_state_dict(state)
    return net.float(), json.loads(meta["classes"])


def main():
    ap = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    examples = os.path.join(ROOT, "examples")
    ap.add_argument("--model", default=os.path.join(
        examples, "models", "sprites.safetensors"))
    ap.add_argument("--data", default=os.path.join(
        examples, "train", "data", "sprites32.npz"))
    ap.add_argument("--out", default=os.path.join(HERE, "sprites"))
    a = ap.parse_args()
    torch.set_num_threads(1)
    net, names = load(a.model)
    tiles = np.load(a.data, allow_pickle=False)
    rng = np.random.default_rng(7)
    x0 = []
    for name in CLASSES:
        choices = np.flatnonzero(tiles["label"] == names.index(name))
        rgba = tiles["rgba"][rng.choice(choices)] / 255.0
        rgba[..., :3] *= rgba[..., 3:]
        x0.append(rgba.transpose(2, 0, 1) * 2 - 1)
    x0 = np.stack(x0 * 3)
    t = np.repeat([0.9, 0.5, 0.1], len(CLASSES))
    w = t[:, None, None, None]
    eps = rng.standard_normal(x0.shape)
    x = ((1 - w) * x0 + w * eps).astype(np.float32)
    y = np.tile([names.index(c) for c in CLASSES], 3)
    y[3::4] = len(names)
    with torch.no_grad():
        v = net(torch.from_numpy(x), torch.from_numpy(1000 * t).float(),
                torch.from_numpy(y)).numpy()
    for t_group in (0, 4, 8):
        error = np.mean((v - (eps - x0))[t_group:t_group + 4] ** 2)
        print(f"t = {t[t_group]}: squared error of v {error:.4f}")
    os.makedirs(a.out, exist_ok=True)
    for name, value in (("x", x), ("t", 1000 * t), ("y", y), ("v", v)):
        write_array(os.path.join(a.out, name + ".npy"), value)


if __name__ == "__main__":
    main()
