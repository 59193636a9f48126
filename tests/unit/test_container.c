/* SPDX-License-Identifier: MIT */
/*
 * The .dqg container: files spelled out byte by byte, what is written comes back, header and index fields set to
 * extremes, failing readers and allocations, cancelling, thread counts.
 */
#include "container_file.h"

/* clang-format off */
/* Computed apart from the library, from docs/container.md, by tests/fuzz/make_corpus.py --hex. */
static const uint8_t one_tensor[264] = {
    0x89, 0x44, 0x51, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, /* magic number */
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* version, flags */
    0x93, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of the index */
    0x08, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of the file */
    0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* tensors, metadata entries */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* reserved */
    0x27, 0xbd, 0x86, 0x62, 0x9e, 0x7d, 0x54, 0xe1, /* XXH3-128 of header and index */
    0xc4, 0x7f, 0x75, 0xb8, 0xfb, 0x73, 0x20, 0x26,
    0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* lengths of key and value */
    0x6b, 0x76, /* "k" "v" */
    0x1a, 0x86, 0x68, 0x4c, 0x3b, 0x4f, 0x96, 0xaf, /* XXH3-64 of the metadata */
    0x81, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* record of "w": its bytes, length of the name */
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* format, group, rank */
    0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x80, 0x3f, /* scale */
    0x77, /* name */
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* shape */
    0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 0: raw bytes, offset */
    0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* stored bytes, codec */
    0xb7, 0xf4, 0x34, 0x71, 0x8f, 0xd7, 0xe8, 0x4d, /* XXH3-64 of the stored bytes */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 1: raw bytes, offset */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 2: raw bytes, offset */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0x6d, 0x62, 0x8c, 0xca, 0x43, 0x4c, 0xa3, 0x5a, /* XXH3-64 of the record */
    /* zeros */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, /* w */
};
static const uint8_t two_tensors[458] = {
    0x89, 0x44, 0x51, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, /* magic number */
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* version, flags */
    0x0a, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of the index */
    0xca, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of the file */
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* tensors, metadata entries */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* reserved */
    0xba, 0xdf, 0xf7, 0x8b, 0xb8, 0x60, 0x67, 0xda, /* XXH3-128 of header and index */
    0x8e, 0x14, 0xfc, 0xbd, 0xc0, 0x92, 0x20, 0x73,
    0xc2, 0x94, 0xd3, 0x38, 0x05, 0x80, 0x06, 0x2d, /* XXH3-64 of the metadata */
    0x81, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* record of "w": its bytes, length of the name */
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* format, group, rank */
    0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x80, 0x3f, /* scale */
    0x77, /* name */
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* shape */
    0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 0: raw bytes, offset */
    0x80, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* stored bytes, codec */
    0xb7, 0xf4, 0x34, 0x71, 0x8f, 0xd7, 0xe8, 0x4d, /* XXH3-64 of the stored bytes */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 1: raw bytes, offset */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 2: raw bytes, offset */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0xac, 0xc9, 0x11, 0x58, 0x89, 0xb1, 0xea, 0x70, /* XXH3-64 of the record */
    0x81, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* record of "z": its bytes, length of the name */
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* format, group, rank */
    0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x80, 0x3f, /* scale */
    0x7a, /* name */
    0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* shape */
    0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 0: raw bytes, offset */
    0xc0, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0x0a, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* stored bytes, codec */
    0xc6, 0x59, 0x52, 0x66, 0xf5, 0x5c, 0x24, 0xd3, /* XXH3-64 of the stored bytes */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 1: raw bytes, offset */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* plane 2: raw bytes, offset */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* bytes of a frame, number of frames */
    0xa4, 0x81, 0xcb, 0x98, 0x2a, 0x90, 0x38, 0x93, /* XXH3-64 of the record */
    /* zeros */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0,
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, /* w */
    /* zeros */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,
    0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x80, 0x03, 0x04, /* z */
    0x00, 0x00,
};
/* clang-format on */

