/* SPDX-License-Identifier: MIT */
/*
 * From a prompt to rows of tokens: each run of one weight is encoded by itself, registered names stand for tokens of
 * their own, and the whole is cut into chunks that an encoder takes, at a comma where one is near the end.
 */
#include "text/prompt.h"

enum { COMMA_REACH = 20 }; /* tokens that may be carried over to the next chunk to begin it behind a comma */

struct entry {
    int32_t id;
    float weight;
    int32_t group; /* tokens of the name that begins here; 1 for others; 0: the end of a chunk */
};

struct maker {
    struct dqg_context *context;
    const struct dqg_tokenizer *tokenizer;
    const struct dqg_prompt_shape *shape;
    struct entry *entries;
    size_t count, room;
    int32_t comma; /* its id, or -1 */
};

/* ---- tokens ---- */

static dqg_status reserve(struct maker *maker, size_t extra) {
    size_t need, bytes;
    if (!dqg_add_size(maker->count, extra, &need) || !dqg_mul_size(need, 2 * sizeof(struct entry), &bytes)) {
        return dqg_fail_memory(maker->context, "a prompt", SIZE_MAX);
    }
    if (need <= maker->room) {
        return DQG_OK;
    }
    struct entry *entries = dqg_malloc(&maker->context->alloc, bytes);
    if (entries == NULL) {
        return dqg_fail_memory(maker->context, "a prompt", bytes);
    }
    if (maker->count > 0) {
        memcpy(entries, maker->entries, maker->count * sizeof *entries);
    }
    dqg_free(&maker->context->alloc, maker->entries, maker->room * sizeof *entries);
    maker->entries = entries;
    maker->room = 2 * need;
    return DQG_OK;
}

static dqg_status add_text(struct maker *maker, const char *text, size_t length, double weight) {
    size_t count;
    DQG_TRY(dqg_tokenizer_encode(maker->context, maker->tokenizer, text, length, NULL, 0, &count));
    DQG_TRY(reserve(maker, count));
    size_t bytes = count * sizeof(int32_t);
    int32_t *ids = dqg_malloc(&maker->context->alloc, bytes);
    if (ids == NULL) {
        return dqg_fail_memory(maker->context, "a prompt", bytes);
    }
    dqg_status status = dqg_tokenizer_encode(maker->context, maker->tokenizer, text, length, ids, count, &count);
    for (size_t i = 0; status >= 0 && i < count; i++) {
        maker->entries[maker->count++] = (struct entry){ids[i], (float)weight, 1};
    }
    dqg_free(&maker->context->alloc, ids, bytes);
    return status;
}

static dqg_status add_name(struct maker *maker, const struct dqg_token_name *name, double weight) {
    DQG_TRY(reserve(maker, (size_t)name->count));
    for (int32_t i = 0; i < name->count; i++) {
        maker->entries[maker->count++] = (struct entry){name->first + i, (float)weight, i == 0 ? name->count : 1};
    }
    return DQG_OK;
}

static char to_lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static bool begins(const char *text, size_t length, const char *word, size_t word_length) {
    size_t i = 0;
    while (i < word_length && i < length && to_lower(text[i]) == to_lower(word[i])) {
        i++;
    }
    return i == word_length;
}

/* A registered name at text[at], not a part of a longer word; the longest of several. size: with "embedding:". */
static const struct dqg_token_name *name_at(const struct maker *maker, const char *text, size_t length, size_t at,
                                           size_t *size) {
    static const char prefix[] = "embedding:";
    const struct dqg_token_name *found = NULL;
    size_t skip = begins(text + at, length - at, prefix, sizeof prefix - 1) ? sizeof prefix - 1 : 0;
    *size = 0;
    for (size_t i = 0; i < maker->shape->name_count; i++) {
        const char *name = maker->shape->names[i].name;
        size_t name_length = strlen(name), end = at + skip + name_length;
        if (name_length == 0 || !begins(text + at + skip, length - at - skip, name, name_length) ||
            skip + name_length <= *size ||
            (skip == 0 && at > 0 && dqg_is_word_byte(text[at - 1]) && dqg_is_word_byte(name[0])) ||
            (end < length && dqg_is_word_byte(text[end]) && dqg_is_word_byte(name[name_length - 1]))) {
            continue;
        }
        found = &maker->shape->names[i];
        *size = skip + name_length;
    }
    return found;
}

