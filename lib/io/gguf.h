/* SPDX-License-Identifier: MIT */
/* What the parts of the GGUF reader share: walking through the header, and its keys and values. Private to lib/io. */
#ifndef DQG_GGUF_H
#define DQG_GGUF_H

#include "io/stored_tensor.h"

enum { DQG_GGUF_WINDOW = 16 * 1024 };

/* Where the reader is in the file, with the bytes around. */
struct dqg_gguf {
    struct dqg_source *source;
    uint64_t at;
    uint8_t *window; /* [DQG_GGUF_WINDOW], bytes window_at to window_end of the file */
    uint64_t window_at, window_end;
    uint64_t alignment; /* of the data */
    size_t text_left;   /* bytes that lists may still take as texts */
};

/* What comes next; fail where the file ends. */
dqg_status dqg_gguf_take(struct dqg_gguf *gguf, void *out, size_t size);
dqg_status dqg_gguf_u32(struct dqg_gguf *gguf, uint32_t *value);
dqg_status dqg_gguf_u64(struct dqg_gguf *gguf, uint64_t *value);
dqg_status dqg_gguf_skip(struct dqg_gguf *gguf, uint64_t size);

/* A text, copied to the arena; NULL where it is longer than most or not valid UTF-8. */
dqg_status dqg_gguf_text(struct dqg_gguf *gguf, struct dqg_arena *arena, size_t most, const char **text);

/* count keys and values to source->metadata; alignment too. */
dqg_status dqg_gguf_keys(struct dqg_gguf *gguf, uint64_t count);

/* Tensors that were reshaped to fit blocks get the shapes that keys tell, and the keys go. Names are in order. */
dqg_status dqg_gguf_shapes(struct dqg_source *source);

/* The names that llama.cpp gives to the tensors of a T5 encoder become the original ones; others stay. */
dqg_status dqg_gguf_rename(struct dqg_source *source);

#endif
