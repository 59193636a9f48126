/* SPDX-License-Identifier: MIT */
/*
 * The shapes that dqgen bench measures: layers of published networks. Products: outputs x inputs of the weights; rows
 * are 256, 1024 and 4096 (tokens of 256, 512 and 1024 pixel pictures in most) unless the shape names its own.
 */
#include "bench_ops.h"

#define PRODUCT(of, part, m, n, k) {.network = of, .name = part, .rows = m, .outputs = n, .inputs = k}

/* Modulation is one row for a picture: bound by reading the weights. */
static const struct op_shape matmul[] = {
    PRODUCT("dit-xl", "qkv", 0, 3456, 1152),         PRODUCT("dit-xl", "proj", 0, 1152, 1152),
    PRODUCT("dit-xl", "fc1", 0, 4608, 1152),         PRODUCT("dit-xl", "fc2", 0, 1152, 4608),
    PRODUCT("sd15", "attn 320", 0, 320, 320),        PRODUCT("sd15", "ff in 320", 0, 2560, 320),
    PRODUCT("sd15", "ff out 320", 0, 320, 1280),     PRODUCT("sd15", "attn 640", 0, 640, 640),
    PRODUCT("sd15", "ff in 640", 0, 5120, 640),      PRODUCT("sd15", "ff out 640", 0, 640, 2560),
    PRODUCT("sd15", "attn 1280", 0, 1280, 1280),     PRODUCT("sd15", "ff in 1280", 0, 10240, 1280),
    PRODUCT("sd15", "ff out 1280", 0, 1280, 5120),   PRODUCT("sd15", "text kv 320", 77, 320, 768),
    PRODUCT("sd15", "text kv 1280", 77, 1280, 768),  PRODUCT("sdxl", "attn 640", 0, 640, 640),
    PRODUCT("sdxl", "ff in 640", 0, 5120, 640),      PRODUCT("sdxl", "ff out 640", 0, 640, 2560),
    PRODUCT("sdxl", "attn 1280", 0, 1280, 1280),     PRODUCT("sdxl", "ff in 1280", 0, 10240, 1280),
    PRODUCT("sdxl", "ff out 1280", 0, 1280, 5120),   PRODUCT("sdxl", "text kv 1280", 77, 1280, 2048),
    PRODUCT("sd3", "qkv", 0, 4608, 1536),            PRODUCT("sd3", "proj", 0, 1536, 1536),
    PRODUCT("sd3", "fc1", 0, 6144, 1536),            PRODUCT("sd3", "fc2", 0, 1536, 6144),
    PRODUCT("flux", "qkv", 0, 9216, 3072),           PRODUCT("flux", "proj", 0, 3072, 3072),
    PRODUCT("flux", "fc1", 0, 12288, 3072),          PRODUCT("flux", "fc2", 0, 3072, 12288),
    PRODUCT("flux", "single in", 0, 21504, 3072),    PRODUCT("flux", "single out", 0, 3072, 15360),
    PRODUCT("modulation", "dit-xl", 1, 6912, 1152),  PRODUCT("modulation", "sd3", 1, 9216, 1536),
    PRODUCT("modulation", "flux", 1, 18432, 3072),
};

/* depth, height and width of the result, outputs, channels, window, stride, doubled before */
#define CONV(of, part, layers, side, n, k, window, step, twice)                                                        \
    {.network = of, .name = part, .outputs = n, .inputs = k, .depth = layers, .height = side, .width = side,           \
     .kernel = window, .stride = step, .upsample = twice}

static const struct op_shape conv[] = {
    CONV("sd15", "64x64", 1, 64, 320, 320, 3, 1, false),
    CONV("sd15", "32x32", 1, 32, 640, 640, 3, 1, false),
    CONV("sd15", "16x16", 1, 16, 1280, 1280, 3, 1, false),
    CONV("sd15", "8x8", 1, 8, 1280, 1280, 3, 1, false),
    CONV("sd15", "64x64 up", 1, 64, 320, 960, 3, 1, false),
    CONV("vae", "64x64", 1, 64, 512, 512, 3, 1, false),
    CONV("vae", "128x128", 1, 128, 512, 512, 3, 1, false),
    CONV("vae", "256x256", 1, 256, 256, 512, 3, 1, false),
    CONV("vae", "512x512", 1, 512, 128, 256, 3, 1, false),
    CONV("vae", "512x512 last", 1, 512, 128, 128, 3, 1, false),
    CONV("other", "first", 1, 64, 320, 4, 3, 1, false),
    CONV("other", "stride 2", 1, 32, 320, 320, 3, 2, false),
    CONV("other", "doubled", 1, 64, 640, 640, 3, 1, true),
    CONV("other", "vae doubled", 1, 256, 512, 512, 3, 1, true),
    CONV("other", "1 x 1", 1, 64, 320, 640, 1, 1, false),
    CONV("other", "volume", 8, 32, 256, 256, 3, 1, false),
};

