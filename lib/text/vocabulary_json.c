/* SPDX-License-Identifier: MIT */
/*
 * Vocabularies as JSON: tokenizer.json of either kind, and vocab.json with merges.txt. The text is checked as a whole
 * first; then members are looked up by name, whatever their order.
 */
#include "support/json.h"
#include "text/tokenizer.h"

/* What the readers share. The vocabulary of byte pairs is needed only to number the merges: scratch. */
struct reader {
    struct dqg_context *context;
    struct dqg_tokenizer *tokenizer;
    const char *what;
    struct dqg_arena scratch;
    struct dqg_strings vocab;
    bool out_of_memory; /* a member may be there although it was not found */
};

static dqg_status json_fail(const struct reader *reader, const struct dqg_json *json) {
    return json->out_of_memory ? dqg_fail_memory(reader->context, reader->what, 0)
                               : dqg_fail(reader->context, DQG_ERROR_FORMAT, "%s: byte %zu: %s", reader->what,
                                          (size_t)(json->at - json->start),
                                          json->error != NULL ? json->error : "not what is expected there");
}

static dqg_status wrong(const struct reader *reader, const char *member, const char *wanted) {
    return dqg_fail(reader->context, DQG_ERROR_FORMAT, "%s: \"%s\" is not %s", reader->what, member, wanted);
}

/* Move a copy of the parser to a member of the object that comes next. false: there is none, or it is null. */
static bool find(struct reader *reader, struct dqg_json object, const char *name, struct dqg_json *value) {
    const char *key;
    if (dqg_json_peek(&object) != DQG_JSON_OBJECT || !dqg_json_enter(&object)) {
        return false;
    }
    while (dqg_json_next(&object) && dqg_json_key(&object, &reader->context->alloc, &reader->scratch, &key)) {
        if (strcmp(key, name) == 0) {
            *value = object;
            return dqg_json_peek(&object) != DQG_JSON_NULL;
        }
        dqg_json_skip(&object);
    }
    reader->out_of_memory = reader->out_of_memory || object.out_of_memory;
    return false;
}

/* A text member, or NULL. */
static const char *find_text(struct reader *reader, struct dqg_json object, const char *name) {
    struct dqg_json value;
    const char *text = NULL;
    if (find(reader, object, name, &value)) {
        dqg_json_string(&value, &reader->context->alloc, &reader->scratch, &text);
        reader->out_of_memory = reader->out_of_memory || value.out_of_memory;
    }
    return text;
}

static dqg_status check_id(const struct reader *reader, const char *text, int64_t id) {
    return id >= 0 && id < DQG_TOKEN_ID_MAX ? DQG_OK
                                            : dqg_fail(reader->context, DQG_ERROR_FORMAT, "%s: \"%s\" has the id %lld",
                                                       reader->what, text, (long long)id);
}

/* ---- tokens with a meaning ---- */

static int32_t special_id(const struct dqg_tokenizer *tokenizer, const char *name) {
    for (size_t i = 0; i < tokenizer->specials.count; i++) {
        const struct dqg_string *special = &tokenizer->specials.items[i];
        if (special->length == strlen(name) && memcmp(special->text, name, special->length) == 0) {
            return special->id;
        }
    }
    return -1;
}

static dqg_status read_added(struct reader *reader, struct dqg_json root) {
    struct dqg_tokenizer *tokenizer = reader->tokenizer;
    struct dqg_json added, member;
    if (!find(reader, root, "added_tokens", &added)) {
        return DQG_OK;
    }
    size_t count = dqg_json_peek(&added) == DQG_JSON_ARRAY ? dqg_json_count(&added) : 0;
    if (count > DQG_PIECES_MAX || !dqg_json_enter(&added)) {
        return wrong(reader, "added_tokens", "a list that fits");
    }
    DQG_TRY(
        dqg_tokenizer_memory(reader->context, tokenizer, count, sizeof(struct dqg_string), &tokenizer->specials.items));
    while (dqg_json_next(&added)) {
        const char *text = find_text(reader, added, "content");
        int64_t id = -1;
        if (text == NULL || !find(reader, added, "id", &member) || !dqg_json_int(&member, &id)) {
            return wrong(reader, "added_tokens", "a list of tokens with \"content\" and \"id\"");
        }
        DQG_TRY(check_id(reader, text, id));
        DQG_TRY(
            dqg_tokenizer_keep(reader->context, tokenizer, &tokenizer->specials, text, strlen(text), (int32_t)id, 0));
        dqg_json_skip(&added);
    }
    return DQG_OK;
}

