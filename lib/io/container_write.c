/* SPDX-License-Identifier: MIT */
/*
 * Writes a .dqg file plane by plane: the frames of a plane are compressed on the context's lanes, a handful at a time,
 * and appended; finish writes header and index in front of them (container_layout.c). Called by the quantizer.
 */
#include <math.h>

#include "io/bytes.h"
#include "io/container.h"
#include "io/output.h"
#include "support/hash.h"

/* Scratch for one frame on its way to the file. */
struct slot {
    struct dqg_encoder *encoder;
    uint8_t *compressed;   /* DQG_FRAME_BYTES */
    const uint8_t *stored; /* compressed, or the caller's bytes where that saves too little */
    size_t stored_size;
    uint64_t hash;
    dqg_status status;
};

struct dqg_writer {
    struct dqg_context *context;
    struct dqg_layout layout;
    struct dqg_output output;
    uint64_t position; /* in the file: end of the planes so far */
    size_t next;       /* the plane that comes next: tensor * DQG_PLANE_COUNT + plane */
    int32_t level;
    struct slot *slots; /* as many as there are lanes */
    size_t slot_count;
    bool failed;
    bool finished;
};

/* Frames that are compressed at a time. */
struct batch {
    struct dqg_writer *writer;
    const uint8_t *data; /* of the first frame */
    size_t size;         /* of all that is left of the plane */
};

static void compress_frame(void *task, size_t index, size_t lane) {
    struct batch *batch = task;
    struct slot *slot = &batch->writer->slots[index];
    const uint8_t *raw = batch->data + index * DQG_FRAME_BYTES;
    size_t raw_size = dqg_min_size(batch->size - index * DQG_FRAME_BYTES, DQG_FRAME_BYTES);
    size_t capacity = raw_size - (raw_size + 63) / 64; /* less than 1/64 saved is not worth the time to load */
    (void)lane;
    slot->status = dqg_frame_encode(slot->encoder, batch->writer->level, raw, raw_size, slot->compressed, capacity,
                                    &slot->stored_size);
    slot->stored = slot->compressed;
    if (slot->stored_size == 0) {
        slot->stored = raw;
        slot->stored_size = raw_size;
    }
    slot->hash = dqg_hash64(slot->stored, slot->stored_size);
}

/* Memory for the first count slots. */
static dqg_status ready_slots(struct dqg_writer *writer, size_t count) {
    const struct dqg_alloc *alloc = &writer->context->alloc;
    if (count > 1) {
        DQG_TRY(dqg_parallel_prepare(writer->context));
    }
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &writer->slots[i];
        if (slot->encoder == NULL) {
            slot->encoder = dqg_encoder_create(alloc);
        }
        if (slot->compressed == NULL) {
            slot->compressed = dqg_malloc(alloc, DQG_FRAME_BYTES);
        }
        if (slot->encoder == NULL || slot->compressed == NULL) {
            return dqg_fail_memory(writer->context, "compressing a frame", DQG_FRAME_BYTES);
        }
    }
    return DQG_OK;
}

/* Append a compressed frame and note it at entry. */
static dqg_status write_frame(struct dqg_writer *writer, const struct slot *slot, uint8_t *entry) {
    if (slot->status < 0) {
        return slot->status == DQG_ERROR_MEMORY
                   ? dqg_fail_memory(writer->context, "compressing a frame", DQG_FRAME_BYTES)
                   : dqg_fail(writer->context, slot->status, "zstd failed at level %d", (int)writer->level);
    }
    DQG_TRY(dqg_output_write(&writer->output, writer->position, slot->stored, slot->stored_size));
    dqg_put_u32(entry + DQG_FRAME_STORED, (uint32_t)slot->stored_size);
    dqg_put_u32(entry + DQG_FRAME_CODEC, slot->stored == slot->compressed ? DQG_CODEC_ZSTD : DQG_CODEC_RAW);
    dqg_put_u64(entry + DQG_FRAME_HASH, slot->hash);
    writer->position += slot->stored_size;
    return DQG_OK;
}

static dqg_status write_frames(struct dqg_writer *writer, const uint8_t *data, size_t size, uint8_t *entry) {
    struct batch batch = {writer, data, size};
    while (batch.size > 0) {
        size_t count = dqg_min_size(writer->slot_count, (size_t)dqg_frame_count(batch.size));
        DQG_TRY(ready_slots(writer, count));
        dqg_parallel(writer->context, count, compress_frame, &batch);
        for (size_t i = 0; i < count; i++, entry += DQG_FRAME_ENTRY) {
            DQG_TRY(write_frame(writer, &writer->slots[i], entry));
        }
        size_t done = dqg_min_size(count * DQG_FRAME_BYTES, batch.size);
        batch.data += done;
        batch.size -= done;
    }
    return DQG_OK;
}

/* ---- calls ---- */

/* Move next over planes that have no bytes. */
static void skip_empty(struct dqg_writer *writer) {
    size_t count = writer->layout.tensor_count * DQG_PLANE_COUNT;
    while (writer->next < count &&
           writer->layout.tensors[writer->next / DQG_PLANE_COUNT].plane_bytes[writer->next % DQG_PLANE_COUNT] == 0) {
        writer->next++;
    }
}

