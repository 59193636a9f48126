/* SPDX-License-Identifier: MIT */
/*
 * Byte pairs (Sennrich et al. 2016, arXiv:1508.07909; over bytes as in GPT-2) in CLIP's form: composed lower-case text,
 * cut into words, each byte of a word a symbol, the last one marked, neighbours merged by rank. A heap of merges keeps
 * the time of a word of n bytes at n log n.
 */
#include "text/tokenizer.h"
#include "text/unicode.h"

static bool merge_before(const struct dqg_merge *a, const struct dqg_merge *b) {
    return a->left < b->left || (a->left == b->left && a->right < b->right);
}

static const struct dqg_merge *find_merge(const struct dqg_tokenizer *tokenizer, int32_t left, int32_t right) {
    const struct dqg_merge wanted = {.left = left, .right = right};
    size_t low = 0, high = tokenizer->merge_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (merge_before(&tokenizer->merges[middle], &wanted)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const struct dqg_merge *found = &tokenizer->merges[low];
    return low < tokenizer->merge_count && found->left == left && found->right == right ? found : NULL;
}

static void sift_merge(struct dqg_merge *merges, size_t at, size_t count) {
    struct dqg_merge moving = merges[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && merge_before(&merges[child], &merges[child + 1]);
        if (!merge_before(&moving, &merges[child])) {
            break;
        }
        merges[at] = merges[child];
    }
    merges[at] = moving;
}

dqg_status dqg_bpe_finish(struct dqg_context *context, struct dqg_tokenizer *tokenizer) {
    struct dqg_merge *merges = tokenizer->merges;
    for (size_t i = tokenizer->merge_count / 2; i-- > 0;) {
        sift_merge(merges, i, tokenizer->merge_count);
    }
    for (size_t end = tokenizer->merge_count; end-- > 1;) {
        struct dqg_merge last = merges[end];
        merges[end] = merges[0];
        merges[0] = last;
        sift_merge(merges, 0, end);
    }
    for (size_t i = 1; i < tokenizer->merge_count; i++) {
        if (!merge_before(&merges[i - 1], &merges[i])) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "merges: numbers %u and %u join the same two tokens",
                            merges[i - 1].rank, merges[i].rank);
        }
    }
    return DQG_OK;
}

/* ---- one word ---- */

/* Symbols of a word as a list, and the merges that are possible in it as a heap. */
struct symbol {
    int32_t id; /* -1: merged into the one before it */
    uint32_t before, after;
};
struct candidate {
    uint32_t rank, at;
    int32_t result;
};
struct word {
    struct symbol *symbols;
    struct candidate *heap;
    size_t heap_count;
};
enum { NONE = -1, HEAP_SHARE = 3 }; /* candidates for each symbol at most: one at first, two for each merge */

static bool goes_first(const struct candidate *a, const struct candidate *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void push(struct word *word, struct candidate item) {
    size_t at = word->heap_count++;
    while (at > 0 && goes_first(&item, &word->heap[(at - 1) / 2])) {
        word->heap[at] = word->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    word->heap[at] = item;
}

static struct candidate pop(struct word *word) {
    struct candidate top = word->heap[0], item = word->heap[--word->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < word->heap_count; at = child) {
        child += child + 1 < word->heap_count && goes_first(&word->heap[child + 1], &word->heap[child]);
        if (!goes_first(&word->heap[child], &item)) {
            break;
        }
        word->heap[at] = word->heap[child];
    }
    word->heap[at] = item;
    return top;
}

static void propose(const struct dqg_tokenizer *tokenizer, struct word *word, uint32_t at, size_t count) {
    uint32_t after = word->symbols[at].after;
    if (after < count) {
        const struct dqg_merge *merge = find_merge(tokenizer, word->symbols[at].id, word->symbols[after].id);
        if (merge != NULL) {
            push(word, (struct candidate){merge->rank, at, merge->result});
        }
    }
}

static void encode_word(const struct dqg_tokenizer *tokenizer, struct word *word, const char *bytes, size_t count,
                        struct dqg_id_sink *sink) {
    struct symbol *symbols = word->symbols;
    for (uint32_t i = 0; i < count; i++) {
        symbols[i] = (struct symbol){tokenizer->byte_ids[i + 1 == count][(uint8_t)bytes[i]], i - 1, i + 1};
    }
    word->heap_count = 0;
    for (uint32_t i = 0; i + 1 < count; i++) {
        propose(tokenizer, word, i, count);
    }
    while (word->heap_count > 0) {
        struct candidate best = pop(word);
        struct symbol *left = &symbols[best.at];
        if (left->id == NONE || left->after >= count) {
            continue;
        }
        struct symbol *right = &symbols[left->after];
        const struct dqg_merge *merge = find_merge(tokenizer, left->id, right->id);
        if (merge == NULL || merge->rank != best.rank) {
            continue; /* one of the two has changed since */
        }
        left->id = best.result;
        right->id = NONE;
        left->after = right->after;
        if (left->after < count) {
            symbols[left->after].before = best.at;
        }
        if (best.at > 0) {
            propose(tokenizer, word, left->before, count);
        }
        propose(tokenizer, word, best.at, count);
    }
    for (size_t i = 0; i < count; i = symbols[i].after) {
        dqg_id_put(sink, symbols[i].id);
    }
}

/* ---- words ---- */

static bool begins(const uint32_t *codes, size_t count, const char *word) {
    size_t i = 0;
    while (word[i] != '\0' && i < count && codes[i] == (unsigned char)word[i]) {
        i++;
    }
    return word[i] == '\0';
}

static size_t contraction(const uint32_t *codes, size_t count) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; codes[0] == '\'' && i < DQG_COUNT_OF(endings); i++) {
        if (begins(codes, count, endings[i])) {
            return strlen(endings[i]);
        }
    }
    return 0;
}

