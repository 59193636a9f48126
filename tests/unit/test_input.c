/* SPDX-License-Identifier: MIT */
/* Where bytes come from: files, memory, the host's reader; and which reader dqg_source_open() picks for what it finds.
 */
#include "io_check.h"

#include <sys/stat.h>

static const char text[] = "0123456789";

/* Bytes 3..6, the last byte, and ranges that are not there. */
static void check_reads(struct io_fixture *fixture, struct dqg_input *input) {
    char buffer[16];
    assert_int_equal(input->size, 10);
    assert_ok(dqg_input_read(fixture->context, input, 3, buffer, 4));
    assert_memory_equal(buffer, "3456", 4);
    assert_ok(dqg_input_read(fixture->context, input, 9, buffer, 1));
    assert_int_equal(buffer[0], '9');
    assert_ok(dqg_input_read(fixture->context, input, 10, buffer, 0));
    dqg_error_clear(fixture->context);
    assert_fails(fixture->context, dqg_input_read(fixture->context, input, 9, buffer, 2), DQG_ERROR_TRUNCATED);
    assert_int_equal(dqg_input_read(fixture->context, input, 11, buffer, 0), DQG_ERROR_TRUNCATED);
    assert_int_equal(dqg_input_read(fixture->context, input, UINT64_MAX, buffer, 2), DQG_ERROR_TRUNCATED);
    assert_int_equal(dqg_input_read(fixture->context, input, 5, buffer, SIZE_MAX), DQG_ERROR_TRUNCATED);
    dqg_error_clear(fixture->context);
    dqg_input_close(input);
    dqg_input_close(input);
}

static int32_t host_read(void *user, uint64_t offset, void *buffer, size_t size) {
    if (user == NULL) {
        return -5;
    }
    memcpy(buffer, (const char *)user + offset, size);
    return 0;
}

static void reads_files_memory_and_readers(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_input input;
    char copy[sizeof(text)];
    dqg_reader reader;
    const char *path = io_path(fixture, "file");
    io_write_file(path, text, 10);
    assert_ok(dqg_input_open_path(fixture->context, path, &input));
    struct dqg_input moved = input; /* the record may move */
    check_reads(fixture, &moved);
    dqg_input_open_memory(text, 10, &input);
    check_reads(fixture, &input);
    memcpy(copy, text, sizeof(copy));
    DQG_INIT(&reader);
    reader.size = 10;
    reader.read = host_read;
    reader.user = copy;
    assert_ok(dqg_input_open_reader(fixture->context, &reader, &input));
    check_reads(fixture, &input);
    memset(&input, 0, sizeof(input));
    dqg_input_close(&input);
}

static void explains_failing_readers(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_input input;
    dqg_reader reader;
    char buffer[4];
    DQG_INIT(&reader);
    assert_fails(fixture->context, dqg_input_open_reader(fixture->context, &reader, &input), DQG_ERROR_ARGUMENT);
    dqg_error_clear(fixture->context);
    assert_fails(fixture->context, dqg_input_open_reader(fixture->context, NULL, &input), DQG_ERROR_ARGUMENT);
    reader.read = host_read;
    reader.size = 100;
    reader.flags = 1;
    dqg_error_clear(fixture->context);
    assert_fails(fixture->context, dqg_input_open_reader(fixture->context, &reader, &input), DQG_ERROR_ARGUMENT);
    reader.flags = 0;
    reader.struct_size = 8;
    assert_int_equal(dqg_input_open_reader(fixture->context, &reader, &input), DQG_ERROR_ARGUMENT);
    reader.struct_size = sizeof(reader);
    dqg_error_clear(fixture->context);
    assert_ok(dqg_input_open_reader(fixture->context, &reader, &input));
    assert_fails(fixture->context, dqg_input_read(fixture->context, &input, 64, buffer, 4), DQG_ERROR_IO);
    assert_non_null(strstr(dqg_context_error(fixture->context), "-5"));
    assert_non_null(strstr(dqg_context_error(fixture->context), "64"));
}

static void expect_refusal(struct io_fixture *fixture, const char *path, dqg_status status, const char *word) {
    struct dqg_source source;
    dqg_error_clear(fixture->context);
    assert_fails(fixture->context, dqg_source_open_path(fixture->context, path, &source), status);
    assert_non_null(strstr(dqg_context_error(fixture->context), path));
    if (strstr(dqg_context_error(fixture->context), word) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", dqg_context_error(fixture->context), word);
    }
}

