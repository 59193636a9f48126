/* SPDX-License-Identifier: MIT */
/*
 * Decoders of GGUF blocks: blocks of 32 as the reference quantizer makes them, which is written down here for this
 * purpose, and recorded results of the reference decoder for the others.
 */
#include <math.h>

#include "check.h"

#include "file_builder.h"
#include "io/stored_tensor.h"
#include "tensor/half.h"

/* ---- the reference quantizer for blocks of 32 ---- */

static void put_half(struct builder *block, float value) {
    put_number(block, dqg_f32_to_f16(value), 2);
}

/* Nibbles, the lower half of the block in the low ones; fifth bits first. */
static void put_codes(struct builder *block, const int q[32], bool fifth) {
    uint32_t high = 0;
    for (int i = 0; i < 32; i++) {
        high |= (uint32_t)(q[i] >> 4) << i;
    }
    if (fifth) {
        put_number(block, high, 4);
    }
    for (int i = 0; i < 16; i++) {
        put_number(block, (uint64_t)((q[i] & 15) | (q[i + 16] & 15) << 4), 1);
    }
}

/* Codes around levels / 2; the value of largest magnitude becomes code 0. */
static void encode_symmetric(struct builder *block, const float x[32], int levels) {
    float most = 0;
    int q[32];
    for (int i = 0; i < 32; i++) {
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
    }
    float d = most / (float)(-levels / 2), inverse = d != 0 ? 1.0f / d : 0;
    for (int i = 0; i < 32; i++) {
        int code = (int)(x[i] * inverse + (float)(levels / 2) + 0.5f);
        q[i] = code < levels - 1 ? code : levels - 1;
    }
    put_half(block, d);
    put_codes(block, q, levels > 16);
}

static void encode_affine(struct builder *block, const float x[32], int levels) {
    float low = x[0], high = x[0];
    int q[32];
    for (int i = 0; i < 32; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    float d = (high - low) / (float)(levels - 1), inverse = d != 0 ? 1.0f / d : 0;
    for (int i = 0; i < 32; i++) {
        int code = (int)((x[i] - low) * inverse + 0.5f);
        q[i] = code < levels - 1 ? code : levels - 1;
    }
    put_half(block, d);
    put_half(block, low);
    put_codes(block, q, levels > 16);
}

static void encode_bytes(struct builder *block, const float x[32]) {
    float most = 0;
    for (int i = 0; i < 32; i++) {
        most = fmaxf(most, fabsf(x[i]));
    }
    float d = most / 127, inverse = d != 0 ? 1.0f / d : 0;
    put_half(block, d);
    for (int i = 0; i < 32; i++) {
        put_number(block, (uint8_t)(int8_t)roundf(x[i] * inverse), 1);
    }
}

static void blocks_of_32_are_those_of_the_reference(void **state) {
    static const struct {
        uint32_t type;
        int levels;
        bool affine;
        const char *block;
        double sum;
    } types[] = {
        {2, 16, false, "80b47e6d6d5c5c4c4b4b3a3a292918180807", 10.125},
        {3, 16, true, "223480be80809191a2a2b3b3c4c4d5d5e6e6f7f7", 9.9921875},
        {6, 32, false, "80b0ff3f0000dccbcab9a89786756454434231201f0e", 9.84375},
        {7, 32, true, "003080be0000ffff00112233445566778899aabbccddeeff", 10},
        {8, 0, false, "8924a4abb2b9c0c8cfd6dde4ebf2f900070e151c232a313840474e555c636a71787f", 10.0092316},
    };
    float x[32], decoded[32];
    (void)state;
    for (int i = 0; i < 32; i++) {
        x[i] = (float)(i - 13) * 0.125f;
    }
    for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        struct builder made = {.size = 0}, want = {.size = 0};
        const struct dqg_encoding *encoding = dqg_gguf_encoding(types[t].type);
        double sum = 0;
        if (types[t].levels == 0) {
            encode_bytes(&made, x);
        } else if (types[t].affine) {
            encode_affine(&made, x, types[t].levels);
        } else {
            encode_symmetric(&made, x, types[t].levels);
        }
        put_hex(&want, types[t].block);
        assert_int_equal(want.size, encoding->bytes);
        assert_int_equal(made.size, want.size);
        assert_memory_equal(made.bytes, want.bytes, want.size);
        encoding->decode(decoded, want.bytes, 1);
        for (int i = 0; i < 32; i++) {
            sum += (double)decoded[i];
            assert_true(fabsf(decoded[i] - x[i]) < 0.2f);
        }
        assert_true(fabs(sum - types[t].sum) < 1e-6 * types[t].sum);
    }
}