/* Punctuation and whatever else is no letter, number or space. Written out in other than lower case, the two tokens
 * with a meaning are three words each: "<|", "startoftext", "|>". */
static size_t signs(const uint32_t *codes, size_t count, bool *name_ends) {
    if (begins(codes, count, "<|startoftext|>") || begins(codes, count, "<|endoftext|>")) {
        *name_ends = true;
        return 2;
    }
    if (*name_ends && begins(codes, count, "|>")) {
        *name_ends = false;
        return 2;
    }
    size_t length = 1;
    while (length < count && !dqg_is_space(codes[length]) && !dqg_is_letter(codes[length]) &&
           !dqg_is_number(codes[length])) {
        length++;
    }
    return length;
}

/* Length of the word at codes[0], which is no space: a contraction, letters, one number, or signs. */
static size_t word_length(const uint32_t *codes, size_t count, bool *name_ends) {
    size_t length = contraction(codes, count);
    if (length > 0 || dqg_is_number(codes[0])) {
        return length > 0 ? length : 1;
    }
    while (length < count && dqg_is_letter(codes[length])) {
        length++;
    }
    return length > 0 ? length : signs(codes, count, name_ends);
}

static void encode_words(const struct dqg_tokenizer *tokenizer, const uint32_t *codes, size_t count, char *bytes,
                         struct word *word, struct dqg_id_sink *sink) {
    bool name_ends = false; /* the name of a token with a meaning is being read */
    for (size_t at = 0; at < count;) {
        if (dqg_is_space(codes[at])) {
            at++;
            continue;
        }
        size_t length = word_length(codes + at, count - at, &name_ends), size = 0;
        for (size_t i = 0; i < length; i++) {
            size += dqg_utf8_put(codes[at + i], bytes + size);
        }
        encode_word(tokenizer, word, bytes, size, sink);
        at += length;
    }
}

static size_t lower_all(const uint32_t *codes, size_t count, uint32_t *out) {
    size_t written = 0;
    for (size_t i = 0; i < count; i++) {
        written += dqg_lower(codes[i], out + written);
    }
    return written;
}

/* Bytes of the longest stretch without a space. */
static size_t longest_word(const uint32_t *codes, size_t count) {
    size_t longest = 0, size = 0;
    char bytes[4];
    for (size_t i = 0; i < count; i++) {
        size = dqg_is_space(codes[i]) ? 0 : size + dqg_utf8_put(codes[i], bytes);
        longest = size > longest ? size : longest;
    }
    return longest;
}

dqg_status dqg_bpe_encode(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                          size_t length, struct dqg_id_sink *sink) {
    size_t room = DQG_NFC_GROWTH * length, size = 2 * room * sizeof(uint32_t), count = 0;
    uint32_t *codes = dqg_malloc(&context->alloc, size);
    if (codes == NULL) {
        return dqg_fail_memory(context, "a text", size);
    }
    for (size_t at = 0; at < length;) {
        codes[count++] = dqg_utf8_next(text, length, &at);
    }
    uint32_t *lower = codes + room;
    count = dqg_nfc(codes, count, lower);
    count = lower_all(codes, count, lower);

    size_t longest = longest_word(lower, count);
    size_t heap_size = HEAP_SHARE * longest * sizeof(struct candidate), symbols_size = longest * sizeof(struct symbol);
    char *work = dqg_malloc(&context->alloc, heap_size + symbols_size + longest);
    if (work != NULL) {
        struct word word = {.heap = (struct candidate *)work, .symbols = (struct symbol *)(work + heap_size)};
        encode_words(tokenizer, lower, count, work + heap_size + symbols_size, &word, sink);
        dqg_free(&context->alloc, work, heap_size + symbols_size + longest);
    }
    dqg_free(&context->alloc, codes, size);
    return work != NULL ? DQG_OK : dqg_fail_memory(context, "a text", heap_size + symbols_size + longest);
}
