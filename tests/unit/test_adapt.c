/* SPDX-License-Identifier: MIT */
/* Adapted models: what a scale does, several adapters, merging, quantized weights, runs and threads. What they compute
 * is held against peft in tests/golden/test_adapters.c; files that lie: test_hostile_adapt.c. */
#include "model_fixture.h"
#include "tensor_file.h"

enum { WIDTH = 64, SAMPLES = 2, VALUES = SAMPLES * 4 * 8 * 8 };

static dqg_context *context;
static dqg_model *model, *quantized;
static char quantized_path[192];

/* ---- adapters ---- */

/* An update of every kind of product of the tiny DiT; x_embedder is a convolution. */
static void add_updates(struct tensor_file *file, unsigned seed) {
    static const struct {
        const char *name;
        int64_t outputs, inputs;
    } modules[] = {
        {"blocks_0_attn_qkv", 3 * WIDTH, WIDTH}, {"blocks_0_mlp_fc1", 4 * WIDTH, WIDTH},
        {"blocks_1_mlp_fc2", WIDTH, 4 * WIDTH},  {"blocks_1_attn_proj", WIDTH, WIDTH},
        {"t_embedder_mlp_0", WIDTH, 256},        {"final_layer_linear", 16, WIDTH},
    };
    const int64_t patch[4] = {2, 4, 2, 2};
    char name[96];
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        snprintf(name, sizeof name, "lora_unet_%s.lora_down.weight", modules[i].name);
        tensor_file_matrix(file, name, 3, modules[i].inputs, seed++, 0.2f);
        snprintf(name, sizeof name, "lora_unet_%s.lora_up.weight", modules[i].name);
        tensor_file_matrix(file, name, modules[i].outputs, 3, seed++, 0.2f);
        snprintf(name, sizeof name, "lora_unet_%s.alpha", modules[i].name);
        *tensor_file_add(file, name, 0, NULL) = 1.5f;
    }
    tensor_fill(tensor_file_add(file, "lora_unet_x_embedder_proj.lora_down.weight", 4, patch), 32, seed++, 0.3f);
    tensor_file_matrix(file, "lora_unet_x_embedder_proj.lora_up.weight", WIDTH, 2, seed, 0.3f);
}

static struct tensor_file make_adapter(unsigned seed) {
    struct tensor_file file = {0};
    add_updates(&file, seed);
    tensor_file_close(&file);
    return file;
}

static dqg_adaptation adaptation_of(const struct tensor_file *file, double scale, uint32_t flags) {
    dqg_adaptation adaptation;
    DQG_INIT(&adaptation);
    adaptation.data = file->bytes;
    adaptation.size = file->size;
    adaptation.scale = scale;
    adaptation.flags = flags;
    return adaptation;
}

