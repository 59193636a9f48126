/* SPDX-License-Identifier: MIT */
/* Wrong arguments of the calls on adapters; files of adapters that lie, hold no numbers, or are damaged. */
#include "model_fixture.h"
#include "tensor_file.h"

static dqg_context *context;
static dqg_model *model;

#define QKV "lora_unet_blocks_0_attn_qkv"
#define DOWN QKV ".lora_down.weight"
#define UP QKV ".lora_up.weight"

static struct tensor_file make_adapter(void) {
    struct tensor_file file = {0};
    tensor_file_matrix(&file, DOWN, 3, 64, 1, 0.2f);
    tensor_file_matrix(&file, UP, 192, 3, 2, 0.2f);
    *tensor_file_add(&file, QKV ".alpha", 0, NULL) = 2;
    tensor_file_close(&file);
    return file;
}

static dqg_adaptation adaptation_of(const struct tensor_file *file) {
    dqg_adaptation adaptation;
    DQG_INIT(&adaptation);
    adaptation.data = file->bytes;
    adaptation.size = file->size;
    adaptation.scale = 1;
    return adaptation;
}

static void test_arguments(void **state) {
    struct tensor_file file = make_adapter();
    dqg_adaptation good = adaptation_of(&file), list[2] = {good, good};
    dqg_model *out = anything;
    dqg_token_info info;
    (void)state;
    assert_int_equal(dqg_model_adapt(NULL, model, list, 1, &out), DQG_ERROR_ARGUMENT);
    assert_null(out);
    assert_fails(context, dqg_model_adapt(context, NULL, list, 1, &out), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_adapt(context, model, NULL, 1, &out), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_adapt(context, model, list, 1, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_adapt(context, model, list, -1, &out), DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_adapt(context, model, list, 65, &out), DQG_ERROR_RANGE);
    list[1].scale = NAN;
    assert_fails(context, dqg_model_adapt(context, model, list, 2, &out), DQG_ERROR_RANGE);
    list[1] = good;
    list[1].flags = 1u << 31;
    assert_fails(context, dqg_model_adapt(context, model, list, 2, &out), DQG_ERROR_ARGUMENT);
    list[1] = good;
    list[1].path = "both";
    assert_fails(context, dqg_model_adapt(context, model, list, 2, &out), DQG_ERROR_ARGUMENT);
    list[1].data = NULL;
    list[1].path = "/nowhere/at/all.safetensors";
    assert_fails(context, dqg_model_adapt(context, model, list, 2, &out), DQG_ERROR_NOT_FOUND);
    list[1].path = NULL;
    assert_fails(context, dqg_model_adapt(context, model, list, 2, &out), DQG_ERROR_ARGUMENT);
    list[1] = good;
    list[1].struct_size = 8;
    assert_fails(context, dqg_model_adapt(context, model, list, 2, &out), DQG_ERROR_ARGUMENT);
    list[0].struct_size = 8;
    assert_fails(context, dqg_model_adapt(context, model, list, 1, &out), DQG_ERROR_ARGUMENT);
    DQG_INIT(&info);
    assert_int_equal(dqg_model_token_at(NULL, 0, &info), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_token_at(model, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_token_at(model, 0, &info), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_token_at(model, -1, &info), DQG_ERROR_RANGE);
    tensor_file_free(&file);
}

struct lie {
    const char *names[4];
    int64_t shapes[4][4]; /* up to a 0 */
    dqg_status expected;
    const char *message; /* what it must say */
};

static const struct lie lies[] = {
    {{DOWN}, {{2, 64}}, DQG_ERROR_FORMAT, "lacks its up"},
    {{UP}, {{192, 2}}, DQG_ERROR_FORMAT, "lacks its down"},
    {{QKV ".alpha"}, {{1}}, DQG_ERROR_FORMAT, "lacks its"},
    {{DOWN, UP}, {{2, 63}, {192, 2}}, DQG_ERROR_FORMAT, "inputs"},
    {{DOWN, UP}, {{2, 64}, {191, 2}}, DQG_ERROR_FORMAT, "outputs"},
    {{DOWN, UP}, {{2, 64}, {192, 3}}, DQG_ERROR_FORMAT, "rank"},
    {{DOWN, UP}, {{64}, {192, 1}}, DQG_ERROR_FORMAT, "no matrices"},
    {{DOWN, UP}, {{2, 64, 3, 3}, {192, 2}}, DQG_ERROR_FORMAT, "inputs"},
    {{DOWN, UP}, {{2, 64}, {192, 2, 2, 1}}, DQG_ERROR_FORMAT, "no matrices"},
    {{DOWN, UP, QKV ".alpha"}, {{2, 64}, {192, 2}, {2}}, DQG_ERROR_FORMAT, "alpha"},
    {{DOWN, UP, QKV ".lora_mid.weight"}, {{2, 64}, {192, 2}, {2, 2}}, DQG_ERROR_FORMAT, "mid"},
    {{DOWN, UP, QKV ".lora_mid.weight"}, {{2, 64}, {192, 2}, {2, 2, 3, 3}}, DQG_ERROR_FORMAT, "inputs"},
    {{DOWN, UP, "unet.blocks.0.attn.qkv.lora_A.weight", "unet.blocks.0.attn.qkv.lora_B.weight"},
     {{2, 64}, {192, 2}, {2, 64}, {192, 2}},
     DQG_ERROR_FORMAT,
     "twice"},
    {{DOWN, UP, QKV ".lora.down.weight"}, {{2, 64}, {192, 2}, {2, 64}}, DQG_ERROR_FORMAT, "two tensors"},
    {{DOWN, UP, "lora_unet_nothing.lora_up.weight", "lora_unet_nothing.lora_down.weight"},
     {{2, 64}, {192, 2}, {1, 1}, {1, 1}},
     DQG_ERROR_FORMAT,
     "'lora_unet_nothing'"},
    {{DOWN, UP, "something"}, {{2, 64}, {192, 2}, {1}}, DQG_ERROR_FORMAT, "'something'"},
    {{"lora_unet_y_embedder_embedding_table.lora_down.weight", "lora_unet_y_embedder_embedding_table.lora_up.weight"},
     {{1, 64}, {6, 1}},
     DQG_ERROR_UNSUPPORTED,
     "y_embedder"},
    {{"emb_params"}, {{2, 64}}, DQG_ERROR_FORMAT, "emb_params"}, /* there is no text encoder */
    {{QKV ".dora_scale"}, {{1}}, DQG_ERROR_UNSUPPORTED, "DoRA"},
    {{"unet.blocks.0.attn.qkv.lora_magnitude_vector"}, {{1}}, DQG_ERROR_UNSUPPORTED, "DoRA"},
    {{QKV ".hada_w1_a"}, {{1}}, DQG_ERROR_UNSUPPORTED, "LoHa"},
    {{QKV ".lokr_w1"}, {{1}}, DQG_ERROR_UNSUPPORTED, "LoKr"},
    {{"unet.blocks.0.attn.qkv.ia3_l"}, {{1}}, DQG_ERROR_UNSUPPORTED, "IA3"},
    {{QKV ".oft_blocks"}, {{1}}, DQG_ERROR_UNSUPPORTED, "OFT"},
    {{QKV ".diff"}, {{192, 64}}, DQG_ERROR_UNSUPPORTED, "differences"},
};

static void test_lies(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct tensor_file file = {0};
        dqg_model *out = anything;
        for (int t = 0; t < 4 && lies[i].names[t] != NULL; t++) {
            int rank = 0;
            while (rank < 4 && lies[i].shapes[t][rank] > 0) {
                rank++;
            }
            tensor_file_add(&file, lies[i].names[t], rank, lies[i].shapes[t]);
        }
        tensor_file_close(&file);
        const dqg_adaptation adaptation = adaptation_of(&file);
        dqg_status status = dqg_model_adapt(context, model, &adaptation, 1, &out);
        if (status != lies[i].expected || strstr(dqg_context_error(context), lies[i].message) == NULL || out != NULL) {
            fail_msg("lie %zu: status %d, '%s'", i, (int)status, dqg_context_error(context));
        }
        tensor_file_free(&file);
    }
}

/* Empty tensors, numbers that are none, a file with no tensor. */
static void test_bad_numbers(void **state) {
    static const float values[] = {NAN, INFINITY};
    const int64_t empty[2] = {0, 64}, wide[2] = {192, 0};
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct tensor_file file = {0};
        dqg_model *out;
        if (i == 6) {
            tensor_file_add(&file, DOWN, 2, empty);
            tensor_file_add(&file, UP, 2, wide);
        } else if (i < 6) {
            tensor_file_matrix(&file, DOWN, 2, 64, 1, 1);
            file.data[i / 2 == 0 ? 5 : 0] = i / 2 == 0 ? values[i % 2] : 1;
            tensor_file_matrix(&file, UP, 192, 2, 1, 1);
            file.data[128] = i / 2 == 1 ? values[i % 2] : 1;
            *tensor_file_add(&file, QKV ".alpha", 0, NULL) = i / 2 == 2 ? values[i % 2] : 1;
        }
        tensor_file_close(&file);
        const dqg_adaptation adaptation = adaptation_of(&file);
        dqg_status status = dqg_model_adapt(context, model, &adaptation, 1, &out);
        if (status != DQG_ERROR_FORMAT) {
            fail_msg("case %d: status %d, '%s'", i, (int)status, dqg_context_error(context));
        }
        tensor_file_free(&file);
    }
}

