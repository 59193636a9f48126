/* SPDX-License-Identifier: MIT */
/*
 * Reads and checks the planes of a .dqg file. The frames of all planes asked for are one list, cut into batches; the
 * frames of a batch are fetched, checked and decompressed on the context's lanes, each with scratch of one frame. Lanes
 * write no messages: they note damage, and the first one in the order of the list is reported (container_damage.c), so
 * that the same file gives the same message whatever the thread count.
 */
#include <stdatomic.h>

#include "io/bytes.h"
#include "io/container.h"
#include "support/hash.h"

/* Of a batch, for each lane: enough that waiting for the last frame does not matter, few enough for progress. */
enum { BATCH_FRAMES = 64, BATCH_BYTES = 16 << 20 };

/* A frame to be read. */
struct dqg_frame_read {
    const struct dqg_plane_read *plane;
    size_t number;        /* in its plane */
    uint64_t offset;      /* in the file */
    const uint8_t *entry; /* in the index */
    uint8_t *out;         /* raw_size bytes, or NULL to check only */
    uint32_t raw_size;
    uint32_t padding; /* zero bytes that follow: the frame is the last of its plane */
};

struct batch {
    const struct dqg_input *input;
    struct dqg_frame_lane *lanes;
    const struct dqg_frame_read *frames;
    size_t count;
    uint64_t stored_bytes;
    atomic_size_t first_bad; /* frames after it need not be looked at */
};

static void note_damage(struct batch *batch, size_t index, size_t lane, enum dqg_damage_kind kind, uint64_t offset,
                        int32_t code) {
    struct dqg_frame_lane *scratch = &batch->lanes[lane];
    const struct dqg_frame_read *frame = &batch->frames[index];
    size_t bad = atomic_load(&batch->first_bad);
    while (index < bad && !atomic_compare_exchange_weak(&batch->first_bad, &bad, index)) {
    }
    if (scratch->damage.kind == DQG_DAMAGE_NONE || index < scratch->damaged) {
        scratch->damaged = index;
        scratch->damage = (struct dqg_damage){.kind = kind,
                                              .code = code,
                                              .offset = offset,
                                              .tensor = frame->plane->tensor,
                                              .plane = frame->plane->plane,
                                              .frame = frame->number};
    }
}

static bool inside(const struct dqg_input *input, uint64_t offset, size_t size) {
    return offset <= input->size && size <= input->size - offset;
}

enum dqg_damage_kind dqg_container_check_padding(const struct dqg_input *input, uint64_t offset, size_t size,
                                                 int32_t *code) {
    uint8_t bytes[DQG_CONTAINER_ALIGN];
    *code = 0;
    if (!inside(input, offset, size)) {
        return DQG_DAMAGE_ENDS;
    }
    *code = dqg_input_fetch(input, offset, bytes, size);
    if (*code != 0) {
        return DQG_DAMAGE_READ;
    }
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return DQG_DAMAGE_PADDING;
        }
    }
    return DQG_DAMAGE_NONE;
}

static enum dqg_damage_kind read_frame(const struct dqg_input *input, const struct dqg_frame_read *frame,
                                       struct dqg_frame_lane *lane, int32_t *code) {
    size_t stored_size = dqg_get_u32(frame->entry + DQG_FRAME_STORED);
    bool plain = dqg_get_u32(frame->entry + DQG_FRAME_CODEC) == DQG_CODEC_RAW;
    uint8_t *raw = frame->out != NULL ? frame->out : lane->raw;
    uint8_t *stored = plain ? raw : lane->stored;
    if (!inside(input, frame->offset, stored_size)) {
        return DQG_DAMAGE_ENDS;
    }
    *code = dqg_input_fetch(input, frame->offset, stored, stored_size);
    if (*code != 0) {
        return DQG_DAMAGE_READ;
    }
    if (dqg_hash64(stored, stored_size) != dqg_get_u64(frame->entry + DQG_FRAME_HASH)) {
        return DQG_DAMAGE_HASH;
    }
    dqg_status status =
        plain ? DQG_OK : dqg_frame_decode(lane->decoder, stored, stored_size, raw, frame->raw_size);
    return status >= 0                  ? DQG_DAMAGE_NONE
           : status == DQG_ERROR_MEMORY ? DQG_DAMAGE_MEMORY
                                        : DQG_DAMAGE_CONTENT;
}

