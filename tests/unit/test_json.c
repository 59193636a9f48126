/* SPDX-License-Identifier: MIT */
/*
 * The JSON pull parser: texts that must be accepted with their values, texts that must be refused, every truncation of
 * a text that has everything, and failing allocations.
 */
#include "check.h"
#include "failing_alloc.h"

#include "io/io.h"

#include <stdlib.h>

struct fixture {
    struct failing_alloc memory;
    struct dqg_alloc alloc;
    struct dqg_arena arena;
};

static int setup(void **state) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    dqg_allocator allocator;
    failing_alloc_init(&fixture->memory, &allocator);
    dqg_alloc_init(&fixture->alloc, &allocator);
    *state = fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    dqg_arena_free(&fixture->alloc, &fixture->arena);
    int errors = failing_alloc_errors(&fixture->memory);
    free(fixture);
    return errors;
}

/* A copy of exactly this length, so that a sanitizer sees a read past the end. */
static char *exact(const char *text, size_t length) {
    char *copy = malloc(length > 0 ? length : 1);
    memcpy(copy, text, length);
    return copy;
}

static bool accepts(const char *text, size_t length) {
    struct dqg_json json;
    char *copy = exact(text, length);
    dqg_json_init(&json, copy, length);
    bool skipped = dqg_json_skip(&json);
    bool good = dqg_json_end(&json);
    assert_true(skipped || !good);
    assert_true(good == (json.error == NULL));
    free(copy);
    return good;
}

static void accepts_json(void **state) {
    static const char *const texts[] = {
        "{}",
        "[]",
        " [ ] ",
        "{\"a\":1}",
        "[1,2,3]",
        "\"\"",
        "\t\r\n 0 ",
        "-0",
        "-1.5e+10",
        "1E5",
        "0.25",
        "true",
        "false",
        "null",
        "[true,false,null]",
        "{\"a\":{\"b\":[{}]}}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"",
        "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
        "\"\x7f\"",
        "[[[[[[[[]]]]]]]]",
        "{\"a\":1,\"a\":2}",
        "123456789012345678901234567890",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!accepts(texts[i], strlen(texts[i]))) {
            fail_msg("refused: %s", texts[i]);
        }
    }
}

static void refuses_what_is_not_json(void **state) {
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "[1]]",
        "1 2",
        "tru",
        "True",
        "nul",
        "nan",
        "Infinity",
        "+1",
        "01",
        "-",
        "-a",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "1.e5",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800x\"",
        "\"\\udc00\"",
        "\"\n\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc0\xaf\"",
        "\"\xe0\x80\xaf\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xf0\x80\x80\x80\"",
        "\"\xc3\"",
        "\"\xe2\x82\"",
        "\"\x80\"",
        "\xef\xbb\xbf{}",
        "[[[[[[[[[]]]]]]]]]",
        "'a'",
        "// c\n1",
        "[1,2",
        "{\"a\":[}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (accepts(texts[i], strlen(texts[i]))) {
            fail_msg("accepted: %s", texts[i]);
        }
    }
    assert_false(accepts("[1]\0", 4));
    assert_false(accepts("\"a\0b\"", 5));
    assert_false(accepts("\0", 1));
}

static void refuses_every_truncation(void **state) {
    static const char text[] = "{\"a\":[1,-2.5e3,true,null],\"\\u00e9\\uD83D\\uDE00\":{\"\xe2\x82\xac\":\"\\n\"}}";
    (void)state;
    assert_true(accepts(text, sizeof(text) - 1));
    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        assert_false(accepts(text, length));
    }
}

