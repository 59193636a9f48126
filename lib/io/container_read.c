/* SPDX-License-Identifier: MIT */
/*
 * Reads and checks the planes of a .dqg file. The frames of a plane are fetched, checked and decompressed on the
 * context's lanes, each with a scratch buffer of one frame. Lanes write no messages: they note damage, and the first
 * one in the order of the file is reported, so that the same file gives the same message whatever the thread count.
 */
#include <stdatomic.h>

#include "io/bytes.h"
#include "io/container.h"
#include "support/hash.h"

enum { BATCH_FRAMES = 64 }; /* between two looks at progress and damage */

/* Some frames of one plane. */
struct batch {
    const struct dqg_input *input;
    struct dqg_frame_lane *lanes;
    const uint8_t *entries; /* of the first frame */
    size_t first;           /* frame number in the plane */
    uint64_t raw_left;      /* bytes of the plane from the first frame on */
    uint64_t offsets[BATCH_FRAMES];
    uint8_t *out;            /* raw bytes of the first frame, or NULL to check only */
    atomic_size_t first_bad; /* index in the batch; frames after it need not be looked at */
};

static void note_damage(struct batch *batch, size_t index, size_t lane, enum dqg_damage_kind kind, int32_t code) {
    struct dqg_damage *damage = &batch->lanes[lane].damage;
    size_t bad = atomic_load(&batch->first_bad);
    while (index < bad && !atomic_compare_exchange_weak(&batch->first_bad, &bad, index)) {
    }
    if (damage->kind == DQG_DAMAGE_NONE || batch->first + index < damage->frame) {
        damage->kind = kind;
        damage->code = code;
        damage->offset = batch->offsets[index];
        damage->frame = batch->first + index;
    }
}

static void check_frame(void *task, size_t index, size_t lane) {
    struct batch *batch = task;
    const uint8_t *entry = batch->entries + index * DQG_FRAME_ENTRY;
    struct dqg_frame_lane *scratch = &batch->lanes[lane];
    uint64_t raw_left = batch->raw_left - (uint64_t)index * DQG_FRAME_BYTES;
    size_t raw_size = raw_left < DQG_FRAME_BYTES ? (size_t)raw_left : DQG_FRAME_BYTES;
    size_t stored_size = dqg_get_u32(entry + DQG_FRAME_STORED);
    bool plain = dqg_get_u32(entry + DQG_FRAME_CODEC) == DQG_CODEC_RAW;
    uint8_t *raw = batch->out != NULL ? batch->out + index * DQG_FRAME_BYTES : scratch->raw;
    uint8_t *stored = plain ? raw : scratch->stored;

    if (index > atomic_load(&batch->first_bad)) {
        return;
    }
    uint64_t offset = batch->offsets[index];
    if (offset > batch->input->size || stored_size > batch->input->size - offset) {
        note_damage(batch, index, lane, DQG_DAMAGE_ENDS, 0);
        return;
    }
    int32_t code = dqg_input_fetch(batch->input, offset, stored, stored_size);
    if (code != 0) {
        note_damage(batch, index, lane, DQG_DAMAGE_READ, code);
    } else if (dqg_hash64(stored, stored_size) != dqg_get_u64(entry + DQG_FRAME_HASH)) {
        note_damage(batch, index, lane, DQG_DAMAGE_HASH, 0);
    } else if (!plain) {
        dqg_status status = dqg_frame_decode(scratch->decoder, stored, stored_size, raw, raw_size);
        if (status < 0) {
            note_damage(batch, index, lane, status == DQG_ERROR_MEMORY ? DQG_DAMAGE_MEMORY : DQG_DAMAGE_CONTENT, 0);
        }
    }
}

/* ---- lanes ---- */

