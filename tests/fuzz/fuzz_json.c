/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the JSON parser. The text is skipped as a whole, and walked with every call of the parser; both must
 * agree on whether it is JSON.
 */
#include "fuzz.h"

static void walk(struct dqg_json *json, const struct dqg_alloc *alloc, struct dqg_arena *arena) {
    struct dqg_json ahead;
    const char *text;
    double number;
    size_t members = 0, count;
    switch (dqg_json_peek(json)) {
    case DQG_JSON_OBJECT:
    case DQG_JSON_ARRAY:
        count = dqg_json_count(json);
        if (!dqg_json_enter(json)) {
            return;
        }
        for (bool object = json->closing_object[json->depth]; dqg_json_next(json); members++) {
            if (!object || dqg_json_key(json, alloc, arena, &text)) {
                walk(json, alloc, arena);
            }
        }
        FUZZ_REQUIRE(json->error != NULL || members == count);
        break;
    case DQG_JSON_STRING:
        if (dqg_json_string(json, alloc, arena, &text)) {
            FUZZ_REQUIRE(strlen(text) <= (size_t)(json->end - json->start));
        }
        break;
    case DQG_JSON_NUMBER:
        ahead = *json; /* may be out of the range of a double; it is JSON all the same */
        dqg_json_number(&ahead, &number);
        dqg_json_skip(json);
        FUZZ_REQUIRE(ahead.error != NULL || (json->error == NULL && ahead.at == json->at));
        break;
    default:
        dqg_json_skip(json);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_context fuzz;
    struct dqg_json skipped, walked;
    struct dqg_arena arena = {NULL, 0};
    struct dqg_alloc alloc;
    dqg_allocator allocator;
    int64_t whole;
    failing_alloc_init(&fuzz.memory, &allocator);
    FUZZ_REQUIRE(dqg_alloc_init(&alloc, &allocator) == DQG_OK);
    char *text = malloc(size > 0 ? size : 1); /* exact: a sanitizer sees a read past the end */
    if (size > 0) {
        memcpy(text, data, size);
    }
    dqg_json_init(&skipped, text, size);
    dqg_json_skip(&skipped);
    bool good = dqg_json_end(&skipped);
    dqg_json_init(&walked, text, size);
    walk(&walked, &alloc, &arena);
    FUZZ_REQUIRE(dqg_json_end(&walked) == good);
    FUZZ_REQUIRE(good == (walked.error == NULL) && !walked.out_of_memory);
    dqg_json_init(&walked, text, size);
    dqg_json_int(&walked, &whole);
    dqg_arena_free(&alloc, &arena);
    free(text);
    FUZZ_REQUIRE(failing_alloc_errors(&fuzz.memory) == 0);
    return 0;
}
