/* SPDX-License-Identifier: MIT */
/*
 * The shapes that dqgen bench measures: layers of published networks. Products: outputs x inputs of the weights; rows
 * are 256, 1024 and 4096 (tokens of 256, 512 and 1024 pixel pictures in most) unless the shape names its own.
 */
#include "bench_ops.h"

static const struct op_shape matmul[] = {
    {"dit-xl", "qkv", 0, 0, 3456, 1152},        {"dit-xl", "proj", 0, 0, 1152, 1152},
    {"dit-xl", "fc1", 0, 0, 4608, 1152},        {"dit-xl", "fc2", 0, 0, 1152, 4608},
    {"sd15", "attn 320", 0, 0, 320, 320},       {"sd15", "ff in 320", 0, 0, 2560, 320},
    {"sd15", "ff out 320", 0, 0, 320, 1280},    {"sd15", "attn 640", 0, 0, 640, 640},
    {"sd15", "ff in 640", 0, 0, 5120, 640},     {"sd15", "ff out 640", 0, 0, 640, 2560},
    {"sd15", "attn 1280", 0, 0, 1280, 1280},    {"sd15", "ff in 1280", 0, 0, 10240, 1280},
    {"sd15", "ff out 1280", 0, 0, 1280, 5120},  {"sd15", "text kv 320", 0, 77, 320, 768},
    {"sd15", "text kv 1280", 0, 77, 1280, 768}, {"sdxl", "attn 640", 0, 0, 640, 640},
    {"sdxl", "ff in 640", 0, 0, 5120, 640},     {"sdxl", "ff out 640", 0, 0, 640, 2560},
    {"sdxl", "attn 1280", 0, 0, 1280, 1280},    {"sdxl", "ff in 1280", 0, 0, 10240, 1280},
    {"sdxl", "ff out 1280", 0, 0, 1280, 5120},  {"sdxl", "text kv 1280", 0, 77, 1280, 2048},
    {"sd3", "qkv", 0, 0, 4608, 1536},           {"sd3", "proj", 0, 0, 1536, 1536},
    {"sd3", "fc1", 0, 0, 6144, 1536},           {"sd3", "fc2", 0, 0, 1536, 6144},
    {"flux", "qkv", 0, 0, 9216, 3072},          {"flux", "proj", 0, 0, 3072, 3072},
    {"flux", "fc1", 0, 0, 12288, 3072},         {"flux", "fc2", 0, 0, 3072, 12288},
    {"flux", "single in", 0, 0, 21504, 3072},   {"flux", "single out", 0, 0, 3072, 15360},
    {"modulation", "dit-xl", 0, 1, 6912, 1152}, /* one row for a picture: bound by reading the weights */
    {"modulation", "sd3", 0, 1, 9216, 1536},    {"modulation", "flux", 0, 1, 18432, 3072},
};

/* height and width, outputs, channels */
static const struct op_shape conv[] = {
    {"sd15", "64x64", 0, 64, 320, 320},     {"sd15", "32x32", 0, 32, 640, 640},   {"sd15", "16x16", 0, 16, 1280, 1280},
    {"sd15", "8x8", 0, 8, 1280, 1280},      {"sd15", "64x64 up", 0, 64, 320, 960}, {"vae", "64x64", 0, 64, 512, 512},
    {"vae", "128x128", 0, 128, 512, 512},   {"vae", "256x256", 0, 256, 256, 512}, {"vae", "512x512", 0, 512, 128, 256},
    {"vae", "512x512 last", 0, 512, 128, 128},
};

/* heads, tokens, width of a head */
static const struct op_shape attention[] = {
    {"sd15", "64x64", 8, 4096, 0, 40},  {"sd15", "32x32", 8, 1024, 0, 80}, {"dit-xl", "256", 16, 256, 0, 72},
    {"sdxl", "64x64", 10, 4096, 0, 64}, {"sd3", "512", 24, 1101, 0, 64},   {"flux", "512", 24, 1024, 0, 128},
};

/* rows and columns */
static const struct op_shape rows[] = {
    {"dit-xl", "tokens", 0, 256, 0, 1152},
    {"sd15", "tokens", 0, 4096, 0, 320},
    {"sd3", "tokens", 0, 1024, 0, 1536},
    {"flux", "tokens", 0, 1024, 0, 3072},
};

static const struct op_shape decode[] = {
    {"dit-xl", "fc1", 0, 0, 4608, 1152},
    {"sd15", "ff in 1280", 0, 0, 10240, 1280},
    {"flux", "fc2", 0, 0, 3072, 12288},
};

static const struct op_shape none[] = {{"", "", 0, 0, 0, 0}};

#define SHAPES(list, first) list, COUNT_OF(list), first

const struct op_kind op_kinds[] = {
    {"matmul", "Measures products of rows with weights in a storage format.", DQG_MEASURE_LINEAR, true, "OP",
     SHAPES(matmul, "dit-xl")},
    {"conv", "Measures 3 x 3 convolutions of square images: height, outputs, channels.", DQG_MEASURE_CONV, true, "OP",
     SHAPES(conv, "all")},
    {"attention", "Measures self-attention.", DQG_MEASURE_ATTENTION, false, "OP", SHAPES(attention, "all")},
    {"norm", "Measures layer norm with modulation, to int8.", DQG_MEASURE_NORM, false, "element", SHAPES(rows, "all")},
    {"quantize", "Measures the conversion of rows from float to int8.", DQG_MEASURE_QUANTIZE, false, "element",
     SHAPES(rows, "all")},
    {"decode", "Measures the decoding of weights to int8.", DQG_MEASURE_DECODE, true, "weight", SHAPES(decode, "all")},
    {"ceiling", "Measures int8 multiply-adds on registers alone.", DQG_MEASURE_CEILING_I8, false, "OP",
     SHAPES(none, "all")},
    {"ceiling-f32", "Measures float multiply-adds on registers alone.", DQG_MEASURE_CEILING_F32, false, "OP",
     SHAPES(none, "all")},
    {"bandwidth", "Measures reading of memory.", DQG_MEASURE_BANDWIDTH, false, "B", SHAPES(none, "all")},
};
const size_t op_kind_count = COUNT_OF(op_kinds);
