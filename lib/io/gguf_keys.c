/* SPDX-License-Identifier: MIT */
/*
 * Keys and values of a GGUF file as texts: numbers in decimal, lists as JSON. Long lists are left out: vocabularies of
 * language models take megabytes. Used by gguf.c.
 */
#include "io/bytes.h"
#include "io/gguf.h"
#include "tensor/half.h"

enum {
    KEYS_MAX = 16384,
    KEY_MAX = 65535,
    TEXT_MAX = 1 << 20, /* bytes of a value that is a text */
    LIST_MAX = 2 << 20, /* bytes of a list as text */
    SCRATCH_MAX = 1 << 20
};

enum { TYPE_F32 = 6, TYPE_BOOL = 7, TYPE_STRING = 8, TYPE_ARRAY = 9, TYPE_F64 = 12, TYPE_COUNT = 13 };

static const uint8_t type_bytes[TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static dqg_status fail_key(struct dqg_gguf *gguf, const char *key, const char *what) {
    return dqg_fail(gguf->source->context, DQG_ERROR_FORMAT, "key '%s' in %s %s", key, gguf->source->inputs[0].name,
                    what);
}

/* Signed types have odd numbers. */
static void format_number(uint32_t type, const uint8_t *bytes, char text[32]) {
    uint64_t bits = 0;
    uint32_t unused = 64 - 8u * type_bytes[type];
    for (uint32_t i = 0; i < type_bytes[type]; i++) {
        bits |= (uint64_t)bytes[i] << 8 * i;
    }
    if (type == TYPE_BOOL) {
        dqg_format(text, 32, "%s", bits != 0 ? "true" : "false");
    } else if (type == TYPE_F32) {
        dqg_format(text, 32, "%g", (double)dqg_bits_to_float((uint32_t)bits));
    } else if (type == TYPE_F64) {
        double value;
        memcpy(&value, &bits, sizeof value);
        dqg_format(text, 32, "%g", value);
    } else if (type % 2 == 1) {
        dqg_format(text, 32, "%lld", (long long)((int64_t)(bits << unused) >> unused));
    } else {
        dqg_format(text, 32, "%llu", (unsigned long long)bits);
    }
}

static dqg_status read_number(struct dqg_gguf *gguf, uint32_t type, char text[32]) {
    uint8_t bytes[8];
    DQG_TRY(dqg_gguf_take(gguf, bytes, type_bytes[type]));
    format_number(type, bytes, text);
    return DQG_OK;
}

/* ---- lists ---- */

/* One element more, or wanted becomes false. */
static dqg_status read_element(struct dqg_gguf *gguf, uint32_t type, struct dqg_arena *scratch, struct dqg_text *text,
                               bool *wanted) {
    const char *element;
    char number[32];
    if (type != TYPE_STRING) {
        DQG_TRY(read_number(gguf, type, number));
        dqg_text_add(text, "%s", number);
        return DQG_OK;
    }
    DQG_TRY(dqg_gguf_text(gguf, scratch, *wanted ? TEXT_MAX : 0, &element));
    if (element == NULL) {
        *wanted = false;
    } else if (*wanted) {
        dqg_text_add_json(text, element);
    }
    if (scratch->total > SCRATCH_MAX) {
        dqg_arena_free(&gguf->source->context->alloc, scratch);
    }
    return DQG_OK;
}

static dqg_status read_elements(struct dqg_gguf *gguf, uint32_t type, uint64_t count, struct dqg_arena *scratch,
                                struct dqg_text *text, bool *wanted) {
    size_t most = dqg_min_size(gguf->text_left, LIST_MAX);
    dqg_text_add(text, "[");
    for (uint64_t i = 0; i < count; i++) {
        if (!*wanted && type != TYPE_STRING) {
            return dqg_gguf_skip(gguf, (count - i) * type_bytes[type]); /* the caller has checked the size */
        }
        dqg_text_add(text, "%s", i > 0 && *wanted ? "," : "");
        DQG_TRY(read_element(gguf, type, scratch, text, wanted));
        *wanted = *wanted && text->length < most;
    }
    dqg_text_add(text, "]");
    return text->failed ? dqg_fail_memory(gguf->source->context, "a list", text->length) : DQG_OK;
}

/* Element type, count, elements. value is NULL where the list is left out. */
static dqg_status read_list(struct dqg_gguf *gguf, const char *key, const char **value) {
    const struct dqg_alloc *alloc = &gguf->source->context->alloc;
    uint32_t type;
    uint64_t count;
    DQG_TRY(dqg_gguf_u32(gguf, &type));
    DQG_TRY(dqg_gguf_u64(gguf, &count));
    if (type >= TYPE_COUNT || type == TYPE_ARRAY) {
        return fail_key(gguf, key,
                        type == TYPE_ARRAY ? "is a list of lists, which cannot be read"
                                           : "is a list of an unknown type");
    }
    /* A text takes 8 bytes at least. */
    uint64_t left = gguf->source->inputs[0].size - gguf->at, least = type == TYPE_STRING ? 8 : type_bytes[type];
    if (count > left / least) {
        return fail_key(gguf, key, "is a list that does not fit the file");
    }
    struct dqg_text text = {.alloc = alloc};
    struct dqg_arena scratch = {0};
    bool wanted = true;
    dqg_status status = read_elements(gguf, type, count, &scratch, &text, &wanted);
    if (status >= 0 && wanted) {
        gguf->text_left -= dqg_min_size(gguf->text_left, text.length);
        status = dqg_source_copy_text(gguf->source, text.data, text.length, value);
    }
    dqg_arena_free(alloc, &scratch);
    dqg_text_free(&text);
    return status;
}

/* ---- keys ---- */

static dqg_status set_alignment(struct dqg_gguf *gguf, const char *key, const char *value) {
    int64_t alignment;
    if (value == NULL || !dqg_parse_int64(value, strlen(value), &alignment) || alignment < 1 || alignment > (1 << 20) ||
        (alignment & (alignment - 1)) != 0) {
        return fail_key(gguf, key, "is not a power of two up to a million");
    }
    gguf->alignment = (uint64_t)alignment;
    return DQG_OK;
}

static dqg_status read_key(struct dqg_gguf *gguf) {
    struct dqg_source *source = gguf->source;
    struct dqg_metadata *entry = &source->metadata[source->metadata_count];
    uint32_t type;
    char number[32];
    DQG_TRY(dqg_gguf_text(gguf, &source->arena, KEY_MAX, &entry->key));
    if (entry->key == NULL) {
        return dqg_fail(source->context, DQG_ERROR_FORMAT, "a key in %s, before byte %llu, is no valid text",
                        source->inputs[0].name, (unsigned long long)gguf->at);
    }
    DQG_TRY(dqg_gguf_u32(gguf, &type));
    if (type >= TYPE_COUNT) {
        return fail_key(gguf, entry->key, "has a value of an unknown type");
    }
    entry->value = NULL;
    if (type == TYPE_STRING) {
        DQG_TRY(dqg_gguf_text(gguf, &source->arena, TEXT_MAX, &entry->value));
    } else if (type == TYPE_ARRAY) {
        DQG_TRY(read_list(gguf, entry->key, &entry->value));
    } else {
        DQG_TRY(read_number(gguf, type, number));
        DQG_TRY(dqg_source_copy_text(source, number, strlen(number), &entry->value));
    }
    source->metadata_count += entry->value != NULL;
    return strcmp(entry->key, "general.alignment") == 0 ? set_alignment(gguf, entry->key, entry->value) : DQG_OK;
}

static bool key_before(const void *items, size_t a, size_t b) {
    const struct dqg_metadata *metadata = items;
    return strcmp(metadata[a].key, metadata[b].key) < 0;
}

static dqg_status check_twins(struct dqg_gguf *gguf) {
    struct dqg_source *source = gguf->source;
    uint32_t *order;
    DQG_TRY(dqg_source_alloc(source, "the keys", source->metadata_count, sizeof *order, &order));
    dqg_sort_indices(order, source->metadata_count, key_before, source->metadata);
    for (size_t i = 1; i < source->metadata_count; i++) {
        const char *key = source->metadata[order[i]].key;
        if (strcmp(source->metadata[order[i - 1]].key, key) == 0) {
            return fail_key(gguf, key, "is there twice");
        }
    }
    return DQG_OK;
}

dqg_status dqg_gguf_keys(struct dqg_gguf *gguf, uint64_t count) {
    struct dqg_source *source = gguf->source;
    if (count > KEYS_MAX) {
        return dqg_fail(source->context, DQG_ERROR_LIMIT, "%s has %llu keys, the limit is %d", source->inputs[0].name,
                        (unsigned long long)count, KEYS_MAX);
    }
    DQG_TRY(dqg_source_alloc(source, "the keys", (size_t)count, sizeof *source->metadata, &source->metadata));
    for (uint64_t i = 0; i < count; i++) {
        DQG_TRY(read_key(gguf));
    }
    return check_twins(gguf);
}
