/* SPDX-License-Identifier: MIT */
/*
 * The U-Net on pixels against PyTorch: results and inner blocks of small ones on every backend, with 4-bit weights, and
 * published ones by the shapes of their tensors alone.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "context_check.h"
#include "model/model.h"
#include "named_weights.h"
#include "tiny_model.h"
#include "relative.h"

static const double limit = 1e-4; /* largest relative error of the float path */

/* ---- small networks ---- */

static const char heads_of_16[] = "{\"num_head_channels\":\"16\"}";
static const char heads_new[] = "{\"num_heads\":\"4\",\"use_new_attention_order\":\"True\"}";

static unsigned char *make_file(const char *name, const char *metadata, size_t *bytes) {
    char path[128];
    snprintf(path, sizeof path, "tests/golden/adm/%s.txt", name);
    const struct named_file list = {.list = path, .metadata = metadata};
    unsigned char *file = named_file_make(&list, bytes);
    assert_non_null(file);
    return file;
}

static dqg_model *load(const char *name, const char *metadata) {
    size_t bytes;
    dqg_model *model;
    unsigned char *file = make_file(name, metadata, &bytes);
    if (dqg_model_load_memory(context, file, bytes, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", name, dqg_context_error(context));
    }
    free(file);
    return model;
}

static struct npy read_array(const char *base, const char *part) {
    return golden_array("adm/%s_%s", base, part);
}

/* What a block gives: the operator that makes it, what PyTorch's gave, and how far they are apart. */
struct block {
    const char *name;
    struct npy expected;
    double error;
};

/* Rows of pixels against (samples, channels, height, width). */
static int32_t compare_block(void *user, const char *name, const dqg_tensor_view *output) {
    struct block *block = user;
    if (strcmp(name, block->name) != 0) {
        return 0;
    }
    const float *rows = output->data;
    int64_t channels = block->expected.shape[1], pixels = block->expected.shape[2] * block->expected.shape[3];
    assert_int_equal(output->shape[0], block->expected.shape[0] * pixels);
    assert_int_equal(output->shape[1], channels);
    float *images = malloc((size_t)block->expected.count * sizeof *images);
    for (int64_t i = 0; i < block->expected.count; i++) {
        int64_t sample = i / (channels * pixels), channel = i / pixels % channels, pixel = i % pixels;
        images[i] = rows[(sample * pixels + pixel) * channels + channel];
    }
    block->error = relative(images, block->expected.data, block->expected.count);
    free(images);
    return 0;
}

static void find_block(const dqg_model *model, const struct npy *x, int number, struct block *block, char name[128]) {
    struct dqg_graph graph;
    const struct dqg_graph_config config = {.samples = 1, .height = (size_t)x->shape[2], .width = (size_t)x->shape[3]};
    assert_ok(dqg_model_graph(context, model, &config, &graph));
    assert_true(number <= graph.blocks.count);
    int32_t leave = graph.blocks.spans[number - 1].leave;
    snprintf(name, 128, "%s", graph.nodes[graph.values[leave].producer].name);
    block->name = name;
    block->error = 1;
    dqg_graph_free(&graph);
}

/* The largest error of the result and of a block. */
static double check_shape(const dqg_model *model, const char *base, int classes, int number) {
    struct npy x = read_array(base, "x"), t = read_array(base, "t"), expected = read_array(base, "out");
    struct block block;
    char part[16], name[128];
    double times[2] = {t.data[0], t.data[1]};
    int32_t labels[2] = {-1, -1};
    snprintf(part, sizeof part, "block%d", number);
    block.expected = read_array(base, part);
    find_block(model, &x, number, &block, name);
    if (classes) {
        struct npy y = read_array(base, "y");
        labels[0] = (int32_t)y.data[0];
        labels[1] = (int32_t)y.data[1];
        free(y.data);
    }
    float *out = malloc((size_t)expected.count * sizeof *out);
    dqg_tensor_view from = view_f32(x.data, x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
    dqg_tensor_view to = view_f32(out, x.shape[0], expected.shape[1], x.shape[2], x.shape[3]);
    if (dqg_model_evaluate(context, model, &from, times, labels, compare_block, &block, &to) != DQG_OK) {
        fail_msg("%s: %s", base, dqg_context_error(context));
    }
    double error = relative(out, expected.data, expected.count);
    free(out);
    free(x.data);
    free(t.data);
    free(expected.data);
    free(block.expected.data);
    return fmax(error, block.error);
}

static void check_case(const char *name, const char *metadata, const char *shape_a, const char *shape_b, int classes,
                       int block) {
    const char *shapes[] = {shape_a, shape_b};
    dqg_model *model = load(name, metadata);
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
        for (int k = 0; k < 2; k++) {
            char base[64];
            snprintf(base, sizeof base, "%s_%s", name, shapes[k]);
            double error = check_shape(model, base, classes, block);
            printf("%-16s %-8s relative error %.2e\n", base, dqg_backend_name(i), error);
            assert_true(error < limit);
        }
    }
    dqg_model_release(model);
}

/* Heads one after the other in rows of qkv. */
static void test_plain(void **state) {
    (void)state;
    check_case("plain", heads_of_16, "16x16", "8x24", 0, 5);
}

/* Classes; first level half as wide; queries, keys and values one after the other. */
static void test_classes(void **state) {
    (void)state;
    check_case("classes", heads_new, "8x8", "4x12", 1, 9);
}

/* The time added, convolutions that halve and double, no learned sigma. */
static void test_summed(void **state) {
    (void)state;
    check_case("summed", "{\"num_heads\":\"2\"}", "8x8", "6x10", 1, 6);
}

/* The time added in residual blocks that halve and double. */
static void test_resampled(void **state) {
    (void)state;
    check_case("resampled", "{\"num_head_channels\":\"32\"}", "8x8", "4x6", 0, 4);
}

/* Of no class: the network without the embedding, which is what unconditional networks are. */
static void test_no_class(void **state) {
    enum { COUNT = 3 * 8 * 8 };
    static float x[2 * COUNT], out[2 * COUNT];
    const double times[] = {500, 500};
    const int32_t labels[] = {-1, 2};
    (void)state;
    dqg_model *model = load("summed", "{\"num_heads\":\"2\"}");
    dqg_tensor_view from = view_f32(x, 2, 3, 8, 8), to = view_f32(out, 2, 3, 8, 8);
    for (int i = 0; i < COUNT; i++) {
        x[i] = x[COUNT + i] = (float)sin(i);
    }
    assert_ok(dqg_model_evaluate(context, model, &from, times, labels, NULL, NULL, &to));
    assert_true(relative(out, out + COUNT, COUNT) > 0.01); /* not the last class */
    dqg_model_release(model);
}

/* Self-attention of the middle that passes its values through. */
static void test_perturbed(void **state) {
    static const int64_t middle[] = {4};
    const struct dqg_perturbation attention = {DQG_PERTURB_ATTENTION, middle, 1}, skip = {DQG_PERTURB_SKIP, middle, 1};
    struct npy x = read_array("plain_8x24", "x"), t = read_array("plain_8x24", "t"),
               expected = read_array("plain_8x24", "alone");
    struct dqg_graph_config config = {.samples = 2, .height = 8, .width = 24, .perturbation = &skip};
    const double times[2] = {t.data[0], t.data[1]};
    struct dqg_graph graph;
    struct dqg_exec exec = {0};
    (void)state;
    dqg_model *model = load("plain", heads_of_16);
    float *out = malloc((size_t)expected.count * sizeof *out);
    const struct dqg_exec_io io = {.x = x.data, .timesteps = times, .out = out};
    assert_fails(context, dqg_model_graph(context, model, &config, &graph), DQG_ERROR_UNSUPPORTED);
    config.perturbation = &attention;
    assert_ok(dqg_model_graph(context, model, &config, &graph));
    assert_ok(dqg_exec_init(context, &graph, &exec));
    while (dqg_exec_next(&exec, &io) == DQG_PENDING) {
    }
    assert_true(relative(out, expected.data, expected.count) < limit);
    dqg_exec_free(&exec);
    dqg_graph_free(&graph);
    free(out);
    free(x.data);
    free(t.data);
    free(expected.data);
    dqg_model_release(model);
}

static void test_features(void **state) {
    const double timesteps[] = {90};
    float *images = calloc(3 * 16 * 16, sizeof *images);
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    dqg_scheduler *scheduler;
    dqg_feature_spec spec;
    int64_t count;
    (void)state;
    dqg_model *model = load("plain", heads_of_16);
    parse_options(options, "schedule=linear solver=ddim");
    assert_ok(dqg_options_set_floats(options, DQG_SCHEDULER_TIMESTEPS, timesteps, 1));
    assert_ok(dqg_scheduler_create(context, options, &scheduler));
    DQG_INIT(&spec);
    spec.block = 5;
    spec.pool = 2;
    dqg_tensor_view x = view_f32(images, 1, 3, 16, 16);
    assert_ok(dqg_model_features(context, model, scheduler, &x, &spec, NULL, NULL, NULL, &count));
    assert_int_equal(count, 64 * 2 * 2);
    spec.block = 10;
    assert_fails(context, dqg_model_features(context, model, scheduler, &x, &spec, NULL, NULL, NULL, &count),
                 DQG_ERROR_RANGE);
    dqg_scheduler_release(scheduler);
    dqg_options_destroy(options);
    dqg_model_release(model);
    free(images);
}

static void test_messages(void **state) {
    float x[3 * 7 * 8] = {0};
    const double time = 1;
    const int32_t label = -1;
    size_t bytes;
    dqg_model *model;
    (void)state;
    unsigned char *file = make_file("plain", NULL, &bytes);
    assert_fails(context, dqg_model_load_memory(context, file, bytes, NULL, &model), DQG_ERROR_FORMAT);
    assert_non_null(strstr(dqg_context_error(context), "'num_head_channels'"));
    assert_non_null(strstr(dqg_context_error(context), "'num_heads'"));
    free(file);
    file = make_file("plain", "{\"num_heads\":\"5\"}", &bytes);
    assert_fails(context, dqg_model_load_memory(context, file, bytes, NULL, &model), DQG_ERROR_FORMAT);
    free(file);
    model = load("plain", heads_of_16);
    dqg_tensor_view view = view_f32(x, 1, 3, 7, 8);
    assert_fails(context, dqg_model_evaluate(context, model, &view, &time, &label, NULL, NULL, &view), DQG_ERROR_RANGE);
    assert_non_null(strstr(dqg_context_error(context), "multiples of 2"));
    dqg_model_release(model);
}

/* ---- four bits ---- */

/* Two steps, the second of which leaves the inner part out: nothing that it makes is read elsewhere. */
static void check_cache(dqg_model *model) {
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    dqg_run *run;
    dqg_run_info info;
    parse_options(options, "cache=deepcache cache-interval=2");
    if (dqg_run_create(context, model, NULL, options, &run) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    assert_true(dqg_run_step(run) >= 0);
    assert_true(dqg_run_step(run) >= 0);
    DQG_INIT(&info);
    assert_ok(dqg_run_get_info(run, &info));
    assert_int_equal(info.skipped, 1);
    dqg_run_destroy(run);
    dqg_options_destroy(options);
}

static void test_quantized(void **state) {
    char directory[128], from[192], to[192];
    dqg_quantizer *quantizer;
    dqg_model *model;
    const struct named_file list = {.list = "tests/golden/adm/plain.txt", .metadata = heads_of_16};
    (void)state;
    assert_int_equal(tiny_dir_make(directory, sizeof directory), 0);
    assert_int_equal(named_file_write(&list, tiny_path(from, sizeof from, directory, "float.safetensors")), 0);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, from, tiny_path(to, sizeof to, directory, "small.dqg")));
    dqg_quantizer_destroy(quantizer);
    assert_ok(dqg_model_load(context, to, NULL, &model));
    dqg_tensor_info info;
    DQG_INIT(&info);
    for (int32_t i = 0; dqg_model_tensor_at(model, i, &info) == DQG_OK; i++) {
        bool end = strcmp(info.name, "input_blocks.0.0.weight") == 0 || strcmp(info.name, "out.2.weight") == 0;
        assert_true(!end || info.dtype == DQG_DTYPE_F16);
        DQG_INIT(&info);
    }
    double error = check_shape(model, "plain_16x16", 0, 5);
    printf("plain_16x16 at 4 bits: relative error %.3f\n", error);
    assert_true(error < 0.14); /* a cosine of 0.99 */
    check_cache(model);
    dqg_model_release(model);
    tiny_dir_remove(directory);
}