static dqg_model *adapt(dqg_model *base, const dqg_adaptation *list, int32_t count) {
    dqg_model *adapted;
    if (dqg_model_adapt(context, base, list, count, &adapted) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    return adapted;
}

/* ---- comparisons ---- */

static void evaluate(const dqg_model *network, float out[VALUES]) {
    static float x[VALUES];
    const double times[SAMPLES] = {900, 20};
    const int32_t labels[SAMPLES] = {1, -1};
    tensor_fill(x, VALUES, 99, 1.5f);
    dqg_tensor_view in = view_f32(x, SAMPLES, 4, 8, 8), to = view_f32(out, SAMPLES, 4, 8, 8);
    assert_ok(dqg_model_evaluate(context, network, &in, times, labels, NULL, NULL, &to));
}

static double relative(const float *a, const float *b) {
    double difference = 0, norm = 0;
    for (int i = 0; i < VALUES; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / norm);
}

static void test_scales(void **state) {
    struct tensor_file file = make_adapter(1);
    dqg_adaptation list[2] = {adaptation_of(&file, 0, 0), adaptation_of(&file, 0, 0)};
    float plain[VALUES], out[VALUES];
    (void)state;
    for (int bits = 0; bits < 2; bits++) {
        dqg_model *base = bits ? quantized : model;
        evaluate(base, plain);
        list[0].scale = list[1].scale = 0;
        dqg_model *none = adapt(base, NULL, 0), *zero = adapt(base, list, 2);
        evaluate(none, out);
        assert_memory_equal(out, plain, sizeof out);
        evaluate(zero, out);
        assert_memory_equal(out, plain, sizeof out);
        list[0].scale = 2.5;
        list[1].scale = -2.5;
        dqg_model *opposed = adapt(zero, list, 2), *one = adapt(opposed, list, 1);
        evaluate(opposed, out); /* each undoes the other, up to rounding */
        assert_true(relative(out, plain) < (bits ? 2e-2 : 1e-5));
        evaluate(one, out);
        assert_true(relative(out, plain) > 0.2);
        dqg_model_release(none);
        dqg_model_release(zero);
        dqg_model_release(opposed);
        dqg_model_release(one);
    }
    tensor_file_free(&file);
}

static void test_several_and_merged(void **state) {
    struct tensor_file a = make_adapter(1), b = make_adapter(50);
    const dqg_adaptation beside[2] = {adaptation_of(&a, 0.7, 0), adaptation_of(&b, -1.2, 0)};
    const dqg_adaptation merged[2] = {adaptation_of(&a, 0.7, DQG_ADAPT_MERGE),
                                      adaptation_of(&b, -1.2, DQG_ADAPT_MERGE)};
    const dqg_adaptation mixed[2] = {beside[1], merged[0]};
    float plain[VALUES], out[3][VALUES];
    (void)state;
    evaluate(model, plain);
    const dqg_adaptation *const lists[3] = {beside, merged, mixed};
    for (int i = 0; i < 3; i++) {
        dqg_model *adapted = adapt(model, lists[i], 2);
        evaluate(adapted, out[i]);
        dqg_model_release(adapted);
    }
    assert_true(relative(out[0], plain) > 0.2);
    assert_true(relative(out[1], out[0]) < 1e-5);
    assert_true(relative(out[2], out[0]) < 1e-5);
    evaluate(model, out[0]); /* nothing was changed in it */
    assert_memory_equal(out[0], plain, sizeof plain);
    dqg_model *refused;
    assert_fails(context, dqg_model_adapt(context, quantized, merged, 1, &refused), DQG_ERROR_UNSUPPORTED);
    assert_null(refused);
    tensor_file_free(&a);
    tensor_file_free(&b);
}

/* ---- quantized weights ---- */

/* A float model of the weights that a quantized one stands for. */
static dqg_model *dequantize(const dqg_model *from) {
    struct tensor_file *file = calloc(1, sizeof *file);
    dqg_tensor_info info;
    dqg_model *made;
    for (int32_t i = 0; DQG_INIT(&info), dqg_model_tensor_at(from, i, &info) == DQG_OK; i++) {
        float *data = tensor_file_add(file, info.name, info.rank, info.shape);
        dqg_tensor_view view = view_f32(data, 0, 0, 0, 0);
        view.rank = info.rank;
        memcpy(view.shape, info.shape, sizeof view.shape);
        assert_ok(dqg_model_read_tensor(context, from, info.name, &view));
    }
    const char meta[] = ",\"__metadata__\":{\"num_heads\":\"4\"}";
    memcpy(file->header + file->used, meta, sizeof meta);
    file->used += sizeof meta - 1;
    tensor_file_close(file);
    if (dqg_model_load_memory(context, file->bytes, file->size, NULL, &made) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    tensor_file_free(file);
    free(file);
    return made;
}

/* Beside 4-bit weights an update is as exact as beside floats: it adds no error to that of the weights' own product. */
static void test_quantized(void **state) {
    struct tensor_file file = make_adapter(1);
    const dqg_adaptation adaptation = adaptation_of(&file, 1.3, 0);
    float plain[VALUES], plain_float[VALUES], out[VALUES], out_float[VALUES];
    (void)state;
    dqg_model *floats = dequantize(quantized);
    dqg_model *adapted = adapt(quantized, &adaptation, 1), *adapted_floats = adapt(floats, &adaptation, 1);
    evaluate(quantized, plain);
    evaluate(floats, plain_float);
    evaluate(adapted, out);
    evaluate(adapted_floats, out_float);
    double before = relative(plain, plain_float), after = relative(out, out_float), change = relative(out, plain);
    print_message("int8 activations: error %.4f without, %.4f with an update of %.2f\n", before, after, change);
    assert_true(change > 0.2 && after < 1.3 * before);
    dqg_model_release(floats);
    dqg_model_release(adapted);
    dqg_model_release(adapted_floats);
    tensor_file_free(&file);
}

struct layer {
    const char *name;
    float rows[SAMPLES * 16 * 3 * WIDTH];
    int64_t columns, count;
};

static int32_t catch_layer(void *user, const char *name, const dqg_tensor_view *output) {
    struct layer *layers = user;
    for (int i = 0; i < 2; i++) {
        if (layers[i].count == 0 && strcmp(name, layers[i].name) == 0) {
            layers[i].columns = output->shape[1];
            layers[i].count = output->shape[0] * output->shape[1];
            memcpy(layers[i].rows, output->data, (size_t)layers[i].count * sizeof(float));
        }
    }
    return 0;
}

/* One product: what the update adds is up down x, of x before it is rounded to int8. */
static void test_quantized_layer(void **state) {
    enum { RANK = 5 };
    static struct layer with[2], without[2];
    static float out[VALUES], x[VALUES], down[RANK * WIDTH], up[3 * WIDTH * RANK];
    const double times[SAMPLES] = {900, 20};
    const int32_t labels[SAMPLES] = {1, -1};
    struct tensor_file file = {0};
    (void)state;
    tensor_file_matrix(&file, "transformer.blocks.0.attn.qkv.lora_A.weight", RANK, WIDTH, 7, 0.3f);
    tensor_file_matrix(&file, "transformer.blocks.0.attn.qkv.lora_B.weight", 3 * WIDTH, RANK, 8, 0.3f);
    tensor_fill(down, RANK * WIDTH, 7, 0.3f);
    tensor_fill(up, 3 * WIDTH * RANK, 8, 0.3f);
    tensor_file_close(&file);
    const dqg_adaptation adaptation = adaptation_of(&file, -0.9, 0);
    dqg_model *adapted = adapt(quantized, &adaptation, 1);
    tensor_fill(x, VALUES, 99, 1.5f);
    dqg_tensor_view in = view_f32(x, SAMPLES, 4, 8, 8), to = view_f32(out, SAMPLES, 4, 8, 8);
    with[0].name = without[0].name = "blocks.0.attn.qkv";
    with[1].name = without[1].name = "blocks.0.norm1";
    assert_ok(dqg_model_evaluate(context, adapted, &in, times, labels, catch_layer, with, &to));
    assert_ok(dqg_model_evaluate(context, quantized, &in, times, labels, catch_layer, without, &to));
    assert_true(with[0].count == SAMPLES * 16 * 3 * WIDTH && with[1].count == SAMPLES * 16 * WIDTH);
    double worst = 0, largest = 0;
    for (int row = 0; row < SAMPLES * 16; row++) {
        for (int n = 0; n < 3 * WIDTH; n++) {
            double sum = 0;
            for (int r = 0; r < RANK; r++) {
                double inner = 0;
                for (int k = 0; k < WIDTH; k++) {
                    inner += (double)down[r * WIDTH + k] * with[1].rows[row * WIDTH + k];
                }
                sum -= 0.9 * up[n * RANK + r] * inner;
            }
            int at = row * 3 * WIDTH + n;
            worst = fmax(worst, fabs((double)with[0].rows[at] - without[0].rows[at] - sum));
            largest = fmax(largest, fabs(sum));
        }
    }
    print_message("largest error of the update %.1e of %.2f\n", worst, largest);
    assert_true(largest > 1 && worst < 1e-4 * largest);
    dqg_model_release(adapted);
    tensor_file_free(&file);
}

/* ---- runs ---- */

static void finish(dqg_context *other, dqg_model *adapted, float out[VALUES]) {
    dqg_options *options = make_options(other, DQG_OPTIONS_RUN);
    dqg_run *run;
    dqg_status status;
    parse_options(options, "count=2 classes=1,2 guidance=3 seed=5 cache=first-block");
    assert_ok(dqg_run_create(other, adapted, NULL, options, &run));
    while ((status = dqg_run_step(run)) == DQG_OK) {
    }
    assert_int_equal(status, DQG_DONE);
    dqg_tensor_view view = view_f32(out, 2, 4, 8, 8);
    assert_ok(dqg_run_read(run, DQG_SOURCE_LATENT, &view));
    dqg_run_destroy(run);
    dqg_options_destroy(options);
}

/* A run takes an adapted model as any other, whatever the threads, after the model that lends the weights was given up.
 */
static void test_run(void **state) {
    struct tensor_file file = make_adapter(1);
    const dqg_adaptation adaptation = adaptation_of(&file, 1, 0);
    float plain[VALUES], out[2][VALUES];
    (void)state;
    dqg_model *base;
    assert_ok(dqg_model_load(context, quantized_path, NULL, &base));
    dqg_model *adapted = adapt(base, &adaptation, 1);
    dqg_model_release(base);
    for (int threads = 0; threads < 2; threads++) {
        dqg_context *other;
        assert_ok(dqg_context_create(NULL, &other));
        assert_ok(dqg_context_set_threads(other, 1 + 2 * threads));
        finish(other, adapted, out[threads]);
        dqg_context_destroy(other);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    finish(context, quantized, plain);
    assert_true(relative(out[0], plain) > 0.05);
    dqg_model_release(adapted);
    tensor_file_free(&file);
}

/* The rest of a file that is for more than the model has. */
static void test_partial(void **state) {
    struct tensor_file file = {0};
    float plain[VALUES], out[VALUES];
    (void)state;
    add_updates(&file, 1);
    tensor_file_matrix(&file, "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", 2, 64, 1, 1);
    tensor_file_matrix(&file, "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", 64, 2, 1, 1);
    tensor_file_close(&file);
    dqg_adaptation adaptation = adaptation_of(&file, 1, 0);
    dqg_model *adapted;
    assert_fails(context, dqg_model_adapt(context, model, &adaptation, 1, &adapted), DQG_ERROR_FORMAT);
    adaptation.flags = DQG_ADAPT_PARTIAL;
    adapted = adapt(model, &adaptation, 1);
    evaluate(model, plain);
    evaluate(adapted, out);
    assert_true(relative(out, plain) > 0.1);
    dqg_model_release(adapted);
    tensor_file_free(&file);
}

/* ---- group ---- */

static struct model_fixture fixture;

/* The last layer and the embeddings at 4 bits too. */
static int setup(void **state) {
    dqg_quantizer *quantizer;
    (void)state;
    if (model_fixture_open(&fixture) != 0) {
        return -1;
    }
    context = fixture.context;
    model = fixture.model;
    tiny_path(quantized_path, sizeof quantized_path, fixture.directory, "tiny.dqg");
    int failed = dqg_quantizer_create(context, NULL, &quantizer) < 0;
    failed = failed || dqg_quantizer_add_rule(quantizer, "*x_embedder*", "int4") < 0;
    failed = failed || dqg_quantizer_add_rule(quantizer, "final_layer.linear.weight", "int8") < 0;
    failed = failed || dqg_quantizer_run(quantizer, fixture.path, quantized_path) < 0;
    failed = failed || dqg_model_load(context, quantized_path, NULL, &quantized) < 0;
    dqg_quantizer_destroy(quantizer);
    return failed ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    dqg_model_release(quantized);
    model_fixture_close(&fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales),    cmocka_unit_test(test_several_and_merged),
        cmocka_unit_test(test_quantized), cmocka_unit_test(test_quantized_layer),
        cmocka_unit_test(test_run),       cmocka_unit_test(test_partial),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
