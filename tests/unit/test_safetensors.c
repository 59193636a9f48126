/* SPDX-License-Identifier: MIT */
/*
 * The safetensors reader: a known file, headers that must be accepted, every kind of contradiction that must be
 * refused, truncation at every byte, sharded checkpoints, and failing allocations.
 */
#include "io_check.h"

/* The header of the known file, and its 22 bytes of data: F32 1, 2, 3, 4 and F16 1, -2, 0.5. */
#define GOLDEN_HEADER                                                                                                  \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"                                              \
    "\"b\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[16,22]}}"

static const uint8_t golden_data[22] = {0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x40,
                                        0x40, 0x00, 0x00, 0x80, 0x40, 0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38};

struct file {
    uint8_t *bytes; /* allocated exactly */
    size_t size;
};

/* A file of this header and data_size bytes of data; stated_size replaces the header's length unless it is 0. */
static struct file make_file(const char *header, size_t data_size, uint64_t stated_size) {
    size_t length = strlen(header);
    struct file file = {malloc(8 + length + data_size), 8 + length + data_size};
    uint64_t size = stated_size != 0 ? stated_size : length;
    for (int i = 0; i < 8; i++) {
        file.bytes[i] = (uint8_t)(size >> 8 * i);
    }
    memcpy(file.bytes + 8, header, length);
    for (size_t i = 0; i < data_size; i++) {
        file.bytes[8 + length + i] = golden_data[i % sizeof(golden_data)];
    }
    return file;
}

static dqg_status load_header(struct io_fixture *fixture, const char *header, size_t data_size, uint64_t stated_size) {
    struct file file = make_file(header, data_size, stated_size);
    dqg_status status = io_load_bytes(fixture, file.bytes, file.size);
    dqg_status verified = io_verify_bytes(fixture, file.bytes, file.size);
    assert_int_equal(status, verified);
    free(file.bytes);
    return status;
}

static void reads_the_known_file(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    float a[4];
    uint16_t b[3];
    struct file file = make_file(GOLDEN_HEADER, sizeof(golden_data), 0);
    assert_int_equal(file.size, 142);
    assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
    assert_string_equal(source.format, "safetensors");
    assert_int_equal(source.tensor_count, 2);
    assert_int_equal(source.metadata_count, 0);
    const struct dqg_tensor_desc *desc = source.tensors;
    assert_string_equal(desc[0].name, "a");
    assert_int_equal(desc[0].dtype, DQG_DTYPE_F32);
    assert_int_equal(desc[0].rank, 2);
    assert_int_equal(desc[0].shape[1], 2);
    assert_int_equal(desc[0].plane_bytes[0], 16);
    assert_true(desc[0].scale == 1.0f);
    assert_int_equal(desc[1].dtype, DQG_DTYPE_F16);
    assert_string_equal(desc[1].type_name, "F16");
    assert_int_equal(dqg_source_find(&source, "b"), 1);
    assert_int_equal(dqg_source_find(&source, "c"), -1);
    assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 0, a, sizeof(a)));
    assert_true(a[0] == 1 && a[1] == 2 && a[2] == 3 && a[3] == 4);
    assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 8, a, 8));
    assert_true(a[0] == 3 && a[1] == 4);
    assert_ok(dqg_source_read(&source, 1, DQG_PLANE_CODES, 0, b, sizeof(b)));
    assert_true(b[0] == 0x3c00 && b[1] == 0xc000 && b[2] == 0x3800);
    assert_ok(dqg_source_verify(&source));
    assert_fails(fixture->context, dqg_source_read(&source, 0, DQG_PLANE_CODES, 12, a, 8), DQG_ERROR_RANGE);
    assert_int_equal(dqg_source_read(&source, 2, DQG_PLANE_CODES, 0, a, 1), DQG_ERROR_RANGE);
    assert_int_equal(dqg_source_read(&source, 0, DQG_PLANE_SCALES, 0, a, 1), DQG_ERROR_RANGE);
    dqg_source_close(&source);
    free(file.bytes);
}