/* ---- published networks ---- */

enum { TENSORS_MAX = 1024 };

static struct {
    struct dqg_weight weights[TENSORS_MAX];
    char names[TENSORS_MAX][64];
    size_t count;
    uint64_t parameters;
} full;

static void add(const char *prefix, const char *part, int rank, int64_t outputs, int64_t inputs, int64_t window) {
    struct dqg_weight *weight = &full.weights[full.count];
    assert_true(full.count < TENSORS_MAX);
    snprintf(full.names[full.count], sizeof full.names[0], "%s.%s", prefix, part);
    *weight = (struct dqg_weight){.name = full.names[full.count],
                                  .dtype = rank > 1 ? DQG_DTYPE_F16 : DQG_DTYPE_F32,
                                  .rank = rank,
                                  .shape = {outputs, inputs, window, window}};
    if (!dqg_matrix_size(weight->dtype, 0, weight->rank, weight->shape, &weight->size)) {
        weight->size = (struct dqg_matrix_size){0};
    }
    full.parameters += dqg_weight_count(weight);
    full.count++;
}

/* inputs 0: a norm; window 0: a matrix. */
static void add_biased(const char *prefix, const char *module, int64_t outputs, int64_t inputs, int64_t window) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", module);
    add(prefix, name, inputs == 0 ? 1 : window > 0 ? 4 : 2, outputs, inputs, window);
    snprintf(name, sizeof name, "%s.bias", module);
    add(prefix, name, 1, outputs, 0, 0);
}

