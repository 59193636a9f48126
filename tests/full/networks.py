# SPDX-License-Identifier: MIT
"""
The tensors of published networks at full size, under their authors' names: lists of (name, shape, deviation, mean) of
normal random weights, scaled so that activations stay finite. Used by make_checkpoint.py.
"""
import math


class Tensors(list):
    """A list of tensors that grows by layers."""

    def add(self, name, shape, deviation, mean=0.0):
        self.append((name, tuple(shape), deviation, mean))

    def layer(self, name, outputs, inputs, window=(), bias=True, gain=1.0):
        fan_in = inputs * math.prod(window)
        self.add(name + ".weight", (outputs, inputs, *window), gain / math.sqrt(fan_in))
        if bias:
            self.add(name + ".bias", (outputs,), 0.02)

    def conv(self, name, outputs, inputs, side=3, **options):
        self.layer(name, outputs, inputs, (side, side), **options)

    def norm(self, name, width, bias=True):
        self.add(name + ".weight", (width,), 0.1, 1.0)
        if bias:
            self.add(name + ".bias", (width,), 0.05)

    def parameters(self, without=()):
        return sum(math.prod(shape) for name, shape, _, _ in self if name not in without)

    def under(self, prefix):
        return [(prefix + name, *rest) for name, *rest in self]


# ---- U-Nets of Stable Diffusion ----


def unet(widths, depths, middle, context, linear=False, sizes=0, channels=4):
    """depths: transformer layers of each level; sizes: columns of the embedding of pooled text and sizes."""
    t = Tensors()
    width, embedding = widths[0], 4 * widths[0]
    t.layer("time_embed.0", embedding, width)
    t.layer("time_embed.2", embedding, embedding)
    if sizes:
        t.layer("label_emb.0.0", embedding, sizes)
        t.layer("label_emb.0.2", embedding, embedding)

    def block(name, inputs, outputs):
        t.norm(name + ".in_layers.0", inputs)
        t.conv(name + ".in_layers.2", outputs, inputs)
        t.layer(name + ".emb_layers.1", outputs, embedding)
        t.norm(name + ".out_layers.0", outputs)
        t.conv(name + ".out_layers.3", outputs, outputs, gain=0.5)
        if inputs != outputs:
            t.conv(name + ".skip_connection", outputs, inputs, 1)

    def transformer(name, d, layers):
        def project(part):
            t.layer(name + part, d, d, () if linear else (1, 1))

        t.norm(name + ".norm", d)
        project(".proj_in")
        for i in range(layers):
            inner = f"{name}.transformer_blocks.{i}"
            for attention, source in (("attn1", d), ("attn2", context)):
                t.layer(f"{inner}.{attention}.to_q", d, d, bias=False)
                t.layer(f"{inner}.{attention}.to_k", d, source, bias=False)
                t.layer(f"{inner}.{attention}.to_v", d, source, bias=False)
                t.layer(f"{inner}.{attention}.to_out.0", d, d)
            t.layer(inner + ".ff.net.0.proj", 8 * d, d)
            t.layer(inner + ".ff.net.2", d, 4 * d)
            for part in ("norm1", "norm2", "norm3"):
                t.norm(f"{inner}.{part}", d)
        project(".proj_out")

    t.conv("input_blocks.0.0", width, channels)
    skips, at = [width], 1
    for level, d in enumerate(widths):
        for _ in range(2):
            block(f"input_blocks.{at}.0", width, d)
            if depths[level]:
                transformer(f"input_blocks.{at}.1", d, depths[level])
            width = d
            skips.append(width)
            at += 1
        if level + 1 < len(widths):
            t.conv(f"input_blocks.{at}.0.op", d, d)
            skips.append(d)
            at += 1
    block("middle_block.0", width, width)
    transformer("middle_block.1", width, middle)
    block("middle_block.2", width, width)
    at = 0
    for level in reversed(range(len(widths))):
        for i in range(3):
            block(f"output_blocks.{at}.0", width + skips.pop(), widths[level])
            width = widths[level]
            if depths[level]:
                transformer(f"output_blocks.{at}.1", width, depths[level])
            if i == 2 and level > 0:
                t.conv(f"output_blocks.{at}.{2 if depths[level] else 1}.conv", width, width)
            at += 1
    t.norm("out.0", width)
    t.conv("out.2", 4, width)
    return t