static void accepts_what_the_format_allows(void **state) {
    static const struct {
        const char *header;
        size_t data_size;
    } files[] = {
        {"{}", 0},
        {"  \n{}  ", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4},
        {"{\"e\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]}}", 0},
        {"{\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[4,8]},"
         "\"e\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[4,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         8},
        {"{\"x\":{\"extra\":[{\"a\":null}],\"data_offsets\":[0,3],\"shape\":[4],\"dtype\":\"F6_E2M3\"}}", 3},
        {"{\"x\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[0,3]}}", 3},
        {"{\"\\u0061\\/\\uD83D\\uDE00\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2},
    };
    struct io_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (load_header(fixture, files[i].header, files[i].data_size, 0) != DQG_OK) {
            fail_msg("%s: %s", files[i].header, dqg_context_error(fixture->context));
        }
    }
}

static void lists_every_type(void **state) {
    static const struct {
        const char *name;
        int bits, dtype;
    } types[] = {
        {"BOOL", 8, 0},
        {"U8", 8, 0},
        {"I8", 8, 0},
        {"F8_E4M3", 8, DQG_DTYPE_F16},
        {"F8_E5M2", 8, DQG_DTYPE_F16},
        {"F8_E8M0", 8, 0},
        {"I16", 16, 0},
        {"U16", 16, 0},
        {"F8_E4M3FNUZ", 8, 0},
        {"F8_E5M2FNUZ", 8, 0},
        {"I32", 32, 0},
        {"U32", 32, 0},
        {"F16", 16, DQG_DTYPE_F16},
        {"BF16", 16, DQG_DTYPE_BF16},
        {"F32", 32, DQG_DTYPE_F32},
        {"I64", 64, 0},
        {"U64", 64, 0},
        {"F64", 64, DQG_DTYPE_F32},
        {"C64", 64, 0},
        {"F4", 4, 0},
        {"F6_E2M3", 6, 0},
        {"F6_E3M2", 6, 0},
    };
    struct io_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char header[128];
        struct dqg_source source;
        snprintf(header, sizeof(header), "{\"x\":{\"dtype\":\"%s\",\"shape\":[4],\"data_offsets\":[0,%d]}}",
                 types[i].name, types[i].bits / 2);
        struct file file = make_file(header, (size_t)types[i].bits / 2, 0);
        assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
        assert_int_equal(source.tensors[0].dtype, types[i].dtype);
        assert_string_equal(source.tensors[0].type_name, types[i].name);
        dqg_source_close(&source);
        free(file.bytes);
    }
}