static void reads_spelled_out_bytes(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_source source;
    float w[2], z[32];
    assert_ok(io_open_bytes(fixture, two_tensors, sizeof(two_tensors), &source));
    assert_string_equal(source.format, "dqg");
    assert_int_equal(source.tensor_count, 2);
    assert_int_equal(source.metadata_count, 0);
    assert_string_equal(source.tensors[1].name, "z");
    assert_string_equal(source.tensors[1].type_name, "f32");
    assert_int_equal(source.tensors[1].stored_bytes, 10);
    assert_ok(dqg_source_read(&source, 0, DQG_PLANE_CODES, 0, w, sizeof(w)));
    assert_true(w[0] == 1.0f && w[1] == 2.0f);
    memset(z, 1, sizeof(z));
    assert_ok(dqg_source_read(&source, 1, DQG_PLANE_CODES, 0, z, sizeof(z)));
    for (int i = 0; i < 32; i++) {
        assert_true(z[i] == 0.0f);
    }
    assert_ok(dqg_source_verify(&source));
    assert_fails(fixture->context, dqg_source_read(&source, 1, DQG_PLANE_CODES, 4, z, 4), DQG_ERROR_RANGE);
    dqg_source_close(&source);
}

static void writes_spelled_out_bytes(void **state) {
    static const struct dqg_metadata metadata = {"k", "v"};
    static const float data[2] = {1.0f, 2.0f};
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc desc = describe("w", DQG_DTYPE_F32, 0, 1, 2, 0, 0);
    struct dqg_writer *writer;
    uint64_t stored, size;
    size_t got_size;
    const char *path = io_path(fixture, "one.dqg");
    assert_ok(dqg_writer_create(fixture->context, path, &desc, 1, &metadata, 1, 3, &writer));
    assert_ok(dqg_writer_plane(writer, 0, DQG_PLANE_CODES, data, sizeof(data), 1.0f, &stored));
    assert_ok(dqg_writer_finish(writer, &size));
    dqg_writer_abandon(writer);
    assert_int_equal(stored, 8);
    assert_int_equal(size, sizeof(one_tensor));
    uint8_t *got = io_read_file(path, &got_size);
    assert_int_equal(got_size, sizeof(one_tensor));
    assert_memory_equal(got, one_tensor, sizeof(one_tensor));
    free(got);
}

/* ---- round trip ---- */

static void check_contents(struct dqg_source *source, const struct dqg_tensor_desc *tensors, size_t count) {
    assert_int_equal(source->tensor_count, count);
    for (size_t i = 0; i < count; i++) {
        const struct dqg_tensor_desc *got = &source->tensors[i];
        assert_string_equal(got->name, tensors[i].name);
        assert_int_equal(got->dtype, tensors[i].dtype);
        assert_int_equal(got->group, tensors[i].group);
        assert_int_equal(got->rank, tensors[i].rank);
        assert_memory_equal(got->shape, tensors[i].shape, sizeof(got->shape));
        assert_true(got->scale == (dqg_dtype_is_quantized(got->dtype) ? 0.5f : 1.0f));
        assert_int_equal(dqg_source_find(source, got->name), i);
        for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
            size_t size = (size_t)got->plane_bytes[plane];
            uint8_t *want = plane_contents(&tensors[i], i, plane), *data = calloc(1, size + 1);
            assert_int_equal(size, tensors[i].plane_bytes[plane]);
            assert_ok(dqg_source_read(source, i, (enum dqg_plane)plane, 0, data, size));
            assert_memory_equal(data, want, size);
            free(want);
            free(data);
        }
    }
}

static void gives_back_what_was_written(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    struct dqg_source source;
    describe_small(tensors);
    const char *path = io_path(fixture, "small.dqg");
    assert_ok(write_container(fixture->context, path, tensors, SMALL_TENSORS));
    assert_ok(dqg_source_open_path(fixture->context, path, &source));
    check_contents(&source, tensors, SMALL_TENSORS);
    assert_string_equal(dqg_source_metadata(&source, "family"), "dit");
    assert_string_equal(dqg_source_metadata(&source, "licence"), "CC0-1.0");
    assert_null(dqg_source_metadata(&source, "none"));
    assert_ok(dqg_source_verify(&source));
    dqg_source_close(&source);
    assert_int_equal(io_files(fixture, false), 1);
}