/* ---- byte pairs ---- */

static dqg_status read_map(struct reader *reader, struct dqg_json json) {
    size_t count = dqg_json_peek(&json) == DQG_JSON_OBJECT ? dqg_json_count(&json) : 0;
    if (count == 0 || count > DQG_PIECES_MAX) {
        return wrong(reader, "vocab", "an object of tokens and ids that fits");
    }
    struct dqg_string *items = dqg_arena_alloc(&reader->context->alloc, &reader->scratch, count * sizeof *items);
    if (items == NULL) {
        return dqg_fail_memory(reader->context, reader->what, count * sizeof *items);
    }
    reader->vocab.items = items;
    dqg_json_enter(&json);
    while (dqg_json_next(&json)) {
        const char *text;
        int64_t id;
        if (!dqg_json_key(&json, &reader->context->alloc, &reader->scratch, &text) || !dqg_json_int(&json, &id)) {
            return json_fail(reader, &json);
        }
        DQG_TRY(check_id(reader, text, id));
        items[reader->vocab.count++] = (struct dqg_string){text, (uint32_t)strlen(text), (int32_t)id, 0};
    }
    return dqg_strings_sort(reader->context, &reader->vocab, reader->what);
}

static int32_t vocab_id(const struct reader *reader, const char *text, size_t length) {
    const struct dqg_string *found = dqg_strings_find(&reader->vocab, text, length);
    return found != NULL ? found->id : -1;
}

/* The id of two texts in a row. */
static int32_t joined_id(const struct reader *reader, const char *left, size_t left_length, const char *right,
                         size_t right_length) {
    struct dqg_walk walk = dqg_walk_begin(&reader->vocab);
    for (size_t i = 0; i < left_length + right_length; i++) {
        if (!dqg_walk_step(&walk, i < left_length ? left[i] : right[i - left_length])) {
            return -1;
        }
    }
    return dqg_walk_match(&walk) != NULL ? dqg_walk_match(&walk)->id : -1;
}

/* "left right": the next merge. */
static dqg_status add_merge(struct reader *reader, const char *text, size_t length) {
    struct dqg_tokenizer *tokenizer = reader->tokenizer;
    const char *space = memchr(text, ' ', length);
    size_t left_length = space != NULL ? (size_t)(space - text) : 0;
    size_t right_length = space != NULL ? length - left_length - 1 : 0;
    struct dqg_merge merge = {-1, -1, -1, (uint32_t)tokenizer->merge_count};
    if (left_length > 0 && right_length > 0) {
        merge.left = vocab_id(reader, text, left_length);
        merge.right = vocab_id(reader, space + 1, right_length);
        merge.result = joined_id(reader, text, left_length, space + 1, right_length);
    }
    if (merge.left < 0 || merge.right < 0 || merge.result < 0) {
        return dqg_fail(reader->context, DQG_ERROR_FORMAT,
                        "merges: number %zu is not two tokens of the vocabulary that make a third",
                        tokenizer->merge_count);
    }
    tokenizer->merges[tokenizer->merge_count++] = merge;
    return DQG_OK;
}