static void refuses_what_is_not_a_file(void **state) {
    struct io_fixture *fixture = *state;
    expect_refusal(fixture, fixture->folder, DQG_ERROR_NOT_FOUND, "folder");
    expect_refusal(fixture, io_path(fixture, "nothing"), DQG_ERROR_NOT_FOUND, "nothing");
    expect_refusal(fixture, "/dev/null", DQG_ERROR_IO, "regular file");
    const char *pipe = io_path(fixture, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    expect_refusal(fixture, pipe, DQG_ERROR_IO, "regular file");
    const char *file = io_path(fixture, "file");
    io_write_file(file, text, 10);
    expect_refusal(fixture, io_path(fixture, "file/below"), DQG_ERROR_NOT_FOUND, "below");
    if (geteuid() != 0) {
        assert_int_equal(chmod(file, 0), 0);
        expect_refusal(fixture, file, DQG_ERROR_IO, "denied");
    }
}

/* A file that shrinks while it is open is an error, not a crash. */
static void notices_files_that_shrink(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_input input;
    char buffer[10];
    const char *path = io_path(fixture, "file");
    io_write_file(path, text, 10);
    assert_ok(dqg_input_open_path(fixture->context, path, &input));
    assert_int_equal(truncate(path, 5), 0);
    assert_fails(fixture->context, dqg_input_read(fixture->context, &input, 0, buffer, 10), DQG_ERROR_IO);
    assert_non_null(strstr(dqg_context_error(fixture->context), "shorter"));
    dqg_input_close(&input);
}

static void says_what_an_unknown_file_is_not(void **state) {
    static const struct {
        const char *bytes;
        size_t size;
        dqg_status status;
        const char *word;
    } files[] = {
        {"", 0, DQG_ERROR_TRUNCATED, "ends"},
        {"\211DQ", 3, DQG_ERROR_TRUNCATED, "ends"},
        {"hello, this is a text file", 26, DQG_ERROR_FORMAT, ".safetensors"},
        {"x", 1, DQG_ERROR_FORMAT, ".dqg"},
        {"\x89PNG\r\n\x1a\n\0\0\0\0\0\0\0\0", 16, DQG_ERROR_FORMAT, "neither"},     /* a picture */
        {"\211DQG\n\x1a\n\1\0\0\0\0\0\0\0\0", 16, DQG_ERROR_FORMAT, "binary mode"}, /* \r\n became \n */
        {"\010DQG\r\n\x1a\n\1\0\0\0\0\0\0\0", 16, DQG_ERROR_FORMAT, "damaged"},
        {"\211DqG\r\n\x1a\n\1\0\0\0\0\0\0\0", 16, DQG_ERROR_FORMAT, "damaged"},
        {"DQG\r\n\x1a\n\1\0\0\0\0\0\0\0\0", 16, DQG_ERROR_FORMAT, "damaged"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17, DQG_ERROR_FORMAT, "neither"},
        {"\211DQG\r\n\x1a\n", 8, DQG_ERROR_TRUNCATED, "header"},
    };
    struct io_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        const char *path = io_path(fixture, "file");
        io_write_file(path, files[i].bytes, files[i].size);
        expect_refusal(fixture, path, files[i].status, files[i].word);
    }
}

/* A safetensors header of 123 bytes starts with '{' too: it must not be taken for an index. */
static void tells_safetensors_from_json(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    char bytes[8 + 123] = {'{', 0, 0, 0, 0, 0, 0, 0};
    memset(bytes + 8, ' ', 123);
    memcpy(bytes + 8 + 60, "{}", 2); /* space before and behind */
    const char *path = io_path(fixture, "file");
    io_write_file(path, bytes, sizeof(bytes));
    assert_ok(dqg_source_open_path(fixture->context, path, &source));
    assert_string_equal(source.format, "safetensors");
    dqg_source_close(&source);
    dqg_source_close(&source);
}

/* Sixteen random bytes and more, many times, in front of them every beginning that a reader looks for. */
static void survives_junk(void **state) {
    static const char *const starts[] = {"", "\211DQG\r\n\x1a\n\1", "\x40\0\0\0\0\0\0\0{", "{\"", "{\"weight_map\":{"};
    static const size_t lengths[] = {0, 9, 9, 2, 15};
    struct io_fixture *fixture = *state;
    uint64_t random = 7;
    for (int i = 0; i < 5000; i++) {
        uint8_t bytes[160];
        size_t start = (size_t)i % 5, size = 16 + (size_t)i % 144;
        for (size_t j = 0; j < size; j++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bytes[j] = (uint8_t)(random >> 56);
        }
        memcpy(bytes, starts[start], lengths[start]);
        assert_true(io_load_bytes(fixture, bytes, size) < 0);
        assert_true(strlen(dqg_context_error(fixture->context)) > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_files_memory_and_readers, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(explains_failing_readers, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_a_file, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(notices_files_that_shrink, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(says_what_an_unknown_file_is_not, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(tells_safetensors_from_json, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_junk, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
