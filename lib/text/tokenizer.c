/* SPDX-License-Identifier: MIT */
/* Making tokenizers from whatever bytes hold one, and encoding: tokens with a meaning are found first, and the text
 * between them is left to bpe.c or unigram.c. */
#include "text/tokenizer.h"

dqg_status dqg_tokenizer_memory(struct dqg_context *context, struct dqg_tokenizer *tokenizer, size_t count, size_t size,
                                void *pointer) {
    size_t bytes;
    void *memory =
        dqg_mul_size(count, size, &bytes) ? dqg_arena_alloc(&tokenizer->alloc, &tokenizer->arena, bytes) : NULL;
    memcpy(pointer, &memory, sizeof memory);
    return memory != NULL ? DQG_OK : dqg_fail_memory(context, "a tokenizer", count * size);
}

dqg_status dqg_tokenizer_keep(struct dqg_context *context, struct dqg_tokenizer *tokenizer, struct dqg_strings *strings,
                              const char *text, size_t length, int32_t id, float score) {
    char *copy = dqg_arena_copy(&tokenizer->alloc, &tokenizer->arena, text, length);
    if (copy == NULL) {
        return dqg_fail_memory(context, "a tokenizer", length);
    }
    strings->items[strings->count++] = (struct dqg_string){copy, (uint32_t)length, id, score};
    return DQG_OK;
}

static dqg_status read_any(struct dqg_context *context, const char *data, size_t size, const char *merges,
                           size_t merges_size, struct dqg_tokenizer *tokenizer) {
    size_t mark = strlen(dqg_packed_mark), at = 0;
    if (size >= mark && memcmp(data, dqg_packed_mark, mark) == 0) {
        return dqg_tokenizer_read_packed(context, data, size, tokenizer);
    }
    while (at < size && (data[at] == ' ' || data[at] == '\n' || data[at] == '\r' || data[at] == '\t')) {
        at++;
    }
    if (at == size || data[at] != '{') {
        return dqg_tokenizer_read_pieces(context, (const uint8_t *)data, size, tokenizer);
    }
    return merges != NULL ? dqg_tokenizer_read_vocab(context, data, size, merges, merges_size, tokenizer)
                          : dqg_tokenizer_read_json(context, data, size, tokenizer);
}

dqg_status dqg_tokenizer_create(struct dqg_context *context, const void *data, size_t size, const void *merges,
                                size_t merges_size, struct dqg_tokenizer **out) {
    *out = NULL;
    if (size > DQG_VOCABULARY_MAX || merges_size > DQG_VOCABULARY_MAX) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "a vocabulary of %zu bytes, at most %d", size + merges_size,
                        DQG_VOCABULARY_MAX);
    }
    struct dqg_tokenizer *tokenizer = dqg_calloc(&context->alloc, 1, sizeof *tokenizer);
    if (tokenizer == NULL) {
        return dqg_fail_memory(context, "a tokenizer", sizeof *tokenizer);
    }
    tokenizer->alloc = context->alloc;
    tokenizer->ids = (struct dqg_token_ids){-1, -1, -1, -1};
    dqg_status status = read_any(context, data, size, merges, merges_size, tokenizer);
    if (status >= 0) {
        status = dqg_strings_sort(context, &tokenizer->specials, "tokens with a meaning");
    }
    if (status >= 0) {
        status = tokenizer->kind == DQG_TOKENIZER_BYTE_PAIR ? dqg_bpe_finish(context, tokenizer)
                                                            : dqg_unigram_finish(context, tokenizer);
    }
    if (status < 0) {
        dqg_tokenizer_destroy(tokenizer);
        return status;
    }
    *out = tokenizer;
    return DQG_OK;
}

void dqg_tokenizer_destroy(struct dqg_tokenizer *tokenizer) {
    if (tokenizer != NULL) {
        struct dqg_alloc alloc = tokenizer->alloc;
        dqg_arena_free(&alloc, &tokenizer->arena);
        dqg_free(&alloc, tokenizer, sizeof *tokenizer);
    }
}

size_t dqg_tokenizer_bytes(const struct dqg_tokenizer *tokenizer) {
    return tokenizer != NULL ? tokenizer->arena.total + sizeof *tokenizer : 0;
}

enum dqg_tokenizer_kind dqg_tokenizer_kind(const struct dqg_tokenizer *tokenizer) {
    return tokenizer->kind;
}

struct dqg_token_ids dqg_tokenizer_ids(const struct dqg_tokenizer *tokenizer) {
    return tokenizer->ids;
}

void dqg_tokenizer_set_pad(struct dqg_tokenizer *tokenizer, const char *text) {
    size_t length = strlen(text);
    const struct dqg_string *special = dqg_strings_find(&tokenizer->specials, text, length);
    if (special != NULL) {
        tokenizer->ids.pad = special->id;
    } else if (length == 1 && tokenizer->kind == DQG_TOKENIZER_BYTE_PAIR) {
        tokenizer->ids.pad = tokenizer->byte_ids[0][(uint8_t)text[0]];
    }
}

dqg_status dqg_tokenizer_encode(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                                size_t length, int32_t *ids, size_t capacity, size_t *count) {
    struct dqg_id_sink sink = {ids, capacity, 0};
    *count = 0;
    if (length > DQG_TEXT_MAX) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "a text of %zu bytes, at most %d", length, DQG_TEXT_MAX);
    }
    for (size_t from = 0, at = 0; from < length; from = at) {
        const struct dqg_string *special = NULL;
        for (; at < length; at++) {
            special = dqg_strings_longest(&tokenizer->specials, text + at, length - at);
            if (special != NULL) {
                break;
            }
        }
        if (at > from) {
            DQG_TRY(tokenizer->kind == DQG_TOKENIZER_BYTE_PAIR
                        ? dqg_bpe_encode(context, tokenizer, text + from, at - from, &sink)
                        : dqg_unigram_encode(context, tokenizer, text + from, at - from, &sink));
        }
        if (special != NULL) {
            dqg_id_put(&sink, special->id);
            at += special->length;
        }
    }
    *count = sink.count;
    return DQG_OK;
}
