#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write trajectories of diffusers' schedulers to schedulers/.

A fixed function stands for the network, and noise comes from one
torch.Generator for each of two samples.  cases.txt says which scheduler
with which options of ours must give the same; trajectories.npy holds for
each case, one after another: noise levels of the points, timesteps of the
evaluations, the samples at the points.  Levels are sigma / alpha on
variance-preserving and EDM schedules, sigma on flow.  Samples are divided
by hypot(alpha, sigma), so that they do not depend on how a scheduler
scales what it holds.  The tables of noise levels that diffusers computes in
float32 are replaced by the same in double: at little noise it is off by
1e-5.  Last made with diffusers 0.42.1, torch 2.15.0.
"""
import os
import sys
import types

import numpy as np
import torch

import diffusers as df

sys.modules["torchsde"] = types.ModuleType("torchsde")  # imported by a scheduler whose noise is replaced below
from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler  # noqa: E402

from make_dit_golden import write_array  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES, ELEMENTS, FIRST_SEED = 2, 16, 11
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
DIT = dict(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")


def network(u, timestep):
    """Any smooth function will do; test_schedulers.c has the same."""
    u = u.double()
    return 0.9 * torch.tanh(1.2 * u + 0.3) - 0.25 * torch.sin(2 * u + 0.004 * timestep)


def learned_variance(u, timestep):
    """What it says of the variance, where that is learned."""
    return torch.sin(3 * u.double() + 0.01 * timestep)


def refine(scheduler):
    """The products of 1 - beta in double."""
    config = scheduler.config
    start, end, count = config.beta_start, config.beta_end, config.num_train_timesteps
    if config.beta_schedule == "linear":
        betas = np.linspace(start, end, count)
    elif config.beta_schedule == "scaled_linear":
        betas = np.linspace(start**0.5, end**0.5, count) ** 2
    else:
        bar = np.cos((np.linspace(0, 1, count + 1) + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - bar[1:] / bar[:-1], 0.999)
    scheduler.alphas_cumprod = torch.from_numpy(np.cumprod(1 - betas))
    if hasattr(scheduler, "final_alpha_cumprod"):
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]


def randn(generators):
    return torch.stack([torch.randn(ELEMENTS, generator=g) for g in generators])


class Case:
    """holds: what diffusers' sample is: "vp" (alpha^2 + sigma^2 = 1), "k" (alpha = 1) or "flow".
    ours: the options of our scheduler; "@" stands for the recorded levels or timesteps.
    own_start: our run begins with the same numbers; otherwise the test writes them.
    tolerance: of our timesteps, which diffusers sometimes rounds.
    last: the last point that is compared.
    finishes: tells of an evaluation whether a step is at its end after it.
    pick: those of diffusers' points that are points of ours; the others lie between.
    exact: compute in double where the scheduler lets us; not with noise, which torch draws otherwise then.
    """

    def __init__(self, name, scheduler, steps, holds, ours, own_start=True, tolerance=1e-3, last=None,
                 finishes=None, pick=None, exact=False, **timesteps):
        self.name, self.scheduler, self.steps, self.holds, self.ours = name, scheduler, steps, holds, ours
        self.own_start, self.tolerance, self.last = own_start, tolerance, steps if last is None else last
        self.finishes, self.pick, self.exact = finishes or self.in_first_order, pick or range(steps + 1), exact
        if "beta_schedule" in scheduler.config:
            refine(scheduler)
        scheduler.set_timesteps(**(timesteps or dict(num_inference_steps=self.pick[-1])))
        if exact:
            scheduler.sigmas = scheduler.sigmas.double()

    def levels(self):
        s = self.scheduler
        if isinstance(s, (df.IPNDMScheduler,)):
            return [float(b / a) for a, b in zip(s.alphas, s.betas)]
        if hasattr(s, "sigmas") and isinstance(s.sigmas, torch.Tensor) and not isinstance(s, df.LCMScheduler):
            kept = []
            for sigma in s.sigmas.tolist():  # solvers of two evaluations repeat them
                if not kept or sigma != kept[-1] or isinstance(s, df.DEISMultistepScheduler):
                    kept.append(sigma)
            return kept
        acp = s.alphas_cumprod.double()
        times = s._timesteps[::-1] if isinstance(s, df.PNDMScheduler) else s.timesteps.tolist()
        visited = [acp[int(t)] for t in dict.fromkeys(times)]
        if isinstance(s, (df.DDIMScheduler, df.PNDMScheduler)):
            visited.append(s.final_alpha_cumprod.double())
        elif isinstance(s, df.TCDScheduler):
            visited.append(acp[0])
        else:
            visited.append(torch.tensor(1.0).double())
        return [float(torch.sqrt((1 - a) / a)) for a in visited]

    def unit(self, x, level):
        """x divided by hypot(alpha, sigma)."""
        if self.holds == "vp":
            return x
        return x / np.hypot(1 if self.holds == "k" else 1 - level, level)

    def run(self):
        s = self.scheduler
        generators = [torch.Generator().manual_seed(FIRST_SEED + i) for i in range(SAMPLES)]
        x = randn(generators) * getattr(s, "init_noise_sigma", 1.0)
        if isinstance(s, DPMSolverSDEScheduler):
            s.noise_sampler = lambda *_: randn(generators)
        levels = self.levels()
        extra = {}
        if "generator" in s.step.__code__.co_varnames[:s.step.__code__.co_argcount]:
            extra["generator"] = generators
        if isinstance(s, (df.DDIMScheduler, df.TCDScheduler)):
            extra["eta"] = s.eta
        samples, visited = [self.unit(x, levels[0])], []
        for i, t in enumerate(s.timesteps):
            fed = s.scale_model_input(x, t) if hasattr(s, "scale_model_input") else x
            visited.append(float(t))
            output = network(fed, visited[-1])
            if s.config.get("variance_type") == "learned_range":
                output = torch.cat([output, learned_variance(fed, visited[-1])], dim=1)
            x = s.step(output if self.exact else output.float(), t, x, **extra).prev_sample
            if self.finishes(i):
                samples.append(self.unit(x, levels[len(samples)]))
        assert len(samples) == len(levels), (self.name, len(samples), len(levels))
        line = "|".join(map(str, (self.name, self.steps, len(visited), self.last, int(self.own_start), self.tolerance,
                                  self.ours)))
        picked = [np.array(samples[i]).ravel() for i in self.pick]
        return line, np.concatenate([[levels[i] for i in self.pick], visited, *picked])

    def in_first_order(self, evaluation):
        return getattr(self.scheduler, "state_in_first_order",
        True) or evaluation + 1 == len(self.scheduler.timesteps)


def ddim(eta, **config):
    s = df.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **config)
    s.eta = eta
    return s


def tcd(eta):
    s = df.TCDScheduler(**SD)
    s.eta = eta
    return s


def ipndm(steps):
    """Without its first point, where there is no signal."""
    s = df.IPNDMScheduler()
    whole = s.set_timesteps

    def cut(num_inference_steps):
        whole(num_inference_steps + 1)
        s.timesteps, s.alphas, s.betas = s.timesteps[1:], s.alphas[1:], s.betas[1:]
    s.set_timesteps = cut
    return Case("ipndm", s, steps, "vp", "solver=ipndm schedule=scaled-linear prediction=v sigmas=@", False, 1e4,
                last=steps - 1)


FIRST_TWICE = dict(finishes=lambda i: i != 0)


def variance_preserving():
    vp = "schedule=scaled-linear "
    lead = vp + "spacing=leading steps-offset=1 "
    leading = dict(SD, timestep_spacing="leading", steps_offset=1)
    trailing = dict(SD, timestep_spacing="trailing")
    linspace = dict(SD, timestep_spacing="linspace")
    v = dict(prediction_type="v_prediction")
    for n in (10, 25):
        yield Case(f"ddim-{n}", ddim(0.0, **leading), n, "vp", lead + f"solver=ddim steps={n}")
    yield Case("ddim-eta", ddim(1.0, **leading), 10, "vp", lead + "solver=ddim eta=1 steps=10")
    yield Case("ddim-eta-half", ddim(0.5, **trailing), 20, "vp", vp + "spacing=trailing solver=ddim eta=0.5 steps=20")
    yield Case("ddim-v", ddim(0.0, **leading, **v), 10, "vp", lead + "solver=ddim prediction=v steps=10")
    yield Case("ddim-x0", ddim(0.0, **leading, prediction_type="sample"), 10, "vp",
               lead + "solver=ddim prediction=x0 steps=10")
    yield Case("ddim-linear", ddim(0.0, **DIT, timestep_spacing="trailing"), 10, "vp",
               "schedule=linear spacing=trailing solver=ddim steps=10")
    yield Case("ddim-cosine", ddim(0.0, beta_schedule="squaredcos_cap_v2", steps_offset=1), 10, "vp",
               "schedule=cosine spacing=leading steps-offset=1 solver=ddim steps=10")
    yield Case("pndm", df.PNDMScheduler(skip_prk_steps=True, **leading), 10, "vp", lead + "solver=plms steps=10",
               **FIRST_TWICE)
    yield Case("lcm-4", df.LCMScheduler(**SD), 4, "vp", vp + "spacing=lcm solver=lcm steps=4")
    yield Case("lcm-8", df.LCMScheduler(**SD), 8, "vp", vp + "spacing=lcm solver=lcm steps=8")
    yield Case("ddpm", df.DDPMScheduler(clip_sample=False, **leading), 10, "vp", lead + "solver=ddpm steps=10")
    for spacing, offset in (("leading", 0), ("trailing", 1)):  # diffusers adds noise at the end unless that is t = 0
        learned = df.DDPMScheduler(clip_sample=False, variance_type="learned_range",
                                   **dict(DIT, timestep_spacing=spacing))
        yield Case(f"ddpm-learned-{spacing}", learned, 20, "vp",
                   f"schedule=linear spacing={spacing} solver=ddpm variance=learned steps=20", last=20 - offset)
    yield Case("ddpm-trailing", df.DDPMScheduler(clip_sample=False, **dict(DIT, timestep_spacing="trailing")), 20,
               "vp",
               "schedule=linear spacing=trailing solver=ddpm steps=20")

    for name, kind in (("euler", df.EulerDiscreteScheduler), ("heun", df.HeunDiscreteScheduler),
                       ("lms", df.LMSDiscreteScheduler), ("dpm2", df.KDPM2DiscreteScheduler),
                       ("dpm2-ancestral", df.KDPM2AncestralDiscreteScheduler), ("dpm++-sde", DPMSolverSDEScheduler),
                       ("euler-ancestral", df.EulerAncestralDiscreteScheduler)):
        solver = f"solver={name} "
        more = dict(last=9) if name == "lms" else {}  # which extrapolates slopes to sigma 0, too
        if name.startswith("dpm2"):
            more["tolerance"] = 0.51
        yield Case(f"{name}-linspace", kind(**linspace), 10, "k", vp + solver + "spacing=linspace steps=10", **more)
        yield Case(f"{name}-leading", kind(**leading), 20, "k", lead + solver + "steps=20", **dict(more,
                   last=19 if "last" in more else 20))
        yield Case(f"{name}-v", kind(**trailing, **v), 10, "k",
                   vp + solver + "spacing=trailing prediction=v steps=10", **more)
        if name == "euler-ancestral":
            continue
        yield Case(f"{name}-karras", kind(**linspace, use_karras_sigmas=True), 10, "k",
                   vp + solver + "spacing=karras steps=10", **more)
        yield Case(f"{name}-exponential", kind(**linspace, use_exponential_sigmas=True), 10, "k",
                   vp + solver + "spacing=exponential steps=10", **more)
    yield Case("euler-beta", df.EulerDiscreteScheduler(**linspace, use_beta_sigmas=True), 10, "k",
               vp + "solver=euler spacing=beta-levels steps=10")

    # These start from variance 1; in k coordinates a run starts from the noise that is left of it.
    multi = df.DPMSolverMultistepScheduler
    times = vp + "timesteps=@ "
    sde = dict(algorithm_type="sde-dpmsolver++")
    yield Case("dpm++-2m-linspace", multi(**linspace), 20, "vp", times + "solver=dpm++-2m", False)
    yield Case("dpm++-2m-leading", multi(**leading), 20, "vp", times + "solver=dpm++-2m", False)
    yield Case("dpm++-2m-trailing", multi(**trailing), 20, "vp", vp + "solver=dpm++-2m spacing=trailing steps=20",
               False)
    yield Case("dpm++-2m-v", multi(**trailing, **v), 20, "vp",
               vp + "solver=dpm++-2m spacing=trailing prediction=v steps=20", False)
    yield Case("dpm++-2m-karras", multi(**SD, use_karras_sigmas=True), 10, "vp",
               vp + "solver=dpm++-2m spacing=karras steps=10", False, 0.51)
    yield Case("dpm++-2m-exponential", multi(**SD, use_exponential_sigmas=True), 20, "vp",
               vp + "solver=dpm++-2m spacing=exponential steps=20", False, 1.01)
    yield Case("dpm++-2m-beta", multi(**SD, use_beta_sigmas=True), 20, "vp", vp + "solver=dpm++-2m sigmas=@", False,
               1.01)
    yield Case("dpm++-2m-lu", multi(**SD, use_lu_lambdas=True), 10, "vp",
               vp + "solver=dpm++-2m spacing=exponential steps=10", False, 0.51)
    yield Case("dpm++-2m-sde", multi(**SD, **sde, use_karras_sigmas=True), 10, "vp",
               vp + "solver=dpm++-2m-sde spacing=karras steps=10", False, 0.51)
    yield Case("dpm++-2m-sde-heun", multi(**SD, **sde, solver_type="heun", use_karras_sigmas=True), 10, "vp",
               vp + "solver=dpm++-2m-sde-heun spacing=karras steps=10", False, 0.51)
    yield Case("dpm++-3m", multi(**trailing, solver_order=3, solver_type="heun"), 20, "vp",
               vp + "solver=dpm++-3m spacing=trailing steps=20",
               False)
    # Its second evaluation is a point of the grid: on an even grid in ln sigma the middle of ours.
    single = dict(SD, use_exponential_sigmas=True, lower_order_final=True)
    yield Case("dpm++-2s", df.DPMSolverSinglestepScheduler(**single), 11, "vp", vp + "solver=dpm++-2s sigmas=@",
               False,
               1.01, last=9, pick=[*range(0, 20, 2), 19, 20], finishes=lambda i: True)
    yield Case("deis", df.DEISMultistepScheduler(**trailing, solver_order=3), 20, "vp",
               vp + "solver=deis spacing=trailing steps=20", False, last=19, exact=True)
    uni = df.UniPCMultistepScheduler
    yield Case("unipc-trailing", uni(**trailing), 20, "vp", vp + "solver=unipc spacing=trailing steps=20", False)
    yield Case("unipc-karras", uni(**SD, use_karras_sigmas=True), 10, "vp",
               vp + "solver=unipc spacing=karras steps=10",
               False, 0.51)
    yield Case("unipc-bh1", uni(**trailing, solver_type="bh1"), 20, "vp",
               vp + "solver=unipc-bh1 spacing=trailing steps=20", False, last=19)  # NaN after its last step
    yield Case("unipc-3", uni(**trailing, solver_order=3), 20, "vp", vp + "solver=unipc-3 spacing=trailing steps=20",
               False)
    yield Case("unipc-3-v", uni(**trailing, **v, solver_order=3), 10, "vp",
               vp + "solver=unipc-3 spacing=trailing prediction=v steps=10", False)
    yield ipndm(10)
    yield from orders(vp, trailing, times)


def orders(vp, trailing, times):
    """What orders and ends are asked for, and solvers in eps."""
    multi, uni = df.DPMSolverMultistepScheduler, df.UniPCMultistepScheduler
    even = vp + "spacing=trailing "
    least = dict(trailing, final_sigmas_type="sigma_min")
    yield Case("tcd", tcd(0.3), 4, "vp", vp + "solver=tcd spacing=lcm steps=4")
    yield Case("tcd-eta", tcd(0.7), 8, "vp", vp + "solver=tcd eta=0.7 spacing=lcm steps=8")
    large = df.DDPMScheduler(clip_sample=False, variance_type="fixed_large", **SD, timestep_spacing="leading",
                             steps_offset=1)
    yield Case("ddpm-large", large, 10, "vp",
               vp + "solver=ddpm variance=large spacing=leading steps-offset=1 steps=10", last=9)
    yield Case("dpm++-2m-heun", multi(**trailing, solver_type="heun"), 20, "vp",
               even + "solver=dpm++-2m-heun steps=20", False)
    yield Case("dpm++-1", multi(**trailing, solver_order=1), 20, "vp", even + "solver=dpm++-2m order=1 steps=20",
               False)
    yield Case("dpm++-3m-few", multi(**trailing, solver_order=3, solver_type="heun"), 10, "vp",
               even + "solver=dpm++-3m steps=10", False)
    yield Case("dpm++-2m-end", multi(**least), 10, "vp", vp + "solver=dpm++-2m sigmas=@", False)
    yield Case("dpm-2m", multi(**least, algorithm_type="dpmsolver"), 20, "vp", vp + "solver=dpm-2m sigmas=@", False)
    yield Case("dpm-3m", multi(**least, algorithm_type="dpmsolver", solver_order=3, solver_type="heun"), 20, "vp",
               vp + "solver=dpm-3m sigmas=@", False)
    yield Case("unipc-1", uni(**trailing, solver_order=1), 10, "vp", even + "solver=unipc order=1 steps=10", False)
    yield Case("unipc-3-few", uni(**trailing, solver_order=3), 6, "vp", even + "solver=unipc-3 steps=6", False)
    yield Case("pndm-prk", df.PNDMScheduler(**SD, timestep_spacing="leading", steps_offset=1), 10, "vp",
               vp + "solver=pndm spacing=leading steps-offset=1 steps=10",
               finishes=lambda i: i >= 12 or i % 4 == 3)


def flow():
    euler, heun = df.FlowMatchEulerDiscreteScheduler, df.FlowMatchHeunDiscreteScheduler
    ours = "schedule=flow solver=euler "
    even = np.linspace(1, 1 / 10, 10).tolist()
    yield Case("flow-euler", euler(), 10, "flow", ours + "steps=10", sigmas=even)
    yield Case("flow-euler-shift", euler(shift=3.0), 10, "flow", ours + "shift=3 steps=10", sigmas=even)
    yield Case("flow-euler-dynamic", euler(use_dynamic_shifting=True), 10, "flow",
               ours + "image-tokens=4096 steps=10",
               sigmas=even, mu=1.15)
    yield Case("flow-euler-sd3", euler(shift=3.0), 20, "flow", ours + "spacing=sd3 shift=3 steps=20")
    yield Case("flow-euler-karras", euler(use_karras_sigmas=True), 10, "flow", ours + "spacing=karras steps=10")
    yield Case("flow-euler-exponential", euler(use_exponential_sigmas=True, shift=3.0), 10, "flow", ours + "sigmas=@")
    yield Case("flow-euler-terminal", euler(use_dynamic_shifting=True, shift_terminal=0.1), 10, "flow",
               ours + "image-tokens=4096 shift-terminal=0.1 steps=10",
               sigmas=even, mu=1.15)
    yield Case("flow-euler-stochastic", euler(shift=3.0, stochastic_sampling=True), 10, "flow",
               "schedule=flow solver=lcm shift=3 steps=10", sigmas=even)
    yield Case("flow-lcm", df.FlowMatchLCMScheduler(shift=3.0), 10, "flow",
               "schedule=flow solver=lcm shift=3 steps=10",
               sigmas=even)
    yield Case("flow-heun", heun(shift=3.0), 10, "flow", "schedule=flow solver=heun spacing=sd3 shift=3 steps=10")
    yield Case("flow-dpm++-2m", df.DPMSolverMultistepScheduler(use_flow_sigmas=True,
               prediction_type="flow_prediction",
                                                               flow_shift=3.0), 20, "flow",
               "schedule=flow solver=dpm++-2m sigmas=@", False, 1.01)
    yield Case("flow-unipc", df.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction",
                                                        flow_shift=3.0), 20, "flow",
               "schedule=flow solver=unipc sigmas=@", False, 1.01)


def edm():
    euler, multi = df.EDMEulerScheduler, df.EDMDPMSolverMultistepScheduler
    ours = "schedule=edm prediction=edm "
    yield Case("edm-euler", euler(), 10, "k", ours + "solver=euler steps=10", False)
    yield Case("edm-euler-exponential", euler(sigma_schedule="exponential"), 10, "k",
               ours + "solver=euler spacing=exponential steps=10", False)
    yield Case("edm-dpm++-2m", multi(), 20, "k", ours + "solver=dpm++-2m steps=20", False)
    yield Case("edm-dpm++-2m-sde", multi(algorithm_type="sde-dpmsolver++"), 20, "k",
               ours + "solver=dpm++-2m-sde steps=20", False)
    yield Case("svd", df.EulerDiscreteScheduler(**SD, prediction_type="v_prediction", timestep_type="continuous",
                                                use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0), 10, "k",
               "schedule=edm prediction=v solver=euler sigma-min=0.002 sigma-max=700 steps=10", False)


def main():
    lines, values = [], []
    for case in [*variance_preserving(), *flow(), *edm()]:
        line, numbers = case.run()
        lines.append(line)
        values.append(numbers)
    with open(os.path.join(HERE, "schedulers", "cases.txt"), "w", encoding="utf-8") as file:
        file.write("# name|steps|evaluations|last step compared|own start|tolerance of timesteps|options\n")
        file.write("".join(line + "\n" for line in lines))
    write_array(os.path.join(HERE, "schedulers", "trajectories.npy"), np.concatenate(values))


if __name__ == "__main__":
    main()
