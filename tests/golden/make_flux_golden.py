#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write small FLUX.1 transformers with random weights and their outputs, by diffusers in float64, to flux/.

NAME.safetensors holds F16 weights under the names of diffusers, NAME_original.safetensors the same under those of the
authors; the metadata 'axes_dims_rope' are there where the axes are not what the width of a head implies. Of each of two
shapes, NAME_SHAPE_x.npy is the latent (samples, channels, height, width), _extra.npy further channels where there are
any, _t.npy times from 0 to 1, _guidance.npy, _context.npy, _pooled.npy, and _out.npy the result.
"""
import json
import math
import os

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import save_file

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'flux')


def randomize(net):
    """Weights of a size that exercises every term, rounded at once to what the file holds."""
    for name, w in net.named_parameters():
        value = torch.randn(w.shape, dtype=torch.float64)
        if '.norm_' in name and 'linear' not in name:
            value = 1 + 0.3 * value
        else:
            value *= 0.2 if w.dim() == 1 else 1 / math.sqrt(w.shape[1])
        w.data = value.half().double()


def original_names(state):
    """Tensors under the names of the authors' code."""
    out = {}

    def move(to, *parts):
        for kind in ('weight', 'bias'):
            out[f'{to}.{kind}'] = torch.cat([state.pop(f'{part}.{kind}') for part in parts])

    def scale(to, part):
        out[to + '.scale'] = state.pop(part + '.weight')

    move('img_in', 'x_embedder')
    move('txt_in', 'context_embedder')
    for to, part in (('time_in', 'timestep_embedder'), ('vector_in', 'text_embedder'),
                     ('guidance_in', 'guidance_embedder')):
        if f'time_text_embed.{part}.linear_1.weight' in state:
            move(to + '.in_layer', f'time_text_embed.{part}.linear_1')
            move(to + '.out_layer', f'time_text_embed.{part}.linear_2')
    i = 0
    while f'transformer_blocks.{i}.attn.to_q.weight' in state:
        old, new = f'transformer_blocks.{i}.', f'double_blocks.{i}.'
        for s, q, norms, mod, proj, mlp in (
                ('img', 'to_{}', ('norm_q', 'norm_k'), 'norm1', 'to_out.0', 'ff'),
                ('txt', 'add_{}_proj', ('norm_added_q', 'norm_added_k'), 'norm1_context', 'to_add_out', 'ff_context')):
            move(new + s + '_mod.lin', old + mod + '.linear')
            move(new + s + '_attn.qkv', *(old + 'attn.' + q.format(part) for part in 'qkv'))
            scale(new + s + '_attn.norm.query_norm', old + 'attn.' + norms[0])
            scale(new + s + '_attn.norm.key_norm', old + 'attn.' + norms[1])
            move(new + s + '_attn.proj', old + 'attn.' + proj)
            move(new + s + '_mlp.0', old + mlp + '.net.0.proj')
            move(new + s + '_mlp.2', old + mlp + '.net.2')
        i += 1
    i = 0
    while f'single_transformer_blocks.{i}.proj_out.weight' in state:
        old, new = f'single_transformer_blocks.{i}.', f'single_blocks.{i}.'
        move(new + 'modulation.lin', old + 'norm.linear')
        move(new + 'linear1', *(old + 'attn.to_' + part for part in 'qkv'), old + 'proj_mlp')
        move(new + 'linear2', old + 'proj_out')
        scale(new + 'norm.query_norm', old + 'attn.norm_q')
        scale(new + 'norm.key_norm', old + 'attn.norm_k')
        i += 1
    move('final_layer.linear', 'proj_out')
    for kind in ('weight', 'bias'):  # (scale, shift) there, (shift, scale) here
        halves = state.pop(f'norm_out.linear.{kind}').chunk(2)
        out[f'final_layer.adaLN_modulation.1.{kind}'] = torch.cat([halves[1], halves[0]])
    assert not state, list(state)
    return out


def array(path, value):
    np.save(os.path.join(OUT, path + '.npy'), np.ascontiguousarray(value.numpy(), dtype='<f4'))


def pack(x):
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, 4 * c)


def unpack(rows, h, w):
    n, _, c = rows.shape
    return rows.view(n, h // 2, w // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(n, c // 4, h, w)


def evaluate(net, path, samples, h, w, tokens, channels, extra):
    config = net.config
    x = torch.randn(samples, channels, h, w).double()
    more = torch.randn(samples, extra, h, w).double()
    t = torch.linspace(0.9, 0.15, samples).double()
    guidance = torch.linspace(3.5, 1.25, samples).double() if config.guidance_embeds else None
    context = torch.randn(samples, tokens, config.joint_attention_dim).double()
    pooled = torch.randn(samples, config.pooled_projection_dim).double()
    ids = torch.zeros(h // 2, w // 2, 3)
    ids[..., 1] += torch.arange(h // 2)[:, None]
    ids[..., 2] += torch.arange(w // 2)[None, :]
    with torch.no_grad():
        rows = net(hidden_states=pack(torch.cat([x, more], 1)), encoder_hidden_states=context,
                   pooled_projections=pooled, timestep=t, img_ids=ids.reshape(-1, 3), txt_ids=torch.zeros(tokens, 3),
                   guidance=guidance, return_dict=False)[0]
    arrays = {'x': x, 't': t, 'context': context, 'pooled': pooled, 'out': unpack(rows, h, w)}
    if extra:
        arrays['extra'] = more
    if guidance is not None:
        arrays['guidance'] = guidance
    for part, value in arrays.items():
        array(f'{path}_{part}', value)


def case(name, seed, heads, head, axes, double, single, context, pooled, guided, channels=16, extra=0, stored=False):
    torch.manual_seed(seed)
    net = FluxTransformer2DModel(in_channels=4 * (channels + extra), out_channels=4 * channels, num_layers=double,
                                 num_single_layers=single, attention_head_dim=head, num_attention_heads=heads,
                                 joint_attention_dim=context, pooled_projection_dim=pooled, guidance_embeds=guided,
                                 axes_dims_rope=axes).double().eval()
    randomize(net)
    state = {k: v.half().contiguous() for k, v in net.state_dict().items()}
    metadata = {'axes_dims_rope': json.dumps(axes)} if stored else {}
    save_file(state, os.path.join(OUT, name + '.safetensors'), metadata)
    save_file(original_names(dict(state)), os.path.join(OUT, name + '_original.safetensors'), metadata)
    evaluate(net, name + '_wide', 2, 4, 10, 5, channels, extra)
    evaluate(net, name + '_tall', 1, 14, 6, 8, channels, extra)


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    case('dev', 1, heads=2, head=16, axes=(4, 4, 8), double=2, single=2, context=40, pooled=24, guided=True,
         stored=True)
    case('schnell', 2, heads=1, head=32, axes=(4, 14, 14), double=1, single=3, context=24, pooled=40, guided=False)
    case('control', 3, heads=1, head=24, axes=(4, 10, 10), double=1, single=1, context=16, pooled=8, guided=True,
         channels=4, extra=2)


if __name__ == '__main__':
    main()
