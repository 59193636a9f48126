/* SPDX-License-Identifier: MIT */
/* Adapters against peft: the names of several programs, several at once, on float weights beside them and merged; new
 * tokens. make_adapter_golden.py wrote the files; test_autoencoder.c has convolutions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "context_check.h"

static const double limit = 1e-4; /* || a - b || / || b || */

static double relative(const float *a, const struct npy *b) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < b->count; i++) {
        difference += ((double)a[i] - b->data[i]) * ((double)a[i] - b->data[i]);
        norm += (double)b->data[i] * b->data[i];
    }
    return sqrt(difference / norm);
}

static struct npy read_array(const char *name) {
    return golden_array("%s", name);
}

static dqg_model *load(const char *name) {
    char path[256];
    dqg_model *model;
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    return model;
}

/* One or two files; b NULL: one. */
static dqg_model *adapt(dqg_model *model, const char *a, double scale_a, const char *b, double scale_b,
                        uint32_t flags) {
    dqg_adaptation list[2];
    char paths[2][256];
    dqg_model *adapted;
    for (int i = 0; i < 2; i++) {
        DQG_INIT(&list[i]);
        snprintf(paths[i], sizeof paths[i], "tests/golden/adapters/%s", i == 0 ? a : b != NULL ? b : "");
        list[i].path = paths[i];
        list[i].scale = i == 0 ? scale_a : scale_b;
        list[i].flags = flags;
    }
    if (dqg_model_adapt(context, model, list, b != NULL ? 2 : 1, &adapted) != DQG_OK) {
        fail_msg("%s: %s", a, dqg_context_error(context));
    }
    return adapted;
}

static void check_dit(const dqg_model *model, const char *name) {
    struct npy x = read_array("dit/tiny_sigma_x"), t = read_array("dit/tiny_sigma_t"),
               y = read_array("dit/tiny_sigma_y"), wanted = read_array(name);
    double timesteps[4];
    int32_t labels[4];
    for (int i = 0; i < 4; i++) {
        timesteps[i] = t.data[i];
        labels[i] = y.data[i] < 5 ? (int32_t)y.data[i] : -1;
    }
    float *out = malloc((size_t)wanted.count * sizeof *out);
    dqg_tensor_view in = view_f32(x.data, x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
    dqg_tensor_view to = view_f32(out, wanted.shape[0], wanted.shape[1], wanted.shape[2], wanted.shape[3]);
    assert_ok(dqg_model_evaluate(context, model, &in, timesteps, labels, NULL, NULL, &to));
    double error = relative(out, &wanted);
    printf("%-24s %-8s relative error %.2e\n", name, dqg_context_backend(context), error);
    assert_true(error < limit);
    free(out);
    free(x.data);
    free(t.data);
    free(y.data);
    free(wanted.data);
}

static void test_dit(void **state) {
    (void)state;
    dqg_model *model = load("dit/tiny_sigma");
    dqg_model *one = adapt(model, "dit_a.safetensors", 1, NULL, 0, 0);
    dqg_model *two = adapt(one, "dit_b.safetensors", -1.3, "dit_a.safetensors", 0.7, 0); /* from the adapted one */
    dqg_model_release(model);
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
        check_dit(one, "adapters/dit_a_out");
        check_dit(two, "adapters/dit_ab_out");
    }
    dqg_model *plain = adapt(two, "dit_b.safetensors", 0, NULL, 0, 0);
    check_dit(plain, "dit/tiny_sigma_out");
    dqg_model_release(two);
    dqg_model_release(one);
    dqg_model_release(plain);
}

static void check_clip(const dqg_model *model, const char *ids_name, const char *name) {
    struct npy ids = read_array(ids_name), wanted = read_array(name);
    int32_t numbers[64];
    assert_true(ids.count <= 64);
    for (int64_t i = 0; i < ids.count; i++) {
        numbers[i] = (int32_t)ids.data[i];
    }
    float *out = malloc((size_t)wanted.count * sizeof *out);
    dqg_tensor_view view = view_f32(out, wanted.shape[0], wanted.shape[1], wanted.shape[2], 0);
    dqg_status status = dqg_model_encode_tokens(context, model, numbers, (int32_t)wanted.shape[0],
                                                (int32_t)wanted.shape[1], NULL, NULL, &view, NULL);
    if (status != DQG_OK) {
        fail_msg("%s: %s", name, dqg_context_error(context));
    }
    double error = relative(out, &wanted);
    printf("%-24s relative error %.2e\n", name, error);
    assert_true(error < limit);
    free(out);
    free(ids.data);
    free(wanted.data);
}

/* q and v of a matrix that holds k too; alpha in tensors and in the metadata. */
static void test_clip(void **state) {
    (void)state;
    dqg_model *model = load("encoders/clip_wide");
    static const char *const files[] = {"clip_kohya.safetensors", "clip_peft.safetensors", "clip_old.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        dqg_model *whole = adapt(model, files[i], 1, NULL, 0, 0), *half = adapt(whole, files[i], -0.5, NULL, 0, 0);
        check_clip(whole, "encoders/clip_wide_ids", "adapters/clip_out");
        check_clip(half, "encoders/clip_wide_ids", "adapters/clip_half_out");
        dqg_model_release(whole);
        dqg_model_release(half);
    }
    dqg_model_release(model);
}

static void check_token(const dqg_model *model, int32_t index, const char *name, int32_t first, int32_t count) {
    dqg_token_info info;
    DQG_INIT(&info);
    assert_ok(dqg_model_token_at(model, index, &info));
    assert_string_equal(info.name, name);
    assert_string_equal(info.role, "clip");
    assert_int_equal(info.first, first);
    assert_int_equal(info.count, count);
}

static void test_tokens(void **state) {
    (void)state;
    static const char *const files[] = {"token_wide.safetensors", "token_webui.pt", "token_learned.bin"};
    dqg_model *model = load("encoders/clip_wide");
    dqg_token_info info;
    for (int32_t i = 0; i < 3; i++) {
        dqg_model *adapted = adapt(model, files[i], 0, NULL, 0, 0);
        check_clip(adapted, "adapters/token_ids", "adapters/token_out");
        check_clip(adapted, "encoders/clip_wide_ids", "encoders/clip_wide_last");
        if (i < 2) {
            check_token(adapted, 0, i == 0 ? "token_wide" : "token_webui", 50, 2);
        } else {
            check_token(adapted, 0, "<one>", 50, 1);
            check_token(adapted, 1, "<two>", 51, 1);
        }
        DQG_INIT(&info);
        assert_int_equal(dqg_model_token_at(adapted, i < 2 ? 1 : 2, &info), DQG_ERROR_RANGE);
        dqg_model_release(adapted);
    }
    /* Beside an update, and behind other tokens. */
    dqg_model *both = adapt(model, "token_learned.bin", 0, "token_wide.safetensors", 0, 0);
    check_token(both, 2, "token_wide", 52, 2);
    dqg_model_release(both);
    dqg_model_release(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dit),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
