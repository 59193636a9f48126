/* SPDX-License-Identifier: MIT */
/*
 * Readers of vocabularies against files that are wrong, cut off or too large, with the words that say so; small models
 * worked out by hand; UTF-8 and normal forms; long and hostile texts; failing allocations.
 */
#include "check.h"
#include "failing_alloc.h"
#include "text/text.h"
#include "text/unicode.h"
#include "whole_file.h"

#define FOLDER "tests/golden/text/"
enum { MOST_IDS = 64 };

static dqg_context *context;
static struct failing_alloc memory;

static int setup(void **state) {
    dqg_allocator allocator;
    (void)state;
    failing_alloc_init(&memory, &allocator);
    return dqg_context_create(&allocator, &context) == DQG_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    dqg_context_destroy(context);
    return failing_alloc_errors(&memory);
}

static struct dqg_tokenizer *make(const char *data) {
    struct dqg_tokenizer *tokenizer;
    if (dqg_tokenizer_create(context, data, strlen(data), NULL, 0, &tokenizer) != DQG_OK) {
        fail_msg("%s", dqg_context_error(context));
    }
    return tokenizer;
}

static void check_ids(const struct dqg_tokenizer *tokenizer, const char *text, const int32_t *wanted, size_t count) {
    int32_t ids[MOST_IDS];
    size_t found;
    assert_ok(dqg_tokenizer_encode(context, tokenizer, text, strlen(text), ids, MOST_IDS, &found));
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ids[i], wanted[i]);
    }
}
#define CHECK_IDS(tokenizer, text, ...)                                                                                \
    check_ids(tokenizer, text, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* The call fails, and its message has these words. */
static void check_refused(const void *data, size_t size, const char *merges, dqg_status expected, const char *words) {
    struct dqg_tokenizer *tokenizer = anything;
    dqg_status status =
        dqg_tokenizer_create(context, data, size, merges, merges != NULL ? strlen(merges) : 0, &tokenizer);
    if (status != expected || strstr(dqg_context_error(context), words) == NULL) {
        fail_msg("status %d, not %d: %s", status, expected, dqg_context_error(context));
    }
    assert_null(tokenizer);
    dqg_error_clear(context);
}

static void refuse(const char *data, const char *words) {
    check_refused(data, strlen(data), NULL, DQG_ERROR_FORMAT, words);
}

#define UNIGRAM(options, vocab) "{\"model\":{\"type\":\"Unigram\"," options "\"vocab\":[" vocab "]}}"

/* Best sums of scores: "ab" + "c" (-3) beats "a" + "bc" (-5) and "a" + "b" + "c" (-6). */
static void test_unigram(void **state) {
    (void)state;
    struct dqg_tokenizer *tokenizer =
        make(UNIGRAM("\"unk_id\":0,", "[\"<unk>\",0],[\"\xE2\x96\x81\",-1],[\"a\",-2],[\"b\",-2],[\"c\",-2],"
                                      "[\"ab\",-1],[\"bc\",-3],[\"\xE2\x96\x81z\",-1]"));
    CHECK_IDS(tokenizer, "abc", 1, 5, 4);
    CHECK_IDS(tokenizer, " bc \n zz", 1, 6, 7, 0);
    CHECK_IDS(tokenizer, "axyzb", 1, 2, 0, 3); /* neighbours without a piece are one token */
    CHECK_IDS(tokenizer, "a\xE2\x96\x81z", 1, 2, 7);
    dqg_tokenizer_destroy(tokenizer);
}

/* What is chosen between equal sums and instead of unknown text: as in the package tokenizers. */
static void test_unigram_choices(void **state) {
    (void)state;
    struct dqg_tokenizer *tokenizer = make(
        UNIGRAM("\"unk_id\":0,", "[\"<unk>\",0],[\"\xE2\x96\x81\",-1],[\"a\",-1],[\"aa\",-2],[\"b\",5],[\"bc\",-10]"));
    CHECK_IDS(tokenizer, "aa", 1, 3); /* the one that begins first */
    CHECK_IDS(tokenizer, "bc", 1, 5); /* an unknown c costs 20, which makes -15 with the b */
    dqg_tokenizer_destroy(tokenizer);
}

/* Tokens with a meaning: the longest, wherever it stands. */
static void test_specials(void **state) {
    (void)state;
    struct dqg_tokenizer *tokenizer = make(
        "{\"added_tokens\":[{\"id\":7,\"content\":\"<a\"},{\"content\":\"<ab>\",\"id\":8}],\"model\":{\"unk_id\":0,"
        "\"vocab\":[[\"<unk>\",0],[\"\xE2\x96\x81\",-1],[\"x\",-1]],\"type\":\"Unigram\"}}");
    CHECK_IDS(tokenizer, "<ab>", 8);
    CHECK_IDS(tokenizer, "x<a<ab>x", 1, 2, 7, 8, 1, 2);
    CHECK_IDS(tokenizer, "<ab", 7, 1, 0);
    dqg_tokenizer_destroy(tokenizer);
}

static void test_byte_fallback(void **state) {
    char data[8192] = "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,\"vocab\":[[\"<unk>\",0],"
                      "[\"\xE2\x96\x81\",-1]";
    (void)state;
    for (int i = 0; i < 256; i++) {
        snprintf(data + strlen(data), 24, ",[\"<0x%02X>\",-20]", (unsigned)i);
    }
    strcat(data, "]}}");
    struct dqg_tokenizer *tokenizer = make(data);
    CHECK_IDS(tokenizer, "\xC3\xA9!", 1, 2 + 0xC3, 2 + 0xA9, 2 + '!');
    dqg_tokenizer_destroy(tokenizer);
}

static void test_refused(void **state) {
    static const char merges[] = "#version: 0.2\na b\n";
    (void)state;
    refuse("", "piece 0");
    refuse("PK\x03\x04 something else", "damaged");
    refuse("{", "byte 1");
    refuse("{}", "model");
    refuse("{\"a\":1}", "merges.txt");
    refuse("{\"model\":{\"type\":\"Unigram\"}}", "vocab");
    refuse(UNIGRAM("", "[\"a\",0]"), "unknown");
    refuse(UNIGRAM("\"unk_id\":1,", "[\"a\",0]"), "unk_id");
    refuse(UNIGRAM("\"unk_id\":-1,", "[\"a\",0]"), "unk_id");
    refuse(UNIGRAM("\"unk_id\":0,", "[\"a\",0],[\"a\",1]"), "same");
    refuse(UNIGRAM("\"unk_id\":0,", "[\"\",0]"), "empty");
    refuse(UNIGRAM("\"unk_id\":0,", "[\"a\"]"), "byte");
    refuse(UNIGRAM("\"unk_id\":0,", "[\"a\",1e39]"), "finite");
    refuse(UNIGRAM("\"unk_id\":0,\"byte_fallback\":true,", "[\"a\",0]"), "byte 0");
    refuse("{\"added_tokens\":[{\"id\":9999999,\"content\":\"x\"}],\"model\":{\"type\":\"Unigram\"}}", "id 9999999");
    refuse("{\"added_tokens\":[{\"id\":1}],\"model\":{\"type\":\"Unigram\"}}", "content");
    refuse("{\"normalizer\":{\"precompiled_charsmap\":\"A\"},"
           "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",0]]}}",
           "base64");
    refuse("{\"normalizer\":{\"precompiled_charsmap\":\"////AAAA\"},"
           "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",0]]}}",
           "charsmap");
    refuse("dqg-tokenizer-1:", "cut off");
    refuse("dqg-tokenizer-1:A", "base64");
    refuse("dqg-tokenizer-1:Af////8P", "cut off");
    check_refused("{\"model\":{\"type\":\"WordPiece\"}}", 30, NULL, DQG_ERROR_UNSUPPORTED, "WordPiece");
    check_refused("{\"model\":{\"type\":\"BPE\"}}", 24, NULL, DQG_ERROR_UNSUPPORTED, "</w>");
    check_refused("{\"<|startoftext|>\":0}", 21, merges, DQG_ERROR_FORMAT, "<|endoftext|>");
    check_refused("{\"<|startoftext|>\":0,\"<|endoftext|>\":1}", 39, merges, DQG_ERROR_FORMAT, "number 0");
    check_refused("{\"<|startoftext|>\":0,\"<|endoftext|>\":-1}", 40, merges, DQG_ERROR_FORMAT, "id -1");
    check_refused("{}", (size_t)DQG_VOCABULARY_MAX + 1, NULL, DQG_ERROR_LIMIT, "at most");
}

