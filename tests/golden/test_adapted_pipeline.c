/* SPDX-License-Identifier: MIT */
/* Adapters of a pipeline: a file for the denoiser and its text encoder, new words in prompts; the same whether networks
 * stay in memory or are read when they are used. */
#include "context_check.h"
#include "pipeline_folder.h"
#include "tensor_file.h"
#include "tiny_model.h"

enum { COLUMNS = 64, MOST = 77 * COLUMNS, SIDE = 16, VALUES = 4 * SIDE * SIDE };

static char folder[128];
static struct tensor_file lora, token;

static dqg_model *load(const char *components) {
    dqg_options *loading = make_options(context, DQG_OPTIONS_MODEL);
    dqg_model *model;
    assert_ok(dqg_options_set_text(loading, DQG_MODEL_COMPONENTS, components));
    if (dqg_model_load(context, folder, loading, &model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    dqg_options_destroy(loading);
    return model;
}

static dqg_status adapt(dqg_model *model, uint32_t flags, dqg_model **adapted) {
    dqg_adaptation list[2];
    DQG_INIT(&list[0]);
    list[0].data = lora.bytes;
    list[0].size = lora.size;
    list[0].scale = 1;
    list[0].flags = flags;
    DQG_INIT(&list[1]);
    list[1].data = token.bytes;
    list[1].size = token.size;
    list[1].name = "<cat>";
    return dqg_model_adapt(context, model, list, 2, adapted);
}

static void encode(const dqg_model *model, const char *prompt, float rows[MOST]) {
    dqg_tensor_view view = view_f32(rows, 1, 77, COLUMNS, 0);
    if (dqg_model_encode_prompts(context, model, &prompt, 1, NULL, &view, NULL, NULL) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
}

static void draw(dqg_model *model, const char *prompt, float out[VALUES]) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_run *run;
    dqg_status status = DQG_OK;
    parse_options(options, "height=16 width=16 guidance=3 seed=3");
    assert_ok(dqg_options_set_text(options, DQG_RUN_PROMPT, prompt));
    if (dqg_run_create(context, model, NULL, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    for (int i = 0; i < 2 && status == DQG_OK; i++) {
        status = dqg_run_step(run);
    }
    dqg_tensor_view view = view_f32(out, 1, 4, SIDE, SIDE);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_run_destroy(run);
    dqg_options_destroy(options);
}

static double distance(const float *a, const float *b, int count) {
    double largest = 0;
    for (int i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    }
    return largest;
}

static void test_words(void **state) {
    int32_t ids[16], count;
    dqg_token_info info;
    (void)state;
    dqg_model *model = load("resident"), *adapted;
    assert_ok(adapt(model, 0, &adapted));
    DQG_INIT(&info);
    assert_ok(dqg_model_token_at(adapted, 0, &info));
    assert_string_equal(info.name, "<cat>");
    assert_int_equal(info.count, 2);
    assert_ok(dqg_model_tokenize(context, adapted, "<cat> and <cat>", NULL, ids, NULL, 16, &count));
    assert_true(count >= 5 && ids[0] == info.first && ids[1] == info.first + 1 && ids[count - 1] == info.first + 1);
    assert_ok(dqg_model_tokenize(context, model, "<cat>", NULL, ids, NULL, 16, &count));
    assert_true(ids[0] != info.first);
    dqg_model_release(adapted);
    dqg_model_release(model);
}

/* The first step of a run already shows both; networks that come and go take the updates each time. */
static void test_components(void **state) {
    static float plain[VALUES], out[2][VALUES], rows[3][MOST];
    static const char *const components[2] = {"resident", "on-demand"};
    static const char prompt[] = "a photo of <cat>";
    (void)state;
    for (int i = 0; i < 2; i++) {
        dqg_model *model = load(components[i]), *adapted;
        if (adapt(model, 0, &adapted) != DQG_OK) {
            fail_msg("%s", dqg_context_error(context));
        }
        encode(model, prompt, rows[2]);
        draw(model, prompt, plain);
        dqg_model_release(model);
        encode(adapted, prompt, rows[i]);
        draw(adapted, prompt, out[i]);
        dqg_model_release(adapted);
        assert_true(distance(rows[i], rows[2], MOST) > 0.01);
        assert_true(distance(out[i], plain, VALUES) > 0.01);
    }
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
}

/* Weights that are not there cannot be changed. */
static void test_merge(void **state) {
    static float rows[2][MOST];
    (void)state;
    dqg_model *model = load("resident"), *used = load("on-demand"), *adapted, *merged;
    assert_fails(context, adapt(used, DQG_ADAPT_MERGE, &merged), DQG_ERROR_STATE);
    assert_ok(adapt(model, 0, &adapted));
    assert_ok(adapt(model, DQG_ADAPT_MERGE, &merged));
    encode(adapted, "<cat>", rows[0]);
    encode(merged, "<cat>", rows[1]);
    assert_true(distance(rows[0], rows[1], MOST) < 1e-4);
    dqg_model_release(adapted);
    dqg_model_release(merged);
    dqg_model_release(model);
    dqg_model_release(used);
}

static int setup(void **state) {
    if (context_setup(state) != 0 || tiny_dir_make(folder, sizeof folder) != 0 ||
        pipeline_folder_make(folder, PIPELINE_SD) != 0) {
        return -1;
    }
    tensor_file_matrix(&lora, "lora_te_text_model_encoder_layers_0_self_attn_v_proj.lora_down.weight", 2, 64, 1, 0.5f);
    tensor_file_matrix(&lora, "lora_te_text_model_encoder_layers_0_self_attn_v_proj.lora_up.weight", 64, 2, 2, 0.5f);
    const int64_t down[4] = {2, 4, 3, 3};
    tensor_fill(tensor_file_add(&lora, "lora_unet_conv_in.lora_down.weight", 4, down), 72, 3, 0.5f);
    tensor_file_matrix(&lora, "lora_unet_conv_in.lora_up.weight", 32, 2, 4, 0.5f);
    tensor_file_close(&lora);
    tensor_file_matrix(&token, "emb_params", 2, COLUMNS, 5, 1);
    tensor_file_close(&token);
    return 0;
}

static int teardown(void **state) {
    tensor_file_free(&lora);
    tensor_file_free(&token);
    pipeline_folder_remove(folder);
    return context_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_components),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
