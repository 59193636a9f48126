#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fine-tune a float checkpoint so that little is lost when it is quantized.

The quantizer stores the matrices of the transformer blocks with 4 bits
(groups of 32 along a row share a scale) or 8 bits (one scale per row), and
the engine rounds the inputs of their products to 8 bits, one scale per token.
This script keeps training the network on the original task and asks for one
thing more: with that rounding in place the answer shall stay the same.

    loss = |v - v_target|^2
         + mu (log E[e8] + 1/2 log E[e4]),    e = |v_q - v|^2 / |v|^2

v is the float network, v_q the network with 8-bit or 4-bit weights and 8-bit
inputs.  The gradient passes through both.  Rounding counts as the identity,
but the scales of the inputs and of the 8-bit weights have their gradient, so
outliers, which make the steps coarse, are trained away as well.  Errors are
largest at small t, thus half of each batch has 0.08 < t < 0.4.  The logarithm
makes halving an error worth the same whatever its size is.

mu is steered: every --check-steps steps the moving average of the weights is
measured in float32 on fixed tiles; mu grows while the 8-bit error at t = 0.1
is above --goal percent and shrinks below it.

The result is an ordinary float checkpoint, with the same tensors in F16.
"""
import argparse
import copy
import json
import math
import os
import time

import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

from sprites_dit import (load_data, load_model, load_safetensors,
                         save_safetensors)
from train_sprites import NO_FLIP, attach, make_batch

GROUP = 32          # weights that share a scale in the 4-bit format
TIMES = (0.9, 0.5, 0.1)


def parse_args():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arg = ap.add_argument
    arg("model", help="float checkpoint, .safetensors")
    arg("--data", default=os.path.join(here, "data", "sprites32.npz"))
    arg("--out", default="sprites-ft", help="output prefix: .safetensors "
        "and .log are appended")
    arg("--minutes", type=float, default=14, help="wall-clock length; the "
        "learning-rate schedule ends there")
    arg("--batch", type=int, default=64, help="divisible by 2 --workers")
    arg("--lr", type=float, default=3e-4, help="peak learning rate")
    arg("--warmup", type=int, default=30, help="warm-up steps")
    arg("--mu", type=float, default=0.015, help="first weight of the "
        "consistency terms")
    arg("--goal", type=float, default=0.75, help="percent, error of 8-bit "
        "weights and inputs at t = 0.1")
    arg("--check-steps", type=int, default=40, help="steps between checks")
    arg("--ema", type=float, default=0.99, help="decay of the average")
    arg("--seed", type=int, default=0)
    arg("--workers", type=int, default=os.cpu_count(),
        help="processes, one thread each")
    return ap.parse_args()


def rounded(code):
    """Round to the nearest integer, ties to even; the gradient passes."""
    return code + (code.round() - code).detach()


def quantized_weight(w, bits):
    if bits == 8:
        scale = w.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        return rounded(w / scale) * scale
    group = w.detach().view(len(w), -1, GROUP)
    # The codes are -8..7; 0.94 is close to what the search for the best
    # scale finds in the quantizer.
    scale = 0.94 * torch.maximum(group.amax(-1, keepdim=True) / 7,
                                 group.amin(-1, keepdim=True) / -8)
    scale = scale.clamp(min=1e-12)
    q = ((group / scale).round().clamp(-8, 7) * scale).view_as(w)
    return w + (q - w.detach())


class QuantLinear(nn.Linear):
    """bits = 0: the float product; 8 or 4: as the engine computes it.

    Training multiplies in bfloat16.  It holds the 8-bit codes exactly, so
    the input's rounding is the engine's; `exact` is float32 throughout.
    """
    bits, exact = 0, False

    def forward(self, x):
        dtype = torch.float32 if self.exact else torch.bfloat16
        if not self.bits:
            y = F.linear(x.to(dtype), self.weight.to(dtype)).float()
            return y + self.bias
        scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
        w = quantized_weight(self.weight, self.bits)
        y = F.linear(rounded(x / scale).to(dtype), w.to(dtype)).float()
        return y * scale + self.bias


def make_quantizable(net, exact):
    """Turn the block matrices into QuantLinear; return f(bits, z, t, y)."""
    layers = [m for m in net.blocks.modules() if isinstance(m, nn.Linear)]
    for m in layers:
        m.__class__, m.exact = QuantLinear, exact

    def run(bits, *inputs):
        for m in layers:
            m.bits = bits
        return net(*inputs)
    return run


def squared_error(v, ref):
    """Relative squared error of each sample."""
    return ((v - ref).square().mean((1, 2, 3))
            / ref.detach().square().mean((1, 2, 3)))


@torch.no_grad()
def check(run, x, labels):
    """Task loss and errors in percent, {name: [one value per time]}."""
    g = torch.Generator().manual_seed(1)
    pick = torch.arange(0, len(x), len(x) // 24)[:24]
    x0, y = x[pick], labels[pick]
    velocity = torch.randn(x0.shape, generator=g) - x0
    out = dict(task=[], w8a8=[], w4a8=[])
    for time_ in TIMES:
        t = torch.full((len(x0),), time_)
        z = x0 + time_ * velocity
        v = run(0, z, t, y)
        out["task"].append(round(float(F.mse_loss(v, velocity)), 4))
        for bits, name in ((8, "w8a8"), (4, "w4a8")):
            error = (run(bits, z, t, y) - v).norm() / v.norm()
            out[name].append(round(100 * float(error), 3))
    return out


def loss_terms(run, z, t, y, velocity):
    """Task loss, and mean relative squared errors for 8 and 4 bits."""
    v = run(0, z, t, y)
    errors = []
    for bits, half in zip((8, 4), (slice(0, None, 2), slice(1, None, 2))):
        vq = run(bits, z[half], t[half], y[half])
        errors.append(squared_error(vq, v[half]).mean())
    return F.mse_loss(v, velocity), *errors


def work(rank, a, net, grads, info, barrier):
    """One worker: all hold the same weights and exchange gradients only."""
    torch.set_num_threads(1)
    torch.manual_seed(a.seed * a.workers + rank)
    x, labels, classes, _ = load_data(a.data)
    null = len(classes)
    weight = torch.bincount(labels, minlength=null).float()[labels] ** -0.5
    flippable = torch.tensor([c not in NO_FLIP for c in classes])

    average = copy.deepcopy(net)
    flat = nn.Parameter(nn.utils.parameters_to_vector(
        net.parameters()).detach())
    ema = flat.detach().clone()
    params = attach(net, flat.data)
    attach(average, ema)
    opt = torch.optim.AdamW([flat], lr=a.lr, betas=(0.9, 0.99),
                            weight_decay=0.01, fused=True)
    run = make_quantizable(net, exact=False)
    run_average = make_quantizable(average, exact=True)
    for block in net.blocks:
        block.compile(dynamic=False)

    size = a.batch // a.workers
    step, seconds, start, mean_task = 0, 0.0, None, None
    if rank == 0:
        log = open(a.out + ".log", "w", buffering=1)

    def report():
        result = check(run_average, x, labels)
        log.write(json.dumps(dict(
            fine_tune_step=step, seconds=round(seconds),
            mu=round(float(info[1]), 4),
            loss=mean_task and round(mean_task, 4), **result)) + "\n")
        return result

    while seconds < 60 * a.minutes:
        if rank == 0 and step % a.check_steps == 0:
            above = report()["w8a8"][-1] > a.goal
            if step:
                info[1] *= 1.12 if above else 1 / 1.12
        z, t, y, velocity = make_batch(x, labels, weight, flippable, size,
                                       null)
        low = 0.08 + 0.32 * torch.rand(size)
        low = torch.where(torch.arange(size) % 4 < 2, low, t)
        z, t = z + (low - t)[:, None, None, None] * velocity, low
        task, e8, e4 = loss_terms(run, z, t, y, velocity)
        barrier.wait()      # mu of this step is settled
        (task + info[1] * (e8.log() + 0.5 * e4.log())).backward()
        torch.cat([p.grad.flatten() for p in params], out=grads[rank])
        for p in params:
            p.grad = None
        if rank == 0:
            start = start or time.time()    # without the compilation
            info[0] = time.time() - start
        barrier.wait()
        flat.grad = grads.mean(0)
        seconds = float(info[0])
        barrier.wait()
        nn.utils.clip_grad_norm_([flat], 1.0)
        done = min(1.0, seconds / (60 * a.minutes))
        opt.param_groups[0]["lr"] = a.lr * min(1, (step + 1) / a.warmup) * (
            0.5 + 0.5 * math.cos(math.pi * done))
        opt.step()
        step += 1
        with torch.no_grad():
            ema.lerp_(flat, 1 - min(a.ema, (1 + step) / (5 + step)))
        value = task.item()
        mean_task = (value if mean_task is None
                     else 0.98 * mean_task + 0.02 * value)

    if rank == 0:
        ema.copy_(ema.half())       # as stored
        print(json.dumps(report()))
        meta = load_safetensors(a.model)[1]
        meta["fine_tuned"] = (
            f"for quantization, {step} steps of finetune_quantized.py")
        save_safetensors(a.out + ".safetensors", average.state_dict(), meta)


def main():
    a = parse_args()
    net, _ = load_model(a.model)
    count = sum(p.numel() for p in net.parameters())
    grads = torch.zeros(a.workers, count).share_memory_()
    info = torch.tensor([0.0, a.mu]).share_memory_()    # seconds, mu
    barrier = mp.get_context("spawn").Barrier(a.workers)
    mp.spawn(work, (a, net, grads, info, barrier), nprocs=a.workers)


if __name__ == "__main__":
    main()
