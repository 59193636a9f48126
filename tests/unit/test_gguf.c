/* SPDX-License-Identifier: MIT */
/*
 * The GGUF reader: a known file, names, shapes and keys as other programs write them, files that must be refused,
 * truncation at every byte, and failing allocations. Decoders of blocks: test_gguf_blocks.c.
 */
#include "io_check.h"

#include "file_builder.h"

static void put_text(struct builder *file, const char *text) {
    put_number(file, strlen(text), 8);
    put(file, text, strlen(text));
}

static void put_begin(struct builder *file, uint32_t version, uint64_t tensors, uint64_t keys) {
    file->size = 0;
    put(file, "GGUF", 4);
    put_number(file, version, 4);
    put_number(file, tensors, 8);
    put_number(file, keys, 8);
}

static void put_tensor(struct builder *file, const char *name, uint32_t type, uint64_t offset, uint32_t rank,
                       const uint64_t *sizes) {
    put_text(file, name);
    put_number(file, rank, 4);
    for (uint32_t i = 0; i < rank; i++) {
        put_number(file, sizes[i], 8);
    }
    put_number(file, type, 4);
    put_number(file, offset, 8);
}

static void put_text_key(struct builder *file, const char *key, const char *value) {
    put_text(file, key);
    put_number(file, 8, 4);
    put_text(file, value);
}

static void put_number_key(struct builder *file, const char *key, uint32_t type, int bytes, uint64_t value) {
    put_text(file, key);
    put_number(file, type, 4);
    put_number(file, value, bytes);
}

static void put_shape_key(struct builder *file, const char *key, uint64_t count, const int32_t *values) {
    put_text(file, key);
    put_number(file, 9, 4);
    put_number(file, 5, 4);
    put_number(file, count, 8);
    for (uint64_t i = 0; i < count; i++) {
        put_number(file, (uint32_t)values[i], 4);
    }
}

static void make_golden(struct builder *file) {
    put_begin(file, 3, 2, 3);
    put_text_key(file, "general.architecture", "sd1");
    put_number_key(file, "general.alignment", 4, 4, 32);
    put_shape_key(file, "comfy.gguf.orig_shape.w", 4, (int32_t[]){2, 32, 1, 1});
    put_tensor(file, "w", 2, 0, 2, (uint64_t[]){32, 2});
    put_tensor(file, "b", 0, 64, 1, (uint64_t[]){2});
    assert_int_equal(file->size, 237);
    put_zeros_to(file, 256);
    for (int i = 0; i < 36; i++) {
        put_number(file, (uint64_t)(i % 18), 1);
    }
    put_zeros_to(file, 256 + 64);
    put_float(file, 1.5f);
    put_float(file, -2.0f);
}

static void reads_the_known_file(void **state) {
    struct io_fixture *fixture = *state;
    struct builder file;
    struct dqg_source source;
    uint16_t w[64], part[3];
    float b[2];
    make_golden(&file);
    assert_int_equal(file.size, 328);
    assert_int_equal(crc32_of(file.bytes, file.size), 0x0956ea10);
    assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
    assert_string_equal(source.format, "GGUF");
    assert_string_equal(dqg_source_metadata(&source, "general.architecture"), "sd1");
    assert_string_equal(dqg_source_metadata(&source, "general.alignment"), "32");
    assert_int_equal(source.metadata_count, 2);
    assert_int_equal(source.tensor_count, 2);
    const struct dqg_tensor_desc *desc = &source.tensors[0];
    assert_int_equal(desc->dtype, DQG_DTYPE_F16);
    assert_string_equal(desc->type_name, "Q4_0");
    assert_int_equal(desc->rank, 4);
    assert_int_equal(desc->shape[0], 2);
    assert_int_equal(desc->shape[1], 32);
    assert_int_equal(desc->stored_bytes, 36);
    assert_int_equal(desc->plane_bytes[0], 128);
    assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 0, w, sizeof(w)));
    /* d = 0x0100 is 2^-16: byte 2 + i holds i + 2, whose low half is value i and whose high half is value 16 + i */
    for (int i = 0; i < 64; i++) {
        int q = i % 32 < 16 ? (i % 32 + 2) & 15 : (i % 32 - 16 + 2) >> 4;
        assert_int_equal(w[i] & 0x7fff, (abs(q - 8) == 0 ? 0 : (uint16_t)abs(q - 8) * 256));
        assert_true(q >= 8 || (w[i] & 0x8000) != 0);
    }
    assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 2 * 31, part, sizeof(part)));
    assert_memory_equal(part, w + 31, sizeof(part));
    assert_fails(fixture->context, dqg_source_read(&source, 0, DQG_PLANE_CODES, 1, part, 2), DQG_ERROR_UNSUPPORTED);
    assert_ok(dqg_source_read(&source, 1, DQG_PLANE_CODES, 0, b, sizeof(b)));
    assert_true(b[0] == 1.5f && b[1] == -2.0f);
    assert_ok(dqg_source_verify(&source));
    dqg_source_close(&source);
}

