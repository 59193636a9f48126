#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the class-conditional sprite model `sprites.safetensors`.

A class-conditional DiT (see sprites_dit.py) works directly on 32x32 RGBA
pixels, premultiplied by alpha and scaled to [-1, 1].  It is trained with
rectified flow:

    z_t = (1 - t) x0 + t eps,        network(z_t, 1000 t, y) ~ v = eps - x0

so that sampling is an integration of dz/dt = v from t = 1 (noise) to t = 0.

The master weights, the optimizer and the moving average are float32; the
transformer blocks run in bfloat16, which is what makes CPUs with AMX fast.

Every worker process has one thread and its share of the batch; they meet
once per step.  On a machine that also does other work this is much faster
than threads, which wait for each other in every single operation.
"""
import argparse
import copy
import json
import math
import os
import time

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F

from sprites_dit import (DiT, load_data, low_precision_copy, replace_file,
                         sample, save_grid, save_safetensors)

# Classes whose tiles contain writing or a fixed reading direction.
NO_FLIP = ("spell-icon", "scroll", "book")
PROVENANCE = (
    "Trained from scratch on sprites32.npz: 5,027 tiles of the CC0 release "
    "sets (Oct-2010, Nov-2015) of github.com/crawl/tiles by the Dungeon "
    "Crawl Stone Soup artists. Script: examples/train/train_sprites.py")


def parse_args():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    arg = ap.add_argument
    arg("--data", default=os.path.join(here, "data", "sprites32.npz"))
    arg("--out", default="sprites", help="output prefix: .safetensors, "
        ".log, .png and .ckpt are appended")
    arg("--minutes", type=float, default=100, help="wall-clock length of the "
        "run; the learning-rate schedule ends there")
    arg("--hidden", type=int, default=256, help="model width")
    arg("--depth", type=int, default=8, help="transformer blocks")
    arg("--heads", type=int, default=4, help="attention heads")
    arg("--patch", type=int, default=4, help="patch size in pixels")
    arg("--batch", type=int, default=64, help="divisible by --workers")
    arg("--lr", type=float, default=1e-3, help="peak learning rate")
    arg("--warmup", type=int, default=500, help="warm-up steps")
    arg("--ema", type=float, default=0.999, help="decay of the average")
    arg("--save-minutes", type=float, default=8, help="checkpoint interval")
    arg("--seed", type=int, default=0)
    arg("--workers", type=int, default=os.cpu_count(),
        help="processes, one thread each")
    arg("--resume", action="store_true", help="continue from OUT.ckpt")
    arg("--no-compile", action="store_true", help="do not use torch.compile")
    return ap.parse_args()


class Shared:
    """Flat float32 arrays in shared memory, one element per weight."""

    def __init__(self, net, workers):
        start = torch.cat([p.detach().flatten() for p in net.parameters()])
        self.master = start.share_memory_()
        self.ema = start.clone().share_memory_()
        self.moment1 = torch.zeros_like(start).share_memory_()
        self.moment2 = torch.zeros_like(start).share_memory_()
        self.grad = torch.zeros(workers, len(start)).share_memory_()
        self.info = torch.zeros(workers, 3, dtype=torch.float64)
        self.info.share_memory_()       # per worker: seconds, loss, norm^2
        self.step, self.seconds = 0, 0.0

    def state(self):
        return dict(master=self.master, ema=self.ema, moment1=self.moment1,
                    moment2=self.moment2)


def attach(net, flat):
    """Make the parameters of a network views of a flat array."""
    params = list(net.parameters())
    parts = flat.split([p.numel() for p in params])
    for p, part in zip(params, parts):
        p.data = part.view_as(p)
    return params


def learning_rate(a, step, seconds):
    cosine = 0.5 + 0.5 * math.cos(math.pi * seconds / (60 * a.minutes))
    return a.lr * min(1, (step + 1) / a.warmup) * max(0.01, cosine)


def checkpoint(a, shared, ema, classes, step, seconds, copies, sample_steps):
    state = dict(shared.state(), step=step, seconds=seconds)
    replace_file(a.out + ".ckpt", lambda f: torch.save(state, f))
    save_safetensors(a.out + ".safetensors", ema.state_dict(), dict(
        format="pt", architecture="DiT", hidden_size=a.hidden, depth=a.depth,
        num_heads=a.heads, patch_size=a.patch, in_channels=4, input_size=32,
        learn_sigma=False, num_classes=len(classes),
        prediction="flow_velocity", timestep_scale=1000,
        layout="RGBA premultiplied, -1..1", classes=json.dumps(classes),
        license="CC0-1.0", provenance=PROVENANCE, steps=step))
    y = torch.arange(len(classes)).repeat(copies)
    save_grid(a.out + ".png", sample(low_precision_copy(ema), y,
                                     len(classes), sample_steps, 3.5))


def make_batch(x, labels, weight, flippable, size, null):
    """Draw z, t, y and the target velocity."""
    pick = torch.multinomial(weight, size, replacement=True)
    x0, y = x[pick], labels[pick]
    flip = (torch.rand(size) < 0.5) & flippable[y]
    x0 = torch.where(flip[:, None, None, None], x0.flip(3), x0)
    y = torch.where(torch.rand(size) < 0.1, null, y)
    t = torch.sigmoid(1.2 * torch.randn(size))
    velocity = torch.randn_like(x0) - x0
    return x0 + t[:, None, None, None] * velocity, t, y, velocity


def work(rank, a, shared, barrier):
    torch.set_num_threads(1)
    x, labels, classes, _ = load_data(a.data)
    null = len(classes)
    # Square-root balancing: rare classes are drawn more often.
    weight = torch.bincount(labels, minlength=null).float()[labels] ** -0.5
    flippable = torch.tensor([c not in NO_FLIP for c in classes])
    step = shared.step
    torch.manual_seed(a.seed + a.workers * step + rank)

    net = DiT(a.hidden, a.depth, a.heads, a.patch, null)
    ema = copy.deepcopy(net)
    params = attach(net, shared.master)
    attach(ema, shared.ema)
    low = low_precision_copy(net)
    low_params = list(low.parameters())
    model = low if a.no_compile else torch.compile(low)

    # Each worker owns a slice of the weights and does its optimizer step.
    size = -(-len(shared.master) // a.workers)
    own = slice(rank * size, (rank + 1) * size)
    mine = torch.nn.Parameter(shared.master[own])
    opt = torch.optim.AdamW([mine], lr=a.lr, betas=(0.9, 0.99),
                            weight_decay=0.01, fused=True)
    opt.state[mine] = dict(step=torch.tensor(float(step)),
                           exp_avg=shared.moment1[own],
                           exp_avg_sq=shared.moment2[own])
    start, average = time.time() - shared.seconds, None
    saved = time.time()
    if rank == 0:
        log = open(a.out + ".log", "a" if a.resume else "w", buffering=1)
    while True:
        z, t, y, velocity = make_batch(x, labels, weight, flippable,
                                       a.batch // a.workers, null)
        loss = F.mse_loss(model(z, t, y), velocity)
        loss.backward()
        torch.cat([p.grad.flatten().float() for p in low_params],
                  out=shared.grad[rank])
        for p in low_params:
            p.grad = None
        shared.info[rank, 0] = time.time() - start
        shared.info[rank, 1] = loss.item()
        barrier.wait()
        mine.grad = shared.grad[:, own].mean(0)
        shared.info[rank, 2] = mine.grad.square().sum()
        seconds, value = float(shared.info[0, 0]), shared.info[:, 1].mean()
        barrier.wait()
        if seconds >= 60 * a.minutes:
            break
        mine.grad *= min(1.0, float(shared.info[:, 2].sum()) ** -0.5)
        opt.param_groups[0]["lr"] = learning_rate(a, step, seconds)
        opt.step()
        step += 1
        decay = min(a.ema, (1 + step) / (10 + step))
        shared.ema[own].lerp_(shared.master[own], 1 - decay)
        barrier.wait()
        with torch.no_grad():
            torch._foreach_copy_(low_params, params)

        average = value if average is None else average * 0.99 + value * 0.01
        if rank == 0 and step % 100 == 0:
            log.write(json.dumps(dict(step=step, seconds=round(seconds),
                                      loss=round(float(average), 4))) + "\n")
        if rank == 0 and time.time() - saved > a.save_minutes * 60:
            checkpoint(a, shared, ema, classes, step, seconds, 1, 30)
            saved = time.time()
    if rank == 0:
        torch.set_num_threads(a.workers)
        checkpoint(a, shared, ema, classes, step, seconds, 4, 50)


def main():
    a = parse_args()
    torch.manual_seed(a.seed)
    net = DiT(a.hidden, a.depth, a.heads, a.patch,
              len(np.load(a.data)["classes"]))
    shared = Shared(net, a.workers)
    print(f"{len(shared.master) / 1e6:.1f} M parameters")
    if a.resume:
        saved = torch.load(a.out + ".ckpt")
        for name, tensor in shared.state().items():
            tensor.copy_(saved[name])
        shared.step, shared.seconds = saved["step"], saved["seconds"]
    mp.spawn(work, (a, shared, mp.get_context("spawn").Barrier(a.workers)),
             nprocs=a.workers)


if __name__ == "__main__":
    main()
