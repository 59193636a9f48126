/* SPDX-License-Identifier: MIT */
/*
 * Opens a .dqg file: header and index are read whole and their hash is checked; container_index.c takes it from there.
 * Where the hash is wrong, the pieces of the index are looked at one by one to say which is damaged. Called by
 * source.c.
 */
#include "io/bytes.h"
#include "io/container.h"
#include "support/hash.h"

static const char *file_name(const struct dqg_source *source) {
    return source->inputs[0].name;
}

void dqg_container_hash(uint8_t *bytes, size_t size, uint8_t hash[16]) {
    uint64_t halves[2];
    uint8_t stored[16];
    memcpy(stored, bytes + DQG_HEADER_HASH, sizeof stored);
    memset(bytes + DQG_HEADER_HASH, 0, sizeof stored);
    dqg_hash128(bytes, size, halves);
    memcpy(bytes + DQG_HEADER_HASH, stored, sizeof stored);
    dqg_put_u64(hash, halves[0]);
    dqg_put_u64(hash + 8, halves[1]);
}

/* The name in a record that may be damaged, zero-terminated in text; empty where it makes no sense. */
static void readable_name(const uint8_t *at, const uint8_t *end, char text[DQG_NAME_MAX + 1]) {
    text[0] = '\0';
    if (end - at < DQG_RECORD_NAME) {
        return;
    }
    size_t length = dqg_get_u32(at + DQG_RECORD_NAME_BYTES);
    at += DQG_RECORD_NAME;
    if (length <= DQG_NAME_MAX && length <= (size_t)(end - at) && dqg_utf8_valid((const char *)at, length)) {
        memcpy(text, at, length);
        text[length] = '\0';
    }
}

static dqg_status fail_record(struct dqg_source *source, uint32_t number, uint32_t count, const char *name,
                              const char *before) {
    return dqg_fail(source->context, DQG_ERROR_CHECKSUM,
                    "the header or index of %s is damaged, at the record of tensor %u of %u ('%s' as far as it can be "
                    "read)%s%s%s: copy or download the file again",
                    file_name(source), (unsigned)number, (unsigned)count, name, before[0] != '\0' ? " after '" : "",
                    before, before[0] != '\0' ? "'" : "");
}

/* The hash over header and index is wrong: the pieces have hashes of their own that say where. */
static dqg_status blame(struct dqg_source *source, const uint8_t *bytes, size_t size) {
    char name[DQG_NAME_MAX + 1], before[DQG_NAME_MAX + 1] = "";
    const uint8_t *at = bytes + DQG_HEADER_BYTES, *end = bytes + size;
    uint32_t count = dqg_get_u32(bytes + DQG_HEADER_TENSORS);
    size_t step;
    if (!dqg_metadata_intact(at, end, dqg_get_u32(bytes + DQG_HEADER_METADATA), &step)) {
        return dqg_fail(source->context, DQG_ERROR_CHECKSUM,
                        "the header or index of %s is damaged, in the metadata or before it: copy or download the file "
                        "again",
                        file_name(source));
    }
    at += step;
    for (uint32_t i = 0; i < count && at < end; i++) {
        readable_name(at, end, name);
        if (!dqg_record_intact(at, end, &step)) {
            return fail_record(source, i + 1, count, name, before);
        }
        memcpy(before, name, sizeof before);
        at += step;
    }
    return dqg_fail(source->context, DQG_ERROR_CHECKSUM,
                    "the header of %s is damaged: its checksum does not match; copy or download the file again",
                    file_name(source));
}

/* ---- header ---- */

static dqg_status read_header(struct dqg_source *source, struct dqg_container *container) {
    const struct dqg_input *input = &source->inputs[0];
    uint8_t header[DQG_HEADER_BYTES];
    if (input->size < sizeof header) {
        return dqg_fail(source->context, DQG_ERROR_TRUNCATED,
                        "%s ends inside its header, after %llu bytes: copy or download it again", input->name,
                        (unsigned long long)input->size);
    }
    DQG_TRY(dqg_input_read(source->context, input, 0, header, sizeof header));
    uint32_t version = dqg_get_u32(header + DQG_HEADER_VERSION);
    if (version != DQG_CONTAINER_VERSION) {
        return dqg_fail(source->context, DQG_ERROR_VERSION,
                        "%s has container version %u; this library reads version %d (a newer library wrote it, or its "
                        "header is damaged)",
                        input->name, (unsigned)version, DQG_CONTAINER_VERSION);
    }
    uint64_t index_bytes = dqg_get_u64(header + DQG_HEADER_INDEX_BYTES);
    if (index_bytes > DQG_INDEX_MAX) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT,
                        "the header of %s is damaged: an index of %llu bytes is more than a file may have", input->name,
                        (unsigned long long)index_bytes);
    }
    container->bytes_size = (size_t)index_bytes + sizeof header;
    if (container->bytes_size > input->size) {
        return dqg_fail(source->context, DQG_ERROR_TRUNCATED,
                        "%s ends inside its index: it has %llu bytes, header and index alone take %zu; copy or "
                        "download it again",
                        input->name, (unsigned long long)input->size, container->bytes_size);
    }
    container->bytes = dqg_malloc(&source->context->alloc, container->bytes_size);
    if (container->bytes == NULL) {
        return dqg_fail_memory(source->context, "the index", container->bytes_size);
    }
    return dqg_input_read(source->context, input, 0, container->bytes, container->bytes_size);
}

static void container_close(struct dqg_source *source) {
    struct dqg_container *container = source->detail;
    dqg_container_free_lanes(source);
    dqg_free(&source->context->alloc, container->bytes, container->bytes_size);
}

static const struct dqg_source_type container_type = {dqg_container_read, dqg_container_verify, container_close};

dqg_status dqg_container_open(struct dqg_source *source) {
    struct dqg_container *container;
    uint8_t hash[16];
    DQG_TRY(dqg_source_alloc(source, "the file", 1, sizeof *container, &container));
    source->detail = container;
    source->type = &container_type;
    source->format = "dqg";
    DQG_TRY(read_header(source, container));
    dqg_container_hash(container->bytes, container->bytes_size, hash);
    if (memcmp(hash, container->bytes + DQG_HEADER_HASH, sizeof hash) != 0) {
        return blame(source, container->bytes, container->bytes_size);
    }
    container->file_bytes = dqg_get_u64(container->bytes + DQG_HEADER_FILE_BYTES);
    DQG_TRY(dqg_container_parse(source));
    return dqg_container_check_size(source);
}
