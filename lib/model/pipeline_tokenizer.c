/* SPDX-License-Identifier: MIT */
/* Tokenizers from the files that published models have beside their weights: vocab.json with merges.txt,
 * tokenizer.json, or spiece.model. Called by pipeline_metadata.c and the quantizer. */
#include "model/pipeline.h"

enum { KEY_BYTES = 128, CONFIG_MAX = 1 << 20 };

/* Where a tokenizer of CLIP or T5 may say what it pads with. */
static const char *const config_names[] = {"tokenizer_config.json", "special_tokens_map.json"};

/* A text, or an object with one as "content". */
static bool read_token(struct dqg_json *json, const struct dqg_alloc *alloc, struct dqg_arena *arena,
                       const char **text) {
    const char *key;
    if (dqg_json_peek(json) == DQG_JSON_STRING) {
        return dqg_json_string(json, alloc, arena, text);
    }
    if (dqg_json_peek(json) != DQG_JSON_OBJECT || !dqg_json_enter(json)) {
        return dqg_json_skip(json);
    }
    while (dqg_json_next(json) && dqg_json_key(json, alloc, arena, &key)) {
        bool content = strcmp(key, "content") == 0 && dqg_json_peek(json) == DQG_JSON_STRING;
        if (!(content ? dqg_json_string(json, alloc, arena, text) : dqg_json_skip(json))) {
            return false;
        }
    }
    return json->error == NULL;
}

/* True where the configuration names a token to pad with. What is no JSON names none. */
static bool take_pad(struct dqg_context *context, const char *config, struct dqg_tokenizer *tokenizer) {
    struct dqg_json json;
    struct dqg_arena arena = {0};
    const char *key, *pad = NULL;
    dqg_json_init(&json, config, strlen(config));
    bool good = dqg_json_peek(&json) == DQG_JSON_OBJECT && dqg_json_enter(&json);
    while (good && pad == NULL && dqg_json_next(&json)) {
        good =
            dqg_json_key(&json, &context->alloc, &arena, &key) &&
            (strcmp(key, "pad_token") == 0 ? read_token(&json, &context->alloc, &arena, &pad) : dqg_json_skip(&json));
    }
    if (pad != NULL) {
        dqg_tokenizer_set_pad(tokenizer, pad);
    }
    dqg_arena_free(&context->alloc, &arena);
    return pad != NULL;
}

/* ---- from a source ---- */

static const char *text_of(const struct dqg_source *source, const char *folder, const char *name) {
    char key[KEY_BYTES];
    size_t length = dqg_format(key, sizeof key, "%s%s", folder, name);
    return length < sizeof key ? dqg_source_metadata(source, key) : NULL;
}

static dqg_status create_from_pieces(struct dqg_context *context, const char *folder, const char *name,
                                     struct dqg_tokenizer **tokenizer) {
    char *data;
    size_t size;
    DQG_TRY(dqg_file_read(context, folder, name, DQG_VOCABULARY_MAX, &data, &size));
    dqg_status status = dqg_tokenizer_create(context, data, size, NULL, 0, tokenizer);
    dqg_free(&context->alloc, data, size + 1);
    return status;
}

static dqg_status create_from_source(struct dqg_context *context, const struct dqg_source *source, const char *folder,
                                     struct dqg_tokenizer **tokenizer) {
    const char *vocabulary = text_of(source, folder, "vocab.json"), *merges = text_of(source, folder, "merges.txt");
    const char *json = text_of(source, folder, "tokenizer.json"), *pieces = text_of(source, folder, "spiece.model");
    if (vocabulary != NULL && merges != NULL) {
        return dqg_tokenizer_create(context, vocabulary, strlen(vocabulary), merges, strlen(merges), tokenizer);
    }
    if (json != NULL) {
        return dqg_tokenizer_create(context, json, strlen(json), NULL, 0, tokenizer);
    }
    /* Only a folder has one, and its name stands there. */
    if (pieces != NULL && source->inputs != NULL && dqg_path_is_folder(source->inputs[0].name)) {
        char name[KEY_BYTES];
        dqg_format(name, sizeof name, "%sspiece.model", folder);
        return create_from_pieces(context, source->inputs[0].name, name, tokenizer);
    }
    return DQG_OK;
}