static void holds_nothing_at_all(void **state) {
    struct io_fixture *fixture = *state;
    size_t size;
    uint8_t *bytes = make_container(fixture, NULL, 0, &size);
    assert_ok(io_load_bytes(fixture, bytes, size));
    uint8_t *longer = calloc(1, size + 1);
    memcpy(longer, bytes, size);
    assert_fails(fixture->context, io_load_bytes(fixture, longer, size + 1), DQG_ERROR_CHECKSUM);
    assert_non_null(strstr(dqg_context_error(fixture->context), "index"));
    free(longer);
    free(bytes);
}

/* Planes of several frames, read whole and in frames, on one to four threads: the same file, the same contents. */
static void cuts_planes_into_frames(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[2];
    struct dqg_source source;
    uint8_t *first = NULL;
    size_t first_size = 0;
    tensors[0] = describe("exact", DQG_DTYPE_F16, 0, 2, 1024, 1024, 0);       /* two frames */
    tensors[1] = describe("rest", DQG_DTYPE_F32, 0, 1, 262144 * 3 + 1, 0, 0); /* three frames and 4 bytes */
    for (int32_t threads = 1; threads <= 4; threads++) {
        size_t size;
        assert_ok(dqg_context_set_threads(fixture->context, threads));
        uint8_t *bytes = make_container(fixture, tensors, 2, &size);
        assert_ok(io_open_bytes(fixture, bytes, size, &source));
        check_contents(&source, tensors, 2);
        assert_ok(dqg_source_verify(&source));
        uint8_t *want = plane_contents(&tensors[1], 1, 0), *part = malloc(DQG_FRAME_BYTES + 4);
        assert_ok(dqg_source_read(&source, 1, DQG_PLANE_CODES, DQG_FRAME_BYTES, part, DQG_FRAME_BYTES));
        assert_memory_equal(part, want + DQG_FRAME_BYTES, DQG_FRAME_BYTES);
        assert_ok(dqg_source_read(&source, 1, DQG_PLANE_CODES, 2 * DQG_FRAME_BYTES, part, DQG_FRAME_BYTES + 4));
        assert_memory_equal(part, want + 2 * DQG_FRAME_BYTES, DQG_FRAME_BYTES + 4);
        assert_int_equal(dqg_source_read(&source, 1, DQG_PLANE_CODES, DQG_FRAME_BYTES, part, 100), DQG_ERROR_RANGE);
        assert_int_equal(dqg_source_read(&source, 1, DQG_PLANE_CODES, 1, part, DQG_FRAME_BYTES), DQG_ERROR_RANGE);
        dqg_source_close(&source);
        free(want);
        free(part);
        if (first == NULL) {
            first = bytes;
            first_size = size;
        } else {
            assert_int_equal(size, first_size);
            assert_memory_equal(bytes, first, size);
            free(bytes);
        }
    }
    free(first);
}

enum { MANY = 400, LARGE = 150 };

/* Hundreds of small planes and a large one between them: several batches, each of planes of many tensors. */
static void reads_many_planes_in_one_call(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc *tensors = calloc(MANY, sizeof(*tensors));
    struct dqg_plane_read *reads = calloc(MANY, sizeof(*reads));
    char(*names)[16] = calloc(MANY, sizeof(*names));
    size_t size;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "t%zu", i);
        tensors[i] = describe(names[i], DQG_DTYPE_F32, 0, 1, i == LARGE ? 9 << 20 : (int64_t)(i * 37 % 101), 0, 0);
        reads[i] = (struct dqg_plane_read){i, DQG_PLANE_CODES, 0, tensors[i].plane_bytes[0], NULL};
    }
    uint8_t *bytes = make_container(fixture, tensors, MANY, &size);
    for (int32_t threads = 1; threads <= 3; threads++) {
        struct dqg_source source;
        assert_ok(dqg_context_set_threads(fixture->context, threads));
        assert_ok(io_open_bytes(fixture, bytes, size, &source));
        for (size_t i = 0; i < MANY; i++) {
            reads[i].out = calloc(1, (size_t)reads[i].size + 1);
        }
        assert_ok(dqg_source_read_planes(&source, reads, MANY, NULL));
        for (size_t i = 0; i < MANY; i++) {
            uint8_t *want = plane_contents(&tensors[i], i, 0);
            assert_memory_equal(reads[i].out, want, (size_t)reads[i].size);
            free(want);
            free(reads[i].out);
        }
        dqg_source_close(&source);
    }
    free(bytes);
    free(names);
    free(reads);
    free(tensors);
}

