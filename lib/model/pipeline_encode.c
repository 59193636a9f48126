/* SPDX-License-Identifier: MIT */
/*
 * From prompts to the inputs of a denoiser: tokens for each encoder, rows of encoders side by side and one after the
 * other, weights of words, masks. Every chunk is an evaluation by itself, so that memory does not grow with prompts.
 * Weights are those of AUTOMATIC1111's program: rows times weights, then the mean of all that it was.
 */
#include <math.h>

#include "model/pipeline.h"

enum { PROMPTS_MOST = 4096 };

enum { OF_CONTEXT, OF_POOLED };

static const struct dqg_term *terms_of(const struct dqg_encoding *encoding, int kind, size_t *count) {
    *count = kind == OF_CONTEXT ? encoding->wiring.context_count : encoding->wiring.pooled_count;
    return kind == OF_CONTEXT ? encoding->wiring.context : encoding->wiring.pooled;
}

static struct dqg_prompt *tokens_of(const struct dqg_encoding *encoding, int kind, size_t term, size_t prompt) {
    return &encoding->tokens[kind][term * encoding->prompts.count + prompt];
}

/* ---- tokens ---- */

static dqg_status tokenize(struct dqg_encoding *encoding, int kind, size_t index, const struct dqg_term *term) {
    struct dqg_context *context = encoding->context;
    const struct dqg_prompts *prompts = &encoding->prompts;
    const struct dqg_prompt_shape shape = {.length = term->tokens,
                                           .chunks = term->chunked && !prompts->one_chunk,
                                           .pad = term->pad,
                                           .weighted = !prompts->plain,
                                           .names = term->encoder->token_names,
                                           .name_count = term->encoder->token_name_count};
    if (term->encoder->tokenizer == NULL) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "the file has no tokenizer for the text encoder '%s': quantize the checkpoint with one (option "
                        "--tokenizer, dqg_quantizer_add_tokenizer())",
                        term->encoder->role);
    }
    for (size_t p = 0; p < prompts->count; p++) {
        struct dqg_prompt *prompt = tokens_of(encoding, kind, index, p);
        const char *text = prompts->texts[p] != NULL ? prompts->texts[p] : "";
        DQG_TRY(dqg_prompt_create(context, term->encoder->tokenizer, text, strlen(text), &shape, prompt));
        for (size_t i = 0; i < prompt->chunk_count * prompt->length; i++) {
            if (prompt->ids[i] < 0 || (size_t)prompt->ids[i] >= term->encoder->hyper.vocabulary) {
                return dqg_fail(context, DQG_ERROR_FORMAT,
                                "the tokenizer gives the token %d, the text encoder '%s' knows 0..%zu: it is that of "
                                "another encoder",
                                (int)prompt->ids[i], term->encoder->role, term->encoder->hyper.vocabulary - 1);
            }
        }
        encoding->cut = encoding->cut || prompt->cut;
        if (term->chunked && prompt->chunk_count > encoding->chunks) {
            encoding->chunks = prompt->chunk_count;
        }
    }
    return DQG_OK;
}

