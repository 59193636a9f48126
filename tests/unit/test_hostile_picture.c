/* SPDX-License-Identifier: MIT */
/*
 * dqg_model_decode() and dqg_model_encode(): wrong arguments; and autoencoders of the published sizes, made up, whose
 * parameters are counted.
 */
#include <stdio.h>

#include "check.h"
#include "failing_alloc.h"
#include "model_fixture.h"

enum { MOST_TENSORS = 512 };

/* Descriptions of a model without a file. */
struct sizes {
    dqg_tensor_info tensors[MOST_TENSORS];
    char names[MOST_TENSORS][128];
    int32_t count;
};

static struct sizes sizes;

static void add(const char *prefix, const char *part, int32_t rank, int64_t out, int64_t in, int64_t kernel) {
    dqg_tensor_info *info = &sizes.tensors[sizes.count];
    DQG_INIT(info);
    snprintf(sizes.names[sizes.count], sizeof sizes.names[0], "%s.%s", prefix, part);
    info->name = sizes.names[sizes.count++];
    info->rank = rank;
    info->dtype = rank == 1 ? DQG_DTYPE_F32 : DQG_DTYPE_INT4;
    info->group = rank == 1 ? 0 : 32;
    info->shape[0] = out;
    info->shape[1] = rank > 1 ? in : 0;
    info->shape[2] = info->shape[3] = rank > 1 ? kernel : 0;
}

static void add_conv(const char *prefix, int64_t out, int64_t in, int64_t kernel) {
    add(prefix, "weight", 4, out, in, kernel);
    add(prefix, "bias", 1, out, 0, 0);
}

static void add_norm(const char *prefix, int64_t channels) {
    add(prefix, "weight", 1, channels, 0, 0);
    add(prefix, "bias", 1, channels, 0, 0);
}

static const char *joined(const char *prefix, const char *part) {
    static char name[64];
    snprintf(name, sizeof name, "%s.%s", prefix, part);
    return name;
}

static void add_block(const char *prefix, int64_t in, int64_t out) {
    add_norm(joined(prefix, "norm1"), in);
    add_conv(joined(prefix, "conv1"), out, in, 3);
    add_norm(joined(prefix, "norm2"), out);
    add_conv(joined(prefix, "conv2"), out, out, 3);
    if (in != out) {
        add_conv(joined(prefix, "nin_shortcut"), out, in, 1);
    }
}

static void add_middle(const char *side) {
    static const char *const parts[] = {"mid.attn_1.q", "mid.attn_1.k", "mid.attn_1.v", "mid.attn_1.proj_out"};
    char name[64];
    for (int i = 1; i < 3; i++) {
        snprintf(name, sizeof name, "%s.mid.block_%d", side, i);
        add_block(name, 512, 512);
    }
    add_norm(joined(side, "mid.attn_1.norm"), 512);
    for (int i = 0; i < 4; i++) {
        add_conv(joined(side, parts[i]), 512, 512, 1);
    }
}

/* The autoencoder of Stable Diffusion, SD3 and FLUX. */
static void make_kl(int64_t channels, int quantized) {
    static const int64_t widths[] = {128, 256, 512, 512};
    char name[64];
    int64_t up = 512, down = 128;
    sizes.count = 0;
    add_conv("encoder.conv_in", 128, 3, 3);
    add_conv("decoder.conv_in", 512, channels, 3);
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "encoder.down.%d.block.%d", level, i);
            if (i < 2) {
                add_block(name, i == 0 ? down : widths[level], widths[level]);
            }
            snprintf(name, sizeof name, "decoder.up.%d.block.%d", 3 - level, i);
            add_block(name, i == 0 ? up : widths[3 - level], widths[3 - level]);
        }
        down = widths[level];
        up = widths[3 - level];
        if (level < 3) {
            snprintf(name, sizeof name, "encoder.down.%d.downsample.conv", level);
            add_conv(name, down, down, 3);
            snprintf(name, sizeof name, "decoder.up.%d.upsample.conv", 3 - level);
            add_conv(name, up, up, 3);
        }
    }
    add_middle("encoder");
    add_middle("decoder");
    add_norm("encoder.norm_out", 512);
    add_norm("decoder.norm_out", 128);
    add_conv("encoder.conv_out", 2 * channels, 512, 3);
    add_conv("decoder.conv_out", 3, 128, 3);
    if (quantized) {
        add_conv("quant_conv", 2 * channels, 2 * channels, 1);
        add_conv("post_quant_conv", channels, channels, 1);
    }
}