/* ---- contradictions with fitting hashes ---- */

static dqg_status load_resealed(struct io_fixture *fixture, uint8_t *bytes, const uint8_t *intact, size_t size) {
    reseal(bytes, intact, size);
    dqg_status status = io_load_bytes(fixture, bytes, size);
    assert_int_equal(io_verify_bytes(fixture, bytes, size), status);
    assert_true(status == DQG_OK || strlen(dqg_context_error(fixture->context)) > 20);
    return status;
}

static void refuses_contradicting_headers(void **state) {
    static const struct {
        int offset, bytes;
        uint64_t value;
        dqg_status status;
    } changes[] = {
        {DQG_HEADER_VERSION, 4, 0, DQG_ERROR_VERSION},
        {DQG_HEADER_VERSION, 4, 2, DQG_ERROR_VERSION},
        {DQG_HEADER_VERSION, 4, UINT32_MAX, DQG_ERROR_VERSION},
        {DQG_HEADER_FLAGS, 4, 1, DQG_ERROR_FORMAT},
        {DQG_HEADER_INDEX_BYTES, 8, UINT64_MAX, DQG_ERROR_FORMAT},
        {DQG_HEADER_INDEX_BYTES, 8, UINT64_MAX - 63, DQG_ERROR_FORMAT},
        {DQG_HEADER_INDEX_BYTES, 8, (UINT64_C(1) << 30) + 1, DQG_ERROR_FORMAT},
        {DQG_HEADER_INDEX_BYTES, 8, UINT64_C(1) << 30, DQG_ERROR_TRUNCATED},
        {DQG_HEADER_INDEX_BYTES, 8, sizeof(two_tensors) - 63, DQG_ERROR_TRUNCATED},
        {DQG_HEADER_INDEX_BYTES, 8, 0, DQG_ERROR_CHECKSUM},
        {DQG_HEADER_FILE_BYTES, 8, 0, DQG_ERROR_FORMAT},
        {DQG_HEADER_FILE_BYTES, 8, UINT64_MAX, DQG_ERROR_FORMAT},
        {DQG_HEADER_FILE_BYTES, 8, sizeof(two_tensors) + 1, DQG_ERROR_FORMAT},
        {DQG_HEADER_TENSORS, 4, 0, DQG_ERROR_FORMAT},
        {DQG_HEADER_TENSORS, 4, 1, DQG_ERROR_FORMAT},
        {DQG_HEADER_TENSORS, 4, 3, DQG_ERROR_FORMAT},
        {DQG_HEADER_TENSORS, 4, UINT32_MAX, DQG_ERROR_FORMAT},
        {DQG_HEADER_METADATA, 4, 1, DQG_ERROR_FORMAT},
        {DQG_HEADER_METADATA, 4, UINT32_MAX, DQG_ERROR_FORMAT},
        {DQG_HEADER_RESERVED, 8, 1, DQG_ERROR_FORMAT},
    };
    struct io_fixture *fixture = *state;
    uint8_t bytes[sizeof(two_tensors)];
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memcpy(bytes, two_tensors, sizeof(bytes));
        for (int j = 0; j < changes[i].bytes; j++) {
            bytes[changes[i].offset + j] = (uint8_t)(changes[i].value >> 8 * j);
        }
        dqg_status status = load_resealed(fixture, bytes, two_tensors, sizeof(bytes));
        if (status != changes[i].status) {
            fail_msg("change %zu gives %d, not %d: %s", i, (int)status, (int)changes[i].status,
                     dqg_context_error(fixture->context));
        }
    }
}

