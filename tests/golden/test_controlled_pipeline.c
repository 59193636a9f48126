/* SPDX-License-Identifier: MIT */
/*
 * Control networks of pipelines: a part of the file or attached from one of its own, the same bits whether networks
 * stay in memory or are read when they are used; with adapters before and after.
 */
#include "context_check.h"
#include "pipeline_folder.h"
#include "tensor_file.h"
#include "tiny_model.h"

enum { SIDE = 16, PICTURE = 2 * SIDE, VALUES = 4 * SIDE * SIDE };

static char folder[128], alone[128], both[128]; /* a pipeline, its control network, a pipeline that holds it */
static struct tensor_file lora;
static float picture[3 * PICTURE * PICTURE];

static dqg_model *load(const char *path, const char *components) {
    dqg_options *loading = make_options(context, DQG_OPTIONS_MODEL);
    dqg_model *model;
    assert_ok(dqg_options_set_text(loading, DQG_MODEL_COMPONENTS, components));
    if (dqg_model_load(context, path, loading, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    dqg_options_destroy(loading);
    return model;
}

/* The model with its control network or adapter, in place of the model itself. */
static dqg_model *attach(dqg_model *model, const char *components) {
    dqg_model *control = load(alone, components), *joined;
    if (dqg_model_attach_control(context, model, control, &joined) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    dqg_model_release(control);
    dqg_model_release(model);
    return joined;
}

static dqg_model *adapt(dqg_model *model) {
    dqg_adaptation adaptation;
    dqg_model *adapted;
    DQG_INIT(&adaptation);
    adaptation.data = lora.bytes;
    adaptation.size = lora.size;
    adaptation.scale = 1;
    if (dqg_model_adapt(context, model, &adaptation, 1, &adapted) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    dqg_model_release(model);
    return adapted;
}

/* Two steps of a prompt, with the picture or without. */
static void draw(dqg_model *model, double scale, float out[VALUES]) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_tensor_view view = view_f32(out, 1, 4, SIDE, SIDE), control = view_f32(picture, 1, 3, PICTURE, PICTURE);
    dqg_inputs inputs;
    dqg_run *run;
    parse_options(options, "height=16 width=16 guidance=3 seed=3");
    assert_ok(dqg_options_set_text(options, DQG_RUN_PROMPT, "a photo of a lighthouse"));
    if (dqg_run_create(context, model, NULL, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    DQG_INIT(&inputs);
    inputs.control = &control;
    inputs.control_scale = scale;
    for (int32_t index = DQG_UNCONDITIONAL; index <= 0 && scale != 0; index++) {
        assert_ok(dqg_run_set_inputs(run, -1, index, &inputs));
    }
    for (int i = 0; i < 2; i++) {
        assert_true(dqg_run_step(run) >= 0);
    }
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_run_destroy(run);
    dqg_options_destroy(options);
}

static void draw_and_release(dqg_model *model, double scale, float out[VALUES]) {
    draw(model, scale, out);
    dqg_model_release(model);
}

static double distance(const float *a, const float *b) {
    double largest = 0;
    for (int i = 0; i < VALUES; i++) {
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    }
    return largest;
}

static const char *const components[2] = {"resident", "on-demand"};

/* Of its own file and of the pipeline's, in memory or not: the same. */
static void test_components(void **state) {
    static float plain[VALUES], out[4][VALUES], without[VALUES];
    (void)state;
    draw_and_release(load(folder, "resident"), 0, plain);
    for (int i = 0; i < 2; i++) {
        draw_and_release(attach(load(folder, components[i]), components[i]), 0.7, out[i]);
        draw_and_release(load(both, components[i]), 0.7, out[2 + i]);
        draw_and_release(attach(load(folder, components[i]), components[i]), 0, without);
        assert_memory_equal(without, plain, sizeof plain);
    }
    for (int i = 1; i < 4; i++) {
        assert_memory_equal(out[i], out[0], sizeof out[0]);
    }
    assert_true(distance(out[0], plain) > 0.01);
}

/* A network that is read on demand belongs to a model that is, too; the other way round it is shared. */
static void test_mixed(void **state) {
    static float out[VALUES], mixed[VALUES];
    (void)state;
    dqg_model *model = load(folder, "resident"), *control = load(alone, "on-demand"), *joined;
    assert_fails(context, dqg_model_attach_control(context, model, control, &joined), DQG_ERROR_ARGUMENT);
    assert_null(joined);
    dqg_model_release(control);
    draw_and_release(attach(model, "resident"), 0, out);
    draw_and_release(attach(load(folder, "resident"), "resident"), 0.7, out);
    draw_and_release(attach(load(folder, "on-demand"), "resident"), 0.7, mixed);
    assert_memory_equal(mixed, out, sizeof out);
}

static int32_t operators(const dqg_model *model) {
    dqg_model_info info;
    DQG_INIT(&info);
    assert_ok(dqg_model_get_info(model, &info));
    assert_int_equal(info.flags, DQG_MODEL_CONTROLLED);
    return info.operators;
}

/* Whichever comes first, both count. */
static void test_adapters(void **state) {
    static float adapted[VALUES], controlled[VALUES], out[VALUES], first[VALUES];
    (void)state;
    draw_and_release(adapt(load(folder, "resident")), 0, adapted);
    draw_and_release(attach(load(folder, "resident"), "resident"), 0.7, controlled);
    for (int i = 0; i < 2; i++) {
        dqg_model *last = attach(adapt(load(folder, components[i])), components[i]);
        dqg_model *before = adapt(attach(load(folder, components[i]), components[i]));
        dqg_model *held = adapt(load(both, components[i]));
        assert_int_equal(operators(last), operators(before));
        assert_int_equal(operators(last), operators(held));
        draw_and_release(last, 0.7, out);
        memcpy(first, i == 0 ? out : first, sizeof first);
        assert_memory_equal(out, first, sizeof out);
        draw(before, 0, out);
        assert_memory_equal(out, adapted, sizeof out);
        draw_and_release(before, 0.7, out);
        assert_memory_equal(out, first, sizeof out);
        draw_and_release(held, 0.7, out);
        assert_memory_equal(out, first, sizeof out);
    }
    assert_true(distance(first, adapted) > 0.01);
    assert_true(distance(first, controlled) > 0.01);
}

/* New adapters replace the old, a new control network the old one; nothing is lost or kept too long. */
static void test_chains(void **state) {
    static float once[VALUES], out[VALUES];
    (void)state;
    for (int i = 0; i < 2; i++) {
        draw_and_release(attach(adapt(load(folder, components[i])), components[i]), 0.7, once);
        dqg_model *model = adapt(attach(adapt(attach(load(folder, components[i]), components[i])), components[i]));
        draw_and_release(attach(model, components[i]), 0.7, out);
        assert_memory_equal(out, once, sizeof out);
        draw_and_release(adapt(attach(adapt(load(folder, components[i])), components[i])), 0.7, out);
        assert_memory_equal(out, once, sizeof out);
        draw_and_release(attach(adapt(load(both, components[i])), components[i]), 0.7, out);
        assert_memory_equal(out, once, sizeof out);
    }
}

static int setup(void **state) {
    if (context_setup(state) != 0 || tiny_dir_make(folder, sizeof folder) != 0 ||
        tiny_dir_make(alone, sizeof alone) != 0 || tiny_dir_make(both, sizeof both) != 0 ||
        pipeline_folder_make(folder, PIPELINE_SD) != 0 || pipeline_folder_make(alone, PIPELINE_CONTROL) != 0 ||
        pipeline_folder_make(both, PIPELINE_SD | PIPELINE_CONTROL) != 0) {
        return -1;
    }
    for (int i = 0; i < 3 * PICTURE * PICTURE; i++) {
        picture[i] = (float)(i * 37 % 101) / 100.0f;
    }
    const int64_t down[4] = {2, 4, 3, 3};
    tensor_fill(tensor_file_add(&lora, "lora_unet_conv_in.lora_down.weight", 4, down), 72, 3, 0.5f);
    tensor_file_matrix(&lora, "lora_unet_conv_in.lora_up.weight", 32, 2, 4, 0.5f);
    tensor_file_close(&lora);
    return 0;
}

static int teardown(void **state) {
    tensor_file_free(&lora);
    pipeline_folder_remove(folder);
    pipeline_folder_remove(alone);
    pipeline_folder_remove(both);
    return context_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_components),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_chains),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