static void check_frame(void *task, size_t index, size_t lane) {
    struct batch *batch = task;
    const struct dqg_frame_read *frame = &batch->frames[index];
    uint64_t offset = frame->offset;
    int32_t code = 0;
    if (index > atomic_load(&batch->first_bad)) {
        return;
    }
    enum dqg_damage_kind kind = read_frame(batch->input, frame, &batch->lanes[lane], &code);
    if (kind == DQG_DAMAGE_NONE && frame->padding > 0) {
        offset += dqg_get_u32(frame->entry + DQG_FRAME_STORED);
        kind = dqg_container_check_padding(batch->input, offset, frame->padding, &code);
    }
    if (kind != DQG_DAMAGE_NONE) {
        note_damage(batch, index, lane, kind, offset, code);
    }
}

/* ---- lanes ---- */

void dqg_container_free_lanes(struct dqg_source *source) {
    struct dqg_container *container = source->detail;
    const struct dqg_alloc *alloc = &source->context->alloc;
    for (size_t i = 0; container->lanes != NULL && i < container->lane_count; i++) {
        dqg_decoder_destroy(container->lanes[i].decoder);
        dqg_free(alloc, container->lanes[i].stored, DQG_FRAME_BYTES);
        dqg_free(alloc, container->lanes[i].raw, DQG_FRAME_BYTES);
    }
    dqg_free(alloc, container->lanes, container->lane_count * sizeof *container->lanes);
    dqg_free(alloc, container->frames, container->lane_count * BATCH_FRAMES * sizeof *container->frames);
    container->lanes = NULL;
    container->frames = NULL;
    container->lane_count = 0;
}

size_t dqg_container_lane_bytes(void) {
    return DQG_FRAME_BYTES + dqg_decoder_bytes() + sizeof(struct dqg_frame_lane) +
           BATCH_FRAMES * sizeof(struct dqg_frame_read);
}

static bool ready_lane(const struct dqg_alloc *alloc, struct dqg_frame_lane *lane, bool check_only) {
    if (lane->decoder == NULL) {
        lane->decoder = dqg_decoder_create(alloc);
    }
    if (lane->stored == NULL) {
        lane->stored = dqg_malloc(alloc, DQG_FRAME_BYTES);
    }
    if (check_only && lane->raw == NULL) {
        lane->raw = dqg_malloc(alloc, DQG_FRAME_BYTES);
    }
    return lane->decoder != NULL && lane->stored != NULL && (lane->raw != NULL || !check_only);
}

/* Room for a batch; kept for the next read. */
static dqg_status ready_batch(struct dqg_source *source) {
    struct dqg_container *container = source->detail;
    const struct dqg_alloc *alloc = &source->context->alloc;
    size_t wanted = dqg_concurrency(source->context);
    if (container->lanes == NULL || container->frames == NULL || container->lane_count < wanted) {
        dqg_container_free_lanes(source);
        container->lanes = dqg_calloc(alloc, wanted, sizeof *container->lanes);
        container->frames = dqg_calloc(alloc, wanted * BATCH_FRAMES, sizeof *container->frames);
        container->lane_count = wanted;
    }
    if (container->lanes == NULL || container->frames == NULL) {
        return dqg_fail_memory(source->context, "reading a file", wanted * BATCH_FRAMES * sizeof *container->frames);
    }
    return DQG_OK;
}

/* Scratch for the lanes that count frames can occupy; kept too. */
static dqg_status ready_lanes(struct dqg_source *source, size_t count, bool check_only) {
    struct dqg_container *container = source->detail;
    bool ready = true;
    if (count > 1) {
        DQG_TRY(dqg_parallel_prepare(source->context));
    }
    for (size_t i = 0; ready && i < dqg_min_size(container->lane_count, count); i++) {
        ready = ready_lane(&source->context->alloc, &container->lanes[i], check_only);
    }
    for (size_t i = 0; i < container->lane_count; i++) {
        container->lanes[i].damage.kind = DQG_DAMAGE_NONE;
    }
    return ready ? DQG_OK : dqg_fail_memory(source->context, "reading a frame", DQG_FRAME_BYTES);
}

/* ---- planes ---- */

/* Where reading stands. */
struct cursor {
    const struct dqg_container *container;
    const struct dqg_plane_read *at, *end;
    size_t frame;    /* the next one of plane at */
    uint64_t offset; /* of it in the file */
    uint64_t done;   /* raw bytes of the plane before it */
};

static const struct dqg_stored_plane *stored_plane(const struct cursor *cursor) {
    return &cursor->container->planes[cursor->at->tensor][cursor->at->plane];
}