/* Every 32 bits of header and index in turn: whatever they say, there is an answer. Most answers are no. */
static void survives_extreme_fields(void **state) {
    static const uint32_t values[] = {0, 1, 2, 64, 0xffff, 0x100000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    size_t size;
    describe_small(tensors);
    uint8_t *intact = make_container(fixture, tensors, SMALL_TENSORS, &size), *bytes = malloc(size);
    size_t end = DQG_HEADER_BYTES + (size_t)dqg_get_u64(intact + DQG_HEADER_INDEX_BYTES);
    size_t refused = 0, tried = 0;
    assert_ok(dqg_context_set_threads(fixture->context, 1));
    for (size_t at = 0; at + 4 <= end; at++) {
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            memcpy(bytes, intact, size);
            dqg_put_u32(bytes + at, values[i]);
            refused += load_resealed(fixture, bytes, intact, size) < 0;
            tried++;
        }
    }
    assert_true(refused > tried / 2);
    free(bytes);
    free(intact);
}

/* Places in two_tensors: the record of z, the entry of its only frame, and that frame. */
enum { INDEX_END = 330, RECORD = INDEX_END - 129, ENTRY = INDEX_END - 8 - 48 - 16, FRAME = 448, FRAME_END = 458 };

static void expect_format_error(struct io_fixture *fixture, const uint8_t *bytes, size_t size, const char *word) {
    assert_fails(fixture->context, io_load_bytes(fixture, bytes, size), DQG_ERROR_FORMAT);
    assert_non_null(strstr(dqg_context_error(fixture->context), word));
    assert_fails(fixture->context, io_verify_bytes(fixture, bytes, size), DQG_ERROR_FORMAT);
}

static void checks_what_frames_hold(void **state) {
    static const struct {
        uint8_t frame[10];
    } changes[] = {
        {{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x80, 0xfb, 0x03, 0x00, 0x00}}, /* says 128 bytes, holds 127 */
        {{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x7f, 0xfb, 0x03, 0x00, 0x00}}, /* says and holds 127 */
        {{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x81, 0x0b, 0x04, 0x00, 0x00}}, /* 129 */
        {{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50, 0x03, 0x04, 0x00, 0x00}}, /* does not say how many */
        {{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x80, 0x02, 0x04, 0x00, 0x00}}, /* another block should follow */
        {{0x50, 0x2a, 0x4d, 0x18, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00}}, /* a frame to be skipped */
        {{0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55}},
    };
    struct io_fixture *fixture = *state;
    uint8_t bytes[sizeof(two_tensors) + 8];
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memcpy(bytes, two_tensors, sizeof(two_tensors));
        memcpy(bytes + FRAME, changes[i].frame, 10);
        dqg_put_u64(bytes + ENTRY + DQG_FRAME_HASH, dqg_hash64(bytes + FRAME, 10));
        reseal(bytes, two_tensors, sizeof(two_tensors));
        expect_format_error(fixture, bytes, sizeof(two_tensors), "'z'");
    }
    /* A second, empty frame behind the first. */
    memcpy(bytes, two_tensors, sizeof(two_tensors));
    memcpy(bytes + FRAME_END, "\x50\x2a\x4d\x18\0\0\0\0", 8);
    dqg_put_u32(bytes + ENTRY + DQG_FRAME_STORED, 18);
    dqg_put_u64(bytes + ENTRY + DQG_FRAME_HASH, dqg_hash64(bytes + FRAME, 18));
    dqg_put_u64(bytes + DQG_HEADER_FILE_BYTES, sizeof(bytes));
    reseal(bytes, two_tensors, sizeof(two_tensors));
    expect_format_error(fixture, bytes, sizeof(bytes), "'z'");
}