/* Bytes (37 k + 11) mod 256, with 0x2266 for d and 0x211f for dmin, in two blocks. */
static void others_are_those_of_the_reference(void **state) {
    static const struct {
        uint32_t type;
        int d, dmin; /* where they are, or -1 */
        double sum, squares;
        float first[4];
        int at[2];
        float other[2];
    } types[] = {
        {10,
         80,
         82,
         19.4250641,
         7.64447887,
         {0.412399f, 0, 0.137466f, 0.274933f},
         {128, 255},
         {0.0824661f, 0.0449753f}},
        {11,
         108,
         -1,
         11.9720764,
         88.816929,
         {1.012253f, -1.349670f, 0.337418f, -0.674835f},
         {128, 255},
         {0.0249939f, 0.524872f}},
        {12,
         0,
         2,
         648.622925,
         3615.11357,
         {3.751350f, -0.510109f, 1.426918f, 3.363945f},
         {128, 255},
         {5.241165f, 0.474724f}},
        {13,
         0,
         2,
         1420.6344,
         15709.8244,
         {9.949837f, -0.510109f, 7.625404f, 3.363945f},
         {128, 255},
         {13.039261f, 1.224541f}},
        {14,
         208,
         -1,
         57.6359253,
         74010.7643,
         {-17.883133f, 21.194824f, 7.285721f, -6.623383f},
         {128, 255},
         {-4.386429f, -0.749817f}},
        {20,
         0,
         -1,
         -3.2117157,
         20.9730368,
         {-0.437393f, 0.312424f, 1.412155f, -0.612350f},
         {16, 31},
         {-0.437393f, 0.0124969f}},
        {23,
         0,
         -1,
         -137.528915,
         37948.863,
         {0.812302f, -0.0124969f, -0.862289f, 1.037247f},
         {128, 255},
         {-7.310715f, -0.199951f}},
    };
    (void)state;
    for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        const struct dqg_encoding *encoding = dqg_gguf_encoding(types[t].type);
        uint8_t blocks[2][256];
        float x[2 * 256];
        double sum = 0, squares = 0;
        for (int k = 0; k < 512; k++) {
            blocks[k / 256][k % 256] = (uint8_t)(37 * (k % 256) + 11);
        }
        for (int b = 0; b < 2; b++) {
            memcpy(blocks[b] + types[t].d, "\x66\x22", 2);
            if (types[t].dmin >= 0) {
                memcpy(blocks[b] + types[t].dmin, "\x1f\x21", 2);
            }
        }
        memmove(blocks[0] + encoding->bytes, blocks[1], encoding->bytes);
        encoding->decode(x, blocks[0], 2);
        assert_memory_equal(x, x + encoding->block, encoding->block * sizeof(float));
        for (int i = 0; i < encoding->block; i++) {
            sum += (double)x[i];
            squares += (double)x[i] * (double)x[i];
        }
        assert_true(fabs(sum - types[t].sum) < 1e-6 * fabs(types[t].sum));
        assert_true(fabs(squares - types[t].squares) < 1e-6 * types[t].squares);
        for (int i = 0; i < 4; i++) {
            assert_true(fabsf(x[i] - types[t].first[i]) <= 1e-6f * fabsf(x[i]) + 5e-7f);
        }
        for (int i = 0; i < 2; i++) {
            assert_true(fabsf(x[types[t].at[i]] - types[t].other[i]) <= 1e-6f * fabsf(types[t].other[i]) + 5e-7f);
        }
    }
}

static void plain_elements(void **state) {
    const uint8_t e4m3[] = {0x00, 0x38, 0xb8, 0x7e, 0x01, 0x08, 0x7f, 0xfe};
    const uint8_t e5m2[] = {0x3c, 0xbc, 0x7b, 0x01, 0x7c};
    const uint8_t f64[] = {0, 0, 0, 0, 0, 0, 0xf8, 0xbf};
    float x[8];
    (void)state;
    dqg_encoding_find("F8_E4M3")->decode(x, e4m3, 8);
    assert_true(x[0] == 0 && x[1] == 1 && x[2] == -1 && x[3] == 448 && x[4] == 0x1p-9f && x[5] == 0x1p-6f);
    assert_true(isnan(x[6]) && x[7] == -448);
    dqg_encoding_find("F8_E5M2")->decode(x, e5m2, 5);
    assert_true(x[0] == 1 && x[1] == -1 && x[2] == 57344 && x[3] == 0x1p-16f && isinf(x[4]));
    dqg_encoding_find("F64")->decode(x, f64, 1);
    assert_true(x[0] == -1.5f);
    assert_null(dqg_encoding_find("f32"));
    assert_ptr_equal(dqg_gguf_encoding(30), dqg_encoding_find("BF16"));
    assert_null(dqg_gguf_encoding(9));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_32_are_those_of_the_reference),
        cmocka_unit_test(others_are_those_of_the_reference),
        cmocka_unit_test(plain_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
