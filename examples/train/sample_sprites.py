#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sample a float checkpoint with PyTorch, as a reference for the C program.

Writes a float32 array (n, 4, 32, 32), RGBA premultiplied by alpha in
[-1, 1].  Sample i has class i modulo the number of classes, which is the
order that `classifier.py score --label-order cycle` expects.
"""
import argparse
import os

import numpy as np
import torch

from sprites_dit import load_model, low_precision_copy, sample, save_grid


def main():
    ap = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    ap.add_argument("model", help="sprites.safetensors")
    ap.add_argument("out", help="output .npy file")
    ap.add_argument("--png", help="also write a picture of all samples")
    ap.add_argument("--copies", type=int, default=8, help="samples per class")
    ap.add_argument("--classes", nargs="+", help="names; default: all")
    ap.add_argument("--steps", type=int, default=50, help="Euler steps")
    ap.add_argument("--guidance", type=float, default=3.0)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--batch", type=int, default=66)
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    ap.add_argument("--bfloat16", action="store_true",
                    help="run the transformer blocks in bfloat16")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    net, names = load_model(a.model)
    if a.bfloat16:
        net = low_precision_copy(net)
    wanted = [names.index(c) for c in a.classes or names]
    y = torch.tensor(wanted).repeat(a.copies)
    z = torch.cat([sample(net, part, len(names), a.steps, a.guidance,
                          a.seed + i)
                   for i, part in enumerate(y.split(a.batch))])
    np.save(a.out, z.numpy().astype("<f4"))
    if a.png:
        save_grid(a.png, z, columns=min(11, len(wanted)))


if __name__ == "__main__":
    main()
