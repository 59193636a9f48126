/* SPDX-License-Identifier: MIT */
/*
 * A tokenizer as one text: a mark, then base64 of numbers (text/varint.h), texts and floats. docs/text.md has the
 * layout. Whoever quantizes a checkpoint stores it as metadata; whoever loads it needs no other file.
 */
#include "text/tokenizer.h"
#include "text/varint.h"

const char dqg_packed_mark[] = "dqg-tokenizer-1:";

enum { NUMBER_BYTES = 5 }; /* of a number below 2^32 at most */

/* ---- writing ---- */

/* Counts where data is NULL. */
struct output {
    uint8_t *data;
    size_t size;
};

static void put_bytes(struct output *out, const void *data, size_t size) {
    if (out->data != NULL && size > 0) {
        memcpy(out->data + out->size, data, size);
    }
    out->size += size;
}

static void put_number(struct output *out, uint32_t value) {
    uint8_t bytes[NUMBER_BYTES];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7) {
        bytes[count++] = (uint8_t)(value | 0x80);
    }
    bytes[count++] = (uint8_t)value;
    put_bytes(out, bytes, count);
}

static void put_u32(struct output *out, uint32_t value) {
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    put_bytes(out, bytes, sizeof bytes);
}

static void put_id(struct output *out, int32_t id) {
    put_number(out, (uint32_t)(id + 1));
}

static void put_strings(struct output *out, const struct dqg_strings *strings, bool scores) {
    put_number(out, (uint32_t)strings->count);
    for (size_t i = 0; i < strings->count; i++) {
        const struct dqg_string *item = &strings->items[i];
        put_number(out, item->length);
        put_bytes(out, item->text, item->length);
        put_id(out, item->id);
        if (scores) {
            uint32_t bits;
            memcpy(&bits, &item->score, sizeof bits);
            put_u32(out, bits);
        }
    }
}

static void put_byte_pairs(struct output *out, const struct dqg_tokenizer *tokenizer) {
    for (size_t i = 0; i < 512; i++) {
        put_id(out, tokenizer->byte_ids[i / 256][i % 256]);
    }
    put_number(out, (uint32_t)tokenizer->merge_count);
    int32_t left = 0, distance = 0; /* of ids from ranks: mostly the same */
    for (size_t i = 0; i < tokenizer->merge_count; i++) {
        const struct dqg_merge *merge = &tokenizer->merges[i];
        int32_t change = merge->result - (int32_t)merge->rank - distance;
        put_number(out, (uint32_t)(merge->left - left));
        put_id(out, merge->right);
        put_number(out, merge->rank);
        put_number(out, change < 0 ? 2 * (uint32_t)-change - 1 : 2 * (uint32_t)change);
        left = merge->left;
        distance += change;
    }
}

static void put_unigram(struct output *out, const struct dqg_tokenizer *tokenizer) {
    const struct dqg_charsmap *map = &tokenizer->charsmap;
    put_number(out, tokenizer->byte_fallback);
    put_strings(out, &tokenizer->pieces, true);
    put_number(out, map->unit_count > 0 ? (uint32_t)(4 + 4 * map->unit_count + map->text_bytes) : 0);
    if (map->unit_count > 0) {
        put_u32(out, (uint32_t)(4 * map->unit_count));
        for (size_t i = 0; i < map->unit_count; i++) {
            put_u32(out, map->units[i]);
        }
        put_bytes(out, map->texts, map->text_bytes);
    }
}

static void put_tokenizer(struct output *out, const struct dqg_tokenizer *tokenizer) {
    put_number(out, tokenizer->kind);
    put_id(out, tokenizer->ids.bos);
    put_id(out, tokenizer->ids.eos);
    put_id(out, tokenizer->ids.pad);
    put_id(out, tokenizer->ids.unknown);
    put_strings(out, &tokenizer->specials, false);
    if (tokenizer->kind == DQG_TOKENIZER_BYTE_PAIR) {
        put_byte_pairs(out, tokenizer);
    } else {
        put_unigram(out, tokenizer);
    }
}

dqg_status dqg_tokenizer_pack(struct dqg_context *context, const struct dqg_tokenizer *tokenizer,
                              struct dqg_text *text) {
    struct output out = {NULL, 0};
    put_tokenizer(&out, tokenizer);
    size_t size = out.size, digits = (size + 2) / 3 * 4;
    uint8_t *data = dqg_malloc(&context->alloc, size);
    char *base64 = dqg_malloc(&context->alloc, digits + 1);
    if (data != NULL && base64 != NULL) {
        out = (struct output){data, 0};
        put_tokenizer(&out, tokenizer);
        dqg_base64_encode(data, size, base64);
        base64[digits] = '\0';
        dqg_text_add(text, "%s%s", dqg_packed_mark, base64);
    }
    bool failed = data == NULL || base64 == NULL || text->failed;
    dqg_free(&context->alloc, base64, digits + 1);
    dqg_free(&context->alloc, data, size);
    return failed ? dqg_fail_memory(context, "a packed tokenizer", digits) : DQG_OK;
}

/* ---- reading ---- */

static int32_t get_id(struct dqg_bytes *bytes) {
    return (int32_t)dqg_bytes_below(bytes, DQG_TOKEN_ID_MAX + 1) - 1;
}