static void sorts_tensors_and_keeps_metadata(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    struct file file = make_file("{\"late\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
                                 "\"__metadata__\":{\"format\":\"pt\",\"note\":\"caf\\u00e9\"},"
                                 "\"early\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                                 8, 0);
    assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
    assert_string_equal(source.tensors[0].name, "early");
    assert_string_equal(source.tensors[1].name, "late");
    assert_int_equal(dqg_source_find(&source, "late"), 1);
    assert_string_equal(dqg_source_metadata(&source, "format"), "pt");
    assert_string_equal(dqg_source_metadata(&source, "note"), "caf\xc3\xa9");
    assert_null(dqg_source_metadata(&source, "nothing"));
    dqg_source_close(&source);
    free(file.bytes);
}

#define TENSOR(name, dtype, shape, begin, end)                                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void refuses_contradictions(void **state) {
    static const struct {
        const char *header;
        size_t data_size;
        uint64_t stated_size;
        dqg_status status;
    } files[] = {
        {GOLDEN_HEADER, 22, 135, DQG_ERROR_TRUNCATED},    /* header larger than the file */
        {GOLDEN_HEADER, 22, 100000001, DQG_ERROR_FORMAT}, /* more than the format allows */
        {GOLDEN_HEADER, 22, UINT64_MAX, DQG_ERROR_FORMAT},
        {GOLDEN_HEADER, 22, UINT64_MAX - 7, DQG_ERROR_FORMAT},
        {GOLDEN_HEADER, 22, INT64_MAX, DQG_ERROR_FORMAT},
        {GOLDEN_HEADER, 22, 111, DQG_ERROR_FORMAT},                        /* unterminated JSON */
        {GOLDEN_HEADER, 22, 113, DQG_ERROR_FORMAT},                        /* bytes after the JSON */
        {GOLDEN_HEADER, 21, 0, DQG_ERROR_TRUNCATED},                       /* ends before the last tensor does */
        {GOLDEN_HEADER, 23, 0, DQG_ERROR_FORMAT},                          /* goes on after it */
        {"{" TENSOR("a", "F32", "[1]", 4, 8) "}", 8, 0, DQG_ERROR_FORMAT}, /* does not begin at 0 */
        {"{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 5, 9) "}", 9, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 3, 7) "}", 7, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 0, 4) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("a", "F32", "[1]", 4, 8) "}", 8, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[2]", 0, 4) "}", 4, 0, DQG_ERROR_FORMAT}, /* size is not shape times type */
        {"{" TENSOR("a", "F16", "[2]", 0, 8) "}", 8, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F4", "[3]", 0, 1) "}", 1, 0, DQG_ERROR_FORMAT},  /* half a byte */
        {"{" TENSOR("a", "F32", "[1]", 4, 0) "}", 4, 0, DQG_ERROR_FORMAT}, /* ends before it begins */
        {"{" TENSOR("a", "F32", "[1]", -4, 0) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[1]", 0.0, 4) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[1]", 0, 4e0) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[-1]", 0, 4) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[1.5]", 0, 6) "}", 6, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[\"1\"]", 0, 4) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "4", 0, 4) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[4611686018427387904,4]", 0, 0) "}", 0, 0, DQG_ERROR_FORMAT}, /* product wraps to 0 */
        {"{" TENSOR("a", "U8", "[9223372036854775807,3]", 0, 4) "}", 4, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[18446744073709551616]", 0, 0) "}", 0, 0, DQG_ERROR_FORMAT},
        {"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, 0, DQG_ERROR_UNSUPPORTED},
        {"{" TENSOR("a", "F33", "[1]", 0, 4) "}", 4, 0, DQG_ERROR_UNSUPPORTED},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":0}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":[]}", 0, 0, DQG_ERROR_FORMAT},
        {"{\"__metadata__\":{\"a\":1}}", 0, 0, DQG_ERROR_FORMAT},
        {"{\"__metadata__\":[]}", 0, 0, DQG_ERROR_FORMAT},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, 0, DQG_ERROR_FORMAT},
        {"{\"\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, DQG_ERROR_FORMAT},
        {"{\"a\":{\"x\":[[[[[[[[[1]]]]]]]]]}}", 0, 0, DQG_ERROR_FORMAT},
        {"{} {}", 0, 0, DQG_ERROR_FORMAT},
    };
    struct io_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        dqg_status status = load_header(fixture, files[i].header, files[i].data_size, files[i].stated_size);
        if (status != files[i].status || strlen(dqg_context_error(fixture->context)) < 20) {
            fail_msg("file %zu (%s) gives %d, not %d: %s", i, files[i].header, (int)status, (int)files[i].status,
                     dqg_context_error(fixture->context));
        }
    }
}

static void refuses_every_truncation(void **state) {
    struct io_fixture *fixture = *state;
    struct file file = make_file(GOLDEN_HEADER, sizeof(golden_data), 0);
    for (size_t size = 0; size < file.size; size++) {
        uint8_t *copy = malloc(size > 0 ? size : 1);
        memcpy(copy, file.bytes, size);
        assert_true(io_load_bytes(fixture, copy, size) < 0);
        assert_true(strlen(dqg_context_error(fixture->context)) > 20);
        free(copy);
    }
    free(file.bytes);
}

static void survives_failing_allocations(void **state) {
    struct io_fixture *fixture = *state;
    struct file file = make_file("{\"__metadata__\":{\"k\":\"v\"}," TENSOR("a", "F32", "[1]", 0, 4) "}", 4, 0);
    int64_t before = fixture->memory.live_blocks;
    dqg_status status = DQG_ERROR_MEMORY;
    int64_t n = 0;
    while (status != DQG_OK) {
        fixture->memory.fail_at = ++n;
        status = io_verify_bytes(fixture, file.bytes, file.size);
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        assert_int_equal(fixture->memory.live_blocks, before);
    }
    assert_true(n > 4);
    free(file.bytes);
}

/* ---- sharded checkpoints ---- */

static void write_shard(struct io_fixture *fixture, const char *name, const char *header, size_t data_size) {
    struct file file = make_file(header, data_size, 0);
    io_write_file(io_path(fixture, name), file.bytes, file.size);
    free(file.bytes);
}

static dqg_status open_index(struct io_fixture *fixture, const char *text, struct dqg_source *source) {
    const char *path = io_path(fixture, "model.safetensors.index.json");
    io_write_file(path, text, strlen(text));
    dqg_error_clear(fixture->context);
    return dqg_source_open_path(fixture->context, path, source);
}

