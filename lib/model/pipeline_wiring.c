/* SPDX-License-Identifier: MIT */
/*
 * The text that says how encoders' outputs become a denoiser's inputs, read and checked:
 *
 *   context = stack { "+" stack }      rows of stacks one after the other, zeros up to the context's columns
 *   stack   = term { "|" term }        columns of terms side by side
 *   term    = role or "zeros", then words: skip N, no-norm, no-projection, pad N, tokens N, mask
 *
 * docs/pipelines.md explains the words. Metadata come from files of strangers: nothing is believed.
 */
#include "model/pipeline.h"

enum { TOKENS_MOST = 4096, WORD_BYTES = 32, SHOWN_BYTES = 101 };

static const char context_key[] = "pipeline.context";
static const char pooled_key[] = "pipeline.pooled";

struct reader {
    struct dqg_context *context;
    const struct dqg_model *model;
    const char *key, *at;
    char shown[SHOWN_BYTES]; /* in messages: the beginning of the text */
    char word[WORD_BYTES];
};

static dqg_status fail(const struct reader *reader, const char *what) {
    return dqg_fail(reader->context, DQG_ERROR_FORMAT, "metadata '%s' is '%s': %s", reader->key, reader->shown, what);
}

const struct dqg_model *dqg_model_encoder(const struct dqg_model *model, const char *role) {
    for (size_t i = 0; i <= model->part_count; i++) {
        const struct dqg_model *part = i == 0 ? model : model->parts[i - 1];
        if (part->hyper.vocabulary > 0 && strcmp(part->role, role) == 0) {
            return part;
        }
    }
    return NULL;
}

/* ---- words ---- */

/* The next word, a bar and a plus being words, or an empty one at the end. */
static dqg_status next(struct reader *reader) {
    size_t length = 0;
    while (*reader->at == ' ') {
        reader->at++;
    }
    while (reader->at[length] != '\0' && reader->at[length] != ' ') {
        length++;
    }
    if (length >= sizeof reader->word) {
        return fail(reader, "a word is too long");
    }
    memcpy(reader->word, reader->at, length);
    reader->word[length] = '\0';
    reader->at += length;
    return DQG_OK;
}

static bool is(const struct reader *reader, const char *word) {
    return strcmp(reader->word, word) == 0;
}

static bool ends_term(const struct reader *reader) {
    return is(reader, "|") || is(reader, "+") || is(reader, "");
}

static dqg_status number(struct reader *reader, size_t most, size_t *value) {
    int64_t read;
    DQG_TRY(next(reader));
    if (!dqg_parse_int64(reader->word, strlen(reader->word), &read) || read < 0 || (uint64_t)read > most) {
        return fail(reader, "a number is missing or out of range");
    }
    *value = (size_t)read;
    return DQG_OK;
}

/* ---- terms ---- */

static dqg_status read_name(struct reader *reader, struct dqg_term *term) {
    *term = (struct dqg_term){.pad = -1};
    if (is(reader, "zeros")) {
        return DQG_OK;
    }
    term->encoder = dqg_model_encoder(reader->model, reader->word);
    if (term->encoder == NULL) {
        return dqg_fail(reader->context, DQG_ERROR_UNSUPPORTED,
                        "metadata '%s' is '%s', but the file has no text encoder '%s'", reader->key, reader->shown,
                        reader->word);
    }
    term->tokens = term->encoder->hyper.positions;
    term->chunked = term->tokens > 0;
    return DQG_OK;
}

static dqg_status read_word(struct reader *reader, struct dqg_term *term) {
    size_t value;
    const struct dqg_hyper *hyper = term->encoder != NULL ? &term->encoder->hyper : NULL;
    if (is(reader, "tokens")) {
        DQG_TRY(number(reader, TOKENS_MOST, &term->tokens));
        term->chunked = false;
    } else if (hyper != NULL && is(reader, "skip")) {
        DQG_TRY(number(reader, hyper->depth, &term->skip));
    } else if (hyper != NULL && is(reader, "pad")) {
        DQG_TRY(number(reader, hyper->vocabulary - 1, &value));
        term->pad = (int32_t)value;
    } else if (hyper != NULL && is(reader, "no-norm")) {
        term->no_norm = true;
    } else if (hyper != NULL && is(reader, "no-projection")) {
        term->no_projection = true;
    } else if (hyper != NULL && is(reader, "mask")) {
        term->masked = true;
    } else {
        return dqg_fail(reader->context, DQG_ERROR_FORMAT, "metadata '%s' is '%s': '%s' has no meaning there",
                        reader->key, reader->shown, reader->word);
    }
    return DQG_OK;
}

static dqg_status check_term(struct reader *reader, const struct dqg_term *term) {
    const struct dqg_hyper *hyper = term->encoder != NULL ? &term->encoder->hyper : NULL;
    if (term->tokens < 3 || (hyper != NULL && hyper->positions > 0 && term->tokens > hyper->positions)) {
        return fail(reader, "a term needs 'tokens N', from 3 to what the encoder takes");
    }
    if (term->masked && reader->model->hyper.masked == false) {
        return fail(reader, "the denoiser takes no mask");
    }
    return DQG_OK;
}

