/* SPDX-License-Identifier: MIT */
/*
 * Layer 1: the contract between operators and backends. A backend is one constant table of these functions. Operators
 * check every argument before they call; kernels check nothing. Kernels never allocate, never fail, keep no state.
 *
 * Names: dqg_<op>_<inputs>_<output>_<isa>; legend in docs/kernels.md.
 *
 * Weights are cut into panels of DQG_PANEL output channels; the last one is padded with zeros. Inner layout:
 *
 *   int8 panel    [k / 4][16][4]: the four consecutive inputs of each of the 16 outputs, k a multiple of 8
 *   code panel    blocks of 32 inputs, 64 * bits bytes each: a plane of 4, 2 or 1 bits; then, for 3, 5 and 6 bits,
 *                 a plane of the 1 or 2 upper bits. A plane of w bits is [w][16][4] bytes: bits w t .. w t + w - 1
 *                 of byte (q, n, i) belong to output n, input (32 / w) q + 4 t + i
 *   group scales  F16 [k / group][n_padded], zero points u8 of the same shape: outputs are contiguous
 *
 * Pointers need the alignment of their type and no more, unless stated; sizes are in elements.
 */
#ifndef DQG_KERNEL_H
#define DQG_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "libdqgen.h" /* DQG_DTYPE_* */

enum {
    DQG_PANEL = 16,         /* output channels in a panel */
    DQG_BLOCK_PANELS = 4,   /* of outputs that a call of the float products takes */
    DQG_BLOCK_COLUMNS = 64, /* DQG_PANEL * DQG_BLOCK_PANELS */
    DQG_FEW_ROWS = 8        /* most rows of gemm_float_f32 and gemm_group_i32 */
};

/* What is applied to single results. Those with an exponential give NaN for -infinity. */
enum dqg_activation {
    DQG_ACT_NONE = 0,
    DQG_ACT_SILU = 1,       /* x / (1 + e^-x) */
    DQG_ACT_GELU_TANH = 2,  /* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
    DQG_ACT_GELU_ERF = 3,   /* x / 2 (1 + erf(x / sqrt(2))) */
    DQG_ACT_GELU_QUICK = 4, /* x / (1 + e^(-1.702 x)) */
    DQG_ACT_RELU = 5,       /* max(x, 0) */
    DQG_ACT_COUNT = 6
};

/*
 * How a block of results leaves the accumulators. One block lies within one sample, so gate is one row.
 *
 * A gated unit (GEGLU, SwiGLU) computes two results for each that leaves: the value in column n of the block, what the
 * activation is applied to in column n + glu_block. The scales, bias and addend of the latter are glu_offset away from
 * those of the former, which may be another distance and backwards.
 */
struct dqg_epilogue {
    const float *row_scale;    /* [rows]; integer input only */
    const float *column_scale; /* [columns]; integer input only */
    const float *bias;         /* [columns], or NULL */
    const float *addend;       /* [rows][ld_addend], or NULL: what another product adds, such as a low-rank branch */
    const float *gate;         /* [columns], or NULL for 1; used with residual */
    const float *residual;     /* [rows][ld_residual], or NULL */
    size_t ld_addend, ld_residual;
    size_t glu_block; /* 0: not a gated unit, and glu_offset is 0 too */
    ptrdiff_t glu_offset;
    enum dqg_activation activation;
};

/* What a norm does to a row after mean and variance; each pointer may be NULL, scale and shift together. */
struct dqg_norm_form {
    const float *weight, *bias; /* [n]: learned */
    const float *scale, *shift; /* [n]: modulation by another input */
    float eps;
    int rms; /* no mean is taken off */
};

/* A factor and an offset for each column: what is left of a group norm when its moments are known. */
struct dqg_affine {
    float *y;                     /* [rows][ldy], or NULL where the range alone is wanted */
    const float *x;               /* [rows][ldx] */
    const float *factor, *offset; /* [n] */
    size_t ldy, ldx, rows, n;
    enum dqg_activation activation;
};

/* Rotary position embedding of some rows: heads of width columns side by side, the same angles for all. */
struct dqg_rope {
    float *y;                   /* [rows][ldy] */
    const float *x;             /* [rows][ldx] */
    const float *cosine, *sine; /* [rows][ld_table], width / 2 of them */
    size_t ldy, ldx, ld_table;
    size_t rows, heads, width; /* width even */
    int neighbours;            /* pairs are columns 2 i and 2 i + 1 of a head, else i and i + width / 2 */
};