dqg_status dqg_tokenizer_of_source(struct dqg_context *context, const struct dqg_source *source, const char *folder,
                                   struct dqg_tokenizer **tokenizer) {
    *tokenizer = NULL;
    dqg_status status = create_from_source(context, source, folder, tokenizer);
    if (status < 0 && status != DQG_ERROR_MEMORY && status != DQG_ERROR_IO) {
        dqg_log(context, DQG_LOG_WARNING, "the tokenizer in '%s' is left out: %s", folder, context->error);
        dqg_error_clear(context);
        return DQG_OK;
    }
    bool padded = false;
    for (size_t i = 0; *tokenizer != NULL && i < DQG_COUNT_OF(config_names) && !padded; i++) {
        const char *config = text_of(source, folder, config_names[i]);
        padded = config != NULL && take_pad(context, config, *tokenizer);
    }
    return status;
}

/* ---- from a path ---- */

static dqg_status create_from_pair(struct dqg_context *context, const char *folder, struct dqg_tokenizer **tokenizer) {
    char *vocabulary, *merges;
    size_t size, merges_size;
    DQG_TRY(dqg_file_read(context, folder, "vocab.json", DQG_VOCABULARY_MAX, &vocabulary, &size));
    dqg_status status = dqg_file_read(context, folder, "merges.txt", DQG_VOCABULARY_MAX, &merges, &merges_size);
    if (status >= 0) {
        status = dqg_tokenizer_create(context, vocabulary, size, merges, merges_size, tokenizer);
        dqg_free(&context->alloc, merges, merges_size + 1);
    }
    dqg_free(&context->alloc, vocabulary, size + 1);
    return status;
}

static dqg_status create_from_folder(struct dqg_context *context, const char *folder,
                                     struct dqg_tokenizer **tokenizer) {
    if (dqg_folder_has(folder, "vocab.json") && dqg_folder_has(folder, "merges.txt")) {
        return create_from_pair(context, folder, tokenizer);
    }
    if (dqg_folder_has(folder, "tokenizer.json")) {
        return create_from_pieces(context, folder, "tokenizer.json", tokenizer);
    }
    if (dqg_folder_has(folder, "spiece.model")) {
        return create_from_pieces(context, folder, "spiece.model", tokenizer);
    }
    return dqg_fail(context, DQG_ERROR_NOT_FOUND,
                    "the folder %s has no tokenizer: vocab.json with merges.txt, tokenizer.json or spiece.model",
                    folder);
}

static dqg_status pad_from_folder(struct dqg_context *context, const char *folder, struct dqg_tokenizer *tokenizer,
                                  bool *padded) {
    for (size_t i = 0; i < DQG_COUNT_OF(config_names) && !*padded; i++) {
        char *config;
        size_t size;
        if (dqg_folder_has(folder, config_names[i])) {
            DQG_TRY(dqg_file_read(context, folder, config_names[i], CONFIG_MAX, &config, &size));
            *padded = take_pad(context, config, tokenizer);
            dqg_free(&context->alloc, config, size + 1);
        }
    }
    return DQG_OK;
}

dqg_status dqg_tokenizer_of_path(struct dqg_context *context, const char *path, struct dqg_tokenizer **tokenizer,
                                 bool *padded) {
    char folder[4096];
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    *tokenizer = NULL;
    *padded = false;
    if (dqg_format(folder, sizeof folder, "%s", path) >= sizeof folder) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "the path of a tokenizer has more than %zu bytes", sizeof folder - 1);
    }
    bool whole = dqg_path_is_folder(path);
    if (!whole) {
        dqg_format(folder, sizeof folder, "%s", slash != NULL ? path : "./");
        *strrchr(folder, '/') = '\0';
    }
    bool pair = strcmp(name, "vocab.json") == 0 || strcmp(name, "merges.txt") == 0;
    dqg_status status = whole || pair ? create_from_folder(context, folder, tokenizer)
                                      : create_from_pieces(context, "", path, tokenizer);
    if (status >= 0) {
        status = pad_from_folder(context, folder, *tokenizer, padded);
    }
    if (status < 0) {
        dqg_tokenizer_destroy(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}
