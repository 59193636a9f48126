/* SPDX-License-Identifier: MIT */
/*
 * Zip archives with entries that are stored as they are, also those over 4 GB (ZIP64). The directory at the end is what
 * counts; of an entry's own header only its length is used. Serves torch.c and numpy.c.
 */
#include "io/zip.h"
#include "io/bytes.h"

enum {
    END_BYTES = 22, /* end of the directory, before a comment of up to 65535 bytes */
    END_SEARCH = END_BYTES + 65535,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    RECORD_BYTES = 46, /* of the directory, without name, extra fields and comment */
    HEADER_BYTES = 30, /* in front of an entry, likewise */
    DIRECTORY_MAX = 8 << 20
};

#define MARK(c, d) (0x4b50u | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

struct directory {
    uint64_t offset, size, count;
};

static uint32_t get_u16(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static dqg_status fail_zip(struct dqg_source *source, const char *what) {
    return dqg_fail(source->context, DQG_ERROR_FORMAT, "%s is a damaged zip archive: %s; copy or download it again",
                    source->inputs[0].name, what);
}

/* ---- the end of the archive ---- */

/* The sizes in front of the end where those at the end do not suffice. */
static dqg_status read_end64(struct dqg_source *source, uint64_t end, struct directory *directory) {
    uint8_t locator[LOCATOR_BYTES], bytes[END64_BYTES];
    if (end < sizeof locator) {
        return fail_zip(source, "its large sizes are missing");
    }
    DQG_TRY(dqg_input_read(source->context, &source->inputs[0], end - sizeof locator, locator, sizeof locator));
    uint64_t offset = dqg_get_u64(locator + 8);
    if (dqg_get_u32(locator) != MARK(6, 7) || offset > end || end - offset < sizeof bytes) {
        return fail_zip(source, "its large sizes are missing");
    }
    DQG_TRY(dqg_input_read(source->context, &source->inputs[0], offset, bytes, sizeof bytes));
    if (dqg_get_u32(bytes) != MARK(6, 6)) {
        return fail_zip(source, "its large sizes are missing");
    }
    *directory = (struct directory){dqg_get_u64(bytes + 48), dqg_get_u64(bytes + 40), dqg_get_u64(bytes + 32)};
    return DQG_OK;
}

static dqg_status find_end(struct dqg_source *source, const uint8_t *tail, size_t size, struct directory *directory) {
    for (size_t i = size < END_BYTES ? 0 : size - END_BYTES + 1; i > 0; i--) {
        const uint8_t *end = tail + i - 1;
        size_t rest = size - (i - 1);
        if (dqg_get_u32(end) == MARK(5, 6) && END_BYTES + get_u16(end + 20) == rest) {
            *directory = (struct directory){dqg_get_u32(end + 16), dqg_get_u32(end + 12), get_u16(end + 10)};
            bool large = directory->offset == UINT32_MAX || directory->size == UINT32_MAX || directory->count == 0xffff;
            return large ? read_end64(source, source->inputs[0].size - rest, directory) : DQG_OK;
        }
    }
    return dqg_fail(source->context, DQG_ERROR_TRUNCATED,
                    "%s begins as a zip archive but does not end as one: copy or download it again",
                    source->inputs[0].name);
}

static dqg_status read_end(struct dqg_source *source, struct directory *directory) {
    const struct dqg_alloc *alloc = &source->context->alloc;
    const struct dqg_input *input = &source->inputs[0];
    size_t size = input->size < END_SEARCH ? (size_t)input->size : (size_t)END_SEARCH;
    uint8_t *tail = dqg_malloc(alloc, size);
    if (tail == NULL) {
        return dqg_fail_memory(source->context, "the end of the archive", size);
    }
    dqg_status status = dqg_input_read(source->context, input, input->size - size, tail, size);
    if (status >= 0) {
        status = find_end(source, tail, size, directory);
    }
    dqg_free(alloc, tail, size);
    DQG_TRY(status);
    if (directory->offset > input->size || directory->size > input->size - directory->offset ||
        directory->count > directory->size / RECORD_BYTES) {
        return fail_zip(source, "its directory is not in the file");
    }
    return directory->size <= DIRECTORY_MAX
               ? DQG_OK
               : dqg_fail(source->context, DQG_ERROR_LIMIT, "%s has a directory of %llu bytes, the limit is %d",
                          input->name, (unsigned long long)directory->size, DIRECTORY_MAX);
}

/* ---- the directory ---- */

/* Sizes that are too large for their fields stand in an extra field, one after the other. */
static bool read_extra(struct dqg_zip_entry *entry, const uint8_t *extra, size_t size) {
    uint64_t *wanted[3] = {&entry->size, &entry->stored, &entry->header};
    for (size_t length; size >= 4; extra += 4 + length, size -= 4 + length) {
        length = get_u16(extra + 2);
        if (length > size - 4) {
            return false;
        }
        if (get_u16(extra) != 1) {
            continue;
        }
        for (size_t i = 0, at = 4; i < 3; i++) {
            if (*wanted[i] == UINT32_MAX && at + 8 <= 4 + length) {
                *wanted[i] = dqg_get_u64(extra + at);
                at += 8;
            }
        }
    }
    return true;
}

/* One record; *used receives its bytes. */
static dqg_status read_record(struct dqg_source *source, const uint8_t *record, size_t left,
                              struct dqg_zip_entry *entry, size_t *used) {
    if (left < RECORD_BYTES || dqg_get_u32(record) != MARK(1, 2)) {
        return fail_zip(source, "its directory is too short");
    }
    size_t name = get_u16(record + 28), extra = get_u16(record + 30), comment = get_u16(record + 32);
    *used = RECORD_BYTES + name + extra + comment;
    if (*used > left) {
        return fail_zip(source, "its directory is too short");
    }
    if ((get_u16(record + 8) & 1) != 0) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED, "%s is an encrypted archive", source->inputs[0].name);
    }
    if (!dqg_utf8_valid((const char *)record + RECORD_BYTES, name)) {
        return fail_zip(source, "the name of an entry is no text");
    }
    *entry = (struct dqg_zip_entry){.size = dqg_get_u32(record + 24),
                                    .stored = dqg_get_u32(record + 20),
                                    .header = dqg_get_u32(record + 42),
                                    .method = get_u16(record + 10)};
    if (!read_extra(entry, record + RECORD_BYTES + name, extra)) {
        return fail_zip(source, "its directory contradicts itself");
    }
    return dqg_source_copy_text(source, (const char *)record + RECORD_BYTES, name, &entry->name);
}