void dqg_container_free_lanes(struct dqg_source *source) {
    struct dqg_container *container = source->detail;
    const struct dqg_alloc *alloc = &source->context->alloc;
    for (size_t i = 0; i < container->lane_count; i++) {
        dqg_decoder_destroy(container->lanes[i].decoder);
        dqg_free(alloc, container->lanes[i].stored, DQG_FRAME_BYTES);
        dqg_free(alloc, container->lanes[i].raw, DQG_FRAME_BYTES);
    }
    dqg_free(alloc, container->lanes, container->lane_count * sizeof *container->lanes);
    container->lanes = NULL;
    container->lane_count = 0;
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

/* Scratch for the lanes that count frames can occupy; kept for the next plane. */
static dqg_status ready_lanes(struct dqg_source *source, size_t count, bool check_only) {
    struct dqg_container *container = source->detail;
    const struct dqg_alloc *alloc = &source->context->alloc;
    size_t wanted = dqg_concurrency(source->context);
    if (container->lane_count < wanted) {
        dqg_container_free_lanes(source);
        container->lanes = dqg_calloc(alloc, wanted, sizeof *container->lanes);
        container->lane_count = container->lanes != NULL ? wanted : 0;
    }
    if (count > 1) {
        DQG_TRY(dqg_parallel_prepare(source->context));
    }
    bool ready = container->lanes != NULL;
    for (size_t i = 0; ready && i < dqg_min_size(wanted, count); i++) {
        ready = ready_lane(alloc, &container->lanes[i], check_only);
    }
    for (size_t i = 0; i < container->lane_count; i++) {
        container->lanes[i].damage.kind = DQG_DAMAGE_NONE;
    }
    return ready ? DQG_OK : dqg_fail_memory(source->context, "reading a frame", DQG_FRAME_BYTES);
}

/* ---- planes ---- */

/* Where frame number frame of a plane starts in the file. */
static uint64_t frame_offset(const struct dqg_stored_plane *plane, size_t frame) {
    uint64_t offset = plane->offset;
    for (size_t i = 0; i < frame; i++) {
        offset += dqg_get_u32(plane->frames + i * DQG_FRAME_ENTRY + DQG_FRAME_STORED);
    }
    return offset;
}

/* Up to BATCH_FRAMES frames from offset on; damage->kind tells the outcome. */
static dqg_status check_batch(struct dqg_source *source, const struct dqg_stored_plane *plane, struct batch *batch,
                              size_t count, struct dqg_damage *damage) {
    struct dqg_container *container = source->detail;
    DQG_TRY(ready_lanes(source, count, batch->out == NULL));
    batch->input = &source->inputs[0];
    batch->lanes = container->lanes;
    batch->entries = plane->frames + batch->first * DQG_FRAME_ENTRY;
    atomic_store(&batch->first_bad, count);
    for (size_t i = 0; i + 1 < count; i++) {
        batch->offsets[i + 1] = batch->offsets[i] + dqg_get_u32(batch->entries + i * DQG_FRAME_ENTRY);
    }
    dqg_parallel(source->context, count, check_frame, batch);
    size_t bad = batch->first + atomic_load(&batch->first_bad);
    for (size_t i = 0; i < dqg_min_size(container->lane_count, count); i++) {
        const struct dqg_damage *found = &container->lanes[i].damage;
        if (found->kind != DQG_DAMAGE_NONE && found->frame == bad) {
            damage->kind = found->kind;
            damage->code = found->code;
            damage->offset = found->offset;
            damage->frame = found->frame;
        }
    }
    return DQG_OK;
}

static void check_padding(const struct dqg_input *input, const struct dqg_stored_plane *plane,
                          struct dqg_damage *damage) {
    uint8_t bytes[DQG_CONTAINER_ALIGN];
    damage->offset = plane->end;
    if (plane->end > input->size || plane->padding > input->size - plane->end) {
        damage->kind = DQG_DAMAGE_ENDS;
        return;
    }
    damage->code = dqg_input_fetch(input, plane->end, bytes, plane->padding);
    if (damage->code != 0) {
        damage->kind = DQG_DAMAGE_READ;
        return;
    }
    for (uint32_t i = 0; i < plane->padding; i++) {
        if (bytes[i] != 0) {
            damage->kind = DQG_DAMAGE_PADDING;
        }
    }
}

/*
 * Frames first..last-1 of a plane, to out or checked only, and the padding where the last frame is among them. work may
 * be NULL. A failing status means that the work could not be done; damage->kind what was found wrong.
 */
static dqg_status check_plane(struct dqg_source *source, size_t tensor, enum dqg_plane which, size_t first, size_t last,
                              uint8_t *out, struct dqg_work *work, struct dqg_damage *damage) {
    const struct dqg_container *container = source->detail;
    const struct dqg_tensor_desc *desc = &source->tensors[tensor];
    const struct dqg_stored_plane *plane = &container->planes[tensor][which];
    *damage = (struct dqg_damage){.tensor = tensor, .plane = which};
    struct batch batch = {.out = out};
    uint64_t offset = frame_offset(plane, first);
    for (size_t frame = first, count; frame < last && damage->kind == DQG_DAMAGE_NONE; frame += count) {
        count = dqg_min_size(last - frame, BATCH_FRAMES);
        batch.first = frame;
        batch.raw_left = desc->plane_bytes[which] - (uint64_t)frame * DQG_FRAME_BYTES;
        batch.offsets[0] = offset;
        if (work != NULL) {
            DQG_TRY(dqg_work_set(work, offset, desc->name));
        }
        DQG_TRY(check_batch(source, plane, &batch, count, damage));
        offset = batch.offsets[count - 1] + dqg_get_u32(batch.entries + (count - 1) * DQG_FRAME_ENTRY);
        batch.out = out != NULL ? batch.out + count * DQG_FRAME_BYTES : NULL;
    }
    if (last == plane->frame_count && plane->padding > 0 && damage->kind == DQG_DAMAGE_NONE) {
        check_padding(&source->inputs[0], plane, damage);
    }
    return DQG_OK;
}

/* ---- what was found, in words ---- */

static const char *const plane_names[DQG_PLANE_COUNT] = {"data", "scales", "zero points"};

static void describe(const struct dqg_source *source, const struct dqg_damage *damage, char *text, size_t size) {
    const struct dqg_container *container = source->detail;
    unsigned long long frame = damage->frame + 1;
    unsigned long long frames = container->planes[damage->tensor][damage->plane].frame_count;
    const char *plane = plane_names[damage->plane];
    switch (damage->kind) {
    case DQG_DAMAGE_ENDS:
        dqg_format(text, size, "the file ends inside its %s", plane);
        break;
    case DQG_DAMAGE_HASH:
        dqg_format(text, size, "frame %llu of %llu of its %s does not match its checksum", frame, frames, plane);
        break;
    case DQG_DAMAGE_CONTENT:
        dqg_format(text, size, "frame %llu of %llu of its %s does not decompress to its size", frame, frames, plane);
        break;
    case DQG_DAMAGE_PADDING:
        dqg_format(text, size, "the padding after its %s is not zero", plane);
        break;
    case DQG_DAMAGE_GAP:
        dqg_format(text, size, "the padding before its %s is not zero", plane);
        break;
    default:
        dqg_format(text, size, "no damage");
        break;
    }
}

/* Fail with what was found; the size of the file is part of it where it is not what the header says. */
static dqg_status report(struct dqg_source *source, const struct dqg_damage *damage) {
    const struct dqg_container *container = source->detail;
    const struct dqg_input *input = &source->inputs[0];
    uint64_t have = input->size, want = container->file_bytes;
    char what[160], sizes[96] = "";
    if (damage->kind == DQG_DAMAGE_READ) {
        return dqg_input_fail(source->context, input, damage->offset, damage->code);
    }
    if (damage->kind == DQG_DAMAGE_MEMORY) {
        return dqg_fail_memory(source->context, "decompressing a frame", DQG_FRAME_BYTES);
    }
    dqg_status status = damage->kind == DQG_DAMAGE_CONTENT ? DQG_ERROR_FORMAT : DQG_ERROR_CHECKSUM;
    if (have != want) {
        uint64_t difference = have < want ? want - have : have - want;
        dqg_format(sizes, sizeof sizes, "; the file is %llu byte%s %s than its header says",
                   (unsigned long long)difference, difference > 1 ? "s" : "", have < want ? "shorter" : "longer");
        status = have < want ? DQG_ERROR_TRUNCATED : DQG_ERROR_CHECKSUM;
    }
    describe(source, damage, what, sizeof what);
    return dqg_fail(source->context, status, "tensor '%s' is damaged: %s%s (%s); copy or download the file again",
                    source->tensors[damage->tensor].name, what, sizes, input->name);
}

/* The file goes on behind the last plane, and nothing else is wrong with it. */
static dqg_status report_excess(struct dqg_source *source) {
    const struct dqg_container *container = source->detail;
    const struct dqg_input *input = &source->inputs[0];
    uint64_t excess = input->size - container->file_bytes;
    size_t count = source->tensor_count;
    return dqg_fail(source->context, DQG_ERROR_CHECKSUM,
                    "%llu byte%s too many after the end of %s%s%s (%s); copy or download the file again",
                    (unsigned long long)excess, excess > 1 ? "s" : "", count > 0 ? "tensor '" : "the index",
                    count > 0 ? source->tensors[count - 1].name : "", count > 0 ? "'" : "", input->name);
}

/* ---- the whole file ---- */

/* All planes in the order of the file, up to the first damage. */
static dqg_status check_planes(struct dqg_source *source, struct dqg_damage *damage) {
    const struct dqg_container *container = source->detail;
    struct dqg_work work;
    dqg_work_begin(&work, source->context, DQG_PHASE_VERIFY, source->inputs[0].size);
    for (size_t i = 0; i < source->tensor_count; i++) {
        for (size_t j = 0; j < DQG_PLANE_COUNT; j++) {
            DQG_TRY(
                check_plane(source, i, (enum dqg_plane)j, 0, container->planes[i][j].frame_count, NULL, &work, damage));
            if (damage->kind != DQG_DAMAGE_NONE) {
                return DQG_OK;
            }
        }
    }
    return dqg_work_set(&work, work.total, "the end");
}

/* The zero bytes between the index and the first plane, which are no plane's padding. */
static void check_gap(struct dqg_source *source, struct dqg_damage *damage) {
    const struct dqg_container *container = source->detail;
    struct dqg_stored_plane gap = {.end = container->bytes_size};
    while (damage->tensor < source->tensor_count && container->planes[damage->tensor][0].frame_count == 0) {
        damage->tensor++;
    }
    if (damage->tensor < source->tensor_count) {
        gap.padding = (uint32_t)(container->planes[damage->tensor][0].offset - gap.end);
        check_padding(&source->inputs[0], &gap, damage);
    }
    if (damage->kind == DQG_DAMAGE_PADDING) {
        damage->kind = DQG_DAMAGE_GAP;
    }
}

dqg_status dqg_container_check_size(struct dqg_source *source) {
    const struct dqg_container *container = source->detail;
    struct dqg_damage damage = {.kind = DQG_DAMAGE_NONE};
    check_gap(source, &damage);
    if (damage.kind == DQG_DAMAGE_NONE && source->inputs[0].size != container->file_bytes) {
        DQG_TRY(check_planes(source, &damage));
        if (damage.kind == DQG_DAMAGE_NONE) {
            return report_excess(source);
        }
    }
    return damage.kind == DQG_DAMAGE_NONE ? DQG_OK : report(source, &damage);
}

dqg_status dqg_container_verify(struct dqg_source *source) {
    struct dqg_damage damage = {.kind = DQG_DAMAGE_NONE};
    DQG_TRY(check_planes(source, &damage));
    return damage.kind == DQG_DAMAGE_NONE ? DQG_OK : report(source, &damage);
}

dqg_status dqg_container_read(struct dqg_source *source, size_t tensor, enum dqg_plane plane, uint64_t offset,
                              void *buffer, size_t size) {
    uint64_t bytes = source->tensors[tensor].plane_bytes[plane];
    struct dqg_damage damage = {.kind = DQG_DAMAGE_NONE};
    if (offset % DQG_FRAME_BYTES != 0 || (size % DQG_FRAME_BYTES != 0 && size != bytes - offset)) {
        return dqg_fail(source->context, DQG_ERROR_RANGE, "tensor '%s' can be read in whole frames of %d bytes only",
                        source->tensors[tensor].name, DQG_FRAME_BYTES);
    }
    size_t first = (size_t)(offset / DQG_FRAME_BYTES);
    size_t last = first + (size_t)dqg_frame_count(size);
    DQG_TRY(check_plane(source, tensor, plane, first, last, buffer, NULL, &damage));
    return damage.kind == DQG_DAMAGE_NONE ? DQG_OK : report(source, &damage);
}