/* More chunks than lanes, and reads that begin and end inside of chunks and blocks. */
static void reads_parts_of_long_tensors(void **state) {
    enum { ROWS = 40, COLUMNS = 1024, BYTES = ROWS * COLUMNS / 32 * 34 };
    struct io_fixture *fixture = *state;
    struct builder header;
    struct dqg_source source;
    put_begin(&header, 2, 1, 0);
    put_tensor(&header, "w", 8, 0, 2, (uint64_t[]){COLUMNS, ROWS});
    put_zeros_to(&header, (header.size + 31) / 32 * 32);
    uint8_t *bytes = calloc(header.size + BYTES, 1);
    memcpy(bytes, header.bytes, header.size);
    for (size_t i = 0; i < BYTES; i++) { /* d = 1 */
        bytes[header.size + i] = i % 34 == 0 ? 0 : i % 34 == 1 ? 0x3c : (uint8_t)(i * 7);
    }
    assert_ok(io_open_bytes(fixture, bytes, header.size + BYTES, &source));
    assert_int_equal(source.tensors[0].shape[0], ROWS);
    uint16_t *whole = malloc(2 * ROWS * COLUMNS), *part = malloc(2 * ROWS * COLUMNS);
    assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 0, whole, 2 * ROWS * COLUMNS));
    for (size_t first = 0; first < ROWS * COLUMNS; first += 8191) {
        for (size_t count = 1; first + count <= ROWS * COLUMNS; count = count * 5 + 2) {
            assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 2 * first, part, 2 * count));
            assert_memory_equal(part, whole + first, 2 * count);
        }
    }
    dqg_source_close(&source);
    free(whole);
    free(part);
    free(bytes);
}

static void keeps_values_as_texts(void **state) {
    struct io_fixture *fixture = *state;
    struct builder file;
    struct dqg_source source;
    put_begin(&file, 3, 0, 15);
    put_number_key(&file, "u8", 0, 1, 200);
    put_number_key(&file, "i8", 1, 1, 200);
    put_number_key(&file, "u16", 2, 2, 65535);
    put_number_key(&file, "i16", 3, 2, 65535);
    put_number_key(&file, "u32", 4, 4, 4294967295);
    put_number_key(&file, "i32", 5, 4, 4294967295);
    put_number_key(&file, "f32", 6, 4, 0x3fc00000);
    put_number_key(&file, "bool", 7, 1, 1);
    put_number_key(&file, "u64", 10, 8, UINT64_MAX);
    put_number_key(&file, "i64", 11, 8, UINT64_MAX);
    put_number_key(&file, "f64", 12, 8, 0xbfe0000000000000);
    put_text_key(&file, "bad text", "\xff");
    put_shape_key(&file, "list", 3, (int32_t[]){1, -2, 3});
    put_text(&file, "texts");
    put_number(&file, 9, 4);
    put_number(&file, 8, 4);
    put_number(&file, 2, 8);
    put_text(&file, "a\"");
    put_text(&file, "");
    put_text(&file, "none");
    put_number(&file, 9, 4);
    put_number(&file, 6, 4);
    put_number(&file, 0, 8);
    assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
    static const char *const values[][2] = {
        {"u8", "200"},
        {"i8", "-56"},
        {"u16", "65535"},
        {"i16", "-1"},
        {"u32", "4294967295"},
        {"i32", "-1"},
        {"f32", "1.5"},
        {"bool", "true"},
        {"u64", "18446744073709551615"},
        {"i64", "-1"},
        {"f64", "-0.5"},
        {"list", "[1,-2,3]"},
        {"texts", "[\"a\\\"\",\"\"]"},
        {"none", "[]"},
    };
    assert_int_equal(source.metadata_count, sizeof(values) / sizeof(values[0]));
    for (size_t i = 0; i < source.metadata_count; i++) {
        assert_string_equal(dqg_source_metadata(&source, values[i][0]), values[i][1]);
    }
    dqg_source_close(&source);
}

