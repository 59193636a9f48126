#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write adapters for the networks of the other golden files, and what these then give, to adapters/.

Needs peft beside diffusers and transformers: it makes the layers, names them and computes with them, in float64.
  dit_a, dit_b     for dit/tiny_sigma: kohya's names with alpha; PEFT's. dit_a_out.npy: a; dit_ab_out.npy: 0.7 a - 1.3 b
  clip_kohya, clip_peft, clip_old   for encoders/clip_wide: one update under the names of three programs; clip_out.npy
                   the last layer's rows, clip_half_out.npy those with -0.5 times the update
  vae              for autoencoder/kl4: convolutions, with a tensor between for one; autoencoder/lora_5x7_*.npy
  unet/*_lora.npy  U-Nets with an update of every matrix and convolution, which no file holds: see unet()
  token_*          embeddings of two tokens for clip_wide by three programs; token_out.npy: rows of token_ids.npy
"""
import json
import os

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from make_autoencoder_golden import weight
from make_dit_golden import DiT
from make_unet_golden import levels

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "adapters")


def array(name, value):
    np.save(f"{OUT}/{name}.npy", np.ascontiguousarray(value.detach().numpy(), dtype="<f4"))


def golden(path):
    return torch.from_numpy(np.load(f"{HERE}/{path}.npy")).double()


def save(name, state, metadata=None):
    save_file({k: v.half().contiguous() for k, v in state.items()}, f"{OUT}/{name}.safetensors", metadata)


def add_lora(net, targets, rank, alpha, size):
    """The network with random updates of F16 values, and those under PEFT's names."""
    net = get_peft_model(net, LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets))
    for name, w in net.named_parameters():
        if "lora_" in name:
            scale = size / np.sqrt(w[0].numel()) if "lora_A" in name else size / np.sqrt(rank)
            w.data = (torch.randn(w.shape, dtype=torch.float64) * scale).half().double()
    net = net.double().eval()
    return net, {k: v.double() for k, v in get_peft_model_state_dict(net).items()}


def scale_by(net, factor):
    for module in net.modules():
        if hasattr(module, "scaling"):
            module.scaling = {k: v * factor for k, v in module.scaling.items()}


def kohya(state, prefix, alpha):
    out = {}
    for name, value in state.items():
        module, piece = name.removeprefix("base_model.model.").rsplit(".lora_", 1)
        flat = prefix + module.replace(".", "_")
        out[f"{flat}.lora_{'down' if piece[0] == 'A' else 'up'}.weight"] = value
        out[f"{flat}.alpha"] = torch.tensor(float(alpha))
    return out


def old(state, prefix, alpha):
    out = {}
    for name, value in state.items():
        module, piece = name.removeprefix("base_model.model.").rsplit(".lora_", 1)
        out[f"{prefix}{module}.lora_linear_layer.{'down' if piece[0] == 'A' else 'up'}.weight"] = value
        out[f"{prefix}{module}.alpha"] = torch.tensor(float(alpha))
    return out


def dit_state():
    return {k: v.double() for k, v in load_file(f"{HERE}/dit/tiny_sigma.safetensors").items()}


def dit_net(state):
    net = DiT(64, 2, 4, 2, 4, 8, 5, True).double()
    net.load_state_dict(state)
    return net


def dit():
    torch.manual_seed(11)
    x, t, y = golden("dit/tiny_sigma_x"), golden("dit/tiny_sigma_t"), golden("dit/tiny_sigma_y").long()

    a, a_state = add_lora(dit_net(dit_state()), ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "x_embedder.proj",
                                                 "adaLN_modulation.1", "t_embedder.mlp.0"], 3, 1.5, 0.8)
    save("dit_a", kohya(a_state, "lora_unet_", 1.5))
    array("dit_a_out", a(x, t, y))
    b, b_state = add_lora(dit_net(dit_state()), ["attn.qkv", "mlp.fc1", "final_layer.linear"], 5, 5, 0.8)
    save("dit_b", {"transformer." + k.removeprefix("base_model.model."): v for k, v in b_state.items()})
    state = dit_state()
    for net, factor in ((a, 0.7), (b, -1.3)):
        for name, module in net.named_modules():
            if hasattr(module, "get_delta_weight"):
                state[name.removeprefix("base_model.model.") + ".weight"] += factor * module.get_delta_weight("default")
    array("dit_ab_out", dit_net(state)(x, t, y))


def clip_net():
    config = CLIPTextConfig(vocab_size=50, hidden_size=128, intermediate_size=64, num_hidden_layers=2,
                            num_attention_heads=2, max_position_embeddings=14, hidden_act="quick_gelu",
                            projection_dim=96, bos_token_id=48, eos_token_id=49, pad_token_id=0)
    net = CLIPTextModelWithProjection(config).double().eval()
    state = {k: v.double() for k, v in load_file(f"{HERE}/encoders/clip_wide.safetensors").items()}
    missing = net.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys, missing
    return net


def clip():
    torch.manual_seed(12)
    ids = golden("encoders/clip_wide_ids").long()
    # q and v alone: of three parts that the library has in one matrix
    net, state = add_lora(clip_net(), ["q_proj", "v_proj", "out_proj", "fc1", "fc2"], 4, 6, 0.7)
    state = {k.replace("model.encoder", "model.text_model.encoder") if "text_model" not in k else k: v
             for k, v in state.items()}
    save("clip_kohya", kohya(state, "lora_te1_", 6))
    save("clip_old", old(state, "text_encoder.", 6))
    save("clip_peft", {k.replace("base_model.model.", "text_encoder."): v for k, v in state.items()},
         {"format": "pt", "lora_adapter_metadata": json.dumps({"text_encoder.r": 4, "text_encoder.lora_alpha": 6,
                                                               "text_encoder.target_modules": ["q_proj"]})})
    array("clip_out", net(input_ids=ids).last_hidden_state)
    scale_by(net, -0.5)
    array("clip_half_out", net(input_ids=ids).last_hidden_state)


def vae():
    torch.manual_seed(13)
    net = AutoencoderKL(block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2,
                        up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1, latent_channels=4)
    for name, tensor in net.state_dict().items():
        tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
    net = net.double()
    mid_name = "decoder.mid_block.resnets.0.conv1"
    target = net.get_submodule(mid_name)
    down, mid, up = (torch.randn(s, dtype=torch.float64).mul(f).half().double() for s, f in
                     (((3, 64, 1, 1), 0.2), ((2, 3, 3, 3), 0.3), ((64, 2, 1, 1), 0.5)))
    target.weight.data += torch.einsum("op,pqhw,qi->oihw", up[:, :, 0, 0], mid, down[:, :, 0, 0])
    net, state = add_lora(net, ["resnets.1.conv1", "resnets.0.conv2", "conv_shortcut", "downsamplers.0.conv",
                                "upsamplers.0.conv", "to_q", "to_v", "to_out.0", "conv_in", "conv_out"], 2, 2, 0.6)
    save("vae", {**{k.replace("base_model.model.", "vae."): v for k, v in state.items()},
                 f"vae.{mid_name}.lora_down.weight": down, f"vae.{mid_name}.lora_mid.weight": mid,
                 f"vae.{mid_name}.lora_up.weight": up})
    base = net.base_model.model
    z, x = golden("autoencoder/kl4_5x7_z"), golden("autoencoder/kl4_5x7_x")
    for part, value in (("z", z), ("x", x), ("dec", (base.decode(z).sample / 2 + 0.5).clamp(0, 1)),
                        ("enc", base.encode(2 * x - 1).latent_dist.mean)):
        array(f"../autoencoder/lora_5x7_{part}", value)


def unet(name, shape, scale, **config):
    """Every matrix and convolution has an update of rank 2 that follows from its name, as the weights do."""
    model = UNet2DConditionModel(sample_size=16, **config).eval()
    for key, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(weight(key, tuple(tensor.shape))))
    model = model.double()
    for key, tensor in model.state_dict().items():
        if tensor.dim() >= 2 and key.endswith(".weight"):
            module, window = key.removesuffix(".weight"), tensor.shape[2:]
            down = torch.from_numpy(weight(module + ".down", (2, *tensor.shape[1:]))).double().flatten(1)
            up = torch.from_numpy(weight(module + ".up", (tensor.shape[0], 2, *[1 for _ in window]))).double().flatten(1)
            tensor += scale * (up @ down).reshape(tensor.shape)
    x, t, c = (golden(f"unet/{name}_{shape}_{part}") for part in "xtc")
    added = {}
    if config.get("addition_embed_type"):
        added = {"text_embeds": golden(f"unet/{name}_{shape}_p"), "time_ids": golden(f"unet/{name}_{shape}_s")}
    array(f"../unet/{name}_{shape}_lora", model(x, t, c, added_cond_kwargs=added).sample)


def unets():
    unet("sd1", "9x7", 0.2, block_out_channels=(32, 64, 96, 96), cross_attention_dim=40, attention_head_dim=8,
         down_block_types=levels("cccd", False), up_block_types=levels("cccd", True))
    unet("sdxl", "7x12", 0.2, block_out_channels=(32, 64, 128), cross_attention_dim=80, attention_head_dim=(9, 1, 2),
         transformer_layers_per_block=(1, 2, 3), projection_class_embeddings_input_dim=48 + 6 * 256,
         addition_embed_type="text_time", addition_time_embed_dim=256, use_linear_projection=True,
         down_block_types=levels("dcc", False), up_block_types=levels("dcc", True))


def token():
    torch.manual_seed(14)
    net = clip_net()
    rows = torch.randn(2, 128).half()
    table = net.get_input_embeddings()
    table.weight.data = torch.cat([table.weight.data, rows.double()])
    save_file({"emb_params": rows}, f"{OUT}/token_wide.safetensors")
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": rows.float().requires_grad_()},
                "name": "wide", "step": 7}, f"{OUT}/token_webui.pt")
    torch.save({"<one>": rows[0].clone(), "<two>": rows[1].clone()}, f"{OUT}/token_learned.bin")
    ids = torch.tensor([[1, 50, 51, 49]])
    array("token_ids", ids)
    array("token_out", net(input_ids=ids).last_hidden_state)


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    with torch.no_grad():
        dit()
        clip()
        vae()
        unets()
    token()


if __name__ == "__main__":
    main()