static void add_residual(const char *prefix, int64_t outputs, int64_t inputs, int64_t emb) {
    add_biased(prefix, "in_layers.0", inputs, 0, 0);
    add_biased(prefix, "in_layers.2", outputs, inputs, 3);
    add_biased(prefix, "emb_layers.1", 2 * outputs, emb, 0);
    add_biased(prefix, "out_layers.0", outputs, 0, 0);
    add_biased(prefix, "out_layers.3", outputs, outputs, 3);
    if (outputs != inputs) {
        add_biased(prefix, "skip_connection", outputs, inputs, 0);
    }
}

static void add_attention(const char *prefix, int64_t d) {
    add_biased(prefix, "norm", d, 0, 0);
    add_biased(prefix, "qkv", 3 * d, d, 0);
    add_biased(prefix, "proj_out", d, d, 0);
}

struct shape {
    int64_t width, mults[8];
    int levels, blocks, classes, attend; /* attend: the first level with attention */
};

static void add_part(const char *list, int block, int part, int64_t outputs, int64_t inputs, int64_t emb) {
    char name[64];
    snprintf(name, sizeof name, "%s.%d.%d", list, block, part);
    if (inputs > 0) {
        add_residual(name, outputs, inputs, emb);
    } else {
        add_attention(name, outputs);
    }
}