/* Every shorter file, and every file with a byte of its header changed, ends in a status. */
static void test_damaged(void **state) {
    struct tensor_file file = make_adapter();
    uint64_t header;
    (void)state;
    memcpy(&header, file.bytes, sizeof header);
    for (size_t i = 0; i < 8 + header + 40; i++) {
        dqg_model *out;
        unsigned char *copy = malloc(file.size);
        memcpy(copy, file.bytes, file.size);
        dqg_adaptation adaptation = adaptation_of(&file);
        adaptation.data = copy;
        adaptation.size = i;
        assert_true(dqg_model_adapt(context, model, &adaptation, 1, &out) < 0);
        copy[i] ^= (unsigned char)(1 + i % 37);
        adaptation.size = file.size;
        if (dqg_model_adapt(context, model, &adaptation, 1, &out) == DQG_ERROR_INTERNAL) {
            fail_msg("byte %zu: %s", i, dqg_context_error(context));
        }
        dqg_model_release(out);
        free(copy);
    }
    tensor_file_free(&file);
}

static struct model_fixture fixture;

static int setup(void **state) {
    (void)state;
    int failed = model_fixture_open(&fixture);
    context = fixture.context;
    model = fixture.model;
    return failed;
}

static int teardown(void **state) {
    (void)state;
    model_fixture_close(&fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