/* Tokens of a prompt shorter than the longest go on with those of an empty text. */
static dqg_status add_chunks(struct dqg_encoding *encoding, const struct dqg_term *term, struct dqg_prompt *prompt) {
    struct dqg_context *context = encoding->context;
    const struct dqg_alloc *alloc = &context->alloc;
    const struct dqg_prompt_shape shape = {.length = term->tokens, .pad = term->pad};
    size_t length = prompt->length, count = encoding->chunks * length;
    struct dqg_prompt empty, grown = {.chunk_count = encoding->chunks, .length = length, .cut = prompt->cut};
    if (prompt->chunk_count == encoding->chunks) {
        return DQG_OK;
    }
    DQG_TRY(dqg_prompt_create(context, term->encoder->tokenizer, "", 0, &shape, &empty));
    grown.ids = dqg_malloc(alloc, count * sizeof *grown.ids);
    grown.weights = dqg_malloc(alloc, count * sizeof *grown.weights);
    grown.used = dqg_malloc(alloc, encoding->chunks * sizeof *grown.used);
    bool good = grown.ids != NULL && grown.weights != NULL && grown.used != NULL;
    for (size_t chunk = 0; good && chunk < encoding->chunks; chunk++) {
        const struct dqg_prompt *from = chunk < prompt->chunk_count ? prompt : &empty;
        size_t at = chunk < prompt->chunk_count ? chunk : 0;
        memcpy(grown.ids + chunk * length, from->ids + at * length, length * sizeof *grown.ids);
        memcpy(grown.weights + chunk * length, from->weights + at * length, length * sizeof *grown.weights);
        grown.used[chunk] = from->used[at];
    }
    dqg_prompt_free(alloc, good ? prompt : &grown);
    dqg_prompt_free(alloc, &empty);
    if (good) {
        *prompt = grown;
    }
    return good ? DQG_OK : dqg_fail_memory(context, "a prompt", count * 2 * sizeof(float));
}

static dqg_status tokenize_all(struct dqg_encoding *encoding) {
    size_t count;
    for (int kind = OF_CONTEXT; kind <= OF_POOLED; kind++) {
        const struct dqg_term *terms = terms_of(encoding, kind, &count);
        size_t prompts = count * encoding->prompts.count;
        encoding->tokens[kind] = dqg_calloc(&encoding->context->alloc, prompts, sizeof **encoding->tokens);
        if (encoding->tokens[kind] == NULL) {
            return dqg_fail_memory(encoding->context, "the prompts", prompts * sizeof **encoding->tokens);
        }
        for (size_t i = 0; i < count; i++) {
            DQG_TRY(terms[i].encoder != NULL ? tokenize(encoding, kind, i, &terms[i]) : DQG_OK);
        }
    }
    return DQG_OK;
}

static size_t rows_of(const struct dqg_encoding *encoding, const struct dqg_term *term) {
    return term->tokens * (term->chunked ? encoding->chunks : 1);
}

static dqg_status check_prompts(struct dqg_context *context, struct dqg_encoding *encoding) {
    const struct dqg_prompts *prompts = &encoding->prompts;
    if (prompts->count < 1 || prompts->count > PROMPTS_MOST || prompts->chunks > DQG_CHUNKS_MAX) {
        return dqg_fail(context, DQG_ERROR_RANGE,
                        "%zu prompts of at least %zu chunks: 1 to %d, of at most %d, are "
                        "possible",
                        prompts->count, prompts->chunks, (int)PROMPTS_MOST, (int)DQG_CHUNKS_MAX);
    }
    for (size_t i = 0; i < encoding->wiring.context_count; i++) {
        struct dqg_term *term = &encoding->wiring.context[i];
        if (term->chunked) {
            term->skip += prompts->skip;
        }
        if (term->encoder != NULL && term->skip > term->encoder->hyper.depth) {
            return dqg_fail(context, DQG_ERROR_RANGE, "skip: %zu layers of the text encoder '%s', which has %zu",
                            term->skip, term->encoder->role, term->encoder->hyper.depth);
        }
    }
    return DQG_OK;
}

dqg_status dqg_encoding_prepare(struct dqg_context *context, const struct dqg_model *model,
                                const struct dqg_prompts *prompts, struct dqg_encoding *encoding) {
    size_t count;
    *encoding = (struct dqg_encoding){.context = context, .model = model, .prompts = *prompts};
    encoding->chunks = prompts->chunks > 1 ? prompts->chunks : 1;
    DQG_TRY(dqg_wiring_read(context, model, &encoding->wiring));
    DQG_TRY(check_prompts(context, encoding));
    DQG_TRY(tokenize_all(encoding));
    const struct dqg_term *terms = terms_of(encoding, OF_CONTEXT, &count);
    for (size_t i = 0; i < count; i++) {
        for (size_t p = 0; terms[i].chunked && terms[i].encoder != NULL && p < prompts->count; p++) {
            DQG_TRY(add_chunks(encoding, &terms[i], tokens_of(encoding, OF_CONTEXT, i, p)));
        }
        bool first = i == 0 || terms[i].stack != terms[i - 1].stack;
        encoding->rows += first ? rows_of(encoding, &terms[i]) : 0;
    }
    return DQG_OK;
}