static dqg_status get_strings(struct dqg_context *context, struct dqg_tokenizer *tokenizer, struct dqg_bytes *bytes,
                              bool scores, struct dqg_strings *strings) {
    size_t count = dqg_bytes_below(bytes, DQG_PIECES_MAX + 1);
    bytes->failed = bytes->failed || count > (size_t)(bytes->end - bytes->at); /* each takes more than a byte */
    DQG_TRY(
        dqg_tokenizer_memory(context, tokenizer, bytes->failed ? 0 : count, sizeof *strings->items, &strings->items));
    for (size_t i = 0; i < count && !bytes->failed; i++) {
        size_t length = dqg_bytes_below(bytes, DQG_VOCABULARY_MAX);
        const uint8_t *text = dqg_bytes_take(bytes, length);
        int32_t id = get_id(bytes);
        float score = scores ? dqg_bytes_f32(bytes) : 0;
        bytes->failed = bytes->failed || id < 0;
        if (!bytes->failed) {
            DQG_TRY(dqg_tokenizer_keep(context, tokenizer, strings, (const char *)text, length, id, score));
        }
    }
    return DQG_OK;
}

static dqg_status get_byte_pairs(struct dqg_context *context, struct dqg_tokenizer *tokenizer,
                                 struct dqg_bytes *bytes) {
    for (size_t i = 0; i < 512; i++) {
        tokenizer->byte_ids[i / 256][i % 256] = get_id(bytes);
        bytes->failed = bytes->failed || tokenizer->byte_ids[i / 256][i % 256] < 0;
    }
    size_t count = dqg_bytes_below(bytes, DQG_PIECES_MAX + 1);
    bytes->failed = bytes->failed || count > (size_t)(bytes->end - bytes->at);
    tokenizer->merge_count = bytes->failed ? 0 : count;
    DQG_TRY(dqg_tokenizer_memory(context, tokenizer, tokenizer->merge_count, sizeof *tokenizer->merges,
                                 &tokenizer->merges));
    int32_t left = 0, distance = 0;
    for (size_t i = 0; i < tokenizer->merge_count && !bytes->failed; i++) {
        struct dqg_merge *merge = &tokenizer->merges[i];
        left += (int32_t)dqg_bytes_below(bytes, DQG_TOKEN_ID_MAX);
        merge->left = left;
        merge->right = get_id(bytes);
        merge->rank = dqg_bytes_below(bytes, DQG_PIECES_MAX);
        uint32_t change = dqg_bytes_below(bytes, 4 * DQG_TOKEN_ID_MAX);
        distance += change % 2 != 0 ? -(int32_t)(change / 2) - 1 : (int32_t)(change / 2);
        merge->result = (int32_t)merge->rank + distance;
        bytes->failed = bytes->failed || left >= DQG_TOKEN_ID_MAX || merge->right < 0 || merge->result < 0 ||
                        merge->result >= DQG_TOKEN_ID_MAX;
    }
    return DQG_OK;
}

static dqg_status get_unigram(struct dqg_context *context, struct dqg_tokenizer *tokenizer, struct dqg_bytes *bytes) {
    tokenizer->byte_fallback = dqg_bytes_below(bytes, 2) != 0;
    DQG_TRY(get_strings(context, tokenizer, bytes, true, &tokenizer->pieces));
    size_t size = dqg_bytes_below(bytes, DQG_VOCABULARY_MAX);
    const uint8_t *map = dqg_bytes_take(bytes, size);
    return bytes->failed ? DQG_OK : dqg_charsmap_read(context, tokenizer, map, size);
}

static dqg_status get_tokenizer(struct dqg_context *context, struct dqg_tokenizer *tokenizer, struct dqg_bytes *bytes) {
    uint32_t kind = dqg_bytes_below(bytes, DQG_TOKENIZER_UNIGRAM + 1);
    tokenizer->ids.bos = get_id(bytes);
    tokenizer->ids.eos = get_id(bytes);
    tokenizer->ids.pad = get_id(bytes);
    tokenizer->ids.unknown = get_id(bytes);
    DQG_TRY(get_strings(context, tokenizer, bytes, false, &tokenizer->specials));
    tokenizer->kind = kind == DQG_TOKENIZER_BYTE_PAIR ? DQG_TOKENIZER_BYTE_PAIR : DQG_TOKENIZER_UNIGRAM;
    DQG_TRY(kind == DQG_TOKENIZER_BYTE_PAIR ? get_byte_pairs(context, tokenizer, bytes)
                                            : get_unigram(context, tokenizer, bytes));
    if (bytes->failed || kind == 0 || bytes->at != bytes->end) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "packed tokenizer: broken or cut off, with %zu bytes left to read",
                        (size_t)(bytes->end - bytes->at));
    }
    return DQG_OK;
}

dqg_status dqg_tokenizer_read_packed(struct dqg_context *context, const char *data, size_t size,
                                     struct dqg_tokenizer *tokenizer) {
    size_t mark = strlen(dqg_packed_mark), room = (size - mark) / 4 * 3, count;
    uint8_t *bytes = dqg_malloc(&context->alloc, room);
    if (bytes == NULL) {
        return dqg_fail_memory(context, "a packed tokenizer", room);
    }
    struct dqg_bytes reading = {bytes, bytes, false};
    dqg_status status = DQG_OK;
    if (!dqg_base64_decode(data + mark, size - mark, bytes, &count)) {
        status = dqg_fail(context, DQG_ERROR_FORMAT, "packed tokenizer: not base64");
    } else {
        reading.end = bytes + count;
        status = get_tokenizer(context, tokenizer, &reading);
    }
    dqg_free(&context->alloc, bytes, room);
    return status;
}
