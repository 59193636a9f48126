/* SPDX-License-Identifier: MIT */
/*
 * What is wrong with a .dqg file: damage found by container_read.c in words, the check of the whole file, and that of
 * its size. Called when a file is opened and by dqg_source_verify().
 */
#include "io/container.h"

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
dqg_status dqg_container_report(struct dqg_source *source, const struct dqg_damage *damage) {
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
    const struct dqg_alloc *alloc = &source->context->alloc;
    size_t count = source->tensor_count * DQG_PLANE_COUNT;
    struct dqg_work work;
    dqg_work_begin(&work, source->context, DQG_PHASE_VERIFY, source->inputs[0].size);
    struct dqg_plane_read *reads = dqg_calloc(alloc, count, sizeof *reads);
    if (reads == NULL) {
        return dqg_fail_memory(source->context, "checking a file", count * sizeof *reads);
    }
    for (size_t i = 0; i < count; i++) {
        reads[i].tensor = i / DQG_PLANE_COUNT;
        reads[i].plane = (enum dqg_plane)(i % DQG_PLANE_COUNT);
        reads[i].size = source->tensors[reads[i].tensor].plane_bytes[reads[i].plane];
    }
    dqg_status status = dqg_container_check_planes(source, reads, count, &work, damage);
    dqg_free(alloc, reads, count * sizeof *reads);
    DQG_TRY(status);
    return damage->kind == DQG_DAMAGE_NONE ? dqg_work_set(&work, work.total, "the end") : DQG_OK;
}

/* The zero bytes between the index and the first plane, which are no plane's padding. */
static void check_gap(struct dqg_source *source, struct dqg_damage *damage) {
    const struct dqg_container *container = source->detail;
    while (damage->tensor < source->tensor_count && container->planes[damage->tensor][0].frame_count == 0) {
        damage->tensor++;
    }
    if (damage->tensor < source->tensor_count) {
        damage->offset = container->bytes_size;
        size_t gap = (size_t)(container->planes[damage->tensor][0].offset - damage->offset);
        damage->kind = dqg_container_check_padding(&source->inputs[0], damage->offset, gap, &damage->code);
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
    return damage.kind == DQG_DAMAGE_NONE ? DQG_OK : dqg_container_report(source, &damage);
}

dqg_status dqg_container_verify(struct dqg_source *source) {
    struct dqg_damage damage = {.kind = DQG_DAMAGE_NONE};
    DQG_TRY(check_planes(source, &damage));
    return damage.kind == DQG_DAMAGE_NONE ? DQG_OK : dqg_container_report(source, &damage);
}