/* Terms with bars or, where stacks is not NULL, pluses between them. */
static dqg_status read_terms(struct reader *reader, struct dqg_term *terms, size_t *count, size_t *stacks) {
    size_t stack = 0;
    *count = 0;
    do {
        DQG_TRY(next(reader));
        if (*count == DQG_TERMS_MAX) {
            return fail(reader, "too many terms");
        }
        struct dqg_term *term = &terms[(*count)++];
        DQG_TRY(read_name(reader, term));
        DQG_TRY(next(reader));
        while (!ends_term(reader)) {
            DQG_TRY(read_word(reader, term));
            DQG_TRY(next(reader));
        }
        DQG_TRY(check_term(reader, term));
        term->stack = stack;
        if (is(reader, "+")) {
            if (stacks == NULL) {
                return fail(reader, "a pooled row has no rows after it");
            }
            stack++;
        }
    } while (!is(reader, ""));
    if (stacks != NULL) {
        *stacks = stack + 1;
    }
    return DQG_OK;
}

/* ---- sizes ---- */

static dqg_status place_context(struct reader *reader, struct dqg_wiring *wiring) {
    for (size_t i = 0; i < wiring->context_count; i++) {
        struct dqg_term *term = &wiring->context[i], *before = i > 0 ? term - 1 : NULL;
        bool beside = before != NULL && before->stack == term->stack;
        term->columns = term->encoder != NULL ? term->encoder->hyper.hidden : wiring->hyper->context_width;
        term->column = beside ? before->column + before->columns : 0;
        if (beside && (before->tokens != term->tokens || before->chunked != term->chunked)) {
            return fail(reader, "terms side by side have other numbers of rows");
        }
        if (term->column + term->columns > wiring->hyper->context_width) {
            return dqg_fail(reader->context, DQG_ERROR_FORMAT,
                            "metadata '%s' is '%s': rows of %zu columns, the denoiser takes %zu", reader->key,
                            reader->shown, term->column + term->columns, wiring->hyper->context_width);
        }
    }
    return DQG_OK;
}

static dqg_status place_pooled(struct reader *reader, struct dqg_wiring *wiring) {
    size_t columns = 0;
    for (size_t i = 0; i < wiring->pooled_count; i++) {
        struct dqg_term *term = &wiring->pooled[i];
        if (term->encoder == NULL || term->encoder->hyper.positions == 0) {
            return fail(reader, "only encoders of CLIP have a pooled row");
        }
        const struct dqg_hyper *hyper = &term->encoder->hyper;
        term->column = columns;
        term->columns = hyper->projection > 0 && !term->no_projection ? hyper->projection : hyper->hidden;
        columns += term->columns;
    }
    if (columns != wiring->hyper->pooled_width) {
        return dqg_fail(reader->context, DQG_ERROR_FORMAT,
                        "metadata '%s' is '%s': a row of %zu columns, the denoiser takes %zu", reader->key,
                        reader->shown, columns, wiring->hyper->pooled_width);
    }
    return DQG_OK;
}

static bool begin(struct reader *reader, const char *key) {
    reader->key = key;
    reader->at = dqg_model_find_metadata(reader->model, key);
    dqg_format(reader->shown, sizeof reader->shown, "%s", reader->at != NULL ? reader->at : "");
    return reader->at != NULL;
}

/* What is there, where nothing says how it fits. */
static dqg_status fail_unknown(struct dqg_context *context, const struct dqg_model *model) {
    char list[256] = "";
    for (size_t i = 0; i <= model->part_count; i++) {
        const struct dqg_model *part = i == 0 ? model : model->parts[i - 1];
        size_t length = strlen(list);
        if (part->hyper.vocabulary > 0) {
            dqg_format(list + length, sizeof list - length, "%s%s of %zu columns", length > 0 ? ", " : "", part->role,
                       part->hyper.hidden);
        }
    }
    const struct dqg_hyper *hyper = &model->hyper;
    return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                    "the denoiser takes a context of %zu columns and a pooled row of %zu, which the text encoders of "
                    "the file (%s) do not make; where they do, say how in the metadata '%s'",
                    hyper->context_width, hyper->pooled_width, list[0] != '\0' ? list : "none", context_key);
}

dqg_status dqg_wiring_read(struct dqg_context *context, const struct dqg_model *model, struct dqg_wiring *wiring) {
    struct reader reader = {.context = context, .model = model};
    *wiring = (struct dqg_wiring){.hyper = &model->hyper};
    if (model->hyper.context_width == 0) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "a %s model takes no prompt", model->family->name);
    }
    if (!begin(&reader, context_key)) {
        return fail_unknown(context, model);
    }
    DQG_TRY(read_terms(&reader, wiring->context, &wiring->context_count, &wiring->stacks));
    DQG_TRY(place_context(&reader, wiring));
    if (model->hyper.pooled_width > 0) {
        if (!begin(&reader, pooled_key)) {
            return fail_unknown(context, model);
        }
        DQG_TRY(read_terms(&reader, wiring->pooled, &wiring->pooled_count, NULL));
        DQG_TRY(place_pooled(&reader, wiring));
    }
    const char *negative = dqg_model_find_metadata(model, "pipeline.negative");
    wiring->zero_negative = negative != NULL && strcmp(negative, "zeros") == 0;
    return DQG_OK;
}
