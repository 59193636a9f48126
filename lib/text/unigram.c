/* SPDX-License-Identifier: MIT */
/*
 * Unigram pieces (Kudo 2018, arXiv:1804.10959) as T5 uses them: text normalized by the model's charsmap, cut at spaces,
 * U+2581 put in front of each word, and each word cut into the pieces with the largest sum of scores (Viterbi).
 */
#include "text/tokenizer.h"
#include "text/unicode.h"

static const char space_mark[] = "\xE2\x96\x81"; /* U+2581 */
enum { MARK_BYTES = 3 };
static const double unknown_penalty = 10; /* below the least score */

dqg_status dqg_unigram_finish(struct dqg_context *context, struct dqg_tokenizer *tokenizer) {
    DQG_TRY(dqg_strings_sort(context, &tokenizer->pieces, "pieces"));
    if (tokenizer->pieces.count == 0 || tokenizer->ids.unknown < 0) {
        return dqg_fail(context, DQG_ERROR_FORMAT, "pieces: %s",
                        tokenizer->pieces.count == 0 ? "there are none" : "none stands for unknown text");
    }
    tokenizer->least_score = tokenizer->pieces.items[0].score;
    for (size_t i = 0; i < tokenizer->pieces.count; i++) {
        const struct dqg_string *piece = &tokenizer->pieces.items[i];
        if (piece->length > DQG_PIECE_BYTES_MAX || !(piece->score > -1e30f && piece->score < 1e30f)) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "pieces: number %d has %s", (int)piece->id,
                            piece->length > DQG_PIECE_BYTES_MAX ? "too many bytes" : "a score that is not finite");
        }
        tokenizer->least_score = piece->score < tokenizer->least_score ? piece->score : tokenizer->least_score;
    }
    for (int i = 0; tokenizer->byte_fallback && i < 256; i++) {
        static const char hex[] = "0123456789ABCDEF";
        char name[] = {'<', '0', 'x', hex[i >> 4], hex[i & 15], '>'};
        const struct dqg_string *piece = dqg_strings_find(&tokenizer->pieces, name, sizeof name);
        if (piece == NULL) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "pieces: no piece for byte %d, although bytes stand in", i);
        }
        tokenizer->fallback_ids[i] = piece->id;
    }
    return DQG_OK;
}

/* The best way to get to a place of the word: its last piece. start is UINT32_MAX where there is none yet. */
struct node {
    double score;
    uint32_t start;
    int32_t id;
};

static void offer(struct node *node, double score, size_t start, int32_t id) {
    if (node->start == UINT32_MAX || score > node->score) {
        *node = (struct node){score, (uint32_t)start, id};
    }
}

static size_t character_bytes(const char *text) {
    uint8_t lead = (uint8_t)*text;
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

static void find_paths(const struct dqg_tokenizer *tokenizer, const char *word, size_t size, struct node *nodes) {
    for (size_t i = 0; i <= size; i++) {
        nodes[i] = (struct node){0, i == 0 ? 0 : UINT32_MAX, 0};
    }
    for (size_t start = 0, step; start < size; start += step) {
        step = dqg_min_size(character_bytes(word + start), size - start);
        bool whole = false; /* the character is a piece by itself */
        struct dqg_walk walk = dqg_walk_begin(&tokenizer->pieces);
        for (size_t end = start; end < size && dqg_walk_step(&walk, word[end]);) {
            const struct dqg_string *piece = dqg_walk_match(&walk);
            end++;
            if (piece != NULL) {
                offer(&nodes[end], nodes[start].score + (double)piece->score, start, piece->id);
                whole = whole || end == start + step;
            }
        }
        if (!whole) {
            offer(&nodes[start + step], nodes[start].score + ((double)tokenizer->least_score - unknown_penalty), start,
                  tokenizer->ids.unknown);
        }
    }
}

/* nodes: size + 1. */
static void encode_word(const struct dqg_tokenizer *tokenizer, const char *word, size_t size, struct node *nodes,
                        struct dqg_id_sink *sink) {
    find_paths(tokenizer, word, size, nodes);
    /* backward, so that each start knows its piece's end: kept in the start's own node */
    for (size_t end = size; end > 0;) {
        size_t start = nodes[end].start;
        nodes[start].score = (double)end;
        end = start;
    }
    bool unknown = false; /* neighbours without a piece are one token */
    for (size_t at = 0; at < size;) {
        size_t end = (size_t)nodes[at].score;
        int32_t id = nodes[end].id;
        bool same = unknown && id == tokenizer->ids.unknown;
        unknown = id == tokenizer->ids.unknown;
        for (size_t i = at; unknown && tokenizer->byte_fallback && i < end; i++) {
            dqg_id_put(sink, tokenizer->fallback_ids[(uint8_t)word[i]]);
        }
        if (!same && !(unknown && tokenizer->byte_fallback)) {
            dqg_id_put(sink, id);
        }
        at = end;
    }
}

/* The end of what is one word of text from at on: no space in it, and U+2581 at its front alone. */
static size_t word_end(const char *text, size_t size, size_t at) {
    size_t end = at;
    while (end < size) {
        size_t next = end;
        uint32_t code = dqg_utf8_next(text, size, &next);
        if (dqg_is_space(code) || (code == 0x2581 && end > at)) {
            break;
        }
        end = next;
    }
    return end;
}

/* text: size bytes after room for a mark, which is put in front of words over what has been read. */
static void encode_words(const struct dqg_tokenizer *tokenizer, char *text, size_t size, struct node *nodes,
                         struct dqg_id_sink *sink) {
    for (size_t at = MARK_BYTES; at < size;) {
        size_t end = word_end(text, size, at);
        if (end == at) { /* a space */
            dqg_utf8_next(text, size, &at);
            continue;
        }
        size_t begin = at;
        if (end - at < MARK_BYTES || memcmp(text + at, space_mark, MARK_BYTES) != 0) {
            begin = at - MARK_BYTES;
            memcpy(text + begin, space_mark, MARK_BYTES);
        }
        encode_word(tokenizer, text + begin, end - begin, nodes, sink);
        at = end;
    }
}

dqg_status dqg_unigram_encode(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                              size_t length, struct dqg_id_sink *sink) {
    const struct dqg_alloc *alloc = &context->alloc;
    uint32_t *codes = dqg_malloc(alloc, length * sizeof *codes);
    if (codes == NULL) {
        return dqg_fail_memory(context, "a text", length * sizeof *codes);
    }
    size_t count = 0;
    for (size_t at = 0; at < length;) {
        codes[count++] = dqg_utf8_next(text, length, &at);
    }
    size_t size = MARK_BYTES + dqg_charsmap_apply(&tokenizer->charsmap, codes, count, NULL);
    size_t nodes_size = (size + 1) * sizeof(struct node);
    char *work = dqg_malloc(alloc, nodes_size + size);
    if (work != NULL) {
        char *normal = work + nodes_size;
        dqg_charsmap_apply(&tokenizer->charsmap, codes, count, normal + MARK_BYTES);
        encode_words(tokenizer, normal, size, (struct node *)work, sink);
        dqg_free(alloc, work, nodes_size + size);
    }
    dqg_free(alloc, codes, length * sizeof *codes);
    return work != NULL ? DQG_OK : dqg_fail_memory(context, "a text", nodes_size + size);
}
