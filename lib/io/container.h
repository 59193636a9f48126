/* SPDX-License-Identifier: MIT */
/*
 * Layout of a .dqg file (docs/container.md is the reference) and what the files that open, read and write it share.
 * Private to lib/io.
 */
#ifndef DQG_CONTAINER_H
#define DQG_CONTAINER_H

#include "io/frame.h"
#include "io/source.h"

#define DQG_CONTAINER_MAGIC "\211DQG\r\n\x1a\n"

enum {
    DQG_CONTAINER_VERSION = 1,
    DQG_CONTAINER_ALIGN = 64, /* planes start at multiples of it */
    DQG_FRAME_BYTES = 1 << 20 /* uncompressed; the last frame of a plane may be shorter */
};

/* Offsets in the header. */
enum {
    DQG_HEADER_VERSION = 8,
    DQG_HEADER_FLAGS = 12,
    DQG_HEADER_INDEX_BYTES = 16,
    DQG_HEADER_FILE_BYTES = 24,
    DQG_HEADER_TENSORS = 32,
    DQG_HEADER_METADATA = 36,
    DQG_HEADER_RESERVED = 40,
    DQG_HEADER_HASH = 48,
    DQG_HEADER_BYTES = 64
};

/* Offsets in the record of a tensor; then name, shape, planes with their frames, and the hash of all that. */
enum {
    DQG_RECORD_BYTES = 0,
    DQG_RECORD_NAME_BYTES = 4,
    DQG_RECORD_DTYPE = 8,
    DQG_RECORD_GROUP = 12,
    DQG_RECORD_RANK = 16,
    DQG_RECORD_SCALE = 20,
    DQG_RECORD_NAME = 24,
    DQG_RECORD_HASH_BYTES = 8,
    DQG_RECORD_MIN = DQG_RECORD_NAME + 1 + 3 * 24 + DQG_RECORD_HASH_BYTES
};

/* Offsets in the entry of a plane, and in that of a frame. */
enum { DQG_PLANE_RAW = 0, DQG_PLANE_OFFSET = 8, DQG_PLANE_FRAME = 16, DQG_PLANE_FRAMES = 20, DQG_PLANE_BYTES = 24 };
enum { DQG_FRAME_STORED = 0, DQG_FRAME_CODEC = 4, DQG_FRAME_HASH = 8, DQG_FRAME_ENTRY = 16 };
enum { DQG_CODEC_RAW = 0, DQG_CODEC_ZSTD = 1 };

/* What a file may hold at most. */
#define DQG_INDEX_MAX (UINT64_C(1) << 30)
enum { DQG_TENSORS_MAX = 1 << 20, DQG_METADATA_MAX = 1 << 16, DQG_VALUE_MAX = 1 << 24 };

/* A plane as stored. frames points into the index as it was read. */
struct dqg_stored_plane {
    uint64_t offset;
    uint64_t end;          /* of the last frame */
    uint32_t padding;      /* zero bytes up to the next plane */
    uint32_t frame_count;  /* 0: the tensor has no such plane */
    const uint8_t *frames; /* DQG_FRAME_ENTRY bytes each */
};

/* What was found wrong while reading a plane: the first bad frame in the order of the file. */
enum dqg_damage_kind {
    DQG_DAMAGE_NONE,
    DQG_DAMAGE_READ,    /* code is from dqg_input_fetch() */
    DQG_DAMAGE_ENDS,    /* the input ends before the frame does */
    DQG_DAMAGE_HASH,    /* the bytes do not match their checksum */
    DQG_DAMAGE_CONTENT, /* they do, but do not decompress to what the index says */
    DQG_DAMAGE_PADDING, /* the zero bytes after the plane are not zero */
    DQG_DAMAGE_GAP,     /* nor those between the index and the first plane */
    DQG_DAMAGE_MEMORY
};

struct dqg_damage {
    enum dqg_damage_kind kind;
    int32_t code;
    uint64_t offset;
    size_t tensor;
    enum dqg_plane plane;
    size_t frame;
};

/* Scratch of one lane. */
struct dqg_frame_lane {
    struct dqg_decoder *decoder;
    uint8_t *stored; /* DQG_FRAME_BYTES: a compressed frame */
    uint8_t *raw;    /* DQG_FRAME_BYTES: where verify decompresses to; NULL until then */
    struct dqg_damage damage;
    size_t damaged; /* which frame of the batch that was */
};