dqg_status dqg_writer_create(struct dqg_context *context, const char *path, const struct dqg_tensor_desc *tensors,
                             size_t tensor_count, const struct dqg_metadata *metadata, size_t metadata_count,
                             int32_t level, struct dqg_writer **out) {
    *out = NULL;
    struct dqg_writer *writer = dqg_calloc(&context->alloc, 1, sizeof *writer);
    if (writer == NULL) {
        return dqg_fail_memory(context, "the writer", sizeof *writer);
    }
    writer->context = context;
    writer->level = level;
    writer->slot_count = dqg_concurrency(context);
    writer->slots = dqg_calloc(&context->alloc, writer->slot_count, sizeof *writer->slots);
    dqg_status status = DQG_OK;
    if (writer->slots == NULL) {
        status = dqg_fail_memory(context, "the writer", writer->slot_count * sizeof *writer->slots);
    }
    if (status >= 0) {
        status = dqg_layout_create(context, tensors, tensor_count, metadata, metadata_count, &writer->layout);
    }
    if (status >= 0) {
        status = dqg_output_create(context, path, &writer->output);
    }
    if (status < 0) {
        dqg_writer_abandon(writer);
        return status;
    }
    writer->position = writer->layout.size;
    skip_empty(writer);
    *out = writer;
    return DQG_OK;
}

static dqg_status check_plane(struct dqg_writer *writer, size_t tensor, enum dqg_plane plane, size_t size,
                              float scale) {
    struct dqg_layout *layout = &writer->layout;
    if (writer->failed || writer->finished) {
        return dqg_fail(writer->context, DQG_ERROR_STATE, "the file is finished, or could not be written");
    }
    if (tensor >= layout->tensor_count || plane >= DQG_PLANE_COUNT ||
        writer->next != tensor * DQG_PLANE_COUNT + plane) {
        return dqg_fail(writer->context, DQG_ERROR_STATE, "plane %d of tensor %zu is not the one that comes next",
                        (int)plane, tensor);
    }
    const struct dqg_tensor_place *place = &layout->tensors[tensor];
    bool first = plane == DQG_PLANE_CODES;
    if (size != place->plane_bytes[plane]) {
        return dqg_fail(writer->context, DQG_ERROR_ARGUMENT, "tensor '%s': plane %d has %llu bytes, not %zu",
                        place->name, (int)plane, (unsigned long long)place->plane_bytes[plane], size);
    }
    if (!isfinite(scale) || (!place->quantized && scale != 1.0f) ||
        (!first && scale != dqg_get_f32(place->record + DQG_RECORD_SCALE))) {
        return dqg_fail(writer->context, DQG_ERROR_ARGUMENT, "tensor '%s' cannot have the scale %g in plane %d",
                        place->name, (double)scale, (int)plane);
    }
    return DQG_OK;
}

dqg_status dqg_writer_plane(struct dqg_writer *writer, size_t tensor, enum dqg_plane plane, const void *data,
                            size_t size, float scale, uint64_t *stored_bytes) {
    *stored_bytes = 0;
    dqg_status status = check_plane(writer, tensor, plane, size, scale);
    if (status >= 0) {
        struct dqg_tensor_place *place = &writer->layout.tensors[tensor];
        /* What is skipped here reads as zero, which is what padding must be. */
        uint64_t start = dqg_container_align(writer->position);
        writer->position = start;
        dqg_put_f32(place->record + DQG_RECORD_SCALE, scale);
        dqg_put_u64(place->planes[plane] + DQG_PLANE_OFFSET, start);
        status = write_frames(writer, data, size, place->planes[plane] + DQG_PLANE_BYTES);
        *stored_bytes = status >= 0 ? writer->position - start : 0;
    }
    if (status < 0) {
        writer->failed = true;
        return status;
    }
    writer->next++;
    skip_empty(writer);
    return DQG_OK;
}

dqg_status dqg_writer_finish(struct dqg_writer *writer, uint64_t *file_bytes) {
    *file_bytes = 0;
    if (writer->failed || writer->finished || writer->next != writer->layout.tensor_count * DQG_PLANE_COUNT) {
        return dqg_fail(writer->context, DQG_ERROR_STATE, "the file cannot be finished: not all planes were written");
    }
    writer->failed = true; /* until it is not */
    dqg_layout_seal(&writer->layout, writer->position);
    DQG_TRY(dqg_output_write(&writer->output, 0, writer->layout.bytes, writer->layout.size));
    DQG_TRY(dqg_output_commit(&writer->output));
    writer->failed = false;
    writer->finished = true;
    *file_bytes = writer->position;
    return DQG_OK;
}

void dqg_writer_abandon(struct dqg_writer *writer) {
    if (writer == NULL) {
        return;
    }
    const struct dqg_alloc alloc = writer->context->alloc;
    for (size_t i = 0; writer->slots != NULL && i < writer->slot_count; i++) {
        dqg_encoder_destroy(writer->slots[i].encoder);
        dqg_free(&alloc, writer->slots[i].compressed, DQG_FRAME_BYTES);
    }
    dqg_free(&alloc, writer->slots, writer->slot_count * sizeof *writer->slots);
    dqg_layout_destroy(&writer->layout);
    dqg_output_discard(&writer->output);
    dqg_free(&alloc, writer, sizeof *writer);
}
