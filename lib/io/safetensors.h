/* SPDX-License-Identifier: MIT */
/* What a single safetensors file and a sharded checkpoint have in common. Private to lib/io. */
#ifndef DQG_SAFETENSORS_H
#define DQG_SAFETENSORS_H

#include "io/stored_tensor.h"

/* Give tensors of 8-bit floats the scales that stand beside them; names are in order already. */
dqg_status dqg_safetensors_scales(struct dqg_source *source);

/* Fail over the JSON of an input: out of memory, or the parser's complaint and where. */
dqg_status dqg_json_report(const struct dqg_source *source, const struct dqg_json *json, const char *what);

/* Read size bytes of text from offset of the first input. Free with dqg_free() and the same size. */
dqg_status dqg_source_load_text(struct dqg_source *source, uint64_t offset, size_t size, char **text);

#endif
