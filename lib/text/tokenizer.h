/* SPDX-License-Identifier: MIT */
/* What a tokenizer is made of. Readers (reader_*.c) fill a zeroed one, tokenizer.c completes and checks it, bpe.c and
 * unigram.c use it, pack.c writes it. */
#ifndef DQG_TOKENIZER_H
#define DQG_TOKENIZER_H

#include "text/strings.h"

struct dqg_merge {
    int32_t left, right, result;
    uint32_t rank; /* the smallest goes first */
};

/* Rules that replace short pieces of text: a double-array trie whose values are places in texts. */
struct dqg_charsmap {
    const uint32_t *units;
    size_t unit_count;
    const char *texts; /* each with a zero at its end */
    size_t text_bytes;
};

struct dqg_tokenizer {
    struct dqg_alloc alloc;
    struct dqg_arena arena; /* everything below */
    enum dqg_tokenizer_kind kind;
    struct dqg_token_ids ids;
    struct dqg_strings specials; /* texts that are one token wherever they stand */

    int32_t byte_ids[2][256]; /* byte pairs: of a byte inside a word, and of one that ends it */
    struct dqg_merge *merges; /* byte pairs: sorted by left, right */
    size_t merge_count;

    struct dqg_strings pieces; /* unigram */
    float least_score;         /* of all pieces */
    struct dqg_charsmap charsmap;
    bool byte_fallback; /* unknown characters become the pieces <0x00> to <0xFF> */
    int32_t fallback_ids[256];
};

/* Where ids go. */
struct dqg_id_sink {
    int32_t *ids;
    size_t capacity, count;
};
static inline void dqg_id_put(struct dqg_id_sink *sink, int32_t id) {
    if (sink->count < sink->capacity) {
        sink->ids[sink->count] = id;
    }
    sink->count++;
}

/* Memory of the tokenizer, zeroed; fails with words. */
dqg_status dqg_tokenizer_memory(struct dqg_context *context, struct dqg_tokenizer *tokenizer, size_t count, size_t size,
                                void *pointer);
/* Keep a text as the id-th entry of a table that has room for it. */
dqg_status dqg_tokenizer_keep(struct dqg_context *context, struct dqg_tokenizer *tokenizer, struct dqg_strings *strings,
                              const char *text, size_t length, int32_t id, float score);

/* Encode a text without special tokens: of code points, count of them, that came from bytes bytes. */
dqg_status dqg_bpe_encode(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                          size_t length, struct dqg_id_sink *sink);
dqg_status dqg_unigram_encode(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                              size_t length, struct dqg_id_sink *sink);

/* Sort and check; after the readers. */
dqg_status dqg_bpe_finish(struct dqg_context *context, struct dqg_tokenizer *tokenizer);
dqg_status dqg_unigram_finish(struct dqg_context *context, struct dqg_tokenizer *tokenizer);

/* A charsmap as SentencePiece stores it; copied. And what it makes of code points: bytes written, or counted where out
 * is NULL. */
dqg_status dqg_charsmap_read(struct dqg_context *context, struct dqg_tokenizer *tokenizer, const uint8_t *data,
                             size_t size);
size_t dqg_charsmap_apply(const struct dqg_charsmap *charsmap, const uint32_t *codes, size_t count, char *out);

/* Readers. */
dqg_status dqg_tokenizer_read_json(struct dqg_context *context, const char *data, size_t size,
                                   struct dqg_tokenizer *tokenizer);
dqg_status dqg_tokenizer_read_vocab(struct dqg_context *context, const char *data, size_t size, const char *merges,
                                    size_t merges_size, struct dqg_tokenizer *tokenizer);
dqg_status dqg_tokenizer_read_pieces(struct dqg_context *context, const uint8_t *data, size_t size,
                                     struct dqg_tokenizer *tokenizer);
dqg_status dqg_tokenizer_read_packed(struct dqg_context *context, const char *data, size_t size,
                                     struct dqg_tokenizer *tokenizer);
extern const char dqg_packed_mark[]; /* how a packed text begins */

/* Base64 (RFC 4648) without line ends. decode: bytes written to out, which has room for size / 4 * 3; false where data
 * is something else. */
void dqg_base64_encode(const uint8_t *data, size_t size, char *out); /* (size + 2) / 3 * 4 characters, no terminator */
bool dqg_base64_decode(const char *data, size_t size, uint8_t *out, size_t *count);

#endif
