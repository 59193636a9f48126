/* SPDX-License-Identifier: MIT */
/* Zip archives of stored entries, as torch.save() and numpy.savez() write them, for tests of readers. */
#ifndef TESTS_ZIP_BUILDER_H
#define TESTS_ZIP_BUILDER_H

#include "file_builder.h"

enum { ZIP_ENTRIES = 8 };

struct zip_builder {
    struct builder file;
    struct {
        char name[64];
        size_t header, size;
    } entries[ZIP_ENTRIES];
    size_t count;
    int method;
};

/* The fields that an entry's header and its record in the directory share. */
static inline void put_zip_fields(struct builder *file, int method, const void *data, size_t size, uint64_t stated,
                                  size_t name_length) {
    put_number(file, 20, 2);
    put_number(file, 0, 2); /* flags */
    put_number(file, (uint64_t)method, 2);
    put_number(file, 0, 4); /* time and date */
    put_number(file, crc32_of(data, size), 4);
    put_number(file, stated, 4);
    put_number(file, stated, 4);
    put_number(file, name_length, 2);
}

/* An entry whose data begins at a multiple of 64, with an extra field as padding. */
static inline void put_zip_entry(struct zip_builder *zip, const char *name, const void *data, size_t size) {
    struct builder *file = &zip->file;
    size_t length = strlen(name), begin = file->size;
    size_t padding = (64 - (begin + 30 + length + 4) % 64) % 64;
    assert_true(zip->count < ZIP_ENTRIES);
    snprintf(zip->entries[zip->count].name, sizeof(zip->entries[0].name), "%s", name);
    zip->entries[zip->count].header = begin;
    zip->entries[zip->count++].size = size;
    put(file, "PK\3\4", 4);
    put_zip_fields(file, zip->method, data, size, size, length);
    put_number(file, 4 + padding, 2);
    put(file, name, length);
    put(file, "FB", 2);
    put_number(file, padding, 2);
    put_zeros_to(file, file->size + padding);
    put(file, data, size);
}

/* The directory; large writes sizes as archives over 4 GB do. */
static inline void put_zip_end(struct zip_builder *zip, bool large) {
    struct builder *file = &zip->file;
    size_t begin = file->size;
    for (size_t i = 0; i < zip->count; i++) {
        size_t length = strlen(zip->entries[i].name), size = zip->entries[i].size;
        put(file, "PK\1\2\24\0", 6);
        put_zip_fields(file, zip->method, "", 0, large ? UINT32_MAX : size, length);
        put_number(file, large ? 28 : 0, 2);
        put_zeros_to(file, file->size + 2 + 2 + 2 + 4); /* comment, disk, attributes */
        put_number(file, large ? UINT32_MAX : zip->entries[i].header, 4);
        put(file, zip->entries[i].name, length);
        if (large) {
            put_number(file, 1, 2);
            put_number(file, 24, 2);
            put_number(file, size, 8);
            put_number(file, size, 8);
            put_number(file, zip->entries[i].header, 8);
        }
    }
    size_t end = file->size;
    if (large) {
        put(file, "PK\6\6", 4);
        put_number(file, 44, 8);
        put_number(file, 45, 2);
        put_number(file, 45, 2);
        put_number(file, 0, 8); /* disks */
        put_number(file, zip->count, 8);
        put_number(file, zip->count, 8);
        put_number(file, end - begin, 8);
        put_number(file, begin, 8);
        put(file, "PK\6\7\0\0\0\0", 8);
        put_number(file, end, 8);
        put_number(file, 1, 4);
    }
    put(file, "PK\5\6\0\0\0\0", 8);
    put_number(file, large ? 0xffff : zip->count, 2);
    put_number(file, large ? 0xffff : zip->count, 2);
    put_number(file, large ? UINT32_MAX : end - begin, 4);
    put_number(file, large ? UINT32_MAX : begin, 4);
    put_number(file, 0, 2);
}

#endif
