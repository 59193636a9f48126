#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write what the pipelines of diffusers make of prompts with small text encoders to pipeline/.

No weights are stored: each follows from its name and place, see weight() here and tests/support/named_weights.h.
NAME.txt lists the tensors of a network as "<what the weights follow from> <name> <shape>". picture.npy is a picture of
the prompt. Of each case, CASE_rows.npy has every fifth row of the context of the prompt and of the negative prompt,
CASE_pooled.npy their pooled rows, CASE_mask.npy the mask. Cases "weighted" and "chunks" are those of AUTOMATIC1111's
program, worked out here.
"""
import os

import numpy as np
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, FluxPipeline, PixArtSigmaPipeline, StableDiffusion3Pipeline,
                       StableDiffusionPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline,
                       UNet2DConditionModel)
from transformers import (CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5Config,
                          T5EncoderModel, T5TokenizerFast)

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "pipeline")
PROMPT, NEGATIVE = "a photo of an old red lighthouse in the storm", "ugly"


def weight(name, shape):
    """Uniform numbers from a hash of the name (FNV-1a) and the place."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    h = (np.arange(int(np.prod(shape)), dtype=np.uint64) * 2654435769 + seed) % 2**32
    h = (h ^ (h >> 16)) * 0x7feb352d % 2**32
    h = (h ^ (h >> 15)) * 0x846ca68b % 2**32
    h ^= h >> 16
    v = (h >> 8).astype(np.float64) / 2**23 - 1
    if len(shape) == 1:
        v = v * 0.2 + (1.0 if name.endswith(".weight") else 0.0)
    else:
        v = v * np.sqrt(3.0 / np.prod(shape[1:]))
    return v.reshape(shape).astype(np.float32)


def fill(model, role):
    lines = []
    for name, tensor in model.state_dict().items():
        if "position_ids" in name or "embed_tokens" in name: # the same tensor twice
            continue
        tensor.copy_(torch.from_numpy(weight(f"{role}.{name}", tuple(tensor.shape))))
        lines.append(" ".join([f"{role}.{name}", name] + [str(n) for n in tensor.shape]))
    with open(os.path.join(OUT, role + ".txt"), "w") as file:
        file.write("\n".join(lines) + "\n")
    return model.double().eval()


def clip(role, kind, width, layers, act, projection):
    return fill(kind(CLIPTextConfig(vocab_size=1514, hidden_size=width, intermediate_size=2 * width,
                                    num_hidden_layers=layers, num_attention_heads=width // 64,
                                    max_position_embeddings=77, hidden_act=act, projection_dim=projection,
                                    bos_token_id=1512, eos_token_id=1513, pad_token_id=1)), role)


def tokenizer(pad):
    # Only the pad id is taken from "!": it is no token of its own in a text.
    files = [os.path.join(HERE, "text", "small_" + name) for name in ("vocab.json", "merges.txt")]
    return CLIPTokenizer(vocab=files[0], merges=files[1], pad_token=pad, model_max_length=77)


def save(case, rows=None, pooled=None, mask=None):
    for part, value in (("rows", rows), ("pooled", pooled), ("mask", mask)):
        if value is not None:
            value = torch.stack([v[0] for v in value]).double()
            if part == "rows":
                value = value[:, ::5]
            np.save(os.path.join(OUT, f"{case}_{part}.npy"), value.numpy().astype("<f4"))