/* One head of one sample for a block of queries. */
struct dqg_attention {
    const float *q;     /* [queries][ld_q] */
    const float *k, *v; /* [keys][ld_k], [keys][ld_v]; the float kernel */
    const void *packed; /* what attention_pack_f32_i8 made of all keys; the integer kernel */
    float *out;         /* [queries][ld_out] */
    size_t ld_q, ld_k, ld_v, ld_out;
    size_t queries; /* at most DQG_ATTENTION_QUERIES */
    size_t keys;
    size_t width;      /* of a head; at most DQG_ATTENTION_WIDTH */
    float scale;       /* on q k^T */
    const float *bias; /* added to scaled scores, -infinity hides a key: [queries][ld_bias], or NULL */
    size_t ld_bias;    /* 0: all queries have the same row */
    size_t visible;    /* query i sees the first visible + i keys; 0: all see all */
    float *scratch;    /* DQG_ATTENTION_SCRATCH floats, 64-byte aligned */
};

enum {
    DQG_ATTENTION_QUERIES = 64,
    DQG_ATTENTION_KEYS = 64, /* keys in one block of the running softmax */
    DQG_ATTENTION_WIDTH = 512,
    DQG_ATTENTION_HEADER = 64, /* bytes before the blocks of packed keys and values */
    /* transposed queries and running output, scores, maxima and sums */
    DQG_ATTENTION_SCRATCH = DQG_ATTENTION_QUERIES * DQG_ATTENTION_WIDTH * 2 +
                            DQG_ATTENTION_QUERIES * DQG_ATTENTION_KEYS + DQG_ATTENTION_QUERIES * 4
};

/* The largest number in queries and keys of 16 bits: sums over a head's width fit int32. */
static inline float dqg_attention_limit(size_t width) {
    return width > 256 ? 2040.0f : 2880.0f;
}

/*
 * Keys and values of a head, packed: DQG_ATTENTION_HEADER bytes that begin with the scale of the keys, then for each
 * block of DQG_ATTENTION_KEYS keys, with wide = width rounded up to 16,
 *
 *   float   [wide]               scale of each channel's values in this block
 *   int8    [keys / 4][wide][4]  values: the four consecutive keys of each channel
 *   int16   [keys][wide]         keys, less their mean over all keys
 *
 * Channels and keys past the last are 0.
 */
static inline size_t dqg_attention_block_bytes(size_t width) {
    return (width + 15) / 16 * 16 * (sizeof(float) + DQG_ATTENTION_KEYS * (sizeof(int8_t) + sizeof(int16_t)));
}

static inline size_t dqg_attention_packed_bytes(size_t keys, size_t width) {
    size_t blocks = (keys + DQG_ATTENTION_KEYS - 1) / DQG_ATTENTION_KEYS;
    return DQG_ATTENTION_HEADER + blocks * dqg_attention_block_bytes(width);
}

/* One panel of stored weights, for the decoders; each says which members it reads. */
struct dqg_codes {
    const uint8_t *codes;   /* of this panel */
    int32_t bits;           /* of a code */
    const int8_t *levels;   /* what the codes stand for */
    const uint16_t *scales; /* F16 [groups][scale_stride], the panel's first */
    const uint8_t *zeros;   /* [groups][scale_stride], or NULL */
    size_t scale_stride;
    const float *inverse; /* [16] */
    size_t k, group;      /* multiples of 32; the last group may be cut short by k */
};

/*
 * A panel of stored weights to an int8 panel with one scale for each output. Where there are group scales, the ratio of
 * group scale to output scale is an integer in steps of 1 / 128:
 *
 *   r(g, n) = (int16) round_to_nearest_even(float(scales[g][n]) * inverse[n])      0 <= r <= 16256
 *
 * With inverse[n] = 128 / output_scale[n] and output_scale at least (largest group scale) * (largest |level|) / 127,
 * results lie in -127..127. Defined for all inputs: r is held in its range and 0 for NaN, results are modulo 256.
 */
typedef void dqg_decode_i8_fn(int8_t *panel, const struct dqg_codes *codes);

/*
 * Codes of 2 to 6 bits: out = (level * 256 * r + 16384) >> 15, an arithmetic shift, where level is levels[code] (16
 * entries; for 4 bits only), or code - zero as a signed byte where levels is NULL; zero is zeros[g][n], or 2^(bits - 1)
 * where zeros is NULL. zeros is not read where levels is given.
 */
typedef dqg_decode_i8_fn dqg_decode_group_i8_fn;

/*
 * bits = 1 or 2 bases of signs: bit b of a code is the sign of base b, 1 for plus. Scales are [groups][bits]
 * [scale_stride]. out = (sum of +-r over the bases + 64) >> 7.
 */
typedef dqg_decode_i8_fn dqg_decode_sign_i8_fn;

