/* SPDX-License-Identifier: MIT */
/*
 * Prompts: the grammar of weights, BREAK, chunks and their commas, names beyond the vocabulary, lengths and padding.
 * The tokenizer is CLIP's; ids are looked up through it.
 */
#include "check.h"
#include "failing_alloc.h"
#include "text/text.h"
#include "whole_file.h"

enum { CLIP = 77, BOS = 49406, EOS = 49407, MOST = 4096 };

static dqg_context *context;
static struct failing_alloc memory;
static struct dqg_tokenizer *clip, *t5;
static const struct dqg_prompt_shape clip_shape = {.length = CLIP, .chunks = true, .pad = -1, .weighted = true};

static struct dqg_tokenizer *load(const char *path) {
    size_t size;
    uint8_t *data = whole_file(path, &size);
    struct dqg_tokenizer *tokenizer = NULL;
    if (data != NULL) {
        dqg_tokenizer_create(context, data, size, NULL, 0, &tokenizer);
    }
    free(data);
    return tokenizer;
}

static int setup(void **state) {
    dqg_allocator allocator;
    (void)state;
    failing_alloc_init(&memory, &allocator);
    if (dqg_context_create(&allocator, &context) != DQG_OK) {
        return -1;
    }
    clip = load("tests/golden/text/clip.packed");
    t5 = load("tests/golden/text/t5.model");
    return clip == NULL || t5 == NULL ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    dqg_tokenizer_destroy(clip);
    dqg_tokenizer_destroy(t5);
    dqg_context_destroy(context);
    return failing_alloc_errors(&memory);
}

static struct dqg_prompt make(const struct dqg_tokenizer *tokenizer, const char *text,
                              const struct dqg_prompt_shape *shape) {
    struct dqg_prompt prompt;
    if (dqg_prompt_create(context, tokenizer, text, strlen(text), shape, &prompt) != DQG_OK) {
        fail_msg("%s: %s", text, dqg_context_error(context));
    }
    return prompt;
}

/* One word that is one token, and its weight. */
struct expected {
    const char *word;
    double weight;
};

/* The prompt is one chunk of these words. */
static void check_words(const char *text, const struct expected *words, size_t count) {
    struct dqg_prompt prompt = make(clip, text, &clip_shape);
    assert_int_equal(prompt.chunk_count, 1);
    if (prompt.used[0] != count + 2) {
        fail_msg("%s: %zu tokens, not %zu", text, prompt.used[0] - 2, count);
    }
    assert_int_equal(prompt.ids[0], BOS);
    for (size_t i = 0; i < count; i++) {
        int32_t id;
        size_t tokens;
        assert_ok(dqg_tokenizer_encode(context, clip, words[i].word, strlen(words[i].word), &id, 1, &tokens));
        assert_int_equal(tokens, 1);
        assert_int_equal(prompt.ids[1 + i], id);
        if (prompt.weights[1 + i] < words[i].weight - 1e-5 || prompt.weights[1 + i] > words[i].weight + 1e-5) {
            fail_msg("%s: weight %g of %s, not %g", text, (double)prompt.weights[1 + i], words[i].word,
                     words[i].weight);
        }
    }
    for (size_t i = count + 1; i < CLIP; i++) {
        assert_int_equal(prompt.ids[i], EOS);
        assert_true(prompt.weights[i] == 1.0f);
    }
    dqg_prompt_free(&context->alloc, &prompt);
}
#define CHECK_WORDS(text, ...)                                                                                         \
    check_words(text, (const struct expected[]){__VA_ARGS__},                                                          \
                sizeof((const struct expected[]){__VA_ARGS__}) / sizeof(struct expected))