/* Each byte has a printable character of its own in vocabularies: itself, or one from U+0100 on. */
static dqg_status read_bytes(struct reader *reader) {
    struct dqg_tokenizer *tokenizer = reader->tokenizer;
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; byte++) {
        bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        char symbol[4 + 4];
        size_t length = dqg_utf8_put(itself ? byte : next++, symbol);
        memcpy(symbol + length, "</w>", 4);
        for (int last = 0; last < 2; last++) {
            int32_t id = vocab_id(reader, symbol, length + (last ? 4 : 0));
            tokenizer->byte_ids[last][byte] = id >= 0 ? id : tokenizer->ids.unknown;
            if (tokenizer->byte_ids[last][byte] < 0) {
                return dqg_fail(reader->context, DQG_ERROR_FORMAT, "%s: no token for byte %u%s", reader->what, byte,
                                last ? " at the end of a word" : "");
            }
        }
    }
    return DQG_OK;
}

static dqg_status finish_byte_pairs(struct reader *reader, const char *unknown) {
    struct dqg_tokenizer *tokenizer = reader->tokenizer;
    tokenizer->kind = DQG_TOKENIZER_BYTE_PAIR;
    tokenizer->ids.bos = special_id(tokenizer, "<|startoftext|>");
    tokenizer->ids.eos = tokenizer->ids.pad = special_id(tokenizer, "<|endoftext|>");
    tokenizer->ids.unknown = unknown != NULL ? vocab_id(reader, unknown, strlen(unknown)) : -1;
    return read_bytes(reader);
}

static dqg_status read_merges_list(struct reader *reader, struct dqg_json json) {
    const struct dqg_alloc *alloc = &reader->context->alloc;
    size_t count = dqg_json_peek(&json) == DQG_JSON_ARRAY ? dqg_json_count(&json) : 0;
    if (count > DQG_PIECES_MAX || !dqg_json_enter(&json)) {
        return wrong(reader, "merges", "a list that fits");
    }
    DQG_TRY(dqg_tokenizer_memory(reader->context, reader->tokenizer, count, sizeof(struct dqg_merge),
                                 &reader->tokenizer->merges));
    while (dqg_json_next(&json)) {
        const char *first, *second;
        if (dqg_json_peek(&json) != DQG_JSON_ARRAY) {
            if (!dqg_json_string(&json, alloc, &reader->scratch, &first)) {
                return json_fail(reader, &json);
            }
            DQG_TRY(add_merge(reader, first, strlen(first)));
            continue;
        }
        struct dqg_text pair = {.alloc = alloc};
        bool read = dqg_json_enter(&json) && dqg_json_next(&json) &&
                    dqg_json_string(&json, alloc, &reader->scratch, &first) && dqg_json_next(&json) &&
                    dqg_json_string(&json, alloc, &reader->scratch, &second) && !dqg_json_next(&json);
        if (!read) {
            return json_fail(reader, &json);
        }
        dqg_text_add(&pair, "%s %s", first, second);
        dqg_status status =
            pair.failed ? dqg_fail_memory(reader->context, reader->what, 0) : add_merge(reader, pair.data, pair.length);
        dqg_text_free(&pair);
        DQG_TRY(status);
    }
    return DQG_OK;
}

/* merges.txt: a line for each, after a line "#version: ..." that may be missing. */
static dqg_status read_merges_text(struct reader *reader, const char *text, size_t size) {
    size_t lines = 1;
    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n';
    }
    if (lines > DQG_PIECES_MAX) {
        return dqg_fail(reader->context, DQG_ERROR_FORMAT, "merges: %zu lines, at most %d", lines, DQG_PIECES_MAX);
    }
    DQG_TRY(dqg_tokenizer_memory(reader->context, reader->tokenizer, lines, sizeof(struct dqg_merge),
                                 &reader->tokenizer->merges));
    for (size_t at = 0, next; at < size; at = next) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end != NULL ? (size_t)(end - text) - at : size - at;
        next = at + length + 1;
        length -= length > 0 && text[at + length - 1] == '\r';
        bool title = at == 0 && length >= 8 && memcmp(text, "#version", 8) == 0;
        if (length > 0 && !title) {
            DQG_TRY(add_merge(reader, text + at, length));
        }
    }
    return DQG_OK;
}

/* ---- unigram ---- */