static void add_network(const struct shape *s) {
    int64_t emb = 4 * s->width, skips[64], c = s->width * s->mults[0];
    int blocks = 0, out = 0;
    full.count = 0;
    full.parameters = 0;
    add_biased("time_embed", "0", emb, s->width, 0);
    add_biased("time_embed", "2", emb, emb, 0);
    if (s->classes > 0) {
        add("label_emb", "weight", 2, s->classes, emb, 0);
    }
    add_biased("input_blocks.0", "0", c, 3, 3);
    skips[blocks++] = c;
    for (int level = 0; level < s->levels; level++) {
        for (int i = 0; i < s->blocks; i++, skips[blocks++] = c) {
            add_part("input_blocks", blocks, 0, s->width * s->mults[level], c, emb);
            c = s->width * s->mults[level];
            if (level >= s->attend) {
                add_part("input_blocks", blocks, 1, c, 0, 0);
            }
        }
        if (level + 1 < s->levels) {
            add_part("input_blocks", blocks, 0, c, c, emb);
            skips[blocks++] = c;
        }
    }
    add_residual("middle_block.0", c, c, emb);
    add_attention("middle_block.1", c);
    add_residual("middle_block.2", c, c, emb);
    for (int level = s->levels - 1; level >= 0; level--) {
        for (int i = 0; i <= s->blocks; i++, out++) {
            int part = 1;
            add_part("output_blocks", out, 0, s->width * s->mults[level], c + skips[--blocks], emb);
            c = s->width * s->mults[level];
            if (level >= s->attend) {
                add_part("output_blocks", out, part++, c, 0, 0);
            }
            if (level > 0 && i == s->blocks) {
                add_part("output_blocks", out, part, c, c, emb);
            }
        }
    }
    add_biased("out", "0", c, 0, 0);
    add_biased("out", "2", 6, c, 3);
}