/*
 * 8-bit floats: codes are bytes in the order of the int8 panel, a sign and 7 bits of magnitude m; k a multiple of 8.
 * out = +-levels[m - DQG_F8_FIRST], and 0 for smaller m. levels has 128 - DQG_F8_FIRST entries.
 */
enum { DQG_F8_FIRST = 48 }; /* magnitudes below are less than 1/256 of the largest */
typedef dqg_decode_i8_fn dqg_decode_f8_i8_fn;

/*
 * Vectors from a codebook: a byte for d = 8 / bits inputs of an output, [k / d][16] where d is 4, [k / 4][16][2] where
 * it is 2: the order of the int8 panel. levels is the codebook, [256][d]; k a multiple of 8.
 */
typedef dqg_decode_i8_fn dqg_decode_vector_i8_fn;

/*
 * c[m][n] = sum over i of a[m][i] * w[n][i], exact. Row m of a is made of runs of k values: run t begins at
 * a + row[m] + run[t], and the depth is runs * k. A matrix is one run; a convolution has one for each tap of its
 * window.
 */
struct dqg_gemm_i8 {
    int32_t *c;
    size_t ldc;
    const int8_t *a;     /* -127..127 */
    const size_t *row;   /* [rows] */
    const size_t *run;   /* [runs]; run[0] is 0 where runs is 1 */
    const int8_t *w;     /* panels of -127..127, panel_stride bytes apart */
    const int32_t *sums; /* [panels][DQG_PANEL]: of the weights of each output */
    size_t panel_stride;
    size_t rows, panels; /* at least 1 */
    size_t runs, k;      /* k a multiple of 8; runs * k at most 131072, so that sums fit int32 */
};
typedef void dqg_gemm_i8_i32_fn(const struct dqg_gemm_i8 *args);

/*
 * gemm_i8_i32 of one panel with few rows, at most DQG_FEW_ROWS, straight from the codes of decode_group_i8 and with the
 * same results as through its panel: w, panel_stride and panels of args are not read, runs is 1. What few rows wait for
 * is memory, so nothing is written in between.
 */
typedef void dqg_gemm_group_i32_fn(const struct dqg_gemm_i8 *args, const struct dqg_codes *codes);

/* sums[n] = sum over k of w[n][k], of one panel. */
typedef void dqg_sum_i8_i32_fn(int32_t *sums, const int8_t *w, size_t k);

/*
 * c[m][n] = sum over k of a[m][k] * b[k][n], added to what c holds where add is set; columns a multiple of 16, at most
 * DQG_BLOCK_COLUMNS. Each result is a sum in order of k, whatever rows is, and cutting k into calls that add gives the
 * same bits.
 */
typedef void dqg_gemm_f32_fn(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t rows,
                             size_t columns, size_t k, int add);

/*
 * b[k][n] = float(w[n][k]) for n < outputs, 0 for outputs <= n < columns. w is row-major with ldw elements a row, dtype
 * DQG_DTYPE_F32, F16 or BF16; columns a multiple of 16.
 */
typedef void dqg_decode_float_f32_fn(float *b, size_t ldb, const void *w, size_t ldw, int32_t dtype, size_t outputs,
                                     size_t columns, size_t k);

/*
 * c[m][n] = sum over k of a[m][k] * float(w[n][k]) for n < outputs, 0 for outputs <= n < columns: decode_float_f32 and
 * gemm_f32 in one, with the same bits, for rows 1..DQG_FEW_ROWS. For them the time to read w counts, and nothing else.
 */
typedef void dqg_gemm_float_f32_fn(float *c, size_t ldc, const float *a, size_t lda, const void *w, size_t ldw,
                                   int32_t dtype, size_t rows, size_t outputs, size_t columns, size_t k);

/*
 * Products of bfloat16. Two values of consecutive inputs share 32 bits, the first in the low half; after an odd number
 * of inputs comes a zero. Floats are rounded to nearest, half to even; subnormal ones become zero.
 *
 * round:  k floats of each row to (k + 1) / 2 pairs; ldy counts pairs
 * decode: decode_float_f32 with pairs of rows of b; BF16 is taken as it is
 * gemm:   c[m][n] = sum over pairs of both products, added to what c holds where add is set. Products are exact, sums
 *         are floats; how a pair is rounded, and whether subnormal factors and sums count as zero, depends on the
 *         backend. The same order whatever rows is, and sums cut into calls that add give the same bits.
 */
typedef void dqg_round_f32_bf16_fn(uint32_t *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t k);
typedef void dqg_decode_float_bf16_fn(uint32_t *b, size_t ldb, const void *w, size_t ldw, int32_t dtype, size_t outputs,
                                      size_t columns, size_t k);
