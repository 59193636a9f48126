/* SPDX-License-Identifier: MIT */
/* What a single safetensors file and a sharded checkpoint have in common: where the bytes of each tensor are. Private
 * to lib/io. */
#ifndef DQG_SAFETENSORS_H
#define DQG_SAFETENSORS_H

#include "io/source.h"

/* source->detail is an array of these, one for each tensor. */
struct dqg_safetensors_place {
    uint64_t offset; /* in the file */
    size_t input;    /* which file */
};

extern const struct dqg_source_type dqg_safetensors_type;

/* Fail over the JSON of an input: out of memory, or the parser's complaint and where. */
dqg_status dqg_json_report(const struct dqg_source *source, const struct dqg_json *json, const char *what);

/* Read size bytes of text from offset of the first input. Free with dqg_free() and the same size. */
dqg_status dqg_source_load_text(struct dqg_source *source, uint64_t offset, size_t size, char **text);

#endif
