/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: readers of vocabularies. A zero byte, where there is one, ends vocab.json and begins merges.txt. What is
 * accepted must encode a text, and pack to a text that is accepted and gives the same tokens.
 */
#include "fuzz.h"
#include "text/text.h"

enum { MOST_IDS = 512 };

static size_t encode(struct fuzz_context *fuzz, const struct dqg_tokenizer *tokenizer, int32_t *ids) {
    static const char text[] =
        "A photo of ab abc 12's caf\xC3\xA9 e\xCC\x81 \xEF\xAC\x81 \xF0\x9F\x98\x80 <|endoftext|> </s>\xFF";
    size_t count;
    FUZZ_REQUIRE(dqg_tokenizer_encode(fuzz->context, tokenizer, text, sizeof text, ids, MOST_IDS, &count) == DQG_OK);
    for (size_t i = 0; i < count && i < MOST_IDS; i++) {
        FUZZ_REQUIRE(ids[i] >= 0 && ids[i] < DQG_TOKEN_ID_MAX);
    }
    return count < MOST_IDS ? count : MOST_IDS;
}

static void use(struct fuzz_context *fuzz, struct dqg_tokenizer *tokenizer) {
    static int32_t ids[MOST_IDS], again_ids[MOST_IDS];
    struct dqg_text packed = {.alloc = &fuzz->context->alloc};
    struct dqg_tokenizer *again;
    size_t count = encode(fuzz, tokenizer, ids);
    FUZZ_REQUIRE(dqg_tokenizer_pack(fuzz->context, tokenizer, &packed) == DQG_OK);
    FUZZ_REQUIRE(dqg_tokenizer_create(fuzz->context, packed.data, packed.length, NULL, 0, &again) == DQG_OK);
    FUZZ_REQUIRE(encode(fuzz, again, again_ids) == count && memcmp(ids, again_ids, count * sizeof *ids) == 0);
    dqg_text_free(&packed);
    dqg_tokenizer_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_context fuzz;
    struct dqg_tokenizer *tokenizer;
    fuzz_begin(&fuzz);
    char *copy = malloc(size > 0 ? size : 1); /* exact: a sanitizer sees a read past the end */
    if (size > 0) {
        memcpy(copy, data, size);
    }
    const char *zero = size > 0 && copy[0] == '{' ? memchr(copy, 0, size) : NULL;
    size_t first = zero != NULL ? (size_t)(zero - copy) : size;
    dqg_status status = dqg_tokenizer_create(fuzz.context, copy, first, zero != NULL ? zero + 1 : NULL,
                                             zero != NULL ? size - first - 1 : 0, &tokenizer);
    fuzz_check_status(&fuzz, status);
    FUZZ_REQUIRE((status == DQG_OK) == (tokenizer != NULL));
    if (status == DQG_OK) {
        use(&fuzz, tokenizer);
        dqg_tokenizer_destroy(tokenizer);
    }
    free(copy);
    fuzz_end(&fuzz, size);
    return 0;
}
