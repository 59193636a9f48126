/* SPDX-License-Identifier: MIT */
/* CLIP and T5 against transformers: random weights, every backend, float path within 1e-4; the same weights under the
 * names of OpenCLIP; 4-bit weights; positions of T5. make_encoder_golden.py wrote the files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "golden.h"
#include "context_check.h"
#include "io/io.h"
#include "model/layer_parts.h"
#include "relative.h"

enum { PROMPTS_MAX = 4, IDS_MAX = 1024 };

static const double limit = 1e-4; /* || a - b || / || b || */

static struct npy read_array(const char *name, const char *part) {
    return golden_array("encoders/%s_%s", name, part);
}

static dqg_model *load(const char *path) {
    dqg_model *model;
    if (dqg_model_load(context, path, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    return model;
}

static dqg_model *load_golden(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "tests/golden/encoders/%s.safetensors", name);
    return load(path);
}

struct prompts {
    int32_t ids[IDS_MAX], lengths[PROMPTS_MAX], count, tokens;
};

static void read_prompts(const char *name, bool with_lengths, struct prompts *prompts) {
    struct npy ids = read_array(name, "ids");
    assert_true(ids.count <= IDS_MAX && ids.shape[0] <= PROMPTS_MAX);
    for (int64_t i = 0; i < ids.count; i++) {
        prompts->ids[i] = (int32_t)ids.data[i];
    }
    prompts->count = (int32_t)ids.shape[0];
    prompts->tokens = (int32_t)ids.shape[1];
    free(ids.data);
    if (with_lengths) {
        struct npy lengths = read_array(name, "lengths");
        for (int64_t i = 0; i < lengths.count; i++) {
            prompts->lengths[i] = (int32_t)lengths.data[i];
        }
        free(lengths.data);
    }
}

/* The error of what is compared with an array of the golden files: rows (3 sides) or pooled (2 sides). */
static double error_of(const dqg_model *model, const char *name, const char *part, const int32_t *lengths,
                       const dqg_text_settings *settings) {
    struct prompts prompts;
    struct npy wanted = read_array(name, part);
    read_prompts(name, false, &prompts);
    float *out = malloc((size_t)wanted.count * sizeof *out);
    memset(out, 0xff, (size_t)wanted.count * sizeof *out);
    dqg_tensor_view view = view_f32(out, wanted.shape[0], wanted.shape[1], wanted.rank > 2 ? wanted.shape[2] : 0, 0);
    dqg_status status =
        dqg_model_encode_tokens(context, model, prompts.ids, prompts.count, prompts.tokens, lengths, settings,
                                wanted.rank > 2 ? &view : NULL, wanted.rank > 2 ? NULL : &view);
    if (status != DQG_OK) {
        fail_msg("%s %s: %s", name, part, dqg_context_error(context));
    }
    double error = relative(out, wanted.data, wanted.count);
    printf("%-10s %-10s %-8s relative error %.2e\n", name, part, dqg_context_backend(context), error);
    free(out);
    free(wanted.data);
    return error;
}

static dqg_text_settings settings_of(uint32_t flags, int32_t skip) {
    dqg_text_settings settings;
    DQG_INIT(&settings);
    settings.flags = flags;
    settings.skip = skip;
    return settings;
}

static void check_clip(const dqg_model *model, const char *name, bool projected) {
    const dqg_text_settings skip = settings_of(DQG_TEXT_NO_NORM, 1), skip_norm = settings_of(0, 1);
    const dqg_text_settings plain = settings_of(DQG_TEXT_NO_PROJECTION, 1);
    assert_true(error_of(model, name, "last", NULL, NULL) < limit);
    assert_true(error_of(model, name, "skip", NULL, &skip) < limit);
    assert_true(error_of(model, name, "skip_norm", NULL, &skip_norm) < limit);
    assert_true(error_of(model, name, "pooled", NULL, &plain) < limit); /* of the last layer in any case */
    if (projected) {
        assert_true(error_of(model, name, "projected", NULL, NULL) < limit);
    }
}

static void test_clip(void **state) {
    (void)state;
    dqg_model *wide = load_golden("clip_wide"), *deep = load_golden("clip_deep");
    for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
        assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
        check_clip(wide, "clip_wide", true);
        check_clip(deep, "clip_deep", false);
    }
    dqg_model_release(wide);
    dqg_model_release(deep);
}