static dqg_status read_scores(struct reader *reader, struct dqg_json json) {
    struct dqg_tokenizer *tokenizer = reader->tokenizer;
    struct dqg_strings *pieces = &tokenizer->pieces;
    size_t count = dqg_json_peek(&json) == DQG_JSON_ARRAY ? dqg_json_count(&json) : 0;
    if (count > DQG_PIECES_MAX || !dqg_json_enter(&json)) {
        return wrong(reader, "vocab", "a list of pieces and scores that fits");
    }
    DQG_TRY(dqg_tokenizer_memory(reader->context, tokenizer, count, sizeof(struct dqg_string), &pieces->items));
    while (dqg_json_next(&json)) {
        const char *text;
        double score;
        bool read = dqg_json_peek(&json) == DQG_JSON_ARRAY && dqg_json_enter(&json) && dqg_json_next(&json) &&
                    dqg_json_string(&json, &tokenizer->alloc, &tokenizer->arena, &text) && dqg_json_next(&json) &&
                    dqg_json_number(&json, &score) && !dqg_json_next(&json);
        if (!read) {
            return json_fail(reader, &json);
        }
        pieces->items[pieces->count] =
            (struct dqg_string){text, (uint32_t)strlen(text), (int32_t)pieces->count, (float)score};
        pieces->count++;
    }
    return DQG_OK;
}

/* "precompiled_charsmap" of a normalizer, or of one in its list. */
static dqg_status read_charsmap(struct reader *reader, struct dqg_json normalizer) {
    struct dqg_json list;
    const char *text = find_text(reader, normalizer, "precompiled_charsmap");
    if (text == NULL && find(reader, normalizer, "normalizers", &list) && dqg_json_peek(&list) == DQG_JSON_ARRAY) {
        dqg_json_enter(&list);
        while (text == NULL && dqg_json_next(&list)) {
            text = find_text(reader, list, "precompiled_charsmap");
            dqg_json_skip(&list);
        }
    }
    if (text == NULL) {
        return DQG_OK;
    }
    size_t length = strlen(text), size;
    uint8_t *data = dqg_arena_alloc(&reader->context->alloc, &reader->scratch, length);
    if (data == NULL) {
        return dqg_fail_memory(reader->context, reader->what, length);
    }
    return dqg_base64_decode(text, length, data, &size)
               ? dqg_charsmap_read(reader->context, reader->tokenizer, data, size)
               : wrong(reader, "precompiled_charsmap", "base64");
}

static dqg_status read_unigram(struct reader *reader, struct dqg_json root, struct dqg_json model) {
    struct dqg_tokenizer *tokenizer = reader->tokenizer;
    struct dqg_json member;
    int64_t unknown = -1;
    tokenizer->kind = DQG_TOKENIZER_UNIGRAM;
    if (!find(reader, model, "vocab", &member)) {
        return wrong(reader, "vocab", "there");
    }
    DQG_TRY(read_scores(reader, member));
    if (find(reader, model, "unk_id", &member) &&
        (!dqg_json_int(&member, &unknown) || unknown < 0 || unknown >= (int64_t)tokenizer->pieces.count)) {
        return wrong(reader, "unk_id", "the number of a piece");
    }
    tokenizer->byte_fallback = find(reader, model, "byte_fallback", &member) && *member.at == 't';
    tokenizer->ids =
        (struct dqg_token_ids){-1, special_id(tokenizer, "</s>"), special_id(tokenizer, "<pad>"), (int32_t)unknown};
    return find(reader, root, "normalizer", &member) ? read_charsmap(reader, member) : DQG_OK;
}

/* ---- files ---- */

