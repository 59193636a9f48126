/* SPDX-License-Identifier: MIT */
/*
 * Normalization as SentencePiece models bring it along: texts of up to 5 bytes and what stands in their place. The file
 * holds u32 bytes of the trie, the trie, and the texts. The trie is a double array (darts-clone): a unit has a label in
 * its low 8 bits, bit 8 says that a value hangs below it, bits 10 to 30 are an offset, shifted by 8 where bit 9 is set;
 * a value is a unit with bit 31 set.
 */
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/varint.h"

enum { SHORT_CLUSTER = 5, TEXT_BYTES_MAX = 128, MAP_BYTES_MAX = 8 << 20 };

static uint32_t offset_of(uint32_t unit) {
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

static dqg_status check_texts(struct dqg_context *context, const char *texts, size_t size) {
    for (size_t at = 0; at < size;) {
        const char *end = memchr(texts + at, 0, size - at);
        if (end == NULL || (size_t)(end - texts) - at > TEXT_BYTES_MAX) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "charsmap: the text at byte %zu %s", at,
                            end == NULL ? "has no end" : "is too long");
        }
        at = (size_t)(end - texts) + 1;
    }
    return DQG_OK;
}

dqg_status dqg_charsmap_read(struct dqg_context *context, struct dqg_tokenizer *tokenizer, const uint8_t *data,
                             size_t size) {
    if (size == 0) {
        return DQG_OK;
    }
    struct dqg_bytes bytes = {data, data + size, false};
    uint32_t trie_bytes = dqg_bytes_u32(&bytes);
    if (size > MAP_BYTES_MAX || trie_bytes < 4 || trie_bytes % 4 != 0 || trie_bytes > size - 4) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "charsmap: %zu bytes with a trie of %u bytes", size, trie_bytes);
    }
    size_t unit_count = trie_bytes / 4, text_bytes = size - 4 - trie_bytes;
    uint32_t *units;
    char *texts;
    DQG_TRY(dqg_tokenizer_memory(context, tokenizer, unit_count, sizeof *units, &units));
    DQG_TRY(dqg_tokenizer_memory(context, tokenizer, text_bytes + 1, 1, &texts));
    for (size_t i = 0; i < unit_count; i++) {
        units[i] = dqg_bytes_u32(&bytes);
    }
    memcpy(texts, bytes.at, text_bytes);
    DQG_TRY(check_texts(context, texts, text_bytes));
    tokenizer->charsmap = (struct dqg_charsmap){units, unit_count, texts, text_bytes};
    return DQG_OK;
}

/* What replaces the shortest text of the map that the key begins with, or NULL. */
static const char *look_up(const struct dqg_charsmap *map, const char *key, size_t length) {
    size_t node = offset_of(map->units[0]);
    for (size_t i = 0; i < length && key[i] != '\0'; i++) {
        uint32_t label = (unsigned char)key[i];
        node ^= label;
        if (node >= map->unit_count || (map->units[node] & 0x800000FF) != label) {
            return NULL;
        }
        uint32_t unit = map->units[node];
        node ^= offset_of(unit);
        if ((unit >> 8 & 1) != 0) {
            uint32_t place = node < map->unit_count ? map->units[node] & 0x7FFFFFFF : UINT32_MAX;
            return place < map->text_bytes ? map->texts + place : NULL;
        }
    }
    return NULL;
}

static size_t put_codes(const uint32_t *codes, size_t count, char *out) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += dqg_utf8_put(codes[i], out + size);
    }
    return size;
}

/* Replacement of codes, or themselves where there is none and they may stay. Returns SIZE_MAX where they may not. */
static size_t replace(const struct dqg_charsmap *map, const uint32_t *codes, size_t count, bool stay, char *out) {
    char key[4 * SHORT_CLUSTER];
    size_t size = put_codes(codes, count, key);
    const char *text = map->unit_count > 0 && size <= SHORT_CLUSTER ? look_up(map, key, size) : NULL;
    if (text == NULL && !stay) {
        return SIZE_MAX;
    }
    size = text != NULL ? strlen(text) : size;
    if (out != NULL) {
        memcpy(out, text != NULL ? text : key, size);
    }
    return size;
}

/* A cluster of more than one code point goes as one where it is short and the map knows how it begins, whatever follows
 * inside it: the accent of a letter that the map replaces alone is lost. So do the tokenizers that models were made
 * with. */
size_t dqg_charsmap_apply(const struct dqg_charsmap *map, const uint32_t *codes, size_t count, char *out) {
    size_t written = 0;
    for (size_t at = 0; at < count;) {
        size_t end = dqg_cluster_end(codes, count, at);
        size_t size = SIZE_MAX;
        if (end - at > 1 && end - at <= SHORT_CLUSTER) {
            size = replace(map, codes + at, end - at, false, out != NULL ? out + written : NULL);
        }
        if (size != SIZE_MAX) {
            written += size;
            at = end;
            continue;
        }
        for (; at < end; at++) {
            written += replace(map, codes + at, 1, true, out != NULL ? out + written : NULL);
        }
    }
    return written;
}
