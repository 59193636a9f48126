/* SPDX-License-Identifier: MIT */
/*
 * Layer 3, text: from a prompt to token ids. Two kinds of tokenizers, byte pairs as CLIP has them and unigram pieces as
 * T5 has them, made from the files of either or from a packed text; and prompts with weights, in chunks. Knows nothing
 * of networks. docs/text.md tells what is understood.
 */
#ifndef DQG_TEXT_H
#define DQG_TEXT_H

#include "support/support.h"

/* ---- tokenizers ---- */

struct dqg_tokenizer; /* never changes: any threads at the same time */

enum dqg_tokenizer_kind { DQG_TOKENIZER_BYTE_PAIR = 1, DQG_TOKENIZER_UNIGRAM = 2 };

/* Ids of tokens with a meaning; -1 where there is none. */
struct dqg_token_ids {
    int32_t bos, eos, pad, unknown;
};

enum {
    DQG_TEXT_MAX = 1 << 18,       /* bytes of a text */
    DQG_TOKEN_ID_MAX = 1 << 20,   /* above every id */
    DQG_PIECES_MAX = 1 << 19,     /* entries of a vocabulary */
    DQG_PIECE_BYTES_MAX = 128,    /* bytes of a unigram piece */
    DQG_VOCABULARY_MAX = 64 << 20 /* bytes of a file */
};

/*
 * Make a tokenizer from the bytes of a file, which may go afterwards: tokenizer.json, spiece.model, a packed text, or
 * vocab.json with merges.txt in merges (NULL, 0 for the others). What it is, is seen from its first bytes. Fails with
 * DQG_ERROR_FORMAT and words on what is damaged, with DQG_ERROR_UNSUPPORTED on kinds other than the two. Memory comes
 * from the context's allocator, of which the tokenizer keeps a copy.
 */
dqg_status dqg_tokenizer_create(struct dqg_context *context, const void *data, size_t size, const void *merges,
                                size_t merges_size, struct dqg_tokenizer **tokenizer);
void dqg_tokenizer_destroy(struct dqg_tokenizer *tokenizer); /* NULL is fine */

size_t dqg_tokenizer_bytes(const struct dqg_tokenizer *tokenizer); /* of memory; 0 for NULL */
enum dqg_tokenizer_kind dqg_tokenizer_kind(const struct dqg_tokenizer *tokenizer);
struct dqg_token_ids dqg_tokenizer_ids(const struct dqg_tokenizer *tokenizer);

/* Pad with the token that this text is, a byte or a token with a meaning; any other text changes nothing. For whoever
 * made the tokenizer, before it is used. */
void dqg_tokenizer_set_pad(struct dqg_tokenizer *tokenizer, const char *text);

/*
 * The tokens of a text, without any in front or at the end. text: length bytes, where broken UTF-8 counts as U+FFFD; at
 * most DQG_TEXT_MAX. ids receives the first capacity of them and count how many there are. context is used for errors
 * and memory.
 */
dqg_status dqg_tokenizer_encode(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                                size_t length, int32_t *ids, size_t capacity, size_t *count);

/* A tokenizer as a text of printable ASCII, for the metadata of a file (docs/text.md has the layout). text is empty
 * with .alloc set; the caller frees it. */
dqg_status dqg_tokenizer_pack(struct dqg_context *context, const struct dqg_tokenizer *tokenizer,
                              struct dqg_text *text);

/* ---- prompts ---- */

/* A name that stands for count tokens from first on, beyond the vocabulary: a textual inversion. */
struct dqg_token_name {
    const char *name;
    int32_t first, count; /* count: 1 and more */
};

enum { DQG_CHUNK_MAX = 1 << 12, DQG_CHUNKS_MAX = 1 << 10, DQG_BRACKETS_MAX = 64 };

/* What an encoder wants. */
struct dqg_prompt_shape {
    size_t length; /* tokens of a chunk, with those in front and at the end: 77 for CLIP; at most DQG_CHUNK_MAX */
    bool chunks;   /* as many as the text needs, at most DQG_CHUNKS_MAX; else what is too long is cut off */
    int32_t pad;   /* id behind the end, or -1: the tokenizer's */
    bool weighted; /* the grammar of docs/text.md; else the text is taken as it is */
    const struct dqg_token_name *names;
    size_t name_count;
};

/* chunk_count rows of length tokens. */
struct dqg_prompt {
    int32_t *ids;   /* (chunk_count, length) */
    float *weights; /* (chunk_count, length): 1 for tokens that no bracket is around */
    size_t *used;   /* (chunk_count): tokens before the padding */
    size_t chunk_count, length;
    bool cut; /* tokens were left out */
};

/* On success the caller frees prompt with dqg_prompt_free(). On failure it is empty. */
dqg_status dqg_prompt_create(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                             size_t length, const struct dqg_prompt_shape *shape, struct dqg_prompt *prompt);
void dqg_prompt_free(const struct dqg_alloc *alloc, struct dqg_prompt *prompt);

#endif