/* Beginnings of every kind of file are refused, but for what a model has behind its rules: nothing that is used. */
static void test_truncated(void **state) {
    static const char *const paths[] = {FOLDER "small_tokenizer.json", FOLDER "t5.model", FOLDER "small.packed"};
    (void)state;
    for (size_t f = 0; f < sizeof paths / sizeof paths[0]; f++) {
        size_t size;
        uint8_t *data = whole_file(paths[f], &size);
        assert_non_null(data);
        for (size_t cut = 1; cut < size; cut += 1 + size / 97) {
            uint8_t *copy = malloc(size - cut);
            struct dqg_tokenizer *tokenizer;
            memcpy(copy, data, size - cut);
            dqg_status status = dqg_tokenizer_create(context, copy, size - cut, NULL, 0, &tokenizer);
            assert_true(status == DQG_ERROR_FORMAT || (cut < 8 && f == 1));
            dqg_tokenizer_destroy(tokenizer);
            dqg_error_clear(context);
            free(copy);
        }
        free(data);
    }
}

static void test_utf8(void **state) {
    static const char text[] =
        "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xC3z\xE2\x82z\xED\xA0\x80\xF4\x90\xC0\xAF\xF0\x9F";
    static const uint32_t wanted[] = {'a',    0xE9,   0x20AC, 0x1F600, 0xFFFD, 'z',    0xFFFD, 'z',
                                      0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD,  0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD};
    size_t at = 0, count = 0;
    (void)state;
    while (at < sizeof text - 1) {
        assert_true(count < sizeof wanted / sizeof wanted[0]);
        assert_int_equal(dqg_utf8_next(text, sizeof text - 1, &at), wanted[count]);
        count++;
    }
    assert_int_equal(count, sizeof wanted / sizeof wanted[0]);
}