void dqg_encoding_free(struct dqg_encoding *encoding) {
    const struct dqg_alloc *alloc = &encoding->context->alloc;
    size_t count;
    for (int kind = OF_CONTEXT; kind <= OF_POOLED; kind++) {
        terms_of(encoding, kind, &count);
        count *= encoding->prompts.count;
        for (size_t i = 0; encoding->tokens[kind] != NULL && i < count; i++) {
            dqg_prompt_free(alloc, &encoding->tokens[kind][i]);
        }
        dqg_free(alloc, encoding->tokens[kind], count * sizeof **encoding->tokens);
        encoding->tokens[kind] = NULL;
    }
}

/* ---- rows ---- */

/* Where everything goes; each may be NULL. */
struct target {
    float *context, *mask, *pooled;
};

static double mean(const float *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i];
    }
    return sum / (double)count;
}

static void weigh(float *rows, const float *weights, size_t tokens, size_t columns) {
    size_t plain = 0;
    while (plain < tokens && weights[plain] == 1) {
        plain++;
    }
    if (plain == tokens) {
        return;
    }
    double before = mean(rows, tokens * columns);
    for (size_t i = 0; i < tokens * columns; i++) {
        rows[i] *= weights[i / columns];
    }
    double ratio = before / mean(rows, tokens * columns);
    for (size_t i = 0; isfinite(ratio) && i < tokens * columns; i++) {
        rows[i] = (float)((double)rows[i] * ratio);
    }
}

/* First row of a stack in the context. */
static size_t stack_row(const struct dqg_encoding *encoding, size_t stack) {
    size_t row = 0;
    for (size_t i = 0; i < encoding->wiring.context_count; i++) {
        const struct dqg_term *term = &encoding->wiring.context[i];
        bool first = i == 0 || term[-1].stack != term->stack;
        row += first && term->stack < stack ? rows_of(encoding, term) : 0;
    }
    return row;
}

static void write_rows(const struct dqg_encoding *encoding, const struct dqg_term *term, size_t prompt, size_t chunk,
                       const float *rows, size_t used, const struct target *to) {
    size_t width = encoding->wiring.hyper->context_width;
    size_t first = prompt * encoding->rows + stack_row(encoding, term->stack) + chunk * term->tokens;
    for (size_t i = 0; to->context != NULL && i < term->tokens; i++) {
        memcpy(to->context + (first + i) * width + term->column, rows + i * term->columns,
               term->columns * sizeof *rows);
    }
    for (size_t i = used; to->mask != NULL && term->masked && i < term->tokens; i++) {
        to->mask[first + i] = 0;
    }
}

/* The pooled term that the first chunk of a context term can make in the same evaluation, or NULL. */
static const struct dqg_term *pooled_with(const struct dqg_encoding *encoding, const struct dqg_term *term) {
    for (size_t i = 0; i < encoding->wiring.pooled_count; i++) {
        if (encoding->wiring.pooled[i].encoder == term->encoder) {
            return &encoding->wiring.pooled[i];
        }
    }
    return NULL;
}

static struct dqg_text_form form_of(const struct dqg_term *rows, const struct dqg_term *pooled) {
    return (struct dqg_text_form){.skip = rows != NULL ? rows->skip : 0,
                                  .no_norm = rows != NULL && rows->no_norm,
                                  .no_rows = rows == NULL,
                                  .pooled = pooled != NULL,
                                  .no_projection = pooled != NULL && pooled->no_projection,
                                  .counted = rows != NULL && rows->masked};
}