def diffusers_unet_name(name, levels):
    """An original name of a U-Net with two blocks on each level, as diffusers calls it."""
    parts = name.split(".")
    inner = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
             "out_layers.3": "conv2", "skip_connection": "conv_shortcut"}
    for old, new in (("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"),
                     ("label_emb.0.0", "add_embedding.linear_1"), ("label_emb.0.2", "add_embedding.linear_2"),
                     ("input_blocks.0.0", "conv_in"), ("out.0", "conv_norm_out"), ("out.2", "conv_out")):
        if name.startswith(old + "."):
            return new + name[len(old):]
    if parts[0] == "middle_block":
        place = {"0": "mid_block.resnets.0", "1": "mid_block.attentions.0", "2": "mid_block.resnets.1"}[parts[1]]
        kind, rest = ("attentions" if parts[1] == "1" else "resnets"), parts[2:]
    else:
        n, sub, rest = int(parts[1]), parts[2], parts[3:]
        down = parts[0] == "input_blocks"
        level, j = divmod(n - 1 if down else n, 3)
        side = f"{'down' if down else 'up'}_blocks.{level}"
        if rest[0] in ("op", "conv"):
            return f"{side}.{'downsamplers' if down else 'upsamplers'}.0.conv.{rest[1]}"
        kind = "resnets" if sub == "0" else "attentions"
        place = f"{side}.{kind}.{j}"
    rest = ".".join(rest)
    for old, new in inner.items() if kind == "resnets" else ():
        if rest.startswith(old + "."):
            rest = new + rest[len(old):]
            break
    return f"{place}.{rest}"


# ---- autoencoders ----


def vae(latent, quantization, width=128, levels=(1, 2, 4, 4)):
    t = Tensors()
    top = width * levels[-1]

    def block(name, inputs, outputs):
        t.norm(name + ".norm1", inputs)
        t.conv(name + ".conv1", outputs, inputs)
        t.norm(name + ".norm2", outputs)
        t.conv(name + ".conv2", outputs, outputs, gain=0.5)
        if inputs != outputs:
            t.conv(name + ".nin_shortcut", outputs, inputs, 1)

    def middle(side):
        block(side + ".mid.block_1", top, top)
        t.norm(side + ".mid.attn_1.norm", top)
        for part in ("q", "k", "v", "proj_out"):
            t.conv(f"{side}.mid.attn_1.{part}", top, top, 1)
        block(side + ".mid.block_2", top, top)

    def end(side, inputs, outputs):
        t.norm(side + ".norm_out", inputs)
        t.conv(side + ".conv_out", outputs, inputs)

    t.conv("encoder.conv_in", width, 3)
    inputs = width
    for level, factor in enumerate(levels):
        for i in range(2):
            block(f"encoder.down.{level}.block.{i}", inputs, width * factor)
            inputs = width * factor
        if level + 1 < len(levels):
            t.conv(f"encoder.down.{level}.downsample.conv", inputs, inputs)
    middle("encoder")
    end("encoder", top, 2 * latent)
    t.conv("decoder.conv_in", top, latent)
    middle("decoder")
    inputs = top
    for level in reversed(range(len(levels))):
        for i in range(3):
            block(f"decoder.up.{level}.block.{i}", inputs, width * levels[level])
            inputs = width * levels[level]
        if level > 0:
            t.conv(f"decoder.up.{level}.upsample.conv", inputs, inputs)
    end("decoder", inputs, 3)
    if quantization:
        t.conv("quant_conv", 2 * latent, 2 * latent, 1)
        t.conv("post_quant_conv", latent, latent, 1)
    return t


def diffusers_vae_name(name, levels=4):
    """An original name of an autoencoder as diffusers calls it."""
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part in ("down", "up") and i == 1:
            parts[i + 1] = parts[i + 1] if part == "down" else str(levels - 1 - int(parts[i + 1]))
            parts[i] = part + "_blocks"
    name = ".".join(parts)
    for old, new in ((".block.", ".resnets."), (".downsample.", ".downsamplers.0."), (".upsample.", ".upsamplers.0."),
                     (".mid.block_1.", ".mid_block.resnets.0."), (".mid.block_2.", ".mid_block.resnets.1."),
                     (".mid.attn_1.norm.", ".mid_block.attentions.0.group_norm."),
                     (".mid.attn_1.q.", ".mid_block.attentions.0.to_q."),
                     (".mid.attn_1.k.", ".mid_block.attentions.0.to_k."),
                     (".mid.attn_1.v.", ".mid_block.attentions.0.to_v."),
                     (".mid.attn_1.proj_out.", ".mid_block.attentions.0.to_out.0."),
                     (".norm_out.", ".conv_norm_out."), (".nin_shortcut.", ".conv_shortcut.")):
        name = name.replace(old, new)
    return name


# ---- text encoders ----