/* Rows and pooled in one call are those of two; a length says which row is the pooled one. */
static void test_both_outputs(void **state) {
    enum { TOKENS = 14, COLUMNS = 128, PROJECTION = 96 };
    const int32_t lengths[3] = {14, 8, 3};
    (void)state;
    dqg_model *model = load_golden("clip_wide");
    struct prompts prompts;
    struct npy last = read_array("clip_wide", "last"), projected = read_array("clip_wide", "projected");
    float rows[3 * TOKENS * COLUMNS], pooled[3 * PROJECTION];
    dqg_tensor_view rows_view = view_f32(rows, 3, TOKENS, COLUMNS, 0),
                    pooled_view = view_f32(pooled, 3, PROJECTION, 0, 0);
    read_prompts("clip_wide", false, &prompts);
    assert_ok(dqg_model_encode_tokens(context, model, prompts.ids, 3, TOKENS, lengths, NULL, &rows_view, &pooled_view));
    assert_true(relative(rows, last.data, last.count) < limit);
    assert_true(relative(pooled, projected.data, projected.count) < limit);
    for (size_t i = 0; i < 3 * TOKENS; i++) { /* another id ends a prompt only where it is said to */
        prompts.ids[i] = prompts.ids[i] == 49 ? 47 : prompts.ids[i];
    }
    const int32_t first_rows[3] = {1, 1, 1};
    dqg_text_settings settings = settings_of(0, 0);
    settings.end_token = 48; /* which begins them here */
    float by_id[3 * PROJECTION];
    dqg_tensor_view by_id_view = view_f32(by_id, 3, PROJECTION, 0, 0);
    assert_ok(dqg_model_encode_tokens(context, model, prompts.ids, 3, TOKENS, first_rows, NULL, NULL, &pooled_view));
    assert_ok(dqg_model_encode_tokens(context, model, prompts.ids, 3, TOKENS, NULL, &settings, NULL, &by_id_view));
    assert_memory_equal(by_id, pooled, sizeof by_id);
    free(last.data);
    free(projected.data);
    dqg_model_release(model);
}

static void test_t5(void **state) {
    static const char *const names[] = {"t5_long", "t5_odd"};
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        dqg_model *model = load_golden(names[n]);
        struct prompts prompts;
        read_prompts(names[n], true, &prompts);
        for (int32_t i = 0; dqg_backend_name(i) != NULL; i++) {
            assert_ok(dqg_context_set_backend(context, dqg_backend_name(i)));
            assert_true(error_of(model, names[n], "out", NULL, NULL) < limit);
            assert_true(error_of(model, names[n], "masked", prompts.lengths, NULL) < limit);
        }
        dqg_model_release(model);
    }
}

static void test_buckets(void **state) {
    static const int golden[][2] = {{-200, 15}, {-128, 15}, {-64, 14}, {-32, 12}, {-16, 10}, {-9, 8},
                                    {-8, 8},    {-7, 7},    {-1, 1},   {0, 0},    {1, 17},   {7, 23},
                                    {8, 24},    {11, 24},   {12, 25},  {16, 26},  {23, 27},  {32, 28},
                                    {64, 30},   {91, 31},   {127, 31}, {200, 31}};
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        assert_int_equal(dqg_t5_bucket(golden[i][0]), golden[i][1]);
    }
}

/* ---- OpenCLIP's names for the same weights ---- */

struct open_name {
    const char *from, *to;
};

static const struct open_name open_names[] = {
    {"text_model.embeddings.token_embedding.weight", "token_embedding.weight"},
    {"text_model.embeddings.position_embedding.weight", "positional_embedding"},
    {"text_model.final_layer_norm.", "ln_final."},
    {"text_projection.weight", "text_projection"},
    {"self_attn.out_proj.", "attn.out_proj."},
    {"layer_norm1.", "ln_1."},
    {"layer_norm2.", "ln_2."},
    {"mlp.fc1.", "mlp.c_fc."},
    {"mlp.fc2.", "mlp.c_proj."},
    {"self_attn.q_proj.", "attn.in_proj_"},
};