static void test_weights(void **state) {
    (void)state;
    CHECK_WORDS("cat dog", {"cat", 1}, {"dog", 1});
    CHECK_WORDS("a (cat) dog", {"a", 1}, {"cat", 1.1}, {"dog", 1});
    CHECK_WORDS("((cat)) dog", {"cat", 1.21}, {"dog", 1});
    CHECK_WORDS("[cat] dog", {"cat", 1 / 1.1}, {"dog", 1});
    CHECK_WORDS("(cat:1.3) dog", {"cat", 1.3}, {"dog", 1});
    CHECK_WORDS("(cat : .5 ) dog", {"cat", .5}, {"dog", 1});
    CHECK_WORDS("(cat:-1) dog", {"cat", -1}, {"dog", 1});
    CHECK_WORDS("(a (cat:2) dog:1.5)", {"a", 1.5}, {"cat", 3}, {"dog", 1.5});
    CHECK_WORDS("([cat])", {"cat", 1});
    CHECK_WORDS("(cat", {"cat", 1.1});
    CHECK_WORDS("[[cat", {"cat", 1 / 1.21});
    CHECK_WORDS("a ((cat) dog", {"a", 1}, {"cat", 1.21}, {"dog", 1.1});
    CHECK_WORDS("\\(cat\\)", {"(", 1}, {"cat", 1}, {")", 1});
    CHECK_WORDS("(cat\\))", {"cat", 1.1}, {")", 1.1});
    CHECK_WORDS("\\[cat\\]", {"[", 1}, {"cat", 1}, {"]", 1});
    CHECK_WORDS("cat)", {"cat", 1}, {")", 1});
    CHECK_WORDS("cat:2", {"cat", 1}, {":", 1}, {"2", 1});
    CHECK_WORDS("[cat:2]", {"cat", 1 / 1.1}, {":", 1 / 1.1}, {"2", 1 / 1.1});
    CHECK_WORDS("(cat:x)", {"cat", 1.1}, {":", 1.1}, {"x", 1.1});
    CHECK_WORDS("c\\at", {"cat", 1});
    CHECK_WORDS("c(:3)at", {"cat", 1});          /* nothing is inside: still one word */
    CHECK_WORDS("(c)(at)", {"cat", 1.1});        /* neighbours of one weight too */
    CHECK_WORDS("(c:2)at", {"c", 2}, {"at", 1}); /* others are words by themselves */
    CHECK_WORDS("BREAKFAST", {"breakfast", 1});
}

static void test_empty(void **state) {
    static const char *const texts[] = {"", " ", "()", "BREAK", "(:1.2)"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct dqg_prompt prompt = make(clip, texts[i], &clip_shape);
        assert_int_equal(prompt.chunk_count, 1);
        assert_int_equal(prompt.used[0], 2);
        assert_int_equal(prompt.ids[0], BOS);
        assert_int_equal(prompt.ids[1], EOS);
        dqg_prompt_free(&context->alloc, &prompt);
    }
}

static void test_plain(void **state) {
    const struct dqg_prompt_shape shape = {.length = CLIP, .chunks = true, .pad = 0};
    (void)state;
    struct dqg_prompt prompt = make(clip, "(cat:2) BREAK", &shape);
    assert_int_equal(prompt.chunk_count, 1);
    assert_int_equal(prompt.used[0], 2 + 6); /* ( cat : 2 ) break */
    assert_true(prompt.weights[2] == 1.0f);
    assert_int_equal(prompt.ids[7], EOS);
    for (size_t i = 8; i < CLIP; i++) {
        assert_int_equal(prompt.ids[i], 0);
    }
    dqg_prompt_free(&context->alloc, &prompt);
}

/* count words, with a comma behind those numbers; returns the tokens of each chunk without ends. */
static struct dqg_prompt make_long(size_t words, size_t comma_behind) {
    static char text[MOST * 4];
    size_t at = 0;
    for (size_t i = 1; i <= words; i++) {
        memcpy(text + at, i == comma_behind ? "cat, " : "cat ", 5);
        at += i == comma_behind ? 5 : 4;
    }
    text[at] = '\0';
    return make(clip, text, &clip_shape);
}

static void check_used(struct dqg_prompt prompt, size_t count, size_t first, size_t second, size_t third) {
    const size_t wanted[] = {first, second, third};
    assert_int_equal(prompt.chunk_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(prompt.used[i], wanted[i] + 2);
        assert_int_equal(prompt.ids[i * CLIP], BOS);
        assert_int_equal(prompt.ids[i * CLIP + wanted[i] + 1], EOS);
    }
    dqg_prompt_free(&context->alloc, &prompt);
}

static void test_chunks(void **state) {
    (void)state;
    check_used(make_long(75, 0), 1, 75, 0, 0);
    check_used(make_long(76, 0), 2, 75, 1, 0);
    check_used(make_long(160, 0), 3, 75, 75, 10);
    check_used(make_long(79, 60), 2, 61, 19, 0); /* behind the comma, 15 tokens from the end */
    check_used(make_long(79, 40), 2, 75, 5, 0);  /* too far from it */
    check_used(make_long(75, 75), 2, 75, 1, 0);  /* a comma by itself */
    check_used(make(clip, "cat BREAK dog dog", &clip_shape), 2, 1, 2, 0);
    check_used(make(clip, "cat BREAK BREAK dog", &clip_shape), 3, 1, 0, 1);
    check_used(make(clip, "(cat BREAK dog:1.2) BREAK", &clip_shape), 2, 1, 1, 0);
}