/* Go to the first frame of the plane at, or of the next one that has any. */
static void enter_plane(struct cursor *cursor) {
    while (cursor->at < cursor->end && cursor->at->size == 0) {
        cursor->at++;
    }
    if (cursor->at == cursor->end) {
        return;
    }
    const struct dqg_stored_plane *plane = stored_plane(cursor);
    cursor->frame = (size_t)(cursor->at->offset / DQG_FRAME_BYTES);
    cursor->offset = plane->offset;
    cursor->done = 0;
    for (size_t i = 0; i < cursor->frame; i++) {
        cursor->offset += dqg_get_u32(plane->frames + i * DQG_FRAME_ENTRY + DQG_FRAME_STORED);
    }
}

static struct dqg_frame_read next_frame(struct cursor *cursor) {
    const struct dqg_stored_plane *plane = stored_plane(cursor);
    const struct dqg_plane_read *at = cursor->at;
    uint64_t left = at->size - cursor->done;
    struct dqg_frame_read frame = {
        .plane = at,
        .number = cursor->frame,
        .offset = cursor->offset,
        .entry = plane->frames + cursor->frame * DQG_FRAME_ENTRY,
        .out = at->out != NULL ? (uint8_t *)at->out + cursor->done : NULL,
        .raw_size = left < DQG_FRAME_BYTES ? (uint32_t)left : DQG_FRAME_BYTES,
        .padding = cursor->frame + 1 == plane->frame_count ? plane->padding : 0,
    };
    cursor->frame++;
    cursor->offset += dqg_get_u32(frame.entry + DQG_FRAME_STORED);
    cursor->done += frame.raw_size;
    if (cursor->done == at->size) {
        cursor->at++;
        enter_plane(cursor);
    }
    return frame;
}

static void fill_batch(struct cursor *cursor, size_t lanes, struct dqg_frame_read *frames, struct batch *batch) {
    uint64_t raw_bytes = 0;
    batch->count = 0;
    batch->stored_bytes = 0;
    while (cursor->at < cursor->end && batch->count < lanes * BATCH_FRAMES &&
           raw_bytes < (uint64_t)lanes * BATCH_BYTES) {
        struct dqg_frame_read *frame = &frames[batch->count++];
        *frame = next_frame(cursor);
        raw_bytes += frame->raw_size;
        batch->stored_bytes += dqg_get_u32(frame->entry + DQG_FRAME_STORED);
    }
}

/* damage->kind tells the outcome. */
static dqg_status run_batch(struct dqg_source *source, struct batch *batch, struct dqg_damage *damage) {
    struct dqg_container *container = source->detail;
    DQG_TRY(ready_lanes(source, batch->count, batch->frames[0].out == NULL));
    batch->input = &source->inputs[0];
    batch->lanes = container->lanes;
    atomic_store(&batch->first_bad, batch->count);
    dqg_parallel(source->context, batch->count, check_frame, batch);
    for (size_t i = 0; i < container->lane_count; i++) {
        const struct dqg_frame_lane *lane = &container->lanes[i];
        if (lane->damage.kind != DQG_DAMAGE_NONE && lane->damaged == atomic_load(&batch->first_bad)) {
            *damage = lane->damage;
        }
    }
    return DQG_OK;
}

dqg_status dqg_container_check_planes(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                                      struct dqg_work *work, struct dqg_damage *damage) {
    const struct dqg_container *container = source->detail;
    struct cursor cursor = {.container = container, .at = reads, .end = reads + count};
    *damage = (struct dqg_damage){.kind = DQG_DAMAGE_NONE};
    DQG_TRY(ready_batch(source));
    enter_plane(&cursor);
    while (cursor.at < cursor.end && damage->kind == DQG_DAMAGE_NONE) {
        struct batch batch = {.frames = container->frames};
        if (work != NULL) {
            DQG_TRY(dqg_work_set(work, work->done, source->tensors[cursor.at->tensor].name));
        }
        fill_batch(&cursor, container->lane_count, container->frames, &batch);
        DQG_TRY(run_batch(source, &batch, damage));
        if (work != NULL) {
            work->done += batch.stored_bytes;
        }
    }
    return DQG_OK;
}

dqg_status dqg_container_read(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                              struct dqg_work *work) {
    struct dqg_damage damage;
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = source->tensors[reads[i].tensor].plane_bytes[reads[i].plane];
        if (reads[i].offset % DQG_FRAME_BYTES != 0 ||
            (reads[i].size % DQG_FRAME_BYTES != 0 && reads[i].size != bytes - reads[i].offset)) {
            return dqg_fail(source->context, DQG_ERROR_RANGE,
                            "tensor '%s' can be read in whole frames of %d bytes only",
                            source->tensors[reads[i].tensor].name, DQG_FRAME_BYTES);
        }
    }
    DQG_TRY(dqg_container_check_planes(source, reads, count, work, &damage));
    return damage.kind == DQG_DAMAGE_NONE ? DQG_OK : dqg_container_report(source, &damage);
}