/* False for what is a part of another tensor. */
static bool open_name(const char *name, char *out, size_t size) {
    static const char layers[] = "text_model.encoder.layers.";
    char before[64] = "";
    if (strncmp(name, layers, strlen(layers)) == 0) {
        snprintf(before, sizeof before, "transformer.resblocks.%c.", name[strlen(layers)]);
        name += strlen(layers) + 2;
    }
    for (size_t i = 0; i < sizeof open_names / sizeof open_names[0]; i++) {
        size_t length = strlen(open_names[i].from);
        if (strncmp(name, open_names[i].from, length) == 0) {
            snprintf(out, size, "cond_stage_model.model.%s%s%s", before, open_names[i].to, name + length);
            return true;
        }
    }
    return false;
}

static void add_part(struct dqg_mapping *mapping, struct dqg_part *pieces, const struct dqg_source *source,
                     const char *name) {
    int64_t tensor = dqg_source_find(source, name);
    assert_true(tensor >= 0);
    uint64_t bytes = source->tensors[tensor].plane_bytes[DQG_PLANE_CODES];
    if (mapping->piece_count > 0) {
        mapping->desc.shape[0] += source->tensors[tensor].shape[0];
        mapping->desc.plane_bytes[DQG_PLANE_CODES] += bytes;
    }
    pieces[mapping->piece_count++] = (struct dqg_part){0, (size_t)tensor, 0, bytes};
}

static void test_openclip(void **state) {
    enum { TENSORS = 64 };
    static struct dqg_mapping mappings[TENSORS];
    static struct dqg_part pieces[TENSORS][3];
    static char texts[TENSORS][160];
    struct dqg_source file, open;
    dqg_model *model;
    size_t count = 0;
    (void)state;
    assert_ok(dqg_source_open_path(context, "tests/golden/encoders/clip_wide.safetensors", &file));
    for (size_t i = 0; i < file.tensor_count && count < TENSORS; i++) {
        const char *name = file.tensors[i].name;
        if (!open_name(name, texts[count], sizeof texts[count])) {
            continue;
        }
        struct dqg_mapping *mapping = &mappings[count];
        *mapping = (struct dqg_mapping){.desc = file.tensors[i], .pieces = pieces[count]};
        mapping->desc.name = texts[count];
        add_part(mapping, pieces[count], &file, name);
        char other[160];
        snprintf(other, sizeof other, "%s", name);
        char *q = strstr(other, ".q_proj.");
        for (size_t k = 0; q != NULL && k < 2; k++) {
            q[1] = "kv"[k];
            add_part(mapping, pieces[count], &file, other);
        }
        if (strcmp(name, "text_projection.weight") == 0) {
            mapping->transposed = true;
            mapping->desc.shape[0] = file.tensors[i].shape[1];
            mapping->desc.shape[1] = file.tensors[i].shape[0];
        }
        count++;
    }
    assert_ok(
        dqg_source_open_mapped(context, &file, 1, false, mappings, count, file.metadata, file.metadata_count, &open));
    assert_ok(dqg_model_open(context, &open, 0, NULL, &model));
    check_clip(model, "clip_wide", true);
    dqg_model_release(model);
    dqg_source_close(&open);
    dqg_source_close(&file);
}

/* ---- 4 bits ---- */

static double quantized_error(const char *name, const char *part, const char *rule, const char *format,
                              const dqg_text_settings *settings) {
    static const char file[] = "text_encoder_test.dqg";
    char path[256];
    dqg_quantizer *quantizer;
    snprintf(path, sizeof path, "tests/golden/encoders/%s.safetensors", name);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    if (rule != NULL) {
        assert_ok(dqg_quantizer_add_rule(quantizer, rule, format));
    }
    if (dqg_quantizer_run(quantizer, path, file) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    dqg_quantizer_destroy(quantizer);
    dqg_model *model = load(file);
    double error = error_of(model, name, part, NULL, settings);
    dqg_model_release(model);
    remove(file);
    return error;
}

/* 4-bit weights have 8 to 10 % of error each; cosine of 0.99 is an error of 14 %. */
static void test_quantized(void **state) {
    (void)state;
    assert_true(quantized_error("clip_wide", "last", NULL, NULL, NULL) < 0.14);
    assert_true(quantized_error("clip_deep", "last", NULL, NULL, NULL) < 0.14);
    assert_true(quantized_error("t5_long", "out", NULL, NULL, NULL) < 0.14);
    assert_true(quantized_error("t5_odd", "out", NULL, NULL, NULL) < 0.14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip),    cmocka_unit_test(test_both_outputs), cmocka_unit_test(test_t5),
        cmocka_unit_test(test_buckets), cmocka_unit_test(test_openclip),     cmocka_unit_test(test_quantized),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