static void decodes_strings(void **state) {
    static const char text[] =
        "[\"plain\",\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\",\"\"]";
    static const char *const want[] = {"plain", "\"\\/\b\f\n\r\t", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", ""};
    struct fixture *fixture = *state;
    struct dqg_json json;
    const char *got;
    dqg_json_init(&json, text, sizeof(text) - 1);
    assert_int_equal(dqg_json_peek(&json), DQG_JSON_ARRAY);
    assert_int_equal(dqg_json_count(&json), 4);
    assert_true(dqg_json_enter(&json));
    for (size_t i = 0; i < 4; i++) {
        assert_true(dqg_json_next(&json));
        assert_int_equal(dqg_json_peek(&json), DQG_JSON_STRING);
        assert_true(dqg_json_string(&json, &fixture->alloc, &fixture->arena, &got));
        assert_string_equal(got, want[i]);
    }
    assert_false(dqg_json_next(&json));
    assert_true(dqg_json_end(&json));
}

static void reads_members(void **state) {
    static const char text[] =
        " { \"n\" : -7 , \"x\":0.5, \"skip\":[{\"deep\":[1,2]},\"s\"], \"b\":true, \"z\":null } ";
    struct fixture *fixture = *state;
    struct dqg_json json;
    const char *key;
    int64_t n = 0;
    double x = 0;
    int seen = 0;
    dqg_json_init(&json, text, sizeof(text) - 1);
    assert_int_equal(dqg_json_count(&json), 5);
    assert_true(dqg_json_enter(&json));
    while (dqg_json_next(&json)) {
        assert_true(dqg_json_key(&json, &fixture->alloc, &fixture->arena, &key));
        if (strcmp(key, "n") == 0) {
            assert_true(dqg_json_int(&json, &n));
        } else if (strcmp(key, "x") == 0) {
            assert_true(dqg_json_number(&json, &x));
        } else {
            assert_true(dqg_json_skip(&json));
        }
        seen++;
    }
    assert_true(dqg_json_end(&json));
    assert_int_equal(seen, 5);
    assert_int_equal(n, -7);
    assert_true(x == 0.5);
}

static bool read_int(const char *text, int64_t *value) {
    struct dqg_json json;
    dqg_json_init(&json, text, strlen(text));
    return dqg_json_int(&json, value) && dqg_json_end(&json);
}

static void reads_whole_numbers_only(void **state) {
    int64_t value;
    (void)state;
    assert_true(read_int("9223372036854775807", &value));
    assert_true(value == INT64_MAX);
    assert_true(read_int("-9223372036854775808", &value));
    assert_true(value == INT64_MIN);
    assert_true(read_int("0", &value));
    assert_int_equal(value, 0);
    assert_false(read_int("9223372036854775808", &value));
    assert_false(read_int("18446744073709551616", &value));
    assert_false(read_int("1.0", &value));
    assert_false(read_int("1e3", &value));
    assert_false(read_int("\"1\"", &value));
}

static void remembers_the_first_failure(void **state) {
    struct fixture *fixture = *state;
    struct dqg_json json;
    const char *text;
    int64_t value;
    dqg_json_init(&json, "[x]", 3);
    assert_true(dqg_json_enter(&json));
    assert_true(dqg_json_next(&json));
    assert_int_equal(dqg_json_peek(&json), DQG_JSON_ERROR);
    const char *first = json.error;
    assert_non_null(first);
    assert_false(dqg_json_fail(&json, "something else"));
    assert_false(dqg_json_string(&json, &fixture->alloc, &fixture->arena, &text));
    assert_false(dqg_json_int(&json, &value));
    assert_false(dqg_json_next(&json));
    assert_false(dqg_json_skip(&json));
    assert_false(dqg_json_enter(&json));
    assert_false(dqg_json_end(&json));
    assert_ptr_equal(json.error, first);
    assert_ptr_equal(json.at, json.start + 1);
}

static void says_when_memory_runs_out(void **state) {
    struct fixture *fixture = *state;
    struct dqg_json json;
    const char *text;
    fixture->memory.fail_at = 1;
    dqg_json_init(&json, "\"abc\"", 5);
    assert_false(dqg_json_string(&json, &fixture->alloc, &fixture->arena, &text));
    assert_true(json.out_of_memory);
    assert_null(text);
}

/* Values by key, found without memory; texts that only begin alike are others. */
static void finds_keys(void **state) {
    static const char text[] = "{\"a\": [1, {\"kind\": 2}], \"kinds\": 3, \"kind\" : \"v\", \"b\": null}";
    static const char *const absent[] = {"k", "kin", "c", "1", "", "b\": null"};
    struct dqg_json json;
    char *copy = exact(text, sizeof text - 1);
    (void)state;
    dqg_json_init(&json, copy, sizeof text - 1);
    assert_true(dqg_json_seek(&json, "kind"));
    assert_true(dqg_json_is(&json, "v"));
    assert_false(dqg_json_is(&json, "") || dqg_json_is(&json, "vv"));
    for (size_t i = 0; i < 6; i++) {
        dqg_json_init(&json, copy, sizeof text - 1);
        assert_false(dqg_json_seek(&json, absent[i]));
    }
    for (size_t length = 0; length + 14 < sizeof text; length++) {
        char *part = exact(text, length);
        dqg_json_init(&json, part, length);
        if (dqg_json_seek(&json, "kind")) {
            assert_false(dqg_json_is(&json, "v"));
        }
        free(part);
    }
    free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_json),
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test_setup_teardown(decodes_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_members, setup, teardown),
        cmocka_unit_test(reads_whole_numbers_only),
        cmocka_unit_test(finds_keys),
        cmocka_unit_test_setup_teardown(remembers_the_first_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_memory_runs_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