static void test_nfc(void **state) {
    static const uint32_t cases[][2][4] = {
        {{'e', 0x301}, {0xE9}},
        {{'a', 0x301, 0x323}, {0x1EA1, 0x301}}, /* marks change places */
        {{0x212B}, {0xC5}},                     /* another code point for the same */
        {{0x1100, 0x1161, 0x11A8}, {0xAC01}},   /* Hangul */
        {{0xAC00, 0x11A8}, {0xAC01}},
        {{0x958}, {0x915, 0x93C}}, /* excluded from composition */
        {{0x1F82}, {0x1F82}},      /* four parts */
        {{'a', 0x301, 'b', 0x301}, {0xE1, 'b', 0x301}},
        {{'a', 0x363, 0x301}, {'a', 0x363, 0x301}}, /* a mark of the same class is in the way */
        {{0x344}, {0x308, 0x301}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t codes[4 * DQG_NFC_GROWTH] = {0}, scratch[4 * DQG_NFC_GROWTH];
        size_t count = 0, wanted = 0;
        for (; count < 4 && cases[i][0][count] != 0; count++) {
            codes[count] = cases[i][0][count];
        }
        count = dqg_nfc(codes, count, scratch);
        for (; wanted < 4 && cases[i][1][wanted] != 0; wanted++) {
            assert_int_equal(codes[wanted], cases[i][1][wanted]);
        }
        assert_int_equal(count, wanted);
    }
}

static struct dqg_tokenizer *load(const char *path) {
    size_t size;
    uint8_t *data = whole_file(path, &size);
    struct dqg_tokenizer *tokenizer;
    assert_non_null(data);
    assert_ok(dqg_tokenizer_create(context, data, size, NULL, 0, &tokenizer));
    free(data);
    return tokenizer;
}

/* The longest texts, made of what is worst: one word, marks, merges at every place, no pieces. */
static void test_long(void **state) {
    static const char *const parts[] = {"a",  "the", "\xCC\x81", "\xCC\xA3\xCC\x81", "\xEF\xB7\xBA",
                                        "<|", "'",   "\xFF",     "\xE7\x8C\xAB"};
    static char text[DQG_TEXT_MAX];
    struct dqg_tokenizer *tokenizers[] = {load(FOLDER "clip.packed"), load(FOLDER "t5.model")};
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t length = strlen(parts[i]), size = sizeof text / length * length, count;
        for (size_t at = 0; at < size; at += length) {
            memcpy(text + at, parts[i], length);
        }
        for (size_t k = 0; k < 2; k++) {
            assert_ok(dqg_tokenizer_encode(context, tokenizers[k], text, size, NULL, 0, &count));
            assert_true(count > 0 || k == 1); /* a charsmap may leave nothing */
        }
    }
    assert_true(atomic_load(&memory.peak_bytes) < 128 << 20);
    size_t count;
    assert_fails(context, dqg_tokenizer_encode(context, tokenizers[0], text, sizeof text + 1, NULL, 0, &count),
                 DQG_ERROR_LIMIT);
    dqg_error_clear(context);
    dqg_tokenizer_destroy(tokenizers[0]);
    dqg_tokenizer_destroy(tokenizers[1]);
}

/* Reading, packing and encoding while each of the first requests for memory, and then every 50th, fails. */
static void sweep(const char *path) {
    size_t size;
    uint8_t *data = whole_file(path, &size);
    dqg_status status = DQG_ERROR_MEMORY;
    assert_non_null(data);
    for (int64_t pass = 1; status < 0; pass += pass < 40 ? 1 : 50) {
        struct dqg_tokenizer *tokenizer;
        struct dqg_text packed = {.alloc = &context->alloc};
        size_t count;
        dqg_error_clear(context);
        memory.fail_at = pass;
        status = dqg_tokenizer_create(context, data, size, NULL, 0, &tokenizer);
        if (status >= 0) {
            status = dqg_tokenizer_pack(context, tokenizer, &packed);
        }
        if (status >= 0) {
            status = dqg_tokenizer_encode(context, tokenizer, "some text", 9, NULL, 0, &count);
        }
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        dqg_text_free(&packed);
        dqg_tokenizer_destroy(tokenizer);
    }
    memory.fail_at = 0;
    free(data);
}

static void test_memory(void **state) {
    (void)state;
    sweep(FOLDER "small_tokenizer.json");
    sweep(FOLDER "small.packed");
    sweep(FOLDER "t5.model");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unigram),  cmocka_unit_test(test_unigram_choices),
        cmocka_unit_test(test_specials), cmocka_unit_test(test_byte_fallback),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_utf8),     cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_long),     cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
