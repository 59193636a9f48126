/* SPDX-License-Identifier: MIT */
/*
 * Networks of reduced widths with 4-bit weights: the error of the output is what the errors of the layers predict
 * (layer_errors.h), for denoisers, an autoencoder and text encoders.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "layer_errors.h"
#include "named_weights.h"
#include "tiny_model.h"

struct network {
    const char *path; /* a list of names, or a checkpoint */
    size_t height, width;
    bool kinds;
};

static const char *make_file(const struct network *network, const char *directory, char path[192]) {
    if (strstr(network->path, ".txt") == NULL) {
        return network->path;
    }
    const struct named_file file = {.list = network->path};
    assert_int_equal(named_file_write(&file, tiny_path(path, 192, directory, "float.safetensors")), 0);
    return path;
}

static void check_network(const struct network *network) {
    char directory[128], from[192], to[192];
    dqg_context *context;
    dqg_quantizer *quantizer;
    dqg_model *models[2];
    struct layer_errors errors;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    const char *path = make_file(network, directory, from);
    assert_ok(dqg_context_create(NULL, &context));
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, path, tiny_path(to, sizeof to, directory, "small.dqg")));
    assert_ok(dqg_model_load(context, path, NULL, &models[0]));
    assert_ok(dqg_model_load(context, to, NULL, &models[1]));
    assert_true(layer_errors_measure(context, models[0], models[1], network->height, network->width, network->kinds,
                                     &errors) >= 0);
    printf("%s: %zu layers, attention %.2f %%, predicted %.2f %%, measured %.2f %%, ratio %.3f\n", network->path,
           errors.count, 100.0 * errors.attention, 100.0 * errors.predicted, 100.0 * errors.measured,
           errors.measured / errors.predicted);
    assert_true(errors.count > 4);
    for (size_t i = 0; i < errors.count; i++) {
        assert_true(errors.parts[i].weight > 0.002 && errors.parts[i].weight < 0.11);
    }
    assert_true(errors.measured > 0.75 * errors.predicted && errors.measured < 1.3 * errors.predicted);
    free(errors.parts);
    dqg_model_release(models[0]);
    dqg_model_release(models[1]);
    dqg_quantizer_destroy(quantizer);
    dqg_context_destroy(context);
    tiny_dir_remove(directory);
}

static void test_networks(void **state) {
    static const struct network networks[] = {
        {"tests/golden/unet/sd1.txt", 16, 16, true},
        {"tests/golden/unet/sdxl.txt", 16, 16, true},
        {"tests/golden/autoencoder/kl4.txt", 8, 8, false},
        {"tests/golden/encoders/clip_wide.safetensors", 0, 0, false},
        {"tests/golden/encoders/t5_odd.safetensors", 0, 0, false},
        {"tests/golden/dit/tiny.safetensors", 0, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        check_network(&networks[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_networks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