static void write_shards(struct io_fixture *fixture) {
    write_shard(fixture, "one.safetensors",
                "{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("extra", "F32", "[1]", 4, 8) "}", 8);
    write_shard(fixture, "two.safetensors", "{" TENSOR("c", "F16", "[2]", 0, 4) "," TENSOR("b", "F32", "[1]", 4, 8) "}",
                8);
}

static void reads_sharded_checkpoints(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    float value;
    write_shards(fixture);
    assert_ok(
        open_index(fixture,
                   "{\"metadata\":{\"total_size\":12,\"maker\":\"me\",\"list\":[1]},\"other\":[],"
                   "\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}",
                   &source));
    assert_int_equal(source.tensor_count, 3);
    assert_string_equal(source.tensors[0].name, "c");
    assert_string_equal(source.tensors[1].name, "b");
    assert_string_equal(source.tensors[2].name, "a");
    assert_string_equal(dqg_source_metadata(&source, "total_size"), "12");
    assert_string_equal(dqg_source_metadata(&source, "maker"), "me");
    assert_null(dqg_source_metadata(&source, "list"));
    assert_ok(dqg_source_read(&source, (size_t)dqg_source_find(&source, "b"), DQG_PLANE_CODES, 0, &value, 4));
    assert_true(value == 2);
    assert_ok(dqg_source_read(&source, (size_t)dqg_source_find(&source, "a"), DQG_PLANE_CODES, 0, &value, 4));
    assert_true(value == 1);
    assert_ok(dqg_source_verify(&source));
    dqg_source_close(&source);
}

static void refuses_bad_indexes(void **state) {
    static const struct {
        const char *text;
        dqg_status status;
    } indexes[] = {
        {"", DQG_ERROR_FORMAT},
        {"[]", DQG_ERROR_FORMAT},
        {"{}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":[]}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":1}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors\"}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors\"},\"weight_map\":{}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"x/../../one.safetensors\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"x/..\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors/\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors\\u0000\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"none.safetensors\"}}", DQG_ERROR_NOT_FOUND},
        {"{\"weight_map\":{\"a\":\".\"}}", DQG_ERROR_IO},
        {"{\"weight_map\":{\"a\":\"two.safetensors\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"d\":\"one.safetensors\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"extra\":\"two.safetensors\"}}", DQG_ERROR_FORMAT},
        {"{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}", DQG_ERROR_UNSUPPORTED}, /* itself */
    };
    struct io_fixture *fixture = *state;
    write_shards(fixture);
    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
        struct dqg_source source;
        dqg_status status = open_index(fixture, indexes[i].text, &source);
        if (status != indexes[i].status || strlen(dqg_context_error(fixture->context)) < 20) {
            fail_msg("index %zu (%s) gives %d, not %d: %s", i, indexes[i].text, (int)status, (int)indexes[i].status,
                     dqg_context_error(fixture->context));
        }
    }
}

static void index_survives_failing_allocations(void **state) {
    struct io_fixture *fixture = *state;
    int64_t before = fixture->memory.live_blocks;
    dqg_status status = DQG_ERROR_MEMORY;
    int64_t n = 0;
    write_shards(fixture);
    while (status != DQG_OK) {
        struct dqg_source source;
        fixture->memory.fail_at = ++n;
        status = open_index(fixture,
                            "{\"metadata\":{\"k\":\"v\"},\"weight_map\":{\"b\":\"two.safetensors\","
                            "\"a\":\"one.safetensors\"}}",
                            &source);
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        if (status == DQG_OK) {
            dqg_source_close(&source);
        }
        assert_int_equal(fixture->memory.live_blocks, before);
    }
    assert_true(n > 10);
}

static void wants_a_path_for_an_index(void **state) {
    static const char text[] = "{\"weight_map\":{\"a\":\"one.safetensors\"}}";
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    assert_fails(fixture->context, io_open_bytes(fixture, text, sizeof(text) - 1, &source), DQG_ERROR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_the_known_file, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(accepts_what_the_format_allows, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(lists_every_type, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(sorts_tensors_and_keeps_metadata, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_contradictions, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_every_truncation, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reads_sharded_checkpoints, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_indexes, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(index_survives_failing_allocations, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(wants_a_path_for_an_index, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
