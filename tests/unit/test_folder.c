/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints of several files and several tensors for one: folders of networks, weights and texts in them, and 8-bit
 * floats with scales beside them.
 */
#include "io_check.h"

#include "file_builder.h"

#include <sys/stat.h>

/* ---- files ---- */

static void make_folder(struct io_fixture *fixture, const char *name) {
    assert_int_equal(mkdir(io_path(fixture, name), 0700), 0);
}

static void write_text(struct io_fixture *fixture, const char *name, const char *text) {
    io_write_file(io_path(fixture, name), text, strlen(text));
}

/* A safetensors file of a header and data. */
static void put_safetensors(struct builder *file, const char *header, const void *data, size_t size) {
    file->size = 0;
    put_number(file, strlen(header), 8);
    put(file, header, strlen(header));
    put(file, data, size);
}

static void write_weights(struct io_fixture *fixture, const char *path, const char *name, float value) {
    struct builder file;
    char header[128];
    snprintf(header, sizeof(header), "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", name);
    put_safetensors(&file, header, &value, sizeof(value));
    io_write_file(io_path(fixture, path), file.bytes, file.size);
}

/* Files and folders below; the fixture removes the rest. */
static void remove_all(struct io_fixture *fixture, const char *const *names, size_t count) {
    for (size_t i = count; i > 0; i--) {
        assert_int_equal(remove(io_path(fixture, names[i - 1])), 0);
    }
}

static dqg_status open_folder(struct io_fixture *fixture, const char *path, struct dqg_source *source) {
    dqg_error_clear(fixture->context);
    return dqg_source_open_path(fixture->context, path, source);
}

static void check_value(struct dqg_source *source, const char *name, float want) {
    int64_t tensor = dqg_source_find(source, name);
    float value;
    assert_true(tensor >= 0);
    assert_ok(dqg_source_read(source, (size_t)tensor, DQG_PLANE_CODES, 0, &value, sizeof(value)));
    assert_true(value == want);
}

/* ---- folders ---- */

static const char *const files[] = {
    "unet",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae",
    "vae/diffusion_pytorch_model.safetensors.index.json",
    "vae/one.safetensors",
    "vae/two.safetensors",
    "text_encoder",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "tokenizer",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "tokenizer/spiece.model",
    "tokenizer/bad.json",
    "safety_checker",
    "safety_checker/model.safetensors",
    "model_index.json",
};
enum { FILES = sizeof(files) / sizeof(files[0]) };