def clip(d, layers, mlp, projection=False):
    """Names of transformers."""
    t = Tensors()
    small = 1 / math.sqrt(2 * layers)
    t.add("text_model.embeddings.token_embedding.weight", (49408, d), 0.02)
    t.add("text_model.embeddings.position_embedding.weight", (77, d), 0.01)
    for i in range(layers):
        name = f"text_model.encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj"):
            t.layer(f"{name}.self_attn.{part}", d, d)
        t.layer(name + ".self_attn.out_proj", d, d, gain=small)
        t.layer(name + ".mlp.fc1", mlp, d)
        t.layer(name + ".mlp.fc2", d, mlp, gain=small)
        t.norm(name + ".layer_norm1", d)
        t.norm(name + ".layer_norm2", d)
    t.norm("text_model.final_layer_norm", d)
    if projection:
        t.layer("text_projection", d, d, bias=False)
    return t


def open_clip(d, layers, mlp):
    t = Tensors()
    small = 1 / math.sqrt(2 * layers)
    t.add("token_embedding.weight", (49408, d), 0.02)
    t.add("positional_embedding", (77, d), 0.01)
    for i in range(layers):
        name = f"transformer.resblocks.{i}"
        t.norm(name + ".ln_1", d)
        t.add(name + ".attn.in_proj_weight", (3 * d, d), 1 / math.sqrt(d))
        t.add(name + ".attn.in_proj_bias", (3 * d,), 0.02)
        t.layer(name + ".attn.out_proj", d, d, gain=small)
        t.norm(name + ".ln_2", d)
        t.layer(name + ".mlp.c_fc", mlp, d)
        t.layer(name + ".mlp.c_proj", d, mlp, gain=small)
    t.norm("ln_final", d)
    t.add("text_projection", (d, d), 1 / math.sqrt(d))
    return t


def t5(d=4096, layers=24, heads=64, mlp=10240):
    """The encoder of T5 1.1. Scores are not divided by the root of a head's width, so that q is smaller."""
    t = Tensors()
    t.add("shared.weight", (32128, d), 1.0)
    inner = 64 * heads
    for i in range(layers):
        name = f"encoder.block.{i}.layer.0"
        t.layer(name + ".SelfAttention.q", inner, d, bias=False, gain=0.125)
        t.layer(name + ".SelfAttention.k", inner, d, bias=False)
        t.layer(name + ".SelfAttention.v", inner, d, bias=False)
        t.layer(name + ".SelfAttention.o", d, inner, bias=False)
        if i == 0:
            t.add(name + ".SelfAttention.relative_attention_bias.weight", (32, heads), 0.5)
        t.norm(name + ".layer_norm", d, bias=False)
        name = f"encoder.block.{i}.layer.1"
        t.layer(name + ".DenseReluDense.wi_0", mlp, d, bias=False)
        t.layer(name + ".DenseReluDense.wi_1", mlp, d, bias=False)
        t.layer(name + ".DenseReluDense.wo", d, mlp, bias=False)
        t.norm(name + ".layer_norm", d, bias=False)
    t.norm("encoder.final_layer_norm", d, bias=False)
    return t


# ---- transformers ----


def mlp(t, name, d, first, second, inputs):
    t.layer(f"{name}.{first}", d, inputs)
    t.layer(f"{name}.{second}", d, d)


def dit(d=1152, depth=28, tokens=256, classes=1001):
    t = Tensors()
    t.conv("x_embedder.proj", d, 4, 2)
    t.add("pos_embed", (1, tokens, d), 0.7)
    mlp(t, "t_embedder.mlp", d, 0, 2, 256)
    t.add("y_embedder.embedding_table.weight", (classes, d), 0.5)
    for i in range(depth):
        name = f"blocks.{i}"
        t.layer(name + ".attn.qkv", 3 * d, d)
        t.layer(name + ".attn.proj", d, d)
        t.layer(name + ".mlp.fc1", 4 * d, d)
        t.layer(name + ".mlp.fc2", d, 4 * d)
        t.layer(name + ".adaLN_modulation.1", 6 * d, d)
    t.layer("final_layer.adaLN_modulation.1", 2 * d, d)
    t.layer("final_layer.linear", 32, d)
    return t


