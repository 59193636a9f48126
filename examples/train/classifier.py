#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small CNN that judges sprites: does a sample look like its class?

    classifier.py train                       writes classifier.pt
    classifier.py score samples.npy --label-order cycle
    classifier.py score samples.npy --labels labels.npy

Images are float32 (n, 4, 32, 32): RGBA premultiplied by alpha, in [-1, 1].
The tiles are split by file stem (variants such as `rat1`, `rat2` and left or
right copies stay together), about 10 % of every class is held out.
"""
import argparse
import hashlib
import itertools
import os
import re

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

from sprites_dit import load_data

HERE = os.path.dirname(os.path.abspath(__file__))


def conv(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False),
                         nn.BatchNorm2d(cout), nn.ReLU())


def build(classes, w=32):
    return nn.Sequential(
        conv(4, w), nn.MaxPool2d(2),
        conv(w, 2 * w), conv(2 * w, 2 * w), nn.MaxPool2d(2),
        conv(2 * w, 4 * w), conv(4 * w, 4 * w), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * w, classes)
    ).to(memory_format=torch.channels_last)


def stem(path):
    """File name without directory, digits and a trailing side or state."""
    name = re.sub(r"\d+", "", os.path.basename(path).lower())
    return re.sub(r"[-_]?(left|right|new|old)?[-_]*$", "", name)


def held_out(paths, labels, seed=0, share=0.1):
    """Mark about a tenth of every class, in a pseudo-random order of stems."""
    def order(i):
        name = stem(paths[i])
        return hashlib.sha256(f"{seed}/{name}".encode()).digest(), name

    test = torch.zeros(len(paths), dtype=torch.bool)
    for k in labels.unique():
        members = sorted((labels == k).nonzero()[:, 0].tolist(), key=order)
        groups = [list(g) for _, g in
                  itertools.groupby(members, lambda i: stem(paths[i]))]
        taken = 0
        for group in groups[:-1]:
            if taken + len(group) / 2 > max(1, share * len(members)):
                continue
            test[group] = True
            taken += len(group)
        if not taken:  # all tiles share one stem
            test[members[::10]] = True
    return test


def augment(x):
    """Horizontal flip and a shift of up to two pixels (edge = transparent).

    One shift for each of eight groups of the batch keeps this cheap.
    """
    flip = torch.rand(len(x)) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    x = F.pad(x, (2, 2, 2, 2), value=-1.0)
    parts = []
    for part in x.chunk(8):
        r, c = torch.randint(0, 5, (2,)).tolist()
        parts.append(part[:, :, r:r + 32, c:c + 32])
    return torch.cat(parts)


@torch.no_grad()
def predict(net, x):
    """Logits, the mean over the tile and its mirror image."""
    net.eval()
    return torch.cat([net(part) + net(part.flip(3)) for part in x.split(256)])


def report(logits, y, classes, per_class=True):
    rank = (logits > logits.gather(1, y[:, None])).sum(1)
    print(f"{len(y)} images: top-1 {100 * (rank < 1).float().mean():.1f} %, "
          f"top-5 {100 * (rank < 5).float().mean():.1f} %")
    if not per_class:
        return
    for k, name in enumerate(classes):
        r = rank[y == k]
        if len(r):
            print(f"  {name:12s} {len(r):4d}  top-1 "
                  f"{100 * (r < 1).float().mean():5.1f} %  top-5 "
                  f"{100 * (r < 5).float().mean():5.1f} %")


def train(a):
    torch.manual_seed(a.seed)
    x, y, classes, paths = load_data(a.data)
    test = held_out(paths, y, a.seed)
    xt, yt, x, y = x[test], y[test], x[~test], y[~test]
    count = torch.bincount(y, minlength=len(classes)).clamp(min=1).float()
    weight = count[y] ** -0.5
    net = build(len(classes))
    opt = torch.optim.AdamW(net.parameters(), lr=a.lr, weight_decay=0.02)
    steps = a.epochs * len(x) // a.batch
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, a.lr, steps)
    for step in range(1, steps + 1):
        net.train()
        pick = torch.multinomial(weight, a.batch, replacement=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(augment(x[pick]).contiguous(
                memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), y[pick], label_smoothing=0.05)
        opt.zero_grad()
        loss.backward()
        opt.step()
        plan.step()
        if step % 200 == 0:
            print(f"step {step}/{steps} loss {loss.item():.3f}", flush=True)
    torch.save(dict(net=net.state_dict(), classes=classes), a.net)
    print("held-out tiles, ", end="")
    report(predict(net, xt), yt, classes)


def score(a):
    state = torch.load(a.net)
    classes = state["classes"]
    net = build(len(classes))
    net.load_state_dict(state["net"])
    x = torch.from_numpy(np.load(a.samples).astype(np.float32)).clamp(-1, 1)
    if a.labels:
        y = torch.from_numpy(np.load(a.labels).astype(np.int64))
    elif a.label_order == "cycle":
        y = torch.arange(len(x)) % len(classes)
    else:
        y = torch.arange(len(x)) * len(classes) // len(x)
    report(predict(net, x), y, classes, not a.brief)


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    sub = ap.add_subparsers(dest="command", required=True)
    p = sub.add_parser("train", help="train on the real tiles")
    p.add_argument("--data",
                   default=os.path.join(HERE, "data", "sprites32.npz"))
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=train)
    q = sub.add_parser("score", help="classify samples")
    q.add_argument("samples", help=".npy, float32 (n, 4, 32, 32)")
    q.add_argument("--labels", help=".npy with n class numbers")
    q.add_argument("--label-order", choices=("cycle", "blocks"),
                   default="cycle", help="without --labels: classes 0, 1, "
                   "2, ... repeat (cycle),\nor equal runs per class (blocks)")
    q.add_argument("--brief", action="store_true", help="only the total")
    q.set_defaults(run=score)
    for parser in (p, q):
        parser.add_argument("--net", default="classifier.pt")
        parser.add_argument("--threads", type=int, default=1)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    a.run(a)


if __name__ == "__main__":
    main()