/* One chunk of one prompt; pooled NULL: no pooled row, term NULL: nothing else. */
static dqg_status run_chunk(struct dqg_encoding *encoding, const struct dqg_model *encoder, const struct dqg_term *term,
                            const struct dqg_term *pooled, const struct dqg_prompt *tokens, size_t prompt, size_t chunk,
                            float *rows, const struct target *to) {
    const int32_t *ids = tokens->ids + chunk * tokens->length;
    const int32_t used = (int32_t)tokens->used[chunk];
    const int32_t pick = dqg_text_pick(ids, tokens->length, dqg_text_end_token(encoder, 0));
    const struct dqg_text_job job = {
        .prompts = 1,
        .tokens = tokens->length,
        .form = form_of(term, pooled),
        .ids = ids,
        .lengths = term != NULL && term->masked ? &used : NULL,
        .picks = &pick,
        .rows = term != NULL ? rows : NULL,
        .pooled = pooled != NULL ? to->pooled + prompt * encoding->wiring.hyper->pooled_width + pooled->column : NULL};
    DQG_TRY(dqg_text_run(encoding->context, encoder, &job));
    if (term != NULL) {
        weigh(rows, tokens->weights + chunk * tokens->length, tokens->length, term->columns);
        write_rows(encoding, term, prompt, chunk, rows, (size_t)used, to);
    }
    return DQG_OK;
}

static bool is_wanted(const struct dqg_encoding *encoding, size_t prompt) {
    return encoding->prompts.texts[prompt] != NULL || !encoding->wiring.zero_negative;
}

/* All that one encoder makes. */
static dqg_status run_encoder(struct dqg_encoding *encoding, const struct dqg_model *encoder,
                              const struct dqg_model *network, const struct target *to) {
    const struct dqg_wiring *wiring = &encoding->wiring;
    size_t floats = 0;
    for (size_t i = 0; i < wiring->context_count; i++) {
        size_t own = wiring->context[i].tokens * wiring->context[i].columns;
        floats = wiring->context[i].encoder == encoder && own > floats ? own : floats;
    }
    float *rows = dqg_malloc(&encoding->context->alloc, floats * sizeof *rows);
    if (rows == NULL) {
        return dqg_fail_memory(encoding->context, "the encoded prompts", floats * sizeof *rows);
    }
    dqg_status status = DQG_OK;
    for (size_t p = 0; p < encoding->prompts.count; p++) {
        bool pooled_done = to->pooled == NULL;
        for (size_t i = 0; to->context != NULL && i < wiring->context_count && is_wanted(encoding, p); i++) {
            const struct dqg_term *term = &wiring->context[i];
            const struct dqg_prompt *tokens = tokens_of(encoding, OF_CONTEXT, i, p);
            for (size_t chunk = 0; term->encoder == encoder && chunk < tokens->chunk_count && status >= 0; chunk++) {
                const struct dqg_term *pooled = pooled_done ? NULL : pooled_with(encoding, term);
                status = run_chunk(encoding, network, term, pooled, tokens, p, chunk, rows, to);
                pooled_done = pooled_done || pooled != NULL;
            }
        }
        for (size_t i = 0; !pooled_done && i < wiring->pooled_count && is_wanted(encoding, p) && status >= 0; i++) {
            if (wiring->pooled[i].encoder == encoder) {
                status = run_chunk(encoding, network, NULL, &wiring->pooled[i], tokens_of(encoding, OF_POOLED, i, p), p,
                                   0, rows, to);
            }
        }
    }
    dqg_free(&encoding->context->alloc, rows, floats * sizeof *rows);
    return status;
}