typedef void dqg_gemm_bf16_f32_fn(float *c, size_t ldc, const uint32_t *a, size_t lda, const uint32_t *b, size_t ldb,
                                  size_t rows, size_t columns, size_t pairs, int add);

/*
 * z = c * row_scale * column_scale + bias + addend; y = activation(z), or value z * activation(gate z) of a gated unit;
 * out = y, or residual + gate * y. Any number of columns. out may be residual. The float form has no scales.
 */
typedef void dqg_epilogue_i32_f32_fn(float *out, size_t ld_out, const int32_t *c, size_t ldc, size_t rows,
                                     size_t columns, const struct dqg_epilogue *epilogue);
typedef void dqg_epilogue_f32_f32_fn(float *out, size_t ld_out, const float *c, size_t ldc, size_t rows, size_t columns,
                                     const struct dqg_epilogue *epilogue);

/*
 * Each row to int8: scale = max|x| / 127, q = round_to_nearest_even(x * (127 / max|x|)), in float; a row whose maximum
 * is 0 or not finite-positive (NaN counts as larger than infinity), or so small that 127 / max|x| overflows, gives
 * scale 0 and zeros. Columns k..k_padded-1 are set to 0.
 */
typedef void dqg_quantize_f32_i8_fn(int8_t *q, size_t ldq, float *scale, const float *x, size_t ldx, size_t rows,
                                    size_t k, size_t k_padded);

/* range[0] = min(0, x[0], x[1], ...), range[1] = max(0, x[0], x[1], ...), never -0; -infinity and infinity where any
 * value is not finite. */
typedef void dqg_range_f32_fn(float range[2], const float *x, size_t n);

/* q = round_to_nearest_even(x * inverse) + zero, which the caller knows to lie in -127..127. Columns k..k_padded-1 are
 * set to zero, the code of 0.0f. */
typedef void dqg_offset_f32_i8_fn(int8_t *q, size_t ldq, const float *x, size_t ldx, size_t rows, size_t k,
                                  size_t k_padded, float inverse, int32_t zero);

/* y = ((x - mean) / sqrt(var + eps) * weight + bias) * (1 + scale) + shift for each row; rms takes the mean as 0. Any
 * stride: the heads of packed rows are rows too. y may be x. */
typedef void dqg_norm_f32_f32_fn(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t n,
                                 const struct dqg_norm_form *form);

/* The same and quantize_f32_i8 of its result, bit for bit. scratch holds DQG_NORM_ROWS * n floats. */
enum { DQG_NORM_ROWS = 4 };
typedef void dqg_norm_f32_i8_fn(int8_t *q, size_t ldq, float *row_scale, const float *x, size_t ldx, size_t rows,
                                size_t n, size_t n_padded, const struct dqg_norm_form *form, float *scratch);

/*
 * For each group of width channels: mean over pixels and channels, and the sum of squared differences from it;
 * moments is [groups][2]. x is [pixels][ldx]; scratch holds 2 * groups * width floats.
 */
typedef void dqg_moments_f32_fn(float *moments, const float *x, size_t ldx, size_t pixels, size_t groups, size_t width,
                                float *scratch);

/*
 * y = activation(x * factor + offset). range[0] = min(0, smallest y), range[1] = max(0, largest y), never -0; -infinity
 * and infinity where any y is not finite. y may be x.
 */
typedef void dqg_affine_f32_f32_fn(float range[2], const struct dqg_affine *affine);

/* y = value * activation(gate), n elements; y may be value or gate. */
typedef void dqg_glu_f32_f32_fn(float *y, const float *value, const float *gate, size_t n,
                                enum dqg_activation activation);

/* y = a + b * factor, n elements; y may be a or b. */
typedef void dqg_add_f32_fn(float *y, const float *a, const float *b, size_t n, float factor);

/* y = e^(scale * (x - max)) / (its sum) for each row; y may be x, scale > 0. */
typedef void dqg_softmax_f32_f32_fn(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t n,
                                    float scale);

/* Rotates pairs of columns: (a, b) becomes (a cos - b sin, b cos + a sin). y may be x. */
typedef void dqg_rope_f32_f32_fn(const struct dqg_rope *rope);

/* out = softmax(q k^T * scale + bias) v with a running softmax over blocks of keys; zeros for a query that sees no key.
 * A bias is a number or -infinity. */
typedef void dqg_attention_f32_f32_fn(const struct dqg_attention *attention);

/*
 * The same on packed keys and values. Scores are sums of 16-bit products, exact; probabilities are rounded to 0..255
 * for the largest of each block of keys, and their products with int8 values are exact too.
 */