static dqg_status read_records(struct dqg_source *source, const uint8_t *bytes, size_t size, struct dqg_zip *zip) {
    for (size_t i = 0, at = 0, used = 0; i < zip->count; i++, at += used) {
        DQG_TRY(read_record(source, bytes + at, size - at, &zip->entries[i], &used));
    }
    return DQG_OK;
}

static bool entry_before(const void *items, size_t a, size_t b) {
    const struct dqg_zip_entry *entries = items;
    return strcmp(entries[a].name, entries[b].name) < 0;
}

dqg_status dqg_zip_open(struct dqg_source *source, struct dqg_zip *zip) {
    const struct dqg_alloc *alloc = &source->context->alloc;
    struct directory directory = {0};
    DQG_TRY(read_end(source, &directory));
    size_t size = (size_t)directory.size;
    zip->count = (size_t)directory.count;
    DQG_TRY(dqg_source_alloc(source, "the directory", zip->count, sizeof *zip->entries, &zip->entries));
    DQG_TRY(dqg_source_alloc(source, "the directory", zip->count, sizeof *zip->by_name, &zip->by_name));
    uint8_t *bytes = dqg_malloc(alloc, size);
    if (bytes == NULL) {
        return dqg_fail_memory(source->context, "the directory", size);
    }
    dqg_status status = dqg_input_read(source->context, &source->inputs[0], directory.offset, bytes, size);
    if (status >= 0) {
        status = read_records(source, bytes, size, zip);
    }
    dqg_free(alloc, bytes, size);
    DQG_TRY(status);
    dqg_sort_indices(zip->by_name, zip->count, entry_before, zip->entries);
    for (size_t i = 1; i < zip->count; i++) {
        if (strcmp(zip->entries[zip->by_name[i - 1]].name, zip->entries[zip->by_name[i]].name) == 0) {
            return fail_zip(source, "two entries have one name");
        }
    }
    return DQG_OK;
}

const struct dqg_zip_entry *dqg_zip_find(const struct dqg_zip *zip, const char *name) {
    size_t from = 0, to = zip->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        const struct dqg_zip_entry *entry = &zip->entries[zip->by_name[middle]];
        int order = strcmp(name, entry->name);
        if (order == 0) {
            return entry;
        }
        if (order < 0) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    return NULL;
}

dqg_status dqg_zip_locate(struct dqg_source *source, const struct dqg_zip_entry *entry, uint64_t *offset) {
    const struct dqg_input *input = &source->inputs[0];
    uint8_t header[HEADER_BYTES];
    if (entry->method != 0) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        "'%s' in %s is compressed (zip method %u), which cannot be read; store it uncompressed",
                        entry->name, input->name, (unsigned)entry->method);
    }
    if (entry->header > input->size || input->size - entry->header < sizeof header || entry->stored != entry->size) {
        return fail_zip(source, "an entry is not where the directory says");
    }
    DQG_TRY(dqg_input_read(source->context, input, entry->header, header, sizeof header));
    uint64_t data = entry->header + sizeof header + get_u16(header + 26) + get_u16(header + 28);
    if (dqg_get_u32(header) != MARK(3, 4) || data > input->size || entry->size > input->size - data) {
        return fail_zip(source, "an entry is not where the directory says");
    }
    *offset = data;
    return DQG_OK;
}