static void leaves_out_long_lists(void **state) {
    enum { COUNT = 1100000 };
    struct io_fixture *fixture = *state;
    struct builder begin;
    struct dqg_source source;
    put_begin(&begin, 3, 0, 2);
    put_text(&begin, "long");
    put_number(&begin, 9, 4);
    put_number(&begin, 0, 4);
    put_number(&begin, COUNT, 8);
    uint8_t *bytes = calloc(begin.size + COUNT + 64, 1);
    memcpy(bytes, begin.bytes, begin.size);
    size_t size = begin.size + COUNT;
    begin.size = 0;
    put_text_key(&begin, "after", "it");
    memcpy(bytes + size, begin.bytes, begin.size);
    assert_ok(io_open_bytes(fixture, bytes, size + begin.size, &source));
    assert_int_equal(source.metadata_count, 1);
    assert_string_equal(dqg_source_metadata(&source, "after"), "it");
    dqg_source_close(&source);
    free(bytes);
}

static void gives_original_names(void **state) {
    static const char *const names[][2] = {
        {"token_embd.weight", "shared.weight"},
        {"enc.output_norm.weight", "encoder.final_layer_norm.weight"},
        {"enc.blk.0.attn_q.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"},
        {"enc.blk.0.attn_o.weight", "encoder.block.0.layer.0.SelfAttention.o.weight"},
        {"enc.blk.0.attn_rel_b.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"},
        {"enc.blk.23.attn_norm.weight", "encoder.block.23.layer.0.layer_norm.weight"},
        {"enc.blk.23.ffn_norm.weight", "encoder.block.23.layer.1.layer_norm.weight"},
        {"enc.blk.23.ffn_gate.weight", "encoder.block.23.layer.1.DenseReluDense.wi_0.weight"},
        {"enc.blk.23.ffn_up.weight", "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"},
        {"enc.blk.23.ffn_down.weight", "encoder.block.23.layer.1.DenseReluDense.wo.weight"},
        {"enc.blk.1.other.weight", "enc.blk.1.other.weight"},
        {"enc.blk.1", "enc.blk.1"},
    };
    enum { COUNT = sizeof(names) / sizeof(names[0]) };
    struct io_fixture *fixture = *state;
    struct builder file;
    struct dqg_source source;
    put_begin(&file, 3, COUNT, 0);
    for (size_t i = 0; i < COUNT; i++) {
        put_tensor(&file, names[i][0], 0, 0, 1, (uint64_t[]){0});
    }
    assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
    for (size_t i = 0; i < COUNT; i++) {
        assert_string_equal(source.tensors[i].name, names[i][1]);
        assert_int_equal(dqg_source_find(&source, names[i][1]), i);
    }
    dqg_source_close(&source);
}

/* ---- what must be refused ---- */

/* A file of one tensor, with a data section of bytes zeros. */
static dqg_status load_tensor(struct io_fixture *fixture, const char *name, uint32_t type, uint64_t offset,
                              uint32_t rank, const uint64_t *sizes, size_t bytes) {
    struct builder file;
    put_begin(&file, 3, 1, 0);
    put_tensor(&file, name, type, offset, rank, sizes);
    put_zeros_to(&file, (file.size + 31) / 32 * 32 + bytes);
    return load(fixture, &file);
}

