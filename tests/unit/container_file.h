/* SPDX-License-Identifier: MIT */
/*
 * .dqg files for the tests of the container: descriptions of tensors in every storage format, contents that compress a
 * little, a file written through the library, and where in it each tensor lies. Expects lib/io's private headers.
 */
#ifndef TESTS_CONTAINER_FILE_H
#define TESTS_CONTAINER_FILE_H

#include "io_check.h"

#include "io/bytes.h"
#include "io/container.h"
#include "support/hash.h"
#include "tensor/format.h"

static inline struct dqg_tensor_desc describe(const char *name, int32_t dtype, int32_t group, int32_t rank, int64_t d0,
                                              int64_t d1, int64_t d2) {
    struct dqg_tensor_desc desc = {.name = name, .dtype = dtype, .group = group, .rank = rank, .scale = 1.0f};
    const int64_t shape[3] = {d0, d1, d2};
    memcpy(desc.shape, shape, sizeof(shape));
    assert_true(dqg_format_plane_bytes(dtype, group, rank, desc.shape, desc.plane_bytes));
    return desc;
}

/* Bytes with some order in them, different for each seed. Neighbours differ, so that no byte can be moved unseen. */
static inline void fill_bytes(uint8_t *data, size_t size, uint32_t seed) {
    uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < size; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        data[i] = (uint8_t)((random >> 60) * 16 + i % 16);
    }
}

static inline uint8_t *plane_contents(const struct dqg_tensor_desc *desc, size_t tensor, int plane) {
    size_t size = (size_t)desc->plane_bytes[plane];
    uint8_t *data = malloc(size > 0 ? size : 1);
    fill_bytes(data, size, (uint32_t)(tensor * 3 + (size_t)plane));
    return data;
}

static inline dqg_status write_planes(struct dqg_writer *writer, const struct dqg_tensor_desc *tensors, size_t count) {
    dqg_status status = DQG_OK;
    for (size_t i = 0; i < count && status == DQG_OK; i++) {
        float scale = dqg_dtype_is_quantized(tensors[i].dtype) ? 0.5f : 1.0f;
        for (int plane = 0; plane < DQG_PLANE_COUNT && status == DQG_OK; plane++) {
            if (tensors[i].plane_bytes[plane] > 0) {
                uint64_t stored;
                uint8_t *data = plane_contents(&tensors[i], i, plane);
                status = dqg_writer_plane(writer, i, (enum dqg_plane)plane, data, (size_t)tensors[i].plane_bytes[plane],
                                          scale, &stored);
                free(data);
            }
        }
    }
    return status;
}

static const struct dqg_metadata some_metadata[2] = {{"family", "dit"}, {"licence", "CC0-1.0"}};

/* The whole life of a writer; nothing is left of it but the file. */
static inline dqg_status write_container(dqg_context *context, const char *path, const struct dqg_tensor_desc *tensors,
                                         size_t count) {
    struct dqg_writer *writer;
    uint64_t size;
    dqg_error_clear(context);
    dqg_status status = dqg_writer_create(context, path, tensors, count, some_metadata, 2, 3, &writer);
    if (status == DQG_OK) {
        status = write_planes(writer, tensors, count);
    }
    if (status == DQG_OK) {
        status = dqg_writer_finish(writer, &size);
    }
    dqg_writer_abandon(writer);
    return status;
}

enum { SMALL_TENSORS = 7 };

/* A file of about 3 kB with a tensor of each kind. */
static inline void describe_small(struct dqg_tensor_desc tensors[SMALL_TENSORS]) {
    tensors[0] = describe("x_embedder.proj.weight", DQG_DTYPE_F16, 0, 2, 5, 7, 0);
    tensors[1] = describe("blocks.0.attn.qkv.weight", DQG_DTYPE_INT4, 32, 2, 17, 40, 0);
    tensors[2] = describe("nothing", DQG_DTYPE_F32, 0, 2, 0, 3, 0);
    tensors[3] = describe("blocks.0.mlp.fc1.weight", DQG_DTYPE_INT4Z, 64, 3, 3, 31, 2);
    tensors[4] = describe("scalar", DQG_DTYPE_BF16, 0, 0, 0, 0, 0);
    tensors[5] = describe("final_layer.linear.weight", DQG_DTYPE_INT8, 0, 2, 6, 9, 0);
    tensors[6] = describe("final_layer.linear.bias", DQG_DTYPE_F32, 0, 1, 29, 0, 0);
}

/* The bytes of a container of these tensors, to be freed. */
static inline uint8_t *make_container(struct io_fixture *fixture, const struct dqg_tensor_desc *tensors, size_t count,
                                      size_t *size) {
    const char *path = io_path(fixture, "made.dqg");
    assert_ok(write_container(fixture->context, path, tensors, count));
    return io_read_file(path, size);
}

/* ---- where things are ---- */

/* Which part of the file a byte belongs to. */
struct owner {
    int64_t tensor; /* or -1: header, metadata */
    bool index;     /* in the tensor's record, not in its data */
};

static inline void own(struct owner *owners, uint64_t from, uint64_t to, int64_t tensor, bool index) {
    for (uint64_t i = from; i < to; i++) {
        owners[i].tensor = tensor;
        owners[i].index = index;
    }
}

/* For each byte of an intact file. The zeros before the first plane are its tensor's, those after a plane that one's.
 */
static inline struct owner *find_owners(struct io_fixture *fixture, const uint8_t *bytes, size_t size) {
    struct owner *owners = malloc(size * sizeof(*owners));
    struct dqg_source source;
    size_t step, at = DQG_HEADER_BYTES;
    assert_ok(io_open_bytes(fixture, bytes, size, &source));
    const struct dqg_container *container = source.detail;
    own(owners, 0, size, -1, true);
    assert_true(dqg_metadata_intact(bytes + at, bytes + size, dqg_get_u32(bytes + DQG_HEADER_METADATA), &step));
    at += step;
    for (size_t i = 0; i < source.tensor_count; i++, at += step) {
        assert_true(dqg_record_intact(bytes + at, bytes + size, &step));
        own(owners, at, at + step, (int64_t)i, true);
    }
    int64_t first = -1;
    for (size_t i = 0; i < source.tensor_count; i++) {
        for (int j = 0; j < DQG_PLANE_COUNT; j++) {
            const struct dqg_stored_plane *plane = &container->planes[i][j];
            if (plane->frame_count > 0) {
                own(owners, first < 0 ? at : plane->offset, plane->end + plane->padding, (int64_t)i, false);
                first = 0;
            }
        }
    }
    dqg_source_close(&source);
    return owners;
}

/* Make all hashes of header and index fit again, with the pieces where they are in the intact file. */
static inline void reseal(uint8_t *bytes, const uint8_t *intact, size_t intact_size) {
    size_t step, at = DQG_HEADER_BYTES, end = DQG_HEADER_BYTES + (size_t)dqg_get_u64(intact + DQG_HEADER_INDEX_BYTES);
    assert_true(
        dqg_metadata_intact(intact + at, intact + intact_size, dqg_get_u32(intact + DQG_HEADER_METADATA), &step));
    for (;;) {
        dqg_put_u64(bytes + at + step - 8, dqg_hash64(bytes + at, step - 8));
        at += step;
        if (at == end) {
            break;
        }
        assert_true(dqg_record_intact(intact + at, intact + end, &step));
    }
    dqg_container_hash(bytes, end, bytes + DQG_HEADER_HASH);
}

#endif
