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
"""
import argparse
import copy
import json
import math
import os
import time

import torch
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
    arg("--minutes", type=float, default=105, help="wall-clock length of the "
        "run; the learning-rate schedule ends there")
    arg("--hidden", type=int, default=256, help="model width")
    arg("--depth", type=int, default=8, help="transformer blocks")
    arg("--heads", type=int, default=4, help="attention heads")
    arg("--patch", type=int, default=4, help="patch size in pixels")
    arg("--batch", type=int, default=64)
    arg("--lr", type=float, default=1e-3, help="peak learning rate")
    arg("--warmup", type=int, default=500, help="warm-up steps")
    arg("--ema", type=float, default=0.9995, help="decay of the average")
    arg("--save-minutes", type=float, default=8, help="checkpoint interval")
    arg("--seed", type=int, default=0)
    arg("--threads", type=int, default=os.cpu_count())
    arg("--resume", action="store_true", help="continue from OUT.ckpt")
    arg("--no-compile", action="store_true", help="do not use torch.compile")
    return ap.parse_args()


def main():
    a = parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    x, labels, classes, _ = load_data(a.data)
    null = len(classes)
    # Square-root balancing: rare classes are drawn more often.
    weight = torch.bincount(labels, minlength=null).float()[labels] ** -0.5
    flippable = torch.tensor([c not in NO_FLIP for c in classes])

    net = DiT(a.hidden, a.depth, a.heads, a.patch, null)
    ema = copy.deepcopy(net)
    params, averages = list(net.parameters()), list(ema.parameters())
    opt = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.99),
                            weight_decay=0.01, fused=True)
    step, spent = 0, 0.0
    if a.resume:
        ck = torch.load(a.out + ".ckpt")
        net.load_state_dict(ck["net"])
        ema.load_state_dict(ck["ema"])
        opt.load_state_dict(ck["opt"])
        step, spent = ck["step"], ck["seconds"]
        torch.manual_seed(a.seed + step)
    low = low_precision_copy(net)
    low_params = list(low.parameters())
    model = low if a.no_compile else torch.compile(low)
    for p in params:
        p.grad = torch.zeros_like(p)

    meta = dict(
        format="pt", architecture="DiT", hidden_size=a.hidden, depth=a.depth,
        num_heads=a.heads, patch_size=a.patch, in_channels=4, input_size=32,
        learn_sigma=False, num_classes=null, prediction="flow_velocity",
        timestep_scale=1000, layout="RGBA premultiplied, -1..1",
        classes=json.dumps(classes), license="CC0-1.0",
        provenance=PROVENANCE)

    def checkpoint(copies, sampling_steps):
        state = dict(net=net.state_dict(), ema=ema.state_dict(),
                     opt=opt.state_dict(), step=step, seconds=seconds)
        replace_file(a.out + ".ckpt", lambda f: torch.save(state, f))
        save_safetensors(a.out + ".safetensors", ema.state_dict(),
                         dict(meta, steps=step))
        y = torch.arange(null).repeat(copies)
        save_grid(a.out + ".png", sample(low_precision_copy(ema), y, null,
                                         sampling_steps, 3.5))

    total, start = a.minutes * 60, time.time() - spent
    saved, average, seconds = time.time(), None, spent
    log = open(a.out + ".log", "a" if a.resume else "w", buffering=1)
    print(f"{sum(map(torch.numel, params)) / 1e6:.1f} M parameters")
    while seconds < total:
        lr = a.lr * min(1, (step + 1) / a.warmup) * max(
            0.01, 0.5 + 0.5 * math.cos(math.pi * seconds / total))
        for group in opt.param_groups:
            group["lr"] = lr

        pick = torch.multinomial(weight, a.batch, replacement=True)
        x0, y = x[pick], labels[pick]
        flip = (torch.rand(a.batch) < 0.5) & flippable[y]
        x0 = torch.where(flip[:, None, None, None], x0.flip(3), x0)
        y = torch.where(torch.rand(a.batch) < 0.1, null, y)
        t = torch.sigmoid(1.2 * torch.randn(a.batch))
        eps = torch.randn_like(x0)
        z = x0 + t[:, None, None, None] * (eps - x0)

        loss = F.mse_loss(model(z, t, y), eps - x0)
        loss.backward()
        with torch.no_grad():
            torch._foreach_copy_([p.grad for p in params],
                                 [p.grad for p in low_params])
            for p in low_params:
                p.grad = None
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            opt.step()
            step += 1
            decay = min(a.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(averages, params, 1 - decay)
            torch._foreach_copy_(low_params, params)

        value, seconds = loss.item(), time.time() - start
        average = value if average is None else average * 0.99 + value * 0.01
        if step % 100 == 0:
            log.write(json.dumps(dict(step=step, seconds=round(seconds),
                                      loss=round(average, 4))) + "\n")
        if time.time() - saved > a.save_minutes * 60:
            checkpoint(1, 30)
            saved = time.time()
    checkpoint(4, 50)


if __name__ == "__main__":
    main()