static void refuses_bad_tensors(void **state) {
    struct io_fixture *fixture = *state;
    char long_name[1101];
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[1100] = '\0';
    static const struct {
        uint32_t type;
        uint64_t offset;
        uint32_t rank;
        uint64_t sizes[5];
        size_t bytes;
        dqg_status status;
    } tensors[] = {
        {0, 0, 2, {2, 3}, 24, DQG_OK},
        {0, 0, 0, {0}, 4, DQG_OK},
        {10, 0, 1, {256}, 84, DQG_OK},
        {28, 0, 1, {2}, 16, DQG_OK},
        {27, 32, 1, {2}, 48, DQG_OK},
        {0, 0, 2, {2, 3}, 23, DQG_ERROR_TRUNCATED},
        {0, 32, 2, {2, 3}, 24, DQG_ERROR_TRUNCATED},
        {0, UINT64_MAX - 31, 2, {2, 3}, 24, DQG_ERROR_TRUNCATED},
        {0, 4, 1, {1}, 64, DQG_ERROR_FORMAT},
        {0, 0, 5, {1, 1, 1, 1, 1}, 4, DQG_ERROR_FORMAT},
        {0, 0, 1, {UINT64_MAX}, 4, DQG_ERROR_FORMAT},
        {0, 0, 2, {INT64_MAX, 4}, 4, DQG_ERROR_FORMAT},
        {2, 0, 2, {INT64_MAX - 31, 2}, 4, DQG_ERROR_FORMAT},
        {2, 0, 2, {16, 2}, 18, DQG_ERROR_FORMAT}, /* a block over two rows */
        {2, 0, 1, {33}, 36, DQG_ERROR_FORMAT},
        {10, 0, 1, {128}, 84, DQG_ERROR_FORMAT},
        {16, 0, 1, {256}, 256, DQG_ERROR_UNSUPPORTED},
        {4, 0, 1, {256}, 256, DQG_ERROR_UNSUPPORTED},
        {UINT32_MAX, 0, 1, {256}, 256, DQG_ERROR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        dqg_status status = load_tensor(fixture, "w", tensors[i].type, tensors[i].offset, tensors[i].rank,
                                        tensors[i].sizes, tensors[i].bytes);
        if (status != tensors[i].status) {
            fail_msg("tensor %zu gives %d: %s", i, (int)status, dqg_context_error(fixture->context));
        }
    }
    assert_fails(fixture->context, load_tensor(fixture, "w", 16, 0, 1, (uint64_t[]){256}, 256), DQG_ERROR_UNSUPPORTED);
    assert_non_null(strstr(dqg_context_error(fixture->context), "IQ2_XXS"));
    assert_int_equal(load_tensor(fixture, "", 0, 0, 1, (uint64_t[]){0}, 0), DQG_ERROR_FORMAT);
    assert_int_equal(load_tensor(fixture, "\xff", 0, 0, 1, (uint64_t[]){0}, 0), DQG_ERROR_FORMAT);
    assert_int_equal(load_tensor(fixture, long_name, 0, 0, 1, (uint64_t[]){0}, 0), DQG_ERROR_FORMAT);
}

static void refuses_pairs_that_clash(void **state) {
    struct io_fixture *fixture = *state;
    static const struct {
        const char *names[2];
        uint64_t offsets[2], sizes[2];
        dqg_status status;
    } pairs[] = {
        {{"a", "b"}, {0, 32}, {8, 4}, DQG_OK},
        {{"a", "b"}, {32, 0}, {4, 8}, DQG_OK},
        {{"a", "b"}, {0, 0}, {0, 4}, DQG_OK},
        {{"a", "b"}, {0, 32}, {9, 4}, DQG_ERROR_FORMAT},
        {{"a", "b"}, {32, 0}, {4, 9}, DQG_ERROR_FORMAT},
        {{"a", "b"}, {0, 0}, {4, 4}, DQG_ERROR_FORMAT},
        {{"a", "a"}, {0, 32}, {4, 4}, DQG_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct builder file;
        put_begin(&file, 3, 2, 0);
        for (int t = 0; t < 2; t++) {
            put_tensor(&file, pairs[i].names[t], 0, pairs[i].offsets[t], 1, &pairs[i].sizes[t]);
        }
        put_zeros_to(&file, (file.size + 31) / 32 * 32 + 64);
        assert_int_equal(load(fixture, &file), pairs[i].status);
    }
}

static void refuses_bad_headers(void **state) {
    struct io_fixture *fixture = *state;
    static const struct {
        uint32_t version;
        uint64_t tensors, keys;
        dqg_status status;
    } counts[] = {
        {3, 0, 0, DQG_OK},
        {1, 0, 0, DQG_ERROR_UNSUPPORTED},
        {4, 0, 0, DQG_ERROR_UNSUPPORTED},
        {0x03000000, 0, 0, DQG_ERROR_UNSUPPORTED},
        {3, 1, 0, DQG_ERROR_TRUNCATED},
        {3, 0, 1, DQG_ERROR_TRUNCATED},
        {3, UINT64_MAX, 0, DQG_ERROR_LIMIT},
        {3, 0, UINT64_MAX, DQG_ERROR_LIMIT},
    };
    struct builder file;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        put_begin(&file, counts[i].version, counts[i].tensors, counts[i].keys);
        assert_int_equal(load(fixture, &file), counts[i].status);
    }
    put_begin(&file, 3, 0, 1); /* no power of two */
    put_number_key(&file, "general.alignment", 4, 4, 48);
    assert_int_equal(load(fixture, &file), DQG_ERROR_FORMAT);
    put_begin(&file, 3, 0, 1);
    put_number_key(&file, "general.alignment", 4, 4, 0);
    assert_int_equal(load(fixture, &file), DQG_ERROR_FORMAT);
    put_begin(&file, 3, 0, 2);
    put_text_key(&file, "twice", "a");
    put_text_key(&file, "twice", "b");
    assert_int_equal(load(fixture, &file), DQG_ERROR_FORMAT);
    put_begin(&file, 3, 0, 1);
    put_number_key(&file, "type", 13, 4, 0);
    assert_int_equal(load(fixture, &file), DQG_ERROR_FORMAT);
    for (uint32_t type = 0; type <= 9; type++) { /* lists longer than the file, and lists of lists */
        put_begin(&file, 3, 0, 1);
        put_number_key(&file, "list", 9, 4, type);
        put_number(&file, UINT64_MAX / 8, 8);
        assert_int_equal(load(fixture, &file), DQG_ERROR_FORMAT);
    }
    make_golden(&file);
    file.bytes[24 + 8 + 20 + 4 + 8 + 3 + 8 + 17 + 4 + 4 + 8 + 23 + 4 + 4 + 8] = 3; /* the first size of the shape */
    assert_int_equal(load(fixture, &file), DQG_ERROR_FORMAT);
}

static void refuses_every_truncation(void **state) {
    struct io_fixture *fixture = *state;
    struct builder file;
    make_golden(&file);
    while (file.size > 0) {
        file.size--;
        assert_true(load(fixture, &file) < 0);
        assert_true(strlen(dqg_context_error(fixture->context)) > 20);
    }
}

static void survives_failing_allocations(void **state) {
    struct io_fixture *fixture = *state;
    struct builder file;
    int64_t n = 0;
    dqg_status status = DQG_ERROR_MEMORY;
    make_golden(&file);
    assert_ok(io_load_bytes(fixture, file.bytes, file.size)); /* the workers stay */
    int64_t before = fixture->memory.live_blocks;
    while (status != DQG_OK) {
        fixture->memory.fail_at = ++n;
        status = io_load_bytes(fixture, file.bytes, file.size);
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        assert_int_equal(fixture->memory.live_blocks, before);
    }
    fixture->memory.fail_at = 0;
    assert_true(n > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_the_known_file, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reads_parts_of_long_tensors, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(keeps_values_as_texts, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(leaves_out_long_lists, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(gives_original_names, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_tensors, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_pairs_that_clash, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_headers, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_every_truncation, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
