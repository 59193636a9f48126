/* SPDX-License-Identifier: MIT */
/*
 * Layer 3, io: bytes in, bytes out, and the files that hold tensors. Knows nothing of networks or of what a tensor is
 * for.
 */
#ifndef DQG_IO_H
#define DQG_IO_H

#include "support/json.h"
#include "support/support.h"

/* ---- bytes ---- */

/* Random-access input. Reads may come from several threads. */
struct dqg_input {
    uint64_t size;
    /* 0 on success; the range is inside the file */
    int32_t (*read)(void *user, uint64_t offset, void *buffer, size_t size);
    void *user;
    void (*close)(struct dqg_input *input); /* or NULL */
    int fd;                                 /* used by files */
    const char *name;                       /* for messages: the path, or "memory", "reader"; outlives the input */
};

dqg_status dqg_input_open_path(struct dqg_context *context, const char *path, struct dqg_input *input);
void dqg_input_open_memory(const void *data, size_t size, struct dqg_input *input);
dqg_status dqg_input_open_reader(struct dqg_context *context, const dqg_reader *reader, struct dqg_input *input);
void dqg_input_close(struct dqg_input *input); /* zeroed input is fine */

/* Read with the range checked against the size; fails with a message naming the input. */
dqg_status dqg_input_read(struct dqg_context *context, const struct dqg_input *input, uint64_t offset, void *buffer,
                          size_t size);

/* A small file as a whole, of a folder or, where that is "", by its path: size bytes and a zero, size + 1 to be freed
 * by the caller. Fails where it has more than limit bytes. */
dqg_status dqg_file_read(struct dqg_context *context, const char *folder, const char *name, uint64_t limit, char **data,
                         size_t *size);
bool dqg_folder_has(const char *folder, const char *name); /* a file of this name? */
bool dqg_path_is_folder(const char *path);

/* ---- tensors ---- */

enum dqg_plane { DQG_PLANE_CODES = 0, DQG_PLANE_SCALES = 1, DQG_PLANE_ZEROS = 2, DQG_PLANE_COUNT = 3 };

/*
 * A tensor in a file. Float tensors have one plane, DQG_PLANE_CODES: row-major elements. Quantized ones are matrices
 * (rows = shape[0] outputs, columns = the product of the rest) in panels: see kernel/kernel.h and
 * tensor/format.h, which give the plane sizes.
 */
struct dqg_tensor_desc {
    const char *name;
    int32_t dtype; /* DQG_DTYPE_*, or 0: a type that this library cannot use (type_name says which) */
    int32_t group;
    int32_t rank;
    int64_t shape[DQG_MAX_RANK];
    float scale; /* multiplies every scale of a quantized tensor; 1 for float tensors */
    uint64_t plane_bytes[DQG_PLANE_COUNT];
    uint64_t stored_bytes;
    const char *type_name; /* as the file calls it */
};

struct dqg_metadata {
    const char *key;
    const char *value;
};

/* An opened file of tensors. Everything here is read-only to users; the reader behind it fills it. */
struct dqg_source {
    struct dqg_context *context;
    struct dqg_tensor_desc *tensors;
    size_t tensor_count;
    struct dqg_metadata *metadata;
    size_t metadata_count;
    const char *format; /* "dqg", "safetensors", "GGUF", "PyTorch", "NumPy"; of several files that of the first */

    /* The rest belongs to the reader. */
    const struct dqg_source_type *type;
    struct dqg_arena arena;
    struct dqg_input *inputs; /* one for each shard */
    size_t input_count;
    uint32_t *by_name; /* indices of tensors in the order of their names */
    void *detail;
};

/*
 * Open a file by its contents: .dqg, safetensors, GGUF, PyTorch, NumPy; with a path also the index of a sharded
 * checkpoint, and a folder of networks, whose tensors are "<sub-folder>/<name>" and whose texts (.json, merges.txt) are
 * metadata "<sub-folder>/<file>"; "<sub-folder>/spiece.model" only says that the file is there, below the name of
 * inputs[0]. source is zeroed by the call and closed by dqg_source_close() after success. The input is taken over:
 * closed by the source, on failure too.
 */
dqg_status dqg_source_open(struct dqg_context *context, struct dqg_input *input, struct dqg_source *source);
dqg_status dqg_source_open_path(struct dqg_context *context, const char *path, struct dqg_source *source);
void dqg_source_close(struct dqg_source *source);

