#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write small text encoders with random weights and their outputs, by transformers in float64, to text/.

NAME.safetensors holds F16 weights under the names of transformers; NAME_ids.npy the prompts. Of CLIP, NAME_last.npy is
the last layer's output after the final norm, NAME_skip.npy that of the layer before without it, NAME_skip_norm.npy the
same with it, NAME_pooled.npy and NAME_projected.npy the row of the first end token, which is the last of the
vocabulary. Of T5, NAME_lengths.npy are the tokens of each prompt, NAME_out.npy is the output for all tokens,
NAME_masked.npy with those after a prompt's length hidden.
"""
import math
import os

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel)

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'encoders')


def randomize(net, query_scale):
    """Weights of a size that exercises every term, rounded at once to what the file holds."""
    for name, w in net.named_parameters():
        value = torch.randn(w.shape, dtype=torch.float64)
        if 'norm' in name and name.endswith('weight'):
            value = 1 + 0.3 * value
        elif w.dim() == 1 or 'position' in name:
            value *= 0.3
        elif 'token_embedding' not in name and 'shared' not in name and 'relative' not in name:
            value /= math.sqrt(w.shape[1])
        if '.SelfAttention.q.' in name:
            value *= query_scale
        w.data = value.half().double()


def store(name, net, act):
    state = {k: v.half().contiguous() for k, v in net.state_dict().items()
             if 'position_ids' not in k and 'embed_tokens' not in k}
    save_file(state, os.path.join(OUT, name + '.safetensors'), {'hidden_act': act})


def array(name, part, value):
    np.save(os.path.join(OUT, f'{name}_{part}.npy'), np.ascontiguousarray(value.numpy(), dtype='<f4'))


def clip(name, seed, width, layers, mlp, positions, tokens, act, projection):
    torch.manual_seed(seed)
    config = CLIPTextConfig(vocab_size=50, hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers,
                            num_attention_heads=width // 64, max_position_embeddings=positions, hidden_act=act,
                            projection_dim=projection or width, bos_token_id=48, eos_token_id=49, pad_token_id=0)
    net = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).double().eval()
    randomize(net, 1)
    ids = torch.randint(1, 48, (3, tokens))
    ids[:, 0] = 48
    for row, end in enumerate([tokens - 1, tokens // 2, 2]):
        ids[row, end:] = 49
    ids[1, tokens // 2 + 1:] = 0
    with torch.no_grad():
        out = net(input_ids=ids, output_hidden_states=True)
        inner = getattr(net, 'text_model', net)
        skip = out.hidden_states[-2]
        array(name, 'ids', ids)
        array(name, 'last', out.last_hidden_state)
        array(name, 'skip', skip)
        array(name, 'skip_norm', inner.final_layer_norm(skip))
        first = (ids == 49).int().argmax(dim=1)
        array(name, 'pooled', out.last_hidden_state[torch.arange(3), first])
        if projection:
            array(name, 'projected', out.text_embeds)
    store(name, net, act)


def t5(name, seed, width, layers, heads, head_width, mlp, lengths):
    torch.manual_seed(seed)
    config = T5Config(vocab_size=50, d_model=width, d_kv=head_width, d_ff=mlp, num_layers=layers, num_heads=heads,
                      feed_forward_proj='gated-gelu', dropout_rate=0)
    net = T5EncoderModel(config).double().eval()
    randomize(net, head_width ** -0.5)
    tokens = max(lengths)
    ids = torch.randint(2, 50, (len(lengths), tokens))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, length - 1] = 1
        ids[row, length:] = 0
        mask[row, :length] = 1
    with torch.no_grad():
        array(name, 'ids', ids)
        array(name, 'lengths', torch.tensor(lengths))
        array(name, 'out', net(input_ids=ids).last_hidden_state)
        array(name, 'masked', net(input_ids=ids, attention_mask=mask).last_hidden_state)
    store(name, net, 'gated-gelu')


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    clip('clip_wide', 1, width=128, layers=2, mlp=64, positions=14, tokens=14, act='quick_gelu', projection=96)
    clip('clip_deep', 2, width=64, layers=3, mlp=96, positions=12, tokens=7, act='gelu', projection=0)
    t5('t5_long', 3, width=32, layers=2, heads=2, head_width=16, mlp=64, lengths=[100, 40])
    t5('t5_odd', 4, width=48, layers=3, heads=3, head_width=24, mlp=80, lengths=[9, 4, 1])


if __name__ == '__main__':
    main()