/* One half of TAESD: c a convolution, n one without bias, b a block, . a place without tensors. */
static void make_tiny(const char *layers, int64_t in, int64_t out) {
    char name[64], part[64];
    int last = (int)strlen(layers) - 1;
    sizes.count = 0;
    for (int i = 0, first = 1; i <= last; i++) {
        snprintf(name, sizeof name, "%d", i);
        for (int conv = 0; layers[i] == 'b' && conv < 5; conv += 2) {
            snprintf(part, sizeof part, "%d.conv.%d", i, conv);
            add_conv(part, 64, 64, 3);
        }
        if (layers[i] == 'c') {
            add_conv(name, i == last ? out : 64, first ? in : 64, 3);
            first = 0;
        } else if (layers[i] == 'n') {
            add(name, "weight", 4, 64, 64, 3);
        }
    }
}

static void count(const char *family, int32_t channels, uint64_t parameters) {
    dqg_context *context;
    dqg_model *model;
    dqg_model_info info;
    assert_ok(dqg_context_create(NULL, &context));
    if (dqg_measure_model(context, sizes.tensors, sizes.count, &model) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    DQG_INIT(&info);
    assert_ok(dqg_model_get_info(model, &info));
    assert_string_equal(info.family, family);
    assert_int_equal(info.channels, channels);
    assert_int_equal(info.height, 64);
    assert_int_equal(info.reduction, 8);
    assert_int_equal(info.parameters, parameters);
    /* Sampling is for denoisers. */
    dqg_run *run;
    assert_fails(context, dqg_run_create(context, model, NULL, NULL, &run), DQG_ERROR_UNSUPPORTED);
    dqg_model_release(model);
    dqg_context_destroy(context);
}

static const char encoder_layers[] = "cbnbbbnbbbnbbbc", decoder_layers[] = ".c.bbb.nbbb.nbbb.nbc";

static void published_sizes(void **state) {
    (void)state;
    make_kl(4, 1);
    count("vae", 4, 83653863);
    make_kl(16, 0);
    count("vae", 16, 83819683);
    make_tiny(encoder_layers, 3, 4);
    count("taesd", 4, 1222532);
    make_tiny(decoder_layers, 4, 3);
    count("taesd", 4, 1222531);
    make_tiny(encoder_layers, 3, 16);
    count("taesd", 16, 1229456);
    make_tiny(decoder_layers, 16, 3);
    count("taesd", 16, 1229443);
}

static void wrong_arguments(void **state) {
    const struct model_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    dqg_model *model;
    dqg_picture_spec spec;
    dqg_memory_info memory;
    static float in[16 * 4], out[3 * 32 * 32];
    dqg_tensor_view latent = view_f32(in, 1, 4, 4, 4), picture = view_f32(out, 1, 3, 32, 32);
    make_tiny(decoder_layers, 4, 3);
    assert_ok(dqg_measure_model(context, sizes.tensors, sizes.count, &model));
    DQG_INIT(&spec);
    DQG_INIT(&memory);
    assert_ok(dqg_model_decode(context, model, &latent, &spec, &picture, &memory));
    assert_true(memory.run_bytes > sizeof out && memory.model_bytes > 500000);
    assert_ok(dqg_model_decode(context, model, &latent, NULL, NULL, &memory));
    assert_int_equal(dqg_model_decode(NULL, model, &latent, &spec, &picture, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_encode(NULL, model, &picture, &spec, &latent, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_decode(context, NULL, &latent, &spec, &picture, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_decode(context, model, NULL, &spec, &picture, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_decode(context, model, &latent, &spec, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode(context, model, &picture, &spec, &latent, NULL), DQG_ERROR_UNSUPPORTED);
    assert_fails(context, dqg_model_decode(context, fixture->model, &latent, &spec, &picture, NULL),
                 DQG_ERROR_UNSUPPORTED);
#define refuse(status) assert_fails(context, dqg_model_decode(context, model, &latent, &spec, &picture, NULL), status)
    spec.tile = -1;
    refuse(DQG_ERROR_RANGE);
    spec.tile = 0;
    spec.overlap = 65;
    refuse(DQG_ERROR_RANGE);
    spec.overlap = 0;
    spec.scale = -1;
    refuse(DQG_ERROR_RANGE);
    spec.scale = 0;
    spec.flags = 8;
    refuse(DQG_ERROR_ARGUMENT);
    spec.flags = 0;
    spec.struct_size = 4;
    refuse(DQG_ERROR_ARGUMENT);
    DQG_INIT(&spec);
    latent.shape[1] = 3;
    refuse(DQG_ERROR_ARGUMENT);
    latent.shape[1] = 4;
    latent.shape[3] = 0;
    refuse(DQG_ERROR_ARGUMENT);
    latent.shape[3] = 4;
    picture.shape[3] = 31;
    refuse(DQG_ERROR_ARGUMENT);
    dqg_model_release(model);
}

/* Pictures whose sides are no multiples of 8. */
static void wrong_sides(void **state) {
    const struct model_fixture *fixture = *state;
    dqg_model *model;
    static float in[3 * 32 * 36], out[4 * 4 * 4];
    dqg_tensor_view picture = view_f32(in, 1, 3, 32, 36), latent = view_f32(out, 1, 4, 4, 4);
    make_tiny(encoder_layers, 3, 4);
    assert_ok(dqg_measure_model(fixture->context, sizes.tensors, sizes.count, &model));
    assert_fails(fixture->context, dqg_model_encode(fixture->context, model, &picture, NULL, &latent, NULL),
                 DQG_ERROR_RANGE);
    dqg_model_release(model);
}

/* Every request for memory of a decoding in tiles fails once; nothing is lost. */
static void failing_memory(void **state) {
    (void)state;
    static struct failing_alloc memory;
    static float in[4 * 4 * 4], out[3 * 32 * 32];
    dqg_allocator allocator;
    dqg_context *context;
    dqg_model *model;
    dqg_picture_spec spec;
    dqg_tensor_view latent = view_f32(in, 1, 4, 4, 4), picture = view_f32(out, 1, 3, 32, 32);
    failing_alloc_init(&memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &context));
    make_tiny(decoder_layers, 4, 3);
    assert_ok(dqg_measure_model(context, sizes.tensors, sizes.count, &model));
    DQG_INIT(&spec);
    spec.tile = 2;
    spec.overlap = 1;
    dqg_status status = DQG_ERROR_MEMORY;
    int64_t failures = 0;
    for (; status == DQG_ERROR_MEMORY && failures < 1000; failures++) {
        memory.fail_at = failures + 1;
        status = dqg_model_decode(context, model, &latent, &spec, &picture, NULL);
    }
    memory.fail_at = 0;
    assert_ok(status);
    assert_true(failures > 8);
    dqg_model_release(model);
    dqg_context_destroy(context);
    assert_int_equal(failing_alloc_errors(&memory), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_sizes),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(wrong_sides),
        cmocka_unit_test(failing_memory),
    };
    return cmocka_run_group_tests(tests, model_fixture_setup, model_fixture_teardown);
}