static void refuses_contradicting_records(void **state) {
    static const struct {
        int offset, bytes;
        uint64_t value;
        dqg_status status;
    } changes[] = {
        {ENTRY + DQG_FRAME_CODEC, 4, 2, DQG_ERROR_FORMAT}, /* unknown */
        {ENTRY + DQG_FRAME_CODEC, 4, 0, DQG_ERROR_FORMAT}, /* raw, but not of raw size */
        {ENTRY + DQG_FRAME_STORED, 4, 128, DQG_ERROR_FORMAT},
        {ENTRY + DQG_FRAME_STORED, 4, 0, DQG_ERROR_FORMAT},
        {ENTRY + DQG_FRAME_STORED, 4, 11, DQG_ERROR_FORMAT},
        {ENTRY - 24 + DQG_PLANE_RAW, 8, 127, DQG_ERROR_FORMAT},
        {ENTRY - 24 + DQG_PLANE_OFFSET, 8, 384, DQG_ERROR_FORMAT}, /* where w is */
        {ENTRY - 24 + DQG_PLANE_OFFSET, 8, 512, DQG_ERROR_FORMAT}, /* a hole */
        {ENTRY - 24 + DQG_PLANE_FRAME, 4, 1 << 21, DQG_ERROR_FORMAT},
        {ENTRY - 24 + DQG_PLANE_FRAMES, 4, 2, DQG_ERROR_FORMAT},
        {ENTRY + 16 + DQG_PLANE_OFFSET, 8, 512, DQG_ERROR_FORMAT}, /* scales that are not there */
        {RECORD + DQG_RECORD_NAME, 1, 'w', DQG_ERROR_FORMAT},      /* two tensors of one name */
        {RECORD + DQG_RECORD_NAME, 1, 0xff, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_NAME, 1, 0, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_NAME_BYTES, 4, 0, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_NAME_BYTES, 4, 2, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_DTYPE, 4, 99, DQG_ERROR_UNSUPPORTED}, /* a format of the future */
        {RECORD + DQG_RECORD_DTYPE, 4, DQG_DTYPE_U8, DQG_ERROR_UNSUPPORTED},
        {RECORD + DQG_RECORD_DTYPE, 4, DQG_DTYPE_INT8, DQG_ERROR_FORMAT}, /* wants rank 2 */
        {RECORD + DQG_RECORD_GROUP, 4, 32, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_RANK, 4, 0, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_RANK, 4, 9, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_SCALE, 4, 0x3f800001, DQG_ERROR_FORMAT}, /* not 1 */
        {RECORD + DQG_RECORD_SCALE, 4, 0x7fc00000, DQG_ERROR_FORMAT}, /* not a number */
        {RECORD + DQG_RECORD_NAME + 1, 8, 33, DQG_ERROR_FORMAT},      /* shape */
        {RECORD + DQG_RECORD_NAME + 1, 8, UINT64_MAX, DQG_ERROR_FORMAT},
        {RECORD + DQG_RECORD_NAME + 1, 8, INT64_MAX, DQG_ERROR_FORMAT},
    };
    struct io_fixture *fixture = *state;
    uint8_t bytes[sizeof(two_tensors)];
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memcpy(bytes, two_tensors, sizeof(bytes));
        for (int j = 0; j < changes[i].bytes; j++) {
            bytes[changes[i].offset + j] = (uint8_t)(changes[i].value >> 8 * j);
        }
        dqg_status status = load_resealed(fixture, bytes, two_tensors, sizeof(bytes));
        if (status != changes[i].status) {
            fail_msg("change %zu gives %d, not %d: %s", i, (int)status, (int)changes[i].status,
                     dqg_context_error(fixture->context));
        }
    }
}

/* There is room for eight bytes more between the index and the first plane. */
static void refuses_bytes_that_mean_nothing(void **state) {
    struct io_fixture *fixture = *state;
    uint8_t bytes[sizeof(two_tensors)];

    memcpy(bytes, two_tensors, sizeof(bytes)); /* in the record of z */
    memset(bytes + INDEX_END - 8, 0, 8);
    dqg_put_u32(bytes + RECORD + DQG_RECORD_BYTES, 129 + 8);
    dqg_put_u64(bytes + INDEX_END, dqg_hash64(bytes + RECORD, INDEX_END - RECORD));
    dqg_put_u64(bytes + DQG_HEADER_INDEX_BYTES, INDEX_END + 8 - DQG_HEADER_BYTES);
    dqg_container_hash(bytes, INDEX_END + 8, bytes + DQG_HEADER_HASH);
    expect_format_error(fixture, bytes, sizeof(bytes), "'z'");

    memcpy(bytes, two_tensors, sizeof(bytes)); /* behind it */
    dqg_put_u64(bytes + DQG_HEADER_INDEX_BYTES, INDEX_END + 8 - DQG_HEADER_BYTES);
    dqg_container_hash(bytes, INDEX_END + 8, bytes + DQG_HEADER_HASH);
    expect_format_error(fixture, bytes, sizeof(bytes), "left");
}

/* ---- failing hosts ---- */

struct broken_reader {
    const uint8_t *bytes;
    _Atomic int32_t calls_left; /* the call that takes it to 0 fails */
};

