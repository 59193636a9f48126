#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write what torch.randn gives on a CPU with AVX2 to noise/torch_cpu.npy.

Each case is a generator with a seed, from which draws of these sizes are
taken one after another.  Of a draw of n values those at multiples of
max(1, n // 100) are kept.  test_noise.c holds the same table.
"""
import os

import numpy as np
import torch

from make_dit_golden import write_array

HERE = os.path.dirname(os.path.abspath(__file__))
SEEDS = (0, 42, -5, 2**40 + 7)
CASES = ((1, 1, 1), (15, 2), (16,), (17,), (9, 9, 33, 5), (1000, 16, 31, 4),
         (16384, 4, 16384), (1000000, 3), (999999, 16))


def main():
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in ("AVX2", "AVX512"):
        raise SystemExit("this needs a CPU with AVX2, not " + capability)
    kept = []
    for seed in SEEDS:
        for sizes in CASES:
            generator = torch.Generator().manual_seed(seed)
            for size in sizes:
                values = torch.randn(size, generator=generator).numpy()
                kept.append(values[::max(1, size // 100)])
    write_array(os.path.join(HERE, "noise", "torch_cpu.npy"), np.concatenate(kept))


if __name__ == "__main__":
    main()