/* A source without a file: the descriptions are copied, make fills planes when they are read. */
typedef void (*dqg_make_plane_fn)(void *user, const struct dqg_tensor_desc *desc, enum dqg_plane plane, void *out,
                                  size_t size);
dqg_status dqg_source_open_made(struct dqg_context *context, const struct dqg_tensor_desc *tensors, size_t count,
                                dqg_make_plane_fn make, void *user, struct dqg_source *source);

/*
 * A source made of others, which the owner of them closes with it, or at once where this fails; else they must outlive
 * it. Each of its tensors is a
 * list of pieces, bytes of float tensors, that follow each other in memory; or one whole tensor of any type, whose
 * shape may be another of as many elements. Pieces are whole elements.
 */
struct dqg_part {
    size_t source, tensor;
    uint64_t offset, size; /* bytes of the codes */
};
struct dqg_mapping {
    struct dqg_tensor_desc desc; /* as it is to be seen, its name too */
    const struct dqg_part *pieces;
    size_t piece_count;
    bool transposed; /* the pieces make a matrix (shape[1], shape[0]) */
};
dqg_status dqg_source_open_mapped(struct dqg_context *context, struct dqg_source *inner, size_t inner_count, bool owner,
                                  const struct dqg_mapping *mappings, size_t count, const struct dqg_metadata *metadata,
                                  size_t metadata_count, struct dqg_source *source);

/* Index of a tensor by name, or -1. Value of a metadata key, or NULL. */
int64_t dqg_source_find(const struct dqg_source *source, const char *name);
const char *dqg_source_metadata(const struct dqg_source *source, const char *key);

/*
 * A plane to be read whole, or size bytes from offset of it. For .dqg files offset and size are whole frames or go up
 * to the end of the plane; for others they are whole elements.
 */
struct dqg_plane_read {
    size_t tensor;
    enum dqg_plane plane;
    uint64_t offset;
    uint64_t size;
    void *out;
};

/*
 * Read planes, verified and decompressed on the context's lanes; those of many small tensors side by side. Planes
 * should come in the order of the file: of several damages the first in the order of reads is reported. work may be
 * NULL; it advances by stored bytes.
 */
dqg_status dqg_source_read_planes(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                                  struct dqg_work *work);

/* Bytes that an open file takes while it is read: descriptions, and what lanes need for frames of .dqg files. */
uint64_t dqg_source_reading_bytes(const struct dqg_source *source);

/* One plane. */
dqg_status dqg_source_read(struct dqg_source *source, size_t tensor, enum dqg_plane plane, uint64_t offset,
                           void *buffer, size_t size);

/* Check every byte: hashes, sizes, padding, decompression. Reports progress. */
dqg_status dqg_source_verify(struct dqg_source *source);

/* Sort numbers 0..count-1 that stand for items; before says whether item a goes before item b. Not stable. */
typedef bool (*dqg_before_fn)(const void *items, size_t a, size_t b);
void dqg_sort_indices(uint32_t *indices, size_t count, dqg_before_fn before, const void *items);

/* ---- container writer ---- */

struct dqg_writer; /* a .dqg file being written */

/*
 * Begin a file. The index is sized from the descriptions, which are copied; planes then follow in order: for each
 * tensor, each plane with plane_bytes > 0, whole. Writes to a temporary file beside path, which dqg_writer_finish()
 * renames. dqg_writer_abandon() ends every writer: it removes the temporary file unless finish has succeeded, and frees
 * the writer; NULL is fine.
 */
dqg_status dqg_writer_create(struct dqg_context *context, const char *path, const struct dqg_tensor_desc *tensors,
                             size_t tensor_count, const struct dqg_metadata *metadata, size_t metadata_count,
                             int32_t level, struct dqg_writer **writer);

/* scale is stored with the tensor; the same value for each of its planes. stored_bytes receives the compressed size. */
dqg_status dqg_writer_plane(struct dqg_writer *writer, size_t tensor, enum dqg_plane plane, const void *data,
                            size_t size, float scale, uint64_t *stored_bytes);
dqg_status dqg_writer_finish(struct dqg_writer *writer, uint64_t *file_bytes);
void dqg_writer_abandon(struct dqg_writer *writer);

#endif