static dqg_status add_run(struct maker *maker, const char *text, size_t length, double weight) {
    size_t from = 0, size;
    for (size_t at = 0; at < length;) {
        const struct dqg_token_name *name = name_at(maker, text, length, at, &size);
        if (name == NULL) {
            at++;
            continue;
        }
        DQG_TRY(add_text(maker, text + from, at - from, weight));
        DQG_TRY(add_name(maker, name, weight));
        from = at += size;
    }
    return add_text(maker, text + from, length - from, weight);
}

static dqg_status add_weighted(struct maker *maker, const char *text, size_t length) {
    const struct dqg_alloc *alloc = &maker->context->alloc;
    size_t items_size = (length + 1) * sizeof(struct dqg_prompt_run);
    char *work = dqg_malloc(alloc, items_size + length);
    if (work == NULL) {
        return dqg_fail_memory(maker->context, "a prompt", items_size + length);
    }
    struct dqg_prompt_runs runs = {work + items_size, (struct dqg_prompt_run *)work, 0};
    dqg_status status = dqg_prompt_parse(maker->context, text, length, &runs);
    for (size_t i = 0; status >= 0 && i < runs.count; i++) {
        const struct dqg_prompt_run *run = &runs.items[i];
        if (!run->stop) {
            status = add_run(maker, runs.text + run->begin, run->end - run->begin, run->weight);
        } else if (maker->shape->chunks && (status = reserve(maker, 1)) >= 0) {
            maker->entries[maker->count++] = (struct entry){0, 1, 0};
        }
    }
    dqg_free(alloc, work, items_size + length);
    return status;
}

/* ---- chunks ---- */

/* The end of the chunk that begins at begin. */
static size_t chunk_end(const struct maker *maker, size_t begin, size_t capacity) {
    size_t comma = SIZE_MAX;
    for (size_t i = begin; i < maker->count; i += (size_t)maker->entries[i].group) {
        const struct entry *entry = &maker->entries[i];
        size_t filled = i - begin;
        bool is_comma = entry->id == maker->comma && entry->group == 1;
        if (entry->group == 0) {
            return i;
        }
        if (filled == capacity && !is_comma && comma != SIZE_MAX && i - comma <= COMMA_REACH) {
            return comma + 1;
        }
        if (filled + (size_t)entry->group > capacity) {
            return filled > 0 ? i : begin + capacity; /* a name longer than a chunk is cut */
        }
        comma = is_comma ? i : comma;
    }
    return maker->count;
}

/* Where the next one begins: behind a BREAK. */
static size_t next_begin(const struct maker *maker, size_t end) {
    return end + (end < maker->count && maker->entries[end].group == 0);
}

static void fill_row(const struct maker *maker, size_t begin, size_t end, struct dqg_prompt *prompt, size_t row) {
    struct dqg_token_ids special = dqg_tokenizer_ids(maker->tokenizer);
    int32_t pad = maker->shape->pad >= 0 ? maker->shape->pad : special.pad >= 0 ? special.pad : 0;
    int32_t *ids = prompt->ids + row * prompt->length;
    float *weights = prompt->weights + row * prompt->length;
    size_t at = 0;
    if (special.bos >= 0) {
        ids[at++] = special.bos;
    }
    for (size_t i = begin; i < end; i++) {
        weights[at] = maker->entries[i].weight;
        ids[at++] = maker->entries[i].id;
    }
    if (special.eos >= 0) {
        ids[at++] = special.eos;
    }
    prompt->used[row] = at;
    while (at < prompt->length) {
        ids[at++] = pad;
    }
}

