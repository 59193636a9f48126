/* SPDX-License-Identifier: MIT */
/* What the tests of lib/io share: files in memory and on disk, and reading everything that a file holds. */
#ifndef TESTS_IO_CHECK_H
#define TESTS_IO_CHECK_H

#include "check.h"
#include "failing_alloc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/io.h"

/* A context that counts its memory, and a folder for files. */
struct io_fixture {
    struct failing_alloc memory;
    dqg_context *context;
    char folder[64];
    char path[2][128]; /* of io_path() */
    int open_files;
};

/* Descriptors that this process has open; 0 where the system does not say. */
static inline int io_count_open_files(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (folder != NULL && readdir(folder) != NULL) {
        count++;
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return count;
}

static inline int io_setup(void **state) {
    struct io_fixture *fixture = calloc(1, sizeof(*fixture));
    dqg_allocator allocator;
    failing_alloc_init(&fixture->memory, &allocator);
    assert_ok(dqg_context_create(&allocator, &fixture->context));
    assert_ok(dqg_context_set_threads(fixture->context, 2));
    strcpy(fixture->folder, "/tmp/dqgen-io-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->open_files = io_count_open_files();
    *state = fixture;
    return 0;
}

/* Full path of a file in the folder; valid until the call after the next. */
static inline const char *io_path(struct io_fixture *fixture, const char *name) {
    memcpy(fixture->path[1], fixture->path[0], sizeof(fixture->path[0]));
    char *path = fixture->path[0];
    int length = snprintf(path, sizeof(fixture->path[0]), "%s/%s", fixture->folder, name);
    assert_true(length > 0 && (size_t)length < sizeof(fixture->path[0]));
    return path;
}

/* Number of files in the folder; removes them where that is asked for. */
static inline int io_files(struct io_fixture *fixture, bool remove_them) {
    DIR *folder = opendir(fixture->folder);
    int count = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            count++;
            if (remove_them) {
                char path[512];
                snprintf(path, sizeof(path), "%s/%s", fixture->folder, entry->d_name);
                remove(path);
            }
        }
    }
    closedir(folder);
    return count;
}

static inline int io_teardown(void **state) {
    struct io_fixture *fixture = *state;
    fixture->memory.fail_at = 0;
    dqg_context_destroy(fixture->context);
    int errors = failing_alloc_errors(&fixture->memory);
    io_files(fixture, true);
    errors += rmdir(fixture->folder) != 0;
    if (io_count_open_files() != fixture->open_files) {
        fprintf(stderr, "a file was left open\n");
        errors++;
    }
    free(fixture);
    return errors;
}

static inline void io_write_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The file's bytes, to be freed. */
static inline uint8_t *io_read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + 1);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

static inline dqg_status io_open_bytes(struct io_fixture *fixture, const void *data, size_t size,
                                       struct dqg_source *source) {
    struct dqg_input input;
    dqg_error_clear(fixture->context);
    dqg_input_open_memory(data, size, &input);
    return dqg_source_open(fixture->context, &input, source);
}

/* Each plane of each tensor, whole, in one call. */
static inline dqg_status io_read_planes(struct dqg_source *source) {
    size_t count = source->tensor_count * DQG_PLANE_COUNT;
    struct dqg_plane_read *reads = calloc(count + 1, sizeof(*reads));
    for (size_t i = 0; i < count; i++) {
        reads[i].tensor = i / DQG_PLANE_COUNT;
        reads[i].plane = (enum dqg_plane)(i % DQG_PLANE_COUNT);
        reads[i].size = source->tensors[reads[i].tensor].plane_bytes[reads[i].plane];
        /* exact, so that a sanitizer sees one byte too many */
        reads[i].out = malloc(reads[i].size > 0 ? (size_t)reads[i].size : 1);
    }
    dqg_status status = dqg_source_read_planes(source, reads, count, NULL);
    for (size_t i = 0; i < count; i++) {
        free(reads[i].out);
    }
    free(reads);
    return status;
}

/* What a loader does, and what verify does; the message is in the context. */
static inline dqg_status io_load_bytes(struct io_fixture *fixture, const void *data, size_t size) {
    struct dqg_source source;
    dqg_status status = io_open_bytes(fixture, data, size, &source);
    if (status == DQG_OK) {
        status = io_read_planes(&source);
        dqg_source_close(&source);
    }
    return status;
}

static inline dqg_status io_verify_bytes(struct io_fixture *fixture, const void *data, size_t size) {
    struct dqg_source source;
    dqg_status status = io_open_bytes(fixture, data, size, &source);
    if (status == DQG_OK) {
        status = dqg_source_verify(&source);
        dqg_source_close(&source);
    }
    return status;
}

#endif