static dqg_status read_byte_pairs(struct reader *reader, struct dqg_json model) {
    struct dqg_json vocab, merges;
    const char *suffix = find_text(reader, model, "end_of_word_suffix");
    if (suffix == NULL || strcmp(suffix, "</w>") != 0) {
        return dqg_fail(reader->context, DQG_ERROR_UNSUPPORTED,
                        "%s: byte pairs whose words do not end in </w>; only CLIP's form is understood", reader->what);
    }
    if (!find(reader, model, "vocab", &vocab) || !find(reader, model, "merges", &merges)) {
        return wrong(reader, "model", "a vocabulary with merges");
    }
    DQG_TRY(read_map(reader, vocab));
    DQG_TRY(finish_byte_pairs(reader, find_text(reader, model, "unk_token")));
    return read_merges_list(reader, merges);
}

static dqg_status check_json(const struct reader *reader, const char *data, size_t size, struct dqg_json *root) {
    struct dqg_json whole;
    dqg_json_init(&whole, data, size);
    dqg_json_init(root, data, size);
    return dqg_json_skip(&whole) && dqg_json_end(&whole) ? DQG_OK : json_fail(reader, &whole);
}

static dqg_status read_tokenizer(struct reader *reader, const char *data, size_t size) {
    struct dqg_json root, model;
    DQG_TRY(check_json(reader, data, size, &root));
    if (!find(reader, root, "model", &model)) {
        return dqg_fail(reader->context, DQG_ERROR_FORMAT,
                        "%s: no \"model\" in it; a vocab.json needs its merges.txt beside it", reader->what);
    }
    DQG_TRY(read_added(reader, root));
    const char *type = find_text(reader, model, "type");
    if (type != NULL && strcmp(type, "BPE") == 0) {
        return read_byte_pairs(reader, model);
    }
    if (type != NULL && strcmp(type, "Unigram") == 0) {
        return read_unigram(reader, root, model);
    }
    return dqg_fail(reader->context, DQG_ERROR_UNSUPPORTED,
                    "%s: a model of type \"%s\"; BPE and Unigram are understood", reader->what,
                    type != NULL ? type : "");
}

dqg_status dqg_tokenizer_read_json(struct dqg_context *context, const char *data, size_t size,
                                   struct dqg_tokenizer *tokenizer) {
    struct reader reader = {.context = context, .tokenizer = tokenizer, .what = "tokenizer.json"};
    dqg_status status = read_tokenizer(&reader, data, size);
    dqg_arena_free(&context->alloc, &reader.scratch);
    if (reader.out_of_memory) { /* the cause of whatever was found wrong */
        dqg_error_clear(context);
        return dqg_fail_memory(context, reader.what, size);
    }
    return status;
}

static dqg_status read_vocab(struct reader *reader, const char *data, size_t size, const char *merges,
                             size_t merges_size) {
    static const char *const names[] = {"<|startoftext|>", "<|endoftext|>"};
    struct dqg_tokenizer *tokenizer = reader->tokenizer;
    struct dqg_json root;
    DQG_TRY(check_json(reader, data, size, &root));
    DQG_TRY(read_map(reader, root));
    DQG_TRY(dqg_tokenizer_memory(reader->context, tokenizer, DQG_COUNT_OF(names), sizeof(struct dqg_string),
                                 &tokenizer->specials.items));
    for (size_t i = 0; i < DQG_COUNT_OF(names); i++) {
        int32_t id = vocab_id(reader, names[i], strlen(names[i]));
        if (id < 0) {
            return dqg_fail(reader->context, DQG_ERROR_FORMAT, "%s: no token %s", reader->what, names[i]);
        }
        DQG_TRY(
            dqg_tokenizer_keep(reader->context, tokenizer, &tokenizer->specials, names[i], strlen(names[i]), id, 0));
    }
    DQG_TRY(finish_byte_pairs(reader, names[1]));
    return read_merges_text(reader, merges, merges_size);
}

dqg_status dqg_tokenizer_read_vocab(struct dqg_context *context, const char *data, size_t size, const char *merges,
                                    size_t merges_size, struct dqg_tokenizer *tokenizer) {
    struct reader reader = {.context = context, .tokenizer = tokenizer, .what = "vocab.json"};
    dqg_status status = read_vocab(&reader, data, size, merges, merges_size);
    dqg_arena_free(&context->alloc, &reader.scratch);
    return status;
}
