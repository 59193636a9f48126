/* SPDX-License-Identifier: MIT */
/*
 * What the readers of the different file formats share with source.c, which opens a file and hands calls on to the
 * reader that fits. Private to lib/io.
 */
#ifndef DQG_SOURCE_H
#define DQG_SOURCE_H

#include "io/io.h"

enum {
    DQG_NAME_MAX = 1024,          /* bytes in a tensor name or a metadata key */
    DQG_SHARDS_MAX = 1024,        /* files of one checkpoint, all open at a time */
    DQG_CHECK_BYTES = 1024 * 1024 /* read at a time where a file is only checked */
};

/* The calls of one file format. */
struct dqg_source_type {
    /* The ranges are inside their planes; work may be NULL. */
    dqg_status (*read)(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                       struct dqg_work *work);
    dqg_status (*verify)(struct dqg_source *source);
    void (*close)(struct dqg_source *source); /* what is not in the arena; or NULL */
};

/* Each fills a source whose context and inputs[0] are set, and leaves cleaning up after a failure to the caller. */
dqg_status dqg_container_open(struct dqg_source *source);
dqg_status dqg_safetensors_open(struct dqg_source *source);
dqg_status dqg_gguf_open(struct dqg_source *source);
dqg_status dqg_archive_open(struct dqg_source *source); /* zip: PyTorch, NumPy */
dqg_status dqg_torch_open(struct dqg_source *source);   /* older than those */
dqg_status dqg_numpy_open(struct dqg_source *source);
dqg_status dqg_sharded_open(struct dqg_source *source, const char *path);

/* A folder of networks; it fills the source from the start. */
dqg_status dqg_folder_open(struct dqg_context *context, const char *path, struct dqg_source *source);

/* Read without a message, from any thread: 0, or what dqg_input_fail() explains. The range is inside the input. */
int32_t dqg_input_fetch(const struct dqg_input *input, uint64_t offset, void *buffer, size_t size);
dqg_status dqg_input_fail(struct dqg_context *context, const struct dqg_input *input, uint64_t offset, int32_t code);

/* Zeroed memory that lives as long as the source; fails with a message that says what it was for. */
dqg_status dqg_source_alloc(struct dqg_source *source, const char *what, size_t count, size_t size, void *out);
dqg_status dqg_source_copy_text(struct dqg_source *source, const char *text, size_t length, const char **out);

/* Fill source->by_name; fails where two tensors have one name. */
dqg_status dqg_source_index_names(struct dqg_source *source);

/* The order of names; *twin receives an index of a name that occurs twice, or count. order holds count numbers. */
void dqg_sort_names(const struct dqg_tensor_desc *tensors, size_t count, uint32_t *order, size_t *twin);

#endif