static void test_names(void **state) {
    static const struct dqg_token_name names[] = {{"<toy>", 50000, 2}, {"easy", 50010, 1}, {"easynegative", 50020, 74}};
    struct dqg_prompt_shape shape = clip_shape;
    (void)state;
    shape.names = names;
    shape.name_count = 3;
    struct dqg_prompt prompt = make(clip, "cat (<toy>:2) EASY, uneasy", &shape);
    assert_int_equal(prompt.used[0], 2 + 1 + 2 + 1 + 1 + 2); /* uneasy: two tokens of the vocabulary */
    assert_int_equal(prompt.ids[2], 50000);
    assert_int_equal(prompt.ids[3], 50001);
    assert_true(prompt.weights[2] == 2.0f && prompt.weights[3] == 2.0f);
    assert_int_equal(prompt.ids[4], 50010);
    assert_true(prompt.ids[6] < BOS && prompt.ids[7] < BOS);
    dqg_prompt_free(&context->alloc, &prompt);
    prompt = make(clip, "cat cat embedding:EasyNegative", &shape); /* does not fit behind the first word */
    assert_int_equal(prompt.chunk_count, 2);
    assert_int_equal(prompt.used[0], 2 + 2);
    assert_int_equal(prompt.ids[CLIP + 1], 50020);
    assert_int_equal(prompt.ids[CLIP + 74], 50020 + 73);
    dqg_prompt_free(&context->alloc, &prompt);
}

static void test_unigram(void **state) {
    struct dqg_prompt_shape shape = {.length = 16, .pad = -1, .weighted = true};
    (void)state;
    struct dqg_prompt prompt = make(t5, "the (run:1.5)", &shape);
    size_t used = prompt.used[0];
    assert_int_equal(prompt.chunk_count, 1);
    assert_false(prompt.cut);
    assert_true(used > 2 && used < 16);
    assert_int_equal(prompt.ids[used - 1], 1);
    assert_int_equal(prompt.ids[used], 0);
    assert_true(prompt.weights[0] == 1.0f && prompt.weights[used - 2] == 1.5f && prompt.weights[used - 1] == 1.0f);
    dqg_prompt_free(&context->alloc, &prompt);
    prompt =
        make(t5, "the run BREAK keeps its context, model and scheduler alive, so that a host may drop them", &shape);
    assert_int_equal(prompt.chunk_count, 1);
    assert_int_equal(prompt.used[0], 16);
    assert_int_equal(prompt.ids[15], 1);
    assert_true(prompt.cut);
    dqg_prompt_free(&context->alloc, &prompt);
}

static void test_refused(void **state) {
    struct dqg_prompt_shape shape = clip_shape;
    struct dqg_prompt prompt;
    static char text[DQG_TEXT_MAX + 1];
    (void)state;
    memset(text, '(', sizeof text);
    assert_fails(context, dqg_prompt_create(context, clip, text, 100, &shape, &prompt), DQG_ERROR_LIMIT);
    dqg_error_clear(context);
    assert_fails(context, dqg_prompt_create(context, clip, text, sizeof text, &shape, &prompt), DQG_ERROR_LIMIT);
    dqg_error_clear(context);
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i + 6 <= sizeof text; i += 6) {
        memcpy(text + i, "BREAK ", 6);
    }
    assert_fails(context, dqg_prompt_create(context, clip, text, 12000, &shape, &prompt), DQG_ERROR_LIMIT);
    assert_null(prompt.ids);
    dqg_error_clear(context);
    shape.length = 2;
    assert_fails(context, dqg_prompt_create(context, clip, "cat", 3, &shape, &prompt), DQG_ERROR_RANGE);
    dqg_error_clear(context);
}

/* Each request for memory fails once. */
static void test_memory(void **state) {
    const char *text = "a (cat:2) BREAK <toy> dog";
    const struct dqg_token_name name = {"<toy>", 50000, 2};
    struct dqg_prompt_shape shape = clip_shape;
    struct dqg_prompt prompt;
    dqg_status status = DQG_ERROR_MEMORY;
    int64_t passes = 0;
    (void)state;
    shape.names = &name;
    shape.name_count = 1;
    for (; status < 0; passes++) {
        dqg_error_clear(context);
        memory.fail_at = passes + 1;
        status = dqg_prompt_create(context, clip, text, strlen(text), &shape, &prompt);
        assert_true(status == DQG_OK || (status == DQG_ERROR_MEMORY && prompt.ids == NULL));
    }
    memory.fail_at = 0;
    assert_true(passes > 8);
    dqg_prompt_free(&context->alloc, &prompt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights), cmocka_unit_test(test_empty),  cmocka_unit_test(test_plain),
        cmocka_unit_test(test_chunks),  cmocka_unit_test(test_names),  cmocka_unit_test(test_unigram),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