/* The index-th text encoder that some term names, or NULL. */
static const struct dqg_model *encoder_at(const struct dqg_encoding *encoding, size_t index) {
    const struct dqg_model *seen[2 * DQG_TERMS_MAX];
    size_t found = 0, count;
    for (int kind = OF_CONTEXT; kind <= OF_POOLED; kind++) {
        const struct dqg_term *terms = terms_of(encoding, kind, &count);
        for (size_t i = 0; i < count; i++) {
            bool fresh = terms[i].encoder != NULL;
            for (size_t j = 0; j < found; j++) {
                fresh = fresh && seen[j] != terms[i].encoder;
            }
            if (fresh) {
                seen[found++] = terms[i].encoder;
            }
        }
    }
    return index < found ? seen[index] : NULL;
}

static void clear(const struct dqg_encoding *encoding, const struct target *to) {
    const struct dqg_hyper *hyper = encoding->wiring.hyper;
    size_t count = encoding->prompts.count, rows = count * encoding->rows;
    if (to->context != NULL) {
        memset(to->context, 0, rows * hyper->context_width * sizeof *to->context);
    }
    if (to->pooled != NULL) {
        memset(to->pooled, 0, count * hyper->pooled_width * sizeof *to->pooled);
    }
    for (size_t i = 0; to->mask != NULL && i < rows; i++) {
        to->mask[i] = 1;
    }
}

dqg_status dqg_encoding_run(struct dqg_encoding *encoding, float *context, float *mask, float *pooled) {
    const struct target to = {context, mask, encoding->wiring.pooled_count > 0 ? pooled : NULL};
    const struct dqg_model *encoder;
    clear(encoding, &to);
    for (size_t i = 0; (encoder = encoder_at(encoding, i)) != NULL; i++) {
        struct dqg_held held;
        DQG_TRY(dqg_model_hold(encoding->context, encoder, &held));
        dqg_status status = run_encoder(encoding, encoder, held.network, &to);
        dqg_model_let_go(&held);
        DQG_TRY(status);
    }
    return DQG_OK;
}

/* ---- memory ---- */

static dqg_status term_bytes(struct dqg_encoding *encoding, const struct dqg_term *rows, const struct dqg_term *pooled,
                             uint64_t *bytes) {
    const struct dqg_term *term = rows != NULL ? rows : pooled;
    const struct dqg_text_job job = {.prompts = 1, .tokens = term->tokens, .form = form_of(rows, pooled)};
    size_t evaluation;
    DQG_TRY(dqg_text_bytes(encoding->context, term->encoder, &job, &evaluation));
    uint64_t all = evaluation + (rows != NULL ? rows->tokens * rows->columns * sizeof(float) : 0);
    all = dqg_model_use_bytes(term->encoder, all);
    *bytes = all > *bytes ? all : *bytes;
    return DQG_OK;
}

static uint64_t token_bytes(const struct dqg_encoding *encoding) {
    uint64_t bytes = 0;
    for (int kind = OF_CONTEXT; kind <= OF_POOLED; kind++) {
        size_t count;
        (void)terms_of(encoding, kind, &count);
        for (size_t i = 0; i < count * encoding->prompts.count; i++) {
            const struct dqg_prompt *prompt = &encoding->tokens[kind][i];
            bytes += sizeof *prompt + prompt->chunk_count * sizeof *prompt->used +
                     prompt->chunk_count * prompt->length * (sizeof *prompt->ids + sizeof *prompt->weights);
        }
    }
    return bytes;
}

dqg_status dqg_encoding_bytes(struct dqg_encoding *encoding, uint64_t *bytes) {
    const struct dqg_wiring *wiring = &encoding->wiring;
    *bytes = 0;
    for (size_t i = 0; i < wiring->context_count; i++) {
        const struct dqg_term *term = &wiring->context[i];
        DQG_TRY(term->encoder != NULL ? term_bytes(encoding, term, pooled_with(encoding, term), bytes) : DQG_OK);
    }
    for (size_t i = 0; i < wiring->pooled_count; i++) {
        DQG_TRY(term_bytes(encoding, NULL, &wiring->pooled[i], bytes));
    }
    *bytes += token_bytes(encoding);
    return DQG_OK;
}