static int32_t broken_read(void *user, uint64_t offset, void *buffer, size_t size) {
    struct broken_reader *reader = user;
    if (atomic_fetch_sub(&reader->calls_left, 1) == 1) {
        return 77;
    }
    memcpy(buffer, reader->bytes + offset, size);
    return 0;
}

static void reports_failing_readers(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    size_t size;
    int32_t n = 0;
    describe_small(tensors);
    uint8_t *bytes = make_container(fixture, tensors, SMALL_TENSORS, &size);
    for (dqg_status status = DQG_ERROR_IO; status != DQG_OK;) {
        struct broken_reader broken = {bytes, ++n};
        struct dqg_source source;
        struct dqg_input input;
        dqg_reader reader;
        DQG_INIT(&reader);
        reader.size = size;
        reader.read = broken_read;
        reader.user = &broken;
        dqg_error_clear(fixture->context);
        assert_ok(dqg_input_open_reader(fixture->context, &reader, &input));
        status = dqg_source_open(fixture->context, &input, &source);
        if (status == DQG_OK) {
            status = n % 2 != 0 ? io_read_planes(&source) : dqg_source_verify(&source);
            dqg_source_close(&source);
        }
        assert_true(status == DQG_OK || status == DQG_ERROR_IO);
        assert_true(status == DQG_OK || strstr(dqg_context_error(fixture->context), "77") != NULL);
    }
    assert_true(n > 10);
    free(bytes);
}

static void survives_failing_allocations(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    size_t size;
    describe_small(tensors);
    uint8_t *bytes = make_container(fixture, tensors, SMALL_TENSORS, &size);
    assert_ok(dqg_parallel_prepare(fixture->context)); /* workers stay: not a leak */
    int64_t before = fixture->memory.live_blocks;
    for (int verify = 0; verify <= 1; verify++) {
        int64_t n = 0;
        for (dqg_status status = DQG_ERROR_MEMORY; status != DQG_OK;) {
            fixture->memory.fail_at = ++n;
            status = verify != 0 ? io_verify_bytes(fixture, bytes, size) : io_load_bytes(fixture, bytes, size);
            assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
            assert_true(status == DQG_OK || strstr(dqg_context_error(fixture->context), "memory") != NULL);
            assert_int_equal(fixture->memory.live_blocks, before);
        }
        assert_true(n > 4);
    }
    free(bytes);
}

/* ---- progress ---- */

struct watch {
    uint64_t last, total;
    int calls, stop_at;
};

static int32_t watch_progress(void *user, const dqg_progress *progress) {
    struct watch *watch = user;
    assert_int_equal(progress->phase, DQG_PHASE_VERIFY);
    assert_true(progress->done >= watch->last);
    assert_non_null(progress->name);
    watch->last = progress->done;
    watch->total = progress->total;
    watch->calls++;
    return watch->calls == watch->stop_at;
}

static void verify_reports_progress_and_can_be_stopped(void **state) {
    struct io_fixture *fixture = *state;
    struct watch watch = {0, 0, 0, 0};
    assert_ok(dqg_context_set_progress(fixture->context, watch_progress, &watch));
    assert_ok(io_verify_bytes(fixture, two_tensors, sizeof(two_tensors)));
    assert_true(watch.calls > 0);
    assert_int_equal(watch.last, sizeof(two_tensors));
    assert_int_equal(watch.total, sizeof(two_tensors));
    watch = (struct watch){0, 0, 0, 1};
    assert_fails(fixture->context, io_verify_bytes(fixture, two_tensors, sizeof(two_tensors)), DQG_ERROR_CANCELLED);
    assert_ok(dqg_context_set_progress(fixture->context, NULL, NULL));
    assert_ok(io_verify_bytes(fixture, two_tensors, sizeof(two_tensors)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_spelled_out_bytes, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(writes_spelled_out_bytes, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(gives_back_what_was_written, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(holds_nothing_at_all, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(cuts_planes_into_frames, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reads_many_planes_in_one_call, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_contradicting_headers, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_extreme_fields, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(checks_what_frames_hold, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_contradicting_records, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_bytes_that_mean_nothing, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reports_failing_readers, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(verify_reports_progress_and_can_be_stopped, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
