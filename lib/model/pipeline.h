/* SPDX-License-Identifier: MIT */
/*
 * Pipelines as data: what of a checkpoint's metadata is kept, the tokenizers of text encoders, and how the encoders'
 * outputs become the denoiser's inputs, which is a text in the metadata (docs/pipelines.md). Above it: load.c,
 * lib/quant, lib/run, lib/api.
 */
#ifndef DQG_PIPELINE_H
#define DQG_PIPELINE_H

#include "model/model.h"
#include "text/text.h"

/* ---- metadata: pipeline_metadata.c ---- */

/*
 * The metadata of a checkpoint as models and .dqg files have them: texts of a folder's networks as "<role>/<key>", of
 * configurations only those that are used, tokenizers packed as "<role>/tokenizer". Lists live in the arena, texts in
 * it or in the source.
 */
dqg_status dqg_pipeline_metadata(struct dqg_context *context, const struct dqg_checkpoint *checkpoint,
                                 const struct dqg_source *source, struct dqg_arena *arena, struct dqg_metadata **list,
                                 size_t *count);

/* Add to a model of several networks what its metadata do not say yet and published models of its shapes have:
 * "pipeline.context", "pipeline.pooled", "pipeline.negative", the scales of autoencoders. */
dqg_status dqg_pipeline_describe(struct dqg_context *context, const struct dqg_checkpoint *checkpoint,
                                 struct dqg_model *model);

/* ---- tokenizers: pipeline_tokenizer.c ---- */

/* Of the texts "<folder>/vocab.json" and so on of a source; "" for none in front. NULL where there is none, or none
 * that can be used, which the log tells. */
dqg_status dqg_tokenizer_of_source(struct dqg_context *context, const struct dqg_source *source, const char *folder,
                                   struct dqg_tokenizer **tokenizer);

/* Of a folder with such files, or of one of them. *padded: the files say what to pad with. */
dqg_status dqg_tokenizer_of_path(struct dqg_context *context, const char *path, struct dqg_tokenizer **tokenizer,
                                 bool *padded);

/* ---- one encoder: text_encode.c ---- */

/* Prompts of as many tokens each. */
struct dqg_text_job {
    size_t prompts, tokens;
    struct dqg_text_form form;
    const int32_t *ids;     /* (prompts, tokens) */
    const int32_t *lengths; /* (prompts), or NULL: all tokens count */
    const int32_t *picks;   /* (prompts): of the pooled rows */
    float *rows;            /* (prompts, tokens, columns), or NULL */
    float *pooled;          /* (prompts, columns), or NULL */
};
dqg_status dqg_text_run(struct dqg_context *context, const struct dqg_model *encoder, const struct dqg_text_job *job);

/* Bytes that it allocates. */
dqg_status dqg_text_bytes(struct dqg_context *context, const struct dqg_model *encoder, const struct dqg_text_job *job,
                          size_t *bytes);

/* The id that ends prompts of CLIP, where token is 0; the first place of it, or the last token. */
int32_t dqg_text_end_token(const struct dqg_model *encoder, int32_t token);
int32_t dqg_text_pick(const int32_t *ids, size_t tokens, int32_t end);

/* ---- from encoders' outputs to the denoiser's inputs: pipeline_wiring.c ---- */

enum { DQG_TERMS_MAX = 8 };

/* Rows of an encoder, or one row of it. */
struct dqg_term {
    const struct dqg_model *encoder; /* NULL: zeros */
    size_t tokens;                   /* rows of a chunk */
    bool chunked;                    /* as many chunks as the prompt needs */
    size_t skip;
    bool no_norm, no_projection;
    bool masked; /* padding is hidden, from the encoder and from the denoiser */
    int32_t pad; /* -1: the tokenizer's */
    size_t columns;
    size_t stack;  /* stacks stand one after the other, in the rows of the context */
    size_t column; /* of the context or the pooled row, where its own begin */
};

struct dqg_wiring {
    const struct dqg_hyper *hyper; /* of the denoiser */
    struct dqg_term context[DQG_TERMS_MAX], pooled[DQG_TERMS_MAX];
    size_t context_count, pooled_count, stacks;
    bool zero_negative; /* a negative prompt that is not given is zeros, no encoded empty text */
};

/* As the metadata say. Fails with words on what is wrong or missing. */
dqg_status dqg_wiring_read(struct dqg_context *context, const struct dqg_model *model, struct dqg_wiring *wiring);

/* ---- from prompts to the denoiser's inputs: pipeline_encode.c ---- */

/* What is to be encoded. Texts of NULL are a negative prompt that is not given. */
struct dqg_prompts {
    const char *const *texts;
    size_t count;
    bool plain;     /* no brackets, no BREAK */
    bool one_chunk; /* what is too long is cut off */
    size_t skip;    /* layers more before the last */
    size_t chunks;  /* at least so many */
};

/* Tokens of all prompts, by term. Freed by dqg_encoding_free(), also after a failure. */
struct dqg_encoding {
    struct dqg_context *context;
    const struct dqg_model *model;
    struct dqg_prompts prompts;
    struct dqg_wiring wiring;
    struct dqg_prompt *tokens[2]; /* of context and pooled: [terms][count] */
    size_t chunks, rows;          /* rows of the context */
    bool cut;                     /* some text did not fit */
};
dqg_status dqg_encoding_prepare(struct dqg_context *context, const struct dqg_model *model,
                                const struct dqg_prompts *prompts, struct dqg_encoding *encoding);
void dqg_encoding_free(struct dqg_encoding *encoding);

/* context (count, rows, context columns), mask (count, rows) and pooled (count, pooled columns); any may be NULL. Each
 * encoder is held while it works. */
dqg_status dqg_encoding_run(struct dqg_encoding *encoding, float *context, float *mask, float *pooled);

/* The most bytes that this allocates at a time, encoders read from the file included. */
dqg_status dqg_encoding_bytes(struct dqg_encoding *encoding, uint64_t *bytes);

/* The text encoder of this role, or NULL. */
const struct dqg_model *dqg_model_encoder(const struct dqg_model *model, const char *role);

#endif