struct dqg_frame_read;

/* source->detail of an opened .dqg file. */
struct dqg_container {
    uint8_t *bytes; /* header and index as stored */
    size_t bytes_size;
    uint64_t file_bytes;                                /* as the header says */
    struct dqg_stored_plane (*planes)[DQG_PLANE_COUNT]; /* for each tensor */
    struct dqg_frame_lane *lanes;
    struct dqg_frame_read *frames; /* of a batch */
    size_t lane_count;
};

/* Frames that raw_bytes are cut into. */
static inline uint64_t dqg_frame_count(uint64_t raw_bytes) {
    return raw_bytes / DQG_FRAME_BYTES + (raw_bytes % DQG_FRAME_BYTES != 0);
}

static inline uint64_t dqg_container_align(uint64_t offset) {
    return (offset + DQG_CONTAINER_ALIGN - 1) / DQG_CONTAINER_ALIGN * DQG_CONTAINER_ALIGN;
}

/* XXH3-128 over header and index, the hash itself taken as zero, in the byte order of the file. */
void dqg_container_hash(uint8_t *bytes, size_t size, uint8_t hash[16]);

/* ---- container_index.c ---- */

/* Does the metadata block at the front of at..end, or the record of a tensor, match its own hash? *size: its bytes. */
bool dqg_metadata_intact(const uint8_t *at, const uint8_t *end, uint32_t count, size_t *size);
bool dqg_record_intact(const uint8_t *at, const uint8_t *end, size_t *size);

/* Can a .dqg file hold this tensor? Fails with a message, or gives the bytes of each plane. */
dqg_status dqg_container_check_tensor(struct dqg_context *context, const struct dqg_tensor_desc *desc,
                                      uint64_t plane_bytes[DQG_PLANE_COUNT]);

/* Fill source and its detail from header and index, whose hash fits. */
dqg_status dqg_container_parse(struct dqg_source *source);

/* ---- container_read.c ---- */

dqg_status dqg_container_read(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                              struct dqg_work *work);
/*
 * Read, or only check where out is NULL (of all or of none). A failing status means that the work could not be done;
 * damage->kind says what was found wrong first. work may be NULL.
 */
dqg_status dqg_container_check_planes(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                                      struct dqg_work *work, struct dqg_damage *damage);
/* At most DQG_CONTAINER_ALIGN bytes that must be zero. */
enum dqg_damage_kind dqg_container_check_padding(const struct dqg_input *input, uint64_t offset, size_t size,
                                                 int32_t *code);
size_t dqg_container_lane_bytes(void); /* that a lane takes to read */
void dqg_container_free_lanes(struct dqg_source *source);

/* ---- container_damage.c ---- */

/* Fail with what was found. */
dqg_status dqg_container_report(struct dqg_source *source, const struct dqg_damage *damage);
dqg_status dqg_container_verify(struct dqg_source *source);
/* Is the file as long as its header says, and the gap before the first plane zero? If not, what is damaged first? */
dqg_status dqg_container_check_size(struct dqg_source *source);

/* ---- container_layout.c: header and index of a file to be written ---- */

struct dqg_tensor_place {
    const char *name;
    bool quantized;
    uint8_t *record;                  /* in the index */
    uint8_t *planes[DQG_PLANE_COUNT]; /* entries in the index; their frames follow */
    uint64_t plane_bytes[DQG_PLANE_COUNT];
};

struct dqg_layout {
    struct dqg_context *context;
    struct dqg_arena arena;
    uint8_t *bytes; /* header and index */
    size_t size;
    size_t metadata_bytes; /* with its hash; behind the header */
    struct dqg_tensor_place *tensors;
    size_t tensor_count;
};

/* Check the descriptions and lay them out; places, sizes and hashes of frames stay zero. On failure nothing is left to
 * destroy. */
dqg_status dqg_layout_create(struct dqg_context *context, const struct dqg_tensor_desc *tensors, size_t tensor_count,
                             const struct dqg_metadata *metadata, size_t metadata_count, struct dqg_layout *layout);
void dqg_layout_seal(struct dqg_layout *layout, uint64_t file_bytes); /* hashes of all that */
void dqg_layout_destroy(struct dqg_layout *layout);

#endif
