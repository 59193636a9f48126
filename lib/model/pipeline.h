/* SPDX-License-Identifier: MIT */
/*
 * Pipelines as data: what of a checkpoint's metadata is kept, the tokenizers of text encoders, and how the encoders'
 * outputs become the denoiser's inputs, which is a text in the metadata (docs/pipelines.md). Above it: load.c,
 * lib/quant, lib/run, lib/api.
 */
#ifndef DQG_PIPELINE_H
#define DQG_PIPELINE_H

#include "model/model.h"

/* ---- metadata: pipeline_metadata.c ---- */

/*
 * The metadata of a checkpoint as models and .dqg files have them: texts of a folder's networks as "<role>/<key>", of
 * configurations only those that are used, tokenizers packed as "<role>/tokenizer". Lists live in the arena, texts in
 * it or in the source.
 */
dqg_status dqg_pipeline_metadata(struct dqg_context *context, const struct dqg_checkpoint *checkpoint,
                                 const struct dqg_source *source, struct dqg_arena *arena, struct dqg_metadata **list,
                                 size_t *count);

/* ---- tokenizers: pipeline_tokenizer.c ---- */

/* Of the texts "<folder>/vocab.json" and so on of a source; "" for none in front. NULL where there is none, or none
 * that can be used, which the log tells. */
dqg_status dqg_tokenizer_of_source(struct dqg_context *context, const struct dqg_source *source, const char *folder,
                                   struct dqg_tokenizer **tokenizer);

/* Of a folder with such files, or of one of them. *padded: the files say what to pad with. */
dqg_status dqg_tokenizer_of_path(struct dqg_context *context, const char *path, struct dqg_tokenizer **tokenizer,
                                 bool *padded);

#endif
