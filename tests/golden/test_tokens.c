/* SPDX-License-Identifier: MIT */
/*
 * Tokenizers against the package transformers: a thousand strings from all planes of Unicode, broken UTF-8, and texts
 * of 10,000 characters. The vocabularies of the same tokenizer in its several forms must pack to the same text.
 */
#include "check.h"
#include "text/text.h"
#include "whole_file.h"

#define FOLDER "tests/golden/text/"
enum { STRINGS = 1000, MOST_IDS = 1 << 16 };

static dqg_context *context;
static uint8_t *strings;
static size_t strings_size;

static int setup(void **state) {
    (void)state;
    strings = whole_file(FOLDER "strings.bin", &strings_size);
    return strings == NULL || dqg_context_create(NULL, &context) != DQG_OK ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    free(strings);
    dqg_context_destroy(context);
    return 0;
}

static uint32_t get_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static struct dqg_tokenizer *load(const char *path, const char *merges_path) {
    size_t size, merges_size = 0;
    uint8_t *data = whole_file(path, &size);
    uint8_t *merges = merges_path != NULL ? whole_file(merges_path, &merges_size) : NULL;
    struct dqg_tokenizer *tokenizer;
    assert_non_null(data);
    if (dqg_tokenizer_create(context, data, size, merges, merges_size, &tokenizer) != DQG_OK) {
        fail_msg("%s: %s", path, dqg_context_error(context));
    }
    free(data);
    free(merges);
    return tokenizer;
}

/* The ids of every string, as recorded: a count of 32 bits, ids of 16. */
static void check_ids(const struct dqg_tokenizer *tokenizer, const char *path) {
    static int32_t ids[MOST_IDS];
    size_t size, text = 0, at = 0, count, number = 0;
    uint8_t *golden = whole_file(path, &size);
    assert_non_null(golden);
    for (; text < strings_size; number++) {
        size_t length = get_u32(strings + text);
        text += 4;
        assert_ok(
            dqg_tokenizer_encode(context, tokenizer, (const char *)strings + text, length, ids, MOST_IDS, &count));
        if (count != get_u32(golden + at)) {
            fail_msg("string %zu: %zu tokens, not %u", number, count, get_u32(golden + at));
        }
        at += 4;
        for (size_t i = 0; i < count; i++, at += 2) {
            if (ids[i] != (golden[at] | golden[at + 1] << 8)) {
                fail_msg("string %zu, token %zu: %d, not %d", number, i, ids[i], golden[at] | golden[at + 1] << 8);
            }
        }
        text += length;
    }
    assert_int_equal(number, STRINGS);
    assert_int_equal(at, size);
    free(golden);
}

static struct dqg_text pack(const struct dqg_tokenizer *tokenizer) {
    static struct dqg_alloc alloc;
    assert_ok(dqg_alloc_init(&alloc, NULL));
    struct dqg_text text = {.alloc = &alloc};
    assert_ok(dqg_tokenizer_pack(context, tokenizer, &text));
    return text;
}

/* Both pack to the same text, and that text is a tokenizer that packs to it again. */
static void check_equal(const struct dqg_tokenizer *a, const struct dqg_tokenizer *b) {
    struct dqg_tokenizer *again;
    struct dqg_text first = pack(a), second = pack(b);
    assert_string_equal(first.data, second.data);
    assert_ok(dqg_tokenizer_create(context, first.data, first.length, NULL, 0, &again));
    struct dqg_text third = pack(again);
    assert_string_equal(first.data, third.data);
    dqg_text_free(&first);
    dqg_text_free(&second);
    dqg_text_free(&third);
    dqg_tokenizer_destroy(again);
}

static void test_clip(void **state) {
    (void)state;
    struct dqg_tokenizer *clip = load(FOLDER "clip.packed", NULL);
    struct dqg_token_ids ids = dqg_tokenizer_ids(clip);
    assert_int_equal(dqg_tokenizer_kind(clip), DQG_TOKENIZER_BYTE_PAIR);
    assert_int_equal(ids.bos, 49406);
    assert_int_equal(ids.eos, 49407);
    assert_int_equal(ids.pad, 49407);
    check_ids(clip, FOLDER "clip.ids");
    dqg_tokenizer_destroy(clip);
}

static void test_byte_pair_files(void **state) {
    (void)state;
    struct dqg_tokenizer *vocab = load(FOLDER "small_vocab.json", FOLDER "small_merges.txt");
    struct dqg_tokenizer *json = load(FOLDER "small_tokenizer.json", NULL);
    struct dqg_tokenizer *packed = load(FOLDER "small.packed", NULL); /* written by the script */
    check_ids(vocab, FOLDER "small.ids");
    check_equal(vocab, json);
    check_equal(vocab, packed);
    dqg_tokenizer_destroy(vocab);
    dqg_tokenizer_destroy(json);
    dqg_tokenizer_destroy(packed);
}

static void test_t5(void **state) {
    (void)state;
    struct dqg_tokenizer *model = load(FOLDER "t5.model", NULL);
    struct dqg_tokenizer *json = load(FOLDER "t5_tokenizer.json", NULL);
    struct dqg_token_ids ids = dqg_tokenizer_ids(model);
    assert_int_equal(dqg_tokenizer_kind(model), DQG_TOKENIZER_UNIGRAM);
    assert_int_equal(ids.bos, -1);
    assert_int_equal(ids.eos, 1);
    assert_int_equal(ids.pad, 0);
    assert_int_equal(ids.unknown, 2);
    check_ids(model, FOLDER "t5.ids");
    check_equal(model, json);
    dqg_tokenizer_destroy(model);
    dqg_tokenizer_destroy(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_byte_pair_files),
        cmocka_unit_test(test_t5),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