static struct dqg_model configure(void) {
    extern const struct dqg_family dqg_family_adm;
    struct dqg_model model = {
        .alloc = context->alloc, .family = &dqg_family_adm, .weights = full.weights, .weight_count = full.count};
    if (model.family->configure(context, &model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    return model;
}

static void test_256(void **state) {
    const struct shape shape = {256, {1, 1, 2, 2, 4, 4}, 6, 2, 0, 3};
    struct dqg_graph graph;
    (void)state;
    add_network(&shape);
    struct dqg_model model = configure();
    assert_int_equal(full.parameters, 552814086);
    assert_int_equal(model.hyper.depth, 37);
    assert_int_equal(model.hyper.height, 256);
    assert_int_equal(model.hyper.out_channels, 6);
    assert_int_equal(model.hyper.classes, 0);
    assert_int_equal(model.hyper.head_width, 64);
    assert_true(model.hyper.heads_first);
    assert_ok(dqg_model_graph(context, &model, &(struct dqg_graph_config){.samples = 1}, &graph));
    assert_int_equal(graph.blocks.count, 37);
    assert_int_equal(graph.branches.count, 18);
    const struct dqg_value *value = &graph.values[graph.blocks.spans[24 - 1].leave]; /* 1024 x 16 x 16 */
    assert_int_equal(value->columns, 1024);
    assert_int_equal(value->rows, 16 * 16);
    dqg_graph_free(&graph);
}

static void test_64(void **state) {
    const struct shape shape = {192, {1, 2, 3, 4}, 4, 3, 1000, 1};
    struct dqg_graph graph;
    (void)state;
    add_network(&shape);
    struct dqg_model model = configure();
    assert_int_equal(full.parameters, 295904454);
    assert_int_equal(model.hyper.height, 64);
    assert_int_equal(model.hyper.classes, 1000);
    assert_int_equal(model.hyper.head_width, 64);
    assert_false(model.hyper.heads_first);
    assert_ok(dqg_model_graph(context, &model, &(struct dqg_graph_config){.samples = 1}, &graph));
    dqg_graph_free(&graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),     cmocka_unit_test(test_classes),  cmocka_unit_test(test_summed),
        cmocka_unit_test(test_resampled), cmocka_unit_test(test_no_class), cmocka_unit_test(test_perturbed),
        cmocka_unit_test(test_features),  cmocka_unit_test(test_messages), cmocka_unit_test(test_quantized),
        cmocka_unit_test(test_256),       cmocka_unit_test(test_64),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
