#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write small PixArt networks with random weights and their outputs, by diffusers in float64, to pixart/.

NAME.safetensors holds F16 weights under the names of the authors' code, with their tables (NAME_own), or of diffusers
(NAME_diffusers, with the configuration as metadata, as a folder brings it along). NAME_SHAPE_x.npy, _out.npy are
latents and what the network says, NAME_t.npy, _context.npy, _mask.npy, _sizes.npy all else that it is given.
"""
import json
import math
import os

import numpy as np
import torch
from diffusers import PixArtTransformer2DModel
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from safetensors.torch import save_file

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'pixart')

# diffusers' name of a module, the authors'
MODULES = {
    'pos_embed.proj': 'x_embedder.proj', 'proj_out': 'final_layer.linear', 'adaln_single.linear': 't_block.1',
    'adaln_single.emb.timestep_embedder.linear_1': 't_embedder.mlp.0',
    'adaln_single.emb.timestep_embedder.linear_2': 't_embedder.mlp.2',
    'adaln_single.emb.resolution_embedder.linear_1': 'csize_embedder.mlp.0',
    'adaln_single.emb.resolution_embedder.linear_2': 'csize_embedder.mlp.2',
    'adaln_single.emb.aspect_ratio_embedder.linear_1': 'ar_embedder.mlp.0',
    'adaln_single.emb.aspect_ratio_embedder.linear_2': 'ar_embedder.mlp.2',
    'caption_projection.linear_1': 'y_embedder.y_proj.fc1', 'caption_projection.linear_2': 'y_embedder.y_proj.fc2',
}
IN_BLOCK = {
    'attn1.to_out.0': 'attn.proj', 'attn2.to_q': 'cross_attn.q_linear', 'attn2.to_out.0': 'cross_attn.proj',
    'ff.net.0.proj': 'mlp.fc1', 'ff.net.2': 'mlp.fc2',
}
JOINED = {'attn.qkv': ('attn1.to_q', 'attn1.to_k', 'attn1.to_v'), 'cross_attn.kv_linear': ('attn2.to_k', 'attn2.to_v')}


def own_names(state, layers):
    own = {'final_layer.scale_shift_table': state['scale_shift_table']}
    for part in ('weight', 'bias'):
        for theirs, name in MODULES.items():
            if f'{theirs}.{part}' in state:
                own[f'{name}.{part}'] = state[f'{theirs}.{part}']
        for i in range(layers):
            block, theirs = f'blocks.{i}.', f'transformer_blocks.{i}.'
            own[block + 'scale_shift_table'] = state[theirs + 'scale_shift_table']
            for a, b in IN_BLOCK.items():
                own[f'{block}{b}.{part}'] = state[f'{theirs}{a}.{part}']
            for b, parts in JOINED.items():
                own[f'{block}{b}.{part}'] = torch.cat([state[f'{theirs}{a}.{part}'] for a in parts])
    return own


def array(name, part, value):
    np.save(os.path.join(OUT, f'{name}_{part}.npy'), np.ascontiguousarray(value.numpy(), dtype='<f4'))


def make(name, seed, heads, head_width, layers, sample, scale, null_tokens, columns, tokens, sizes, shapes, patch=2,
         channels=4, out_channels=8):
    torch.manual_seed(seed)
    net = PixArtTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=head_width, in_channels=channels, out_channels=out_channels,
        num_layers=layers, cross_attention_dim=heads * head_width, sample_size=sample, patch_size=patch,
        interpolation_scale=scale, use_additional_conditions=sizes, caption_channels=columns).double().eval()
    for w in net.parameters():
        w.data = (torch.randn(w.shape, dtype=torch.float64) * (1 / math.sqrt(w[0].numel()) if w.dim() > 1 and
                  w.shape[0] > 6 else 0.3)).half().double()
    state = {k: v.half().contiguous() for k, v in net.state_dict().items()}
    config = {k: v for k, v in net.config.items() if not k.startswith('_')}
    save_file(state, os.path.join(OUT, name + '_diffusers.safetensors'), {'config.json': json.dumps(config)})
    own = own_names(state, layers)
    grid = sample // patch
    own['pos_embed'] = get_2d_sincos_pos_embed(heads * head_width, grid, base_size=grid, interpolation_scale=scale or 1,
                                               output_type='pt')[None].half()
    own['y_embedder.y_embedding'] = torch.zeros(null_tokens, 1).half()
    save_file({k: v.contiguous() for k, v in own.items()}, os.path.join(OUT, name + '_own.safetensors'),
              {'num_heads': str(heads), 'interpolation_scale': str(scale or 1)})
    t = torch.tensor([981.0, 37.5])
    context = torch.randn(2, tokens, columns).half().double()
    mask = torch.ones(2, tokens)
    mask[0, tokens // 2:] = 0
    mask[1, tokens - 1] = 0
    array(name, 't', t)
    array(name, 'context', context)
    array(name, 'mask', mask)
    added = {'resolution': None, 'aspect_ratio': None}
    if sizes:
        numbers = torch.tensor([[1024.0, 768.0, 1024 / 768], [640.0, 1504.0, 640 / 1504]]).double()
        array(name, 'sizes', numbers)
        added = {'resolution': numbers[:, :2], 'aspect_ratio': numbers[:, 2:]}
    for height, width in shapes:
        x = torch.randn(2, channels, height, width).half().double()
        with torch.no_grad():
            out = net(x, encoder_hidden_states=context, timestep=t.double(), added_cond_kwargs=added,
                      encoder_attention_mask=mask).sample
        array(f'{name}_{height}x{width}', 'x', x)
        array(f'{name}_{height}x{width}', 'out', out)
        print(name, height, width, tuple(out.shape), float(out.std()))


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    make('alpha', 1, heads=2, head_width=12, layers=2, sample=8, scale=None, null_tokens=120, columns=20, tokens=7,
         sizes=False, shapes=[(8, 8), (6, 10)])
    make('alpha_sizes', 2, heads=2, head_width=12, layers=2, sample=16, scale=2, null_tokens=120, columns=24, tokens=9,
         sizes=True, shapes=[(16, 16), (12, 4)])
    make('sigma', 3, heads=3, head_width=8, layers=3, sample=12, scale=0.5, null_tokens=300, columns=32, tokens=11,
         sizes=False, shapes=[(12, 12), (6, 18)], patch=3, channels=3, out_channels=3)


if __name__ == '__main__':
    main()