/* heads, queries, keys where they are not those of the queries' own tokens, width of a head */
#define HEADS(of, part, count, m, others, k)                                                                           \
    {.network = of, .name = part, .heads = count, .rows = m, .keys = others, .inputs = k}

static const struct op_shape attention[] = {
    HEADS("sd15", "64x64", 8, 4096, 0, 40),  HEADS("sd15", "32x32", 8, 1024, 0, 80),
    HEADS("sd15", "text", 8, 4096, 77, 40),  HEADS("dit-xl", "256", 16, 256, 0, 72),
    HEADS("sdxl", "64x64", 10, 4096, 0, 64), HEADS("sdxl", "text", 10, 4096, 77, 64),
    HEADS("sd3", "512", 24, 1101, 0, 64),    HEADS("flux", "512", 24, 1024, 0, 128),
};

/* rows and columns */
static const struct op_shape rows[] = {
    PRODUCT("dit-xl", "tokens", 256, 0, 1152), PRODUCT("sd15", "tokens", 4096, 0, 320),
    PRODUCT("sd3", "tokens", 1024, 0, 1536),   PRODUCT("flux", "tokens", 1024, 0, 3072),
};

/* pixels and channels */
static const struct op_shape pixels[] = {
    PRODUCT("sd15", "64x64", 4096, 0, 320),   PRODUCT("sd15", "32x32", 1024, 0, 640),
    PRODUCT("vae", "64x64", 4096, 0, 512),    PRODUCT("vae", "256x256", 65536, 0, 256),
};

static const struct op_shape decode[] = {
    PRODUCT("dit-xl", "fc1", 0, 4608, 1152),       PRODUCT("sd15", "ff in 1280", 0, 10240, 1280),
    PRODUCT("flux", "fc2", 0, 3072, 12288),
};

static const struct op_shape none[] = {{.network = "", .name = ""}};

#define SHAPES(list, first) list, COUNT_OF(list), first

const struct op_kind op_kinds[] = {
    {"matmul", "Measures products of rows with weights in a storage format.", DQG_MEASURE_LINEAR, true, "OP",
     SHAPES(matmul, "dit-xl")},
    {"conv", "Measures convolutions, with the conversion of their input to int8.", DQG_MEASURE_CONV, true, "OP",
     SHAPES(conv, "sd15,vae")},
    {"attention", "Measures attention.", DQG_MEASURE_ATTENTION, false, "OP", SHAPES(attention, "all")},
    {"norm", "Measures layer norm with modulation, to int8.", DQG_MEASURE_NORM, false, "element", SHAPES(rows, "all")},
    {"rms-norm", "Measures RMS norm with learned weights, to int8.", DQG_MEASURE_RMS_NORM, false, "element",
     SHAPES(rows, "all")},
    {"group-norm", "Measures group norm with SiLU, to floats.", DQG_MEASURE_GROUP_NORM, false, "element",
     SHAPES(pixels, "all")},
    {"quantize", "Measures the conversion of rows from float to int8.", DQG_MEASURE_QUANTIZE, false, "element",
     SHAPES(rows, "all")},
    {"decode", "Measures the decoding of weights to int8.", DQG_MEASURE_DECODE, true, "weight", SHAPES(decode, "all")},
    {"ceiling", "Measures int8 multiply-adds on registers alone.", DQG_MEASURE_CEILING_I8, false, "OP",
     SHAPES(none, "all")},
    {"ceiling-f32", "Measures float multiply-adds on registers alone.", DQG_MEASURE_CEILING_F32, false, "OP",
     SHAPES(none, "all")},
    {"ceiling-bf16", "Measures bfloat16 multiply-adds on registers alone.", DQG_MEASURE_CEILING_BF16, false, "OP",
     SHAPES(none, "all")},
    {"bandwidth", "Measures reading of memory.", DQG_MEASURE_BANDWIDTH, false, "B", SHAPES(none, "all")},
};
const size_t op_kind_count = COUNT_OF(op_kinds);