def weighted(net, tok):
    """a (red:1.5) cat, with the mean restored; and 160 tokens in three chunks."""
    ids = tok("a red cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    red = tok(" red", add_special_tokens=False).input_ids
    times = torch.ones(77, dtype=torch.float64)
    at = 1 + len(tok("a", add_special_tokens=False).input_ids)
    assert ids[0, at:at + len(red)].tolist() == red
    times[at:at + len(red)] = 1.5
    z = net(ids).last_hidden_state
    mean = z.mean()
    z = z * times[None, :, None]
    save("weighted", rows=[z * (mean / z.mean())])
    words = tok("lighthouse storm " * 40, add_special_tokens=False).input_ids
    rows = []
    for at in range(0, len(words), 75):
        chunk = [1512] + words[at:at + 75] + [1513]
        chunk += [1513] * (77 - len(chunk))
        rows.append(net(torch.tensor([chunk])).last_hidden_state)
    print("chunks", len(words), len(rows))
    save("chunks", rows=[torch.cat(rows, dim=1)])


def drawing(one, tok):
    """From prompt to picture."""
    unet = fill(UNet2DConditionModel(sample_size=16, in_channels=4, out_channels=4, block_out_channels=(32, 64),
                                     layers_per_block=1, attention_head_dim=2, norm_num_groups=32,
                                     down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                                     up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=64),
                "unet")
    vae = fill(AutoencoderKL(block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2,
                             up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1, latent_channels=4,
                             sample_size=32), "vae")
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=False, steps_offset=1)
    pipe = StableDiffusionPipeline(vae=vae, text_encoder=one, tokenizer=tok, unet=unet, scheduler=scheduler,
                                   safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    noise = torch.randn(1, 4, 16, 12, generator=torch.Generator().manual_seed(7))
    image = pipe(PROMPT, negative_prompt=NEGATIVE, height=32, width=24, num_inference_steps=5, guidance_scale=4.0,
                 latents=noise.double(), output_type="np").images
    print("picture", image.shape, image.mean(), image.std())
    np.save(os.path.join(OUT, "picture.npy"), image[0].astype("<f4"))


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    one = clip("clip", CLIPTextModel, 64, 3, "quick_gelu", 64)
    object.__setattr__(one, "text_model", one)  # where diffusers looks for it
    two = clip("clip_2", CLIPTextModelWithProjection, 128, 3, "gelu", 96)
    t5 = fill(T5EncoderModel(T5Config(vocab_size=1600, d_model=192, d_kv=16, d_ff=96, num_layers=2, num_heads=3,
                                      feed_forward_proj="gated-gelu", dropout_rate=0)), "t5")
    # SD3 as published does not project the pooled row of CLIP-L
    plain = CLIPTextModelWithProjection(one.config).double().eval()
    plain.load_state_dict({("text_model." + k if not k.startswith("text_model") else k): v
                           for k, v in one.state_dict().items() if "position_ids" not in k}, strict=False)
    plain.text_projection.weight.data = torch.eye(64, dtype=torch.float64)
    tok, tok_2 = tokenizer("<|endoftext|>"), tokenizer("!")
    tok_3 = T5TokenizerFast(tokenizer_file=os.path.join(HERE, "text", "t5_tokenizer.json"), extra_ids=0)
    cpu = torch.device("cpu")
    with torch.no_grad():
        pipe = StableDiffusionPipeline(vae=None, text_encoder=one, tokenizer=tok, unet=None, scheduler=None,
                                       safety_checker=None, feature_extractor=None, requires_safety_checker=False)
        save("sd15", rows=pipe.encode_prompt(PROMPT, cpu, 1, True, NEGATIVE))
        # diffusers leaves the negative prompt as it is
        save("sd15_skip", rows=pipe.encode_prompt(PROMPT, cpu, 1, True, NEGATIVE, clip_skip=1)[:1])
        pipe = StableDiffusionXLPipeline(vae=None, text_encoder=one, text_encoder_2=two, tokenizer=tok,
                                         tokenizer_2=tok_2, unet=None, scheduler=None)
        out = pipe.encode_prompt(PROMPT, negative_prompt=NEGATIVE, device=cpu)
        save("sdxl", rows=out[:2], pooled=out[2:])
        pipe = StableDiffusionXLImg2ImgPipeline(vae=None, text_encoder=None, text_encoder_2=two, tokenizer=None,
                                                tokenizer_2=tok_2, unet=None, scheduler=None)
        out = pipe.encode_prompt(PROMPT, negative_prompt=NEGATIVE, device=cpu)
        save("refiner", rows=out[:2], pooled=out[2:])
        for case, last in (("sd3", t5), ("sd3_no_t5", None)):
            pipe = StableDiffusion3Pipeline(transformer=None, scheduler=None, vae=None, text_encoder=plain,
                                            tokenizer=tok, text_encoder_2=two, tokenizer_2=tok_2, text_encoder_3=last,
                                            tokenizer_3=tok_3)
            if last is None:
                class Shape:
                    config = type("Config", (), {"joint_attention_dim": 192, "sample_size": 128})
                    dtype = torch.float64
                object.__setattr__(pipe, "transformer", Shape())
            out = pipe.encode_prompt(PROMPT, PROMPT, PROMPT, cpu, negative_prompt=NEGATIVE)
            print(case, out[0].shape)
            save(case, rows=out[:2], pooled=out[2:])
        pipe = FluxPipeline(scheduler=None, vae=None, text_encoder=one, tokenizer=tok, text_encoder_2=t5,
                            tokenizer_2=tok_3, transformer=None)
        out = [pipe.encode_prompt(p, p, cpu, max_sequence_length=512) for p in (PROMPT, NEGATIVE)]
        save("flux", rows=[o[0] for o in out], pooled=[o[1] for o in out])
        pipe = PixArtSigmaPipeline(tokenizer=tok_3, text_encoder=t5, vae=None, transformer=None, scheduler=None)
        out = pipe.encode_prompt(PROMPT, True, NEGATIVE, device=cpu)
        save("pixart", rows=(out[0], out[2]), mask=(out[1], out[3]))
        weighted(one, tok)
        drawing(one, tok)


if __name__ == "__main__":
    main()