def pixart(tokens=120, micro=False, d=1152, depth=28):
    t = Tensors()
    t.conv("x_embedder.proj", d, 4, 2)
    mlp(t, "t_embedder.mlp", d, 0, 2, 256)
    t.layer("t_block.1", 6 * d, d)
    t.add("y_embedder.y_embedding", (tokens, 4096), 1 / 64)
    t.layer("y_embedder.y_proj.fc1", d, 4096)
    t.layer("y_embedder.y_proj.fc2", d, d)
    if micro:
        mlp(t, "csize_embedder.mlp", d // 3, 0, 2, 256)
        mlp(t, "ar_embedder.mlp", d // 3, 0, 2, 256)
    for i in range(depth):
        name = f"blocks.{i}"
        t.add(name + ".scale_shift_table", (6, d), 0.5)
        t.layer(name + ".attn.qkv", 3 * d, d)
        t.layer(name + ".attn.proj", d, d)
        t.layer(name + ".cross_attn.q_linear", d, d)
        t.layer(name + ".cross_attn.kv_linear", 2 * d, d)
        t.layer(name + ".cross_attn.proj", d, d)
        t.layer(name + ".mlp.fc1", 4 * d, d)
        t.layer(name + ".mlp.fc2", d, 4 * d)
    t.add("final_layer.scale_shift_table", (2, d), 0.5)
    t.layer("final_layer.linear", 32, d)
    return t


def mmdit(depth=24, positions=192, norms=False, dual=0):
    """dual: blocks that have a second attention."""
    t = Tensors()
    d = 64 * depth
    t.add("pos_embed", (1, positions * positions, d), 0.7)
    t.conv("x_embedder.proj", d, 16, 2)
    mlp(t, "t_embedder.mlp", d, 0, 2, 256)
    mlp(t, "y_embedder.mlp", d, 0, 2, 2048)
    t.layer("context_embedder", d, 4096)

    def attention(name, whole=True):
        t.layer(name + ".qkv", 3 * d, d)
        if norms:
            t.norm(name + ".ln_q", 64, bias=False)
            t.norm(name + ".ln_k", 64, bias=False)
        if whole:
            t.layer(name + ".proj", d, d)

    for i in range(depth):
        for stream in ("context_block", "x_block"):
            name = f"joint_blocks.{i}.{stream}"
            image = stream == "x_block"
            whole = image or i + 1 < depth
            second = image and i < dual
            attention(name + ".attn", whole)
            if second:
                attention(name + ".attn2")
            if whole:
                t.layer(name + ".mlp.fc1", 4 * d, d)
                t.layer(name + ".mlp.fc2", d, 4 * d)
            t.layer(name + ".adaLN_modulation.1", (9 if second else 6 if whole else 2) * d, d)
    t.layer("final_layer.adaLN_modulation.1", 2 * d, d)
    t.layer("final_layer.linear", 64, d)
    return t


def flux(double=19, single=38, guidance=True, d=3072, inputs=64):
    t = Tensors()
    t.layer("img_in", d, inputs)
    t.layer("txt_in", d, 4096)
    mlp(t, "time_in", d, "in_layer", "out_layer", 256)
    mlp(t, "vector_in", d, "in_layer", "out_layer", 768)
    if guidance:
        mlp(t, "guidance_in", d, "in_layer", "out_layer", 256)

    def norms(name):
        for part in ("query_norm", "key_norm"):
            t.add(f"{name}.{part}.scale", (128,), 0.1, 1.0)

    for i in range(double):
        for stream in ("img", "txt"):
            name = f"double_blocks.{i}.{stream}"
            t.layer(name + "_mod.lin", 6 * d, d)
            t.layer(name + "_attn.qkv", 3 * d, d)
            norms(name + "_attn.norm")
            t.layer(name + "_attn.proj", d, d)
            t.layer(name + "_mlp.0", 4 * d, d)
            t.layer(name + "_mlp.2", d, 4 * d)
    for i in range(single):
        name = f"single_blocks.{i}"
        t.layer(name + ".modulation.lin", 3 * d, d)
        t.layer(name + ".linear1", 7 * d, d)
        t.layer(name + ".linear2", d, 5 * d)
        norms(name + ".norm")
    t.layer("final_layer.adaLN_modulation.1", 2 * d, d)
    t.layer("final_layer.linear", 64, d)
    return t


# ---- their published parameter counts ----

SD15 = ([320, 640, 1280, 1280], [1, 1, 1, 0], 1, 768)
SDXL = ([320, 640, 1280], [0, 2, 10], 10, 2048, True, 2816)


def check_counts():
    """Fail where a list of tensors has not as many parameters as the network is known to have."""
    fixed = ("pos_embed", "y_embedder.y_embedding")
    for name, tensors, known in (
            ("SD 1.5", unet(*SD15), 859520964), ("SDXL", unet(*SDXL), 2567463684),
            ("autoencoder", vae(4, True), 83653863), ("autoencoder of 16 channels", vae(16, False), 83819683),
            ("CLIP L", clip(768, 12, 3072), 123060480), ("CLIP bigG", open_clip(1280, 32, 5120), 694659840),
            ("T5 XXL", t5(), 4762310656), ("DiT-XL/2", dit(), 674834720), ("PixArt", pixart(), 610856096),
            ("PixArt 1024", pixart(micro=True), 611349152), ("SD3 medium", mmdit(), 2028328000),
            ("SD3.5 medium", mmdit(24, 384, True, 13), 2243171520),
            ("SD3.5 large", mmdit(38, 192, True), 8056627520),
            ("FLUX.1 dev", flux(), 11901408320), ("FLUX.1 schnell", flux(guidance=False), 11891178560)):
        count = tensors.parameters(fixed)
        if count != known:
            raise SystemExit(f"{name} has {count} parameters and should have {known}")