static dqg_status make_rows(const struct maker *maker, size_t capacity, struct dqg_prompt *prompt) {
    const struct dqg_alloc *alloc = &maker->context->alloc;
    size_t rows = 0, begin = 0, end;
    do {
        end = chunk_end(maker, begin, capacity);
        begin = next_begin(maker, end);
        rows++;
    } while (maker->shape->chunks && begin < maker->count);
    if (rows > DQG_CHUNKS_MAX) {
        return dqg_fail(maker->context, DQG_ERROR_LIMIT, "prompt: %zu chunks of %zu tokens, at most %d", rows,
                        maker->shape->length, DQG_CHUNKS_MAX);
    }
    size_t tokens = rows * maker->shape->length;
    *prompt = (struct dqg_prompt){.chunk_count = rows, .length = maker->shape->length};
    prompt->ids = dqg_malloc(alloc, tokens * sizeof *prompt->ids);
    prompt->weights = dqg_malloc(alloc, tokens * sizeof *prompt->weights);
    prompt->used = dqg_malloc(alloc, rows * sizeof *prompt->used);
    if (prompt->ids == NULL || prompt->weights == NULL || prompt->used == NULL) {
        dqg_prompt_free(alloc, prompt);
        return dqg_fail_memory(maker->context, "a prompt", tokens * 2 * sizeof(float));
    }
    for (size_t i = 0; i < tokens; i++) {
        prompt->weights[i] = 1;
    }
    begin = 0;
    for (size_t row = 0; row < rows; row++) {
        end = maker->shape->chunks ? chunk_end(maker, begin, capacity)
                                   : dqg_min_size(maker->count, capacity); /* no comma is looked for */
        fill_row(maker, begin, end, prompt, row);
        begin = next_begin(maker, end);
    }
    prompt->cut = begin < maker->count;
    return DQG_OK;
}

dqg_status dqg_prompt_create(struct dqg_context *context, const struct dqg_tokenizer *tokenizer, const char *text,
                             size_t length, const struct dqg_prompt_shape *shape, struct dqg_prompt *prompt) {
    struct maker maker = {.context = context, .tokenizer = tokenizer, .shape = shape, .comma = -1};
    struct dqg_token_ids special = dqg_tokenizer_ids(tokenizer);
    size_t around = (size_t)(special.bos >= 0) + (size_t)(special.eos >= 0), count;
    *prompt = (struct dqg_prompt){0};
    if (shape->length <= around || shape->length > DQG_CHUNK_MAX) {
        return dqg_fail(context, DQG_ERROR_RANGE, "prompt: chunks of %zu tokens; %zu to %d are possible", shape->length,
                        around + 1, DQG_CHUNK_MAX);
    }
    if (length > DQG_TEXT_MAX) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "prompt: %zu bytes, at most %d", length, DQG_TEXT_MAX);
    }
    DQG_TRY(dqg_tokenizer_encode(context, tokenizer, ",", 1, &maker.comma, 1, &count));
    maker.comma = count == 1 ? maker.comma : -1;
    dqg_status status = shape->weighted ? add_weighted(&maker, text, length) : add_run(&maker, text, length, 1);
    if (status >= 0) {
        status = make_rows(&maker, shape->length - around, prompt);
    }
    dqg_free(&context->alloc, maker.entries, maker.room * sizeof *maker.entries);
    return status;
}

void dqg_prompt_free(const struct dqg_alloc *alloc, struct dqg_prompt *prompt) {
    size_t tokens = prompt->chunk_count * prompt->length;
    dqg_free(alloc, prompt->ids, tokens * sizeof *prompt->ids);
    dqg_free(alloc, prompt->weights, tokens * sizeof *prompt->weights);
    dqg_free(alloc, prompt->used, prompt->chunk_count * sizeof *prompt->used);
    *prompt = (struct dqg_prompt){0};
}
