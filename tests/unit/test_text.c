/* SPDX-License-Identifier: MIT */
/* Formatting and parsing without stdio or locale, patterns, arenas. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "support/support.h"

static void test_format(void **state) {
    char buffer[64];
    (void)state;
    assert_int_equal(dqg_format(buffer, sizeof buffer, "%s %d %u %lld %llu %zu %c%%", "a", -5, 7u, -9000000000ll,
                                18446744073709551615ull, (size_t)3, 'z'),
                     44);
    assert_string_equal(buffer, "a -5 7 -9000000000 18446744073709551615 3 z%");
    assert_int_equal(dqg_format(buffer, 4, "%s", "abcdef"), 6);
    assert_string_equal(buffer, "abc");
    assert_int_equal(dqg_format(NULL, 0, "%d", 123), 3);
    dqg_format(buffer, sizeof buffer, "%lld", (long long)INT64_MIN);
    assert_string_equal(buffer, "-9223372036854775808");
}

static void test_doubles(void **state) {
    static const double values[] = {0.0,    -0.0,     1.0,    0.1,    123456.0, 999999.5, 1234567.0, 1e-5,
                                    1.5e-7, -2.5,     1e300,  1e-300, DBL_MAX,  DBL_MIN,  0.271508,  100.0,
                                    1e5,    99999.95, 3.0e10, 0.0009, 5e-324,   999999.4, 9.999995,  0.5};
    char buffer[64];
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        double back;
        dqg_format(buffer, sizeof buffer, "%g", values[i]);
        assert_true(fabs(strtod(buffer, NULL) - values[i]) <= fabs(values[i]) * 6e-6 || values[i] < DBL_MIN);
        assert_true(dqg_parse_double(buffer, strlen(buffer), &back));
        assert_true(fabs(back - strtod(buffer, NULL)) <= fabs(back) * 4e-16 || fabs(values[i]) < 1e-290);
    }
    dqg_format(buffer, sizeof buffer, "%g %g %g", 0.25, 1e20, (double)INFINITY);
    assert_string_equal(buffer, "0.25 1e20 inf");
    dqg_format(buffer, sizeof buffer, "%g %g %g", 100000.0, 0.001, (double)NAN);
    assert_string_equal(buffer, "100000 0.001 nan");
}

static void test_parse(void **state) {
    static const char *const bad[] = {"", "-", "+", ".", "1.2.3", "1e", "0x10", " 1", "1 ", "nan", "1,5", "e5"};
    double number;
    int64_t integer;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(dqg_parse_double(bad[i], strlen(bad[i]), &number));
        assert_false(dqg_parse_int64(bad[i], strlen(bad[i]), &integer));
    }
    assert_true(dqg_parse_double("-3.5e-2", 7, &number) && number == -0.035);
    assert_true(dqg_parse_double(".5", 2, &number) && number == 0.5);
    assert_true(dqg_parse_double("0.1", 3, &number) && number == 0.1);
    assert_true(dqg_parse_double("1e999", 5, &number) && isinf(number));
    assert_true(dqg_parse_int64("-9223372036854775808", 20, &integer) && integer == INT64_MIN);
    assert_true(dqg_parse_int64("9223372036854775807", 19, &integer) && integer == INT64_MAX);
    assert_false(dqg_parse_int64("9223372036854775808", 19, &integer));
    assert_false(dqg_parse_int64("1.0", 3, &integer));
}

static void test_match(void **state) {
    (void)state;
    assert_true(dqg_match("blocks.*.attn.qkv.weight", "blocks.12.attn.qkv.weight"));
    assert_true(dqg_match("*", ""));
    assert_true(dqg_match("a*b*c", "aXbbYc"));
    assert_true(dqg_match("?_embedder.*", "x_embedder.proj.weight"));
    assert_false(dqg_match("?_embedder.*", "_embedder.proj"));
    assert_false(dqg_match("a*b", "ab c"));
    assert_false(dqg_match("", "a"));
    assert_true(dqg_match("**a**", "bab"));
}

static void test_json_text(void **state) {
    dqg_context *context;
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    struct dqg_text text = {.alloc = &context->alloc};
    dqg_text_add_json(&text, "a\"b\\c\n\x01");
    assert_string_equal(text.data, "\"a\\\"b\\\\c\\u000a\\u0001\"");
    for (int i = 0; i < 5000; i++) {
        dqg_text_add(&text, "%d,", i);
    }
    assert_false(text.failed);
    assert_int_equal(text.length, strlen(text.data));
    dqg_text_free(&text);
    dqg_context_destroy(context);
}

static void test_arena(void **state) {
    dqg_context *context;
    struct dqg_arena arena = {0};
    (void)state;
    assert_ok(dqg_context_create(NULL, &context));
    for (size_t size = 0; size < 40000; size = size * 2 + 1) {
        unsigned char *block = dqg_arena_alloc(&context->alloc, &arena, size);
        assert_non_null(block);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(block[i], 0);
            block[i] = 0xff;
        }
    }
    assert_null(dqg_arena_alloc(&context->alloc, &arena, SIZE_MAX - 8));
    assert_null(dqg_calloc(&context->alloc, SIZE_MAX / 2, 3));
    dqg_arena_free(&context->alloc, &arena);
    dqg_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format), cmocka_unit_test(test_doubles),   cmocka_unit_test(test_parse),
        cmocka_unit_test(test_match),  cmocka_unit_test(test_json_text), cmocka_unit_test(test_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
