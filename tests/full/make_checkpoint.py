#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Writes checkpoints of full size with random weights, in F16, for measurements of memory, size and time:

    tests/full/make_checkpoint.py sd15 /tmp/sd15.safetensors
    tests/full/make_checkpoint.py flux /tmp/flux.safetensors --double 2 --single 4

sd15-folder makes a folder as diffusers writes it, with a small tokenizer. Tensors are drawn and written a few million
elements at a time; the same seed and name give the same tensor in any file. Needs numpy.
"""
import argparse
import json
import math
import os
import zlib

import numpy

import networks

CHUNK = 1 << 22


def sd15():
    return [*networks.unet(*networks.SD15).under("model.diffusion_model."),
            *networks.vae(4, True).under("first_stage_model."),
            *networks.clip(768, 12, 3072).under("cond_stage_model.transformer.")]


def sdxl():
    return [*networks.unet(*networks.SDXL).under("model.diffusion_model."),
            *networks.vae(4, True).under("first_stage_model."),
            *networks.clip(768, 12, 3072).under("conditioner.embedders.0.transformer."),
            *networks.open_clip(1280, 32, 5120).under("conditioner.embedders.1.model.")]


def sd3(with_t5):
    text = [*networks.clip(768, 12, 3072, True).under("text_encoders.clip_l.transformer."),
            *networks.clip(1280, 32, 5120, True).under("text_encoders.clip_g.transformer.")]
    if with_t5:
        text += networks.t5().under("text_encoders.t5xxl.transformer.")
    return [*networks.mmdit().under("model.diffusion_model."), *networks.vae(16, False).under("first_stage_model."),
            *text]


def write_safetensors(path, tensors, seed):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _, _ in tensors:
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name, shape, deviation, mean in tensors:
            random = numpy.random.Generator(numpy.random.SFC64([seed, zlib.crc32(name.encode())]))
            count = math.prod(shape)
            for begin in range(0, count, CHUNK):
                values = random.standard_normal(min(CHUNK, count - begin), numpy.float32)
                values *= deviation
                values += mean
                out.write(values.astype("<f2").tobytes())
    print(f"{path}: {len(tensors)} tensors, {at // 2} numbers, {os.path.getsize(path)} bytes")


def write_json(folder, name, content):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        json.dump(content, out, indent=1)


def write_tokenizer(folder):
    """Bytes, each also at the end of a word, and no merges: enough to encode any prompt."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    vocabulary = {text: i for i, text in enumerate(letters + [letter + "</w>" for letter in letters])}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    write_json(folder, "vocab.json", vocabulary)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as out:
        out.write("#version: 0.2\n")
    write_json(folder, "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77,
                                                 "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
                                                 "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"})


def write_sd15_folder(folder, seed):
    """The same numbers as sd15 cannot be expected: names differ."""
    widths, _, _, context = networks.SD15
    write_json(folder, "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})
    write_json(folder + "/unet", "config.json", {
        "_class_name": "UNet2DConditionModel", "in_channels": 4, "out_channels": 4, "sample_size": 64,
        "block_out_channels": widths, "layers_per_block": 2, "cross_attention_dim": context, "attention_head_dim": 8,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3})
    write_json(folder + "/vae", "config.json", {
        "_class_name": "AutoencoderKL", "latent_channels": 4, "scaling_factor": 0.18215,
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "sample_size": 512})
    write_json(folder + "/text_encoder", "config.json", {
        "architectures": ["CLIPTextModel"], "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
        "num_hidden_layers": 12, "hidden_act": "quick_gelu", "max_position_embeddings": 77, "vocab_size": 49408})
    write_json(folder + "/scheduler", "scheduler_config.json", {
        "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "steps_offset": 1, "set_alpha_to_one": False, "skip_prk_steps": True})
    write_tokenizer(folder + "/tokenizer")
    renamed = [(networks.diffusers_unet_name(name, 4), *rest) for name, *rest in networks.unet(*networks.SD15)]
    write_safetensors(folder + "/unet/diffusion_pytorch_model.safetensors", renamed, seed)
    renamed = [(networks.diffusers_vae_name(name), shape[:2] if ".attentions." in networks.diffusers_vae_name(name)
                else shape, *rest) for name, shape, *rest in networks.vae(4, True)]
    write_safetensors(folder + "/vae/diffusion_pytorch_model.safetensors", renamed, seed)
    write_safetensors(folder + "/text_encoder/model.safetensors", networks.clip(768, 12, 3072), seed)


MODELS = {
    "sd15": lambda options: sd15(),
    "sd15-folder": None,
    "sdxl": lambda options: sdxl(),
    "sd3": lambda options: sd3(False),
    "sd3-t5": lambda options: sd3(True),
    "sd35-medium": lambda options: networks.mmdit(24, 384, True, 13),
    "flux": lambda options: networks.flux(options.double, options.single, not options.schnell),
    "pixart-256": lambda options: networks.pixart(),
    "pixart-1024": lambda options: networks.pixart(micro=True),
    "pixart-sigma": lambda options: networks.pixart(300),
    "dit": lambda options: networks.dit(),
    "vae": lambda options: networks.vae(4, True),
    "clip-l": lambda options: networks.clip(768, 12, 3072),
    "t5": lambda options: networks.t5(layers=options.layers),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--double", type=int, default=19, help="double blocks of FLUX")
    parser.add_argument("--single", type=int, default=38, help="single blocks of FLUX")
    parser.add_argument("--schnell", action="store_true", help="FLUX without a guidance embedding")
    parser.add_argument("--layers", type=int, default=24, help="layers of T5")
    options = parser.parse_args()
    networks.check_counts()
    if options.model == "sd15-folder":
        write_sd15_folder(options.output, options.seed)
    else:
        write_safetensors(options.output, MODELS[options.model](options), options.seed)


if __name__ == "__main__":
    main()