static void make_files(struct io_fixture *fixture) {
    make_folder(fixture, "unet");
    write_text(fixture, "unet/config.json", "{\"in_channels\":4}");
    write_weights(fixture, "unet/diffusion_pytorch_model.fp16.safetensors", "w", 1);
    make_folder(fixture, "vae");
    write_text(fixture, "vae/diffusion_pytorch_model.safetensors.index.json",
               "{\"weight_map\":{\"w\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    write_weights(fixture, "vae/one.safetensors", "w", 2);
    write_weights(fixture, "vae/two.safetensors", "b", 3);
    make_folder(fixture, "text_encoder");
    write_weights(fixture, "text_encoder/model.safetensors", "w", 4);
    write_weights(fixture, "text_encoder/model.fp16.safetensors", "w", 5);
    make_folder(fixture, "tokenizer");
    write_text(fixture, "tokenizer/merges.txt", "a b");
    write_text(fixture, "tokenizer/vocab.json", "{}");
    write_text(fixture, "tokenizer/spiece.model", "\x01\xff");
    write_text(fixture, "tokenizer/bad.json", "\xff");
    make_folder(fixture, "safety_checker");
    write_weights(fixture, "safety_checker/model.safetensors", "w", 6);
    write_text(fixture, "model_index.json", "{\"_class_name\":\"X\"}");
}

static void shows_networks_of_a_folder(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    make_files(fixture);
    assert_ok(open_folder(fixture, fixture->folder, &source));
    assert_int_equal(source.tensor_count, 4);
    check_value(&source, "unet/w", 1);
    check_value(&source, "vae/w", 2);
    check_value(&source, "vae/b", 3);
    check_value(&source, "text_encoder/w", 4);
    assert_int_equal(source.metadata_count, 5);
    assert_string_equal(dqg_source_metadata(&source, "model_index.json"), "{\"_class_name\":\"X\"}");
    assert_string_equal(dqg_source_metadata(&source, "unet/config.json"), "{\"in_channels\":4}");
    assert_string_equal(dqg_source_metadata(&source, "tokenizer/merges.txt"), "a b");
    assert_string_equal(dqg_source_metadata(&source, "tokenizer/vocab.json"), "{}");
    assert_string_equal(dqg_source_metadata(&source, "tokenizer/spiece.model"), "tokenizer/spiece.model");
    assert_string_equal(source.inputs[0].name, fixture->folder);
    assert_ok(dqg_source_verify(&source));
    dqg_source_close(&source);
    /* the folder of one network */
    char unet[160];
    snprintf(unet, sizeof(unet), "%s/", io_path(fixture, "unet"));
    assert_ok(open_folder(fixture, unet, &source));
    assert_int_equal(source.tensor_count, 1);
    check_value(&source, "w", 1);
    assert_string_equal(dqg_source_metadata(&source, "config.json"), "{\"in_channels\":4}");
    dqg_source_close(&source);
    assert_fails(fixture->context, open_folder(fixture, io_path(fixture, "tokenizer"), &source), DQG_ERROR_NOT_FOUND);
    remove_all(fixture, files, FILES);
}

static void refuses_damaged_parts(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    make_files(fixture);
    write_text(fixture, "vae/two.safetensors", "junk");
    assert_fails(fixture->context, open_folder(fixture, fixture->folder, &source), DQG_ERROR_FORMAT);
    assert_non_null(strstr(dqg_context_error(fixture->context), "vae/two.safetensors"));
    remove_all(fixture, files, FILES);
}

static void survives_failing_allocations(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    dqg_status status = DQG_ERROR_MEMORY;
    int64_t n = 0, before = fixture->memory.live_blocks;
    make_files(fixture);
    while (status != DQG_OK) {
        fixture->memory.fail_at = ++n;
        status = open_folder(fixture, fixture->folder, &source);
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        if (status == DQG_OK) {
            dqg_source_close(&source);
        }
        assert_int_equal(fixture->memory.live_blocks, before);
    }
    fixture->memory.fail_at = 0;
    assert_true(n > 10);
    remove_all(fixture, files, FILES);
}

/* ---- 8-bit floats ---- */

#define TENSOR(name, dtype, shape, begin, end)                                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* Bytes 0x38, 0xb8 are 1 and -1; then a scale of 0.5. file must live as long as the source. */
static dqg_status open_scaled(struct io_fixture *fixture, struct builder *file, const char *header, const char *data,
                              size_t size, struct dqg_source *source) {
    put_safetensors(file, header, data, size);
    return io_open_bytes(fixture, file->bytes, file->size, source);
}

static void applies_scales(void **state) {
    static const char *const headers[] = {
        "{" TENSOR("a.weight", "F8_E4M3", "[2]", 0, 2) "," TENSOR("a.scale_weight", "F32", "[1]", 2, 6) "}",
        "{" TENSOR("a.weight", "F8_E4M3", "[2]", 0, 2) "," TENSOR("a.weight_scale", "F32", "[]", 2, 6) "}",
        "{" TENSOR("a.weight", "F8_E4M3", "[2]", 0, 2) "," TENSOR("b.weight_scale", "F32", "[]", 2, 6) "}",
    };
    static const uint16_t want[] = {0x3800, 0x3800, 0x3c00};
    struct io_fixture *fixture = *state;
    struct builder file;
    struct dqg_source source;
    uint16_t values[2];
    for (int i = 0; i < 3; i++) {
        assert_ok(open_scaled(fixture, &file, headers[i], "\x38\xb8\0\0\0\x3f", 6, &source));
        assert_int_equal(source.tensors[0].dtype, DQG_DTYPE_F16);
        assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 0, values, sizeof(values)));
        assert_int_equal(values[0], want[i]);
        assert_int_equal(values[1], want[i] | 0x8000);
        dqg_source_close(&source);
    }
    assert_fails(
        fixture->context,
        open_scaled(fixture, &file,
                    "{" TENSOR("a.weight", "F8_E4M3", "[2]", 0, 2) "," TENSOR("a.weight_scale", "F16", "[2]", 2, 6) "}",
                    "\x38\xb8\0\0\0\x3f", 6, &source),
        DQG_ERROR_UNSUPPORTED);
    assert_fails(fixture->context,
                 open_scaled(fixture, &file, "{" TENSOR("a.comfy_quant", "U8", "[2]", 0, 2) "}", "{}", 2, &source),
                 DQG_ERROR_UNSUPPORTED);
}

/* The scale of a weight may be in another file. */
static void finds_scales_in_other_shards(void **state) {
    static const char *const shards[] = {"one.safetensors", "two.safetensors", "m.safetensors.index.json"};
    struct io_fixture *fixture = *state;
    struct builder file;
    struct dqg_source source;
    uint16_t values[2];
    put_safetensors(&file, "{" TENSOR("a.weight", "F8_E4M3", "[2]", 0, 2) "}", "\x38\xb8", 2);
    io_write_file(io_path(fixture, shards[0]), file.bytes, file.size);
    put_safetensors(&file, "{" TENSOR("a.scale_weight", "F32", "[1]", 0, 4) "}", "\0\0\0\x3f", 4);
    io_write_file(io_path(fixture, shards[1]), file.bytes, file.size);
    write_text(fixture, shards[2],
               "{\"weight_map\":{\"a.weight\":\"one.safetensors\",\"a.scale_weight\":\"two.safetensors\"}}");
    assert_ok(open_folder(fixture, io_path(fixture, shards[2]), &source));
    size_t tensor = (size_t)dqg_source_find(&source, "a.weight");
    assert_ok(dqg_source_read(&source, tensor, DQG_PLANE_CODES, 0, values, sizeof(values)));
    assert_int_equal(values[0], 0x3800);
    dqg_source_close(&source);
    remove_all(fixture, shards, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shows_networks_of_a_folder, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_damaged_parts, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(applies_scales, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(finds_scales_in_other_shards, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