typedef void dqg_attention_i8_f32_fn(const struct dqg_attention *attention);

/*
 * Pack k and v [keys][ld] for attention_i8_f32. Keys have one scale, values one for each block and channel:
 *
 *   scale = max|x| / limit, q = round_to_nearest_even(x * (limit / max|x|))
 *
 * with limit = 127 for values, dqg_attention_limit() for keys. Where max|x| is 0 or not a number, or limit / max|x|
 * is, scale and q are 0. packed is 64-byte aligned.
 */
typedef void dqg_attention_pack_f32_i8_fn(void *packed, const float *k, size_t ld_k, const float *v, size_t ld_v,
                                          size_t keys, size_t width);

/*
 * 4 * blocks standard normals. Block i is made from Philox4x32-10 of the key seed (its lower half first) and the
 * counter (lower half of first + i, upper half, stream, use): draws a, b give sqrt(-2 ln u) cos(2 pi v) and the same of
 * the sine, with u = (a + 1/2) / 2^32 and v = (b + 1/2) / 2^32; then draws c, d. No value is larger than 6.77.
 */
typedef void dqg_normal_f32_fn(float *out, uint64_t seed, uint32_t stream, uint32_t use, uint64_t first, size_t blocks);

/*
 * How well scales fit n numbers, a multiple of DQG_FIT_PARTS, rounded to integers: DQG_FIT_SCALES scales at a time.
 *
 *   code = round_to_nearest_even(clamp(x / scale, low, high))     by the reciprocal; 0 where the scale is 0
 *   errors[0] = sum (x - code scale)^2
 *   scales[1] = sum x code / sum code^2, the best for these codes; scales[0] where a sum is not positive
 *   errors[1] = the error of codes that are rounded anew with scales[1]
 *
 * half: scales are rounded to F16 first, those of scales[0] in place; scales are at least 0 and below 65504. low and
 * high are integers below 2^22. A sum over i is one of DQG_FIT_PARTS sums over i = part, part + DQG_FIT_PARTS, ... each
 * in that order, added in the order of parts.
 */
enum { DQG_FIT_PARTS = 16, DQG_FIT_SCALES = 16 };
struct dqg_scale_fit {
    float scales[2][DQG_FIT_SCALES];
    float low[DQG_FIT_SCALES], high[DQG_FIT_SCALES];
    float errors[2][DQG_FIT_SCALES];
    int half;
};
typedef void dqg_fit_scales_f32_fn(struct dqg_scale_fit *fit, const float *x, size_t n);

/* y = activation(x), n elements; y may be x. */
typedef void dqg_activate_f32_f32_fn(float *y, const float *x, size_t n, enum dqg_activation activation);

/*
 * The most that the instructions of gemm_i8_i32, gemm_f32 and gemm_bf16_f32 reach without memory: independent sums in
 * registers, so many rounds of them. Returns the multiplications and additions done, in proportion to rounds.
 * Benchmarks compare with it.
 */
typedef uint64_t dqg_ceiling_i8_fn(uint64_t rounds);
typedef uint64_t dqg_ceiling_f32_fn(uint64_t rounds);
typedef uint64_t dqg_ceiling_bf16_fn(uint64_t rounds); /* where gemm_bf16_f32 multiplies floats, ceiling_f32 */

/* One backend. */
struct dqg_kernels {
    const char *name;
    size_t int8_attention_keys; /* from so many keys on attention_i8_f32 is the faster one; 0: never */
    size_t few_rows;            /* up to so many rows gemm_group_i32 is the faster one; 0: never */
    int portable; /* written for no CPU in particular: BLIS, where it is built in, multiplies floats faster */
#define DQG_KERNEL(op, tolerance) dqg_##op##_fn *op;
#include "kernel/kernel_list.inc"
#undef DQG_KERNEL
};

/* The best backend of this CPU and build, one by name, or the index-th that can run (best first); NULL where none. */
const struct dqg_kernels *dqg_kernels_best(void);
const struct dqg_kernels *dqg_kernels_find(const char *name, int *known);
const struct dqg_kernels *dqg_kernels_at(int32_t index);

/* count normals of a stream from position first on (counter word use is 0); however it is cut, the same. */
void dqg_kernels_normal(const struct dqg_kernels *kernels, uint64_t seed, uint32_t stream, uint64_t first, float *out,
                        size_t count);

/* dqg_rng_path() with these kernels. */
void dqg_kernels_path(const struct dqg_kernels *kernels, uint64_t seed, double from, double to, uint64_t first,
                      float *out, size_t count);

#endif
