/* SPDX-License-Identifier: MIT */
/*
 * Which networks a checkpoint holds, and its tensors under the names that their builders know: programs put other words
 * in front of names, call tensors otherwise, and split or join matrices. Called before a model is loaded or quantized.
 */
#include "model/pipeline.h"
#include "tensor/format.h"

/* What stands in front of the names of a network, by the programs that write such files. */
static const char *const prefixes[] = {
    "",
    "module.",
    "model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "unet.",
    "transformer.",
    "first_stage_model.",
    "vae.",
    "cond_stage_model.transformer.",
    "cond_stage_model.model.",
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.0.model.",
    "conditioner.embedders.1.model.",
    "text_encoders.clip_l.transformer.",
    "text_encoders.clip_g.transformer.",
    "text_encoders.t5xxl.transformer.",
    "text_encoder.",
    "text_encoder_2.",
    "text_encoder_3.",
    "control_model.",
    "denoiser/",
    "clip/",
    "clip_2/",
    "t5/",
    "unet/",
    "transformer/",
    "vae/",
    "text_encoder/",
    "text_encoder_2/",
    "text_encoder_3/",
    "controlnet/",
};

/* Tensors of one network: those that begin with a prefix, and what the family makes of the rest of their names. */
struct candidate {
    const struct dqg_family *family;
    const char *prefix;
};

/* One tensor of the file and its place in the network. */
struct placed {
    size_t tensor;
    struct dqg_rename to;
};

static bool rename_tensor(const struct dqg_source *source, const struct candidate *candidate, const char *name,
                          struct dqg_rename *to) {
    size_t length = strlen(candidate->prefix);
    if (strncmp(name, candidate->prefix, length) != 0) {
        return false;
    }
    *to = (struct dqg_rename){.parts = 1};
    if (candidate->family->rename_in != NULL) {
        return candidate->family->rename_in(source, candidate->prefix, name + length, to);
    }
    if (candidate->family->rename != NULL) {
        return candidate->family->rename(name + length, to);
    }
    /* A slash ends the name of a network. */
    return strchr(name + length, '/') == NULL &&
           dqg_format(to->name, sizeof to->name, "%s", name + length) < sizeof to->name;
}

static bool has_marker(const struct dqg_source *source, const struct candidate *candidate) {
    struct dqg_rename to;
    const char *marker = candidate->family->marker;
    for (size_t i = 0; i < source->tensor_count; i++) {
        if (rename_tensor(source, candidate, source->tensors[i].name, &to) &&
            (marker == NULL || strcmp(to.name, marker) == 0)) {
            return true;
        }
    }
    return false;
}

/* ---- tensors put together ---- */

struct builder {
    struct dqg_context *context;
    struct dqg_source *source;
    struct dqg_arena arena; /* of what is needed until the mapped source has its copies */
    struct placed *placed;
    uint32_t *order; /* of placed: by name, then by part */
    size_t placed_count;
    struct dqg_mapping *mappings;
    size_t mapping_count;
};

static bool placed_before(const void *items, size_t a, size_t b) {
    const struct placed *placed = items;
    int order = strcmp(placed[a].to.name, placed[b].to.name);
    if (order != 0) {
        return order < 0;
    }
    return placed[a].to.part != placed[b].to.part ? placed[a].to.part < placed[b].to.part : a < b;
}

static dqg_status from_arena(struct builder *builder, size_t count, size_t size, void *out) {
    void *memory = dqg_arena_alloc(&builder->context->alloc, &builder->arena, count * size);
    memcpy(out, &memory, sizeof memory);
    return memory != NULL ? DQG_OK : dqg_fail_memory(builder->context, "the names of tensors", count * size);
}

static dqg_status place_tensors(struct builder *builder, const struct candidate *candidate) {
    const struct dqg_source *source = builder->source;
    builder->placed_count = 0;
    DQG_TRY(from_arena(builder, source->tensor_count, sizeof *builder->placed, &builder->placed));
    DQG_TRY(from_arena(builder, source->tensor_count, sizeof *builder->order, &builder->order));
    for (size_t i = 0; i < source->tensor_count; i++) {
        struct placed *placed = &builder->placed[builder->placed_count];
        if (rename_tensor(source, candidate, source->tensors[i].name, &placed->to)) {
            placed->tensor = i;
            builder->placed_count++;
        }
    }
    dqg_sort_indices(builder->order, builder->placed_count, placed_before, builder->placed);
    return DQG_OK;
}

/* Shape of the whole: rows of all parts; the other way round; or without sides of 1. */
static void shape_whole(const struct builder *builder, const struct placed *first, size_t parts, const uint32_t *order,
                        struct dqg_tensor_desc *desc) {
    const struct dqg_rename *to = &first->to;
    if (to->transposed && desc->rank == 2) {
        int64_t rows = desc->shape[0];
        desc->shape[0] = desc->shape[1];
        desc->shape[1] = rows;
    }
    for (int32_t i = desc->rank; to->flat && i > 2 && desc->shape[i - 1] == 1; i--) {
        desc->rank--;
    }
    for (size_t i = 1; i < parts; i++) {
        const struct dqg_tensor_desc *part = &builder->source->tensors[builder->placed[order[i]].tensor];
        desc->shape[0] += part->shape[0];
        for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
            desc->plane_bytes[plane] += part->plane_bytes[plane];
        }
        desc->stored_bytes += part->stored_bytes;
    }
}

/* parts tensors from order on make one. */
static dqg_status add_mapping(struct builder *builder, const uint32_t *order, size_t parts, const char *role) {
    const struct placed *first = &builder->placed[order[0]];
    if (builder->mapping_count == builder->source->tensor_count) {
        return dqg_fail(builder->context, DQG_ERROR_UNSUPPORTED,
                        "the tensors of this file belong to several networks at once");
    }
    struct dqg_mapping *mapping = &builder->mappings[builder->mapping_count++];
    size_t pieces = first->to.swapped ? 2 : parts;
    struct dqg_part *list;
    char *name;
    size_t length = strlen(role) + strlen(first->to.name) + 2;
    DQG_TRY(from_arena(builder, pieces, sizeof *list, &list));
    DQG_TRY(from_arena(builder, length, 1, &name));
    dqg_format(name, length, role[0] != '\0' ? "%s/%s" : "%s%s", role, first->to.name);
    *mapping = (struct dqg_mapping){.desc = builder->source->tensors[first->tensor],
                                    .pieces = list,
                                    .piece_count = pieces,
                                    .transposed = first->to.transposed};
    mapping->desc.name = name;
    for (size_t i = 0; i < pieces; i++) {
        size_t tensor = builder->placed[order[first->to.swapped ? 0 : i]].tensor;
        list[i] = (struct dqg_part){0, tensor, 0, builder->source->tensors[tensor].plane_bytes[DQG_PLANE_CODES]};
    }
    if (first->to.swapped) {
        list[0].size /= 2;
        list[0].offset = list[1].size = list[0].size;
    }
    shape_whole(builder, first, parts, order, &mapping->desc);
    return DQG_OK;
}

/* The parts of a tensor stand side by side in the order; where those begin whose first part is placed[i]: begins[i]. */
static dqg_status check_parts(const struct builder *builder, uint32_t *begins) {
    for (size_t i = 0, parts; i < builder->placed_count; i += parts) {
        const struct placed *first = &builder->placed[builder->order[i]];
        for (parts = 1; i + parts < builder->placed_count && parts < first->to.parts; parts++) {
            const struct placed *next = &builder->placed[builder->order[i + parts]];
            if (strcmp(next->to.name, first->to.name) != 0 || next->to.part != parts) {
                break;
            }
        }
        if (first->to.part != 0 || parts != first->to.parts) {
            return dqg_fail(builder->context, DQG_ERROR_FORMAT,
                            "tensor '%s' is one of %zu parts of '%s' that are not all there",
                            builder->source->tensors[first->tensor].name, first->to.parts, first->to.name);
        }
        begins[builder->order[i]] = (uint32_t)i;
    }
    return DQG_OK;
}

/* Some programs store a tensor twice, under two names: the first is taken. */
static bool is_twin(const struct builder *builder, uint32_t begins) {
    return begins > 0 && strcmp(builder->placed[builder->order[begins - 1]].to.name,
                                builder->placed[builder->order[begins]].to.name) == 0;
}

/* All tensors of one network, in the order of the file. */
static dqg_status map_network(struct builder *builder, const struct candidate *candidate, const char *role) {
    uint32_t *begins;
    DQG_TRY(place_tensors(builder, candidate));
    DQG_TRY(from_arena(builder, builder->placed_count, sizeof *begins, &begins));
    DQG_TRY(check_parts(builder, begins));
    for (size_t i = 0; i < builder->placed_count; i++) {
        const struct dqg_rename *to = &builder->placed[i].to;
        if (to->part == 0 && !is_twin(builder, begins[i])) {
            DQG_TRY(add_mapping(builder, &builder->order[begins[i]], to->parts, role));
        }
    }
    return DQG_OK;
}

/* ---- which networks ---- */

/* Does a candidate stand the test? Its tensors under their own names, alone. */
static dqg_status is_network(struct builder *builder, const struct candidate *candidate, bool *is) {
    struct dqg_source view;
    builder->mapping_count = 0;
    *is = false;
    if (!has_marker(builder->source, candidate)) {
        return DQG_OK;
    }
    DQG_TRY(map_network(builder, candidate, ""));
    DQG_TRY(dqg_source_open_mapped(builder->context, builder->source, 1, false, builder->mappings,
                                   builder->mapping_count, NULL, 0, &view));
    *is = candidate->family->detect(&view);
    dqg_source_close(&view);
    return DQG_OK;
}

static void add_component(struct dqg_checkpoint *checkpoint, const struct dqg_family *family, const char *prefix) {
    struct dqg_component *component = &checkpoint->components[checkpoint->count];
    size_t same = 1;
    for (size_t i = 0; i < checkpoint->count; i++) {
        same += strcmp(checkpoint->components[i].family->role, family->role) == 0;
    }
    component->family = family;
    component->prefix = prefix;
    dqg_format(component->role, sizeof component->role, same > 1 ? "%s_%zu" : "%s", family->role, same);
    checkpoint->count++;
}

/* Files of this library name roles themselves: "<role>/" in front, in any order. */
static dqg_status find_networks(struct builder *builder, struct dqg_checkpoint *checkpoint,
                                struct candidate found[DQG_COMPONENTS]) {
    for (size_t p = 0; p < DQG_COUNT_OF(prefixes); p++) {
        for (size_t f = 0; f < dqg_family_count && checkpoint->count < DQG_COMPONENTS; f++) {
            const struct candidate candidate = {dqg_families[f], prefixes[p]};
            bool is;
            DQG_TRY(is_network(builder, &candidate, &is));
            if (is) {
                found[checkpoint->count] = candidate;
                add_component(checkpoint, candidate.family, candidate.prefix);
                break; /* a prefix stands before the tensors of one network */
            }
        }
    }
    return DQG_OK;
}

static dqg_status fail_unknown(struct dqg_context *context) {
    char known[256] = "";
    for (size_t i = 0; i < dqg_family_count; i++) {
        size_t length = strlen(known);
        dqg_format(known + length, sizeof known - length, length > 0 ? ", %s" : "%s", dqg_families[i]->name);
    }
    return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "the tensor names are those of no known network (known: %s)",
                    known);
}

static dqg_status open_canonical(struct builder *builder, struct dqg_checkpoint *checkpoint) {
    struct candidate found[DQG_COMPONENTS];
    const struct dqg_source *source = builder->source;
    /* Each network maps a tensor at most once; networks have different prefixes. */
    DQG_TRY(from_arena(builder, source->tensor_count, sizeof *builder->mappings, &builder->mappings));
    DQG_TRY(find_networks(builder, checkpoint, found));
    if (checkpoint->count == 0) {
        return fail_unknown(builder->context);
    }
    builder->mapping_count = 0;
    for (size_t i = 0; i < checkpoint->count; i++) {
        DQG_TRY(map_network(builder, &found[i], checkpoint->count > 1 ? checkpoint->components[i].role : ""));
    }
    struct dqg_metadata *metadata;
    size_t metadata_count;
    DQG_TRY(dqg_pipeline_metadata(builder->context, checkpoint, builder->source, &builder->arena, &metadata,
                                  &metadata_count));
    return dqg_source_open_mapped(builder->context, builder->source, 1, false, builder->mappings,
                                  builder->mapping_count, metadata, metadata_count, &checkpoint->canonical);
}

static void free_builder(struct builder *builder) {
    dqg_arena_free(&builder->context->alloc, &builder->arena);
}

dqg_status dqg_checkpoint_open(struct dqg_context *context, struct dqg_source *source,
                               struct dqg_checkpoint *checkpoint) {
    struct builder builder = {.context = context, .source = source};
    memset(checkpoint, 0, sizeof *checkpoint);
    checkpoint->file = source;
    dqg_status status = open_canonical(&builder, checkpoint);
    free_builder(&builder);
    return status;
}

/* Tensors whose names begin with the role, as they are. */
static bool drop_role(const struct dqg_source *source, size_t tensor, const char *role, const char **name) {
    size_t length = strlen(role);
    const char *full = source->tensors[tensor].name;
    *name = full + length + 1;
    return strncmp(full, role, length) == 0 && full[length] == '/';
}

size_t dqg_checkpoint_first(const struct dqg_checkpoint *checkpoint) {
    size_t first = 0;
    for (size_t i = checkpoint->count; i > 0; i--) {
        first = strcmp(checkpoint->components[i - 1].role, "denoiser") == 0 ? i - 1 : first;
    }
    return first;
}

/* What a network sees of the metadata. Its tokenizer is no business of it. */
static dqg_status view_metadata(struct builder *builder, const char *role, bool all, struct dqg_metadata **list,
                                size_t *count) {
    const struct dqg_source *source = builder->source;
    size_t length = strlen(role);
    *count = 0;
    DQG_TRY(from_arena(builder, 2 * source->metadata_count, sizeof **list, list));
    for (int own = 1; own >= 0; own--) {
        for (size_t i = 0; i < source->metadata_count; i++) {
            struct dqg_metadata entry = source->metadata[i];
            bool mine = strncmp(entry.key, role, length) == 0 && entry.key[length] == '/';
            if (own) {
                entry.key += mine ? length + 1 : 0;
            }
            if (own ? mine && strcmp(entry.key, "tokenizer") != 0 : all || strchr(entry.key, '/') == NULL) {
                (*list)[(*count)++] = entry;
            }
        }
    }
    return DQG_OK;
}

static dqg_status open_view(struct builder *builder, const struct dqg_checkpoint *checkpoint, size_t index,
                            struct dqg_source *view) {
    const struct dqg_source *source = builder->source;
    const char *role = checkpoint->count > 1 ? checkpoint->components[index].role : "";
    struct dqg_metadata *metadata;
    size_t metadata_count;
    struct dqg_part *pieces;
    DQG_TRY(view_metadata(builder, checkpoint->components[index].role, index == dqg_checkpoint_first(checkpoint),
                          &metadata, &metadata_count));
    DQG_TRY(from_arena(builder, source->tensor_count, sizeof *pieces, &pieces));
    DQG_TRY(from_arena(builder, source->tensor_count, sizeof *builder->mappings, &builder->mappings));
    for (size_t i = 0; i < source->tensor_count; i++) {
        struct dqg_mapping *mapping = &builder->mappings[builder->mapping_count];
        const char *name = source->tensors[i].name;
        if (role[0] == '\0' || drop_role(source, i, role, &name)) {
            pieces[i] = (struct dqg_part){0, i, 0, source->tensors[i].plane_bytes[DQG_PLANE_CODES]};
            *mapping = (struct dqg_mapping){.desc = source->tensors[i], .pieces = &pieces[i], .piece_count = 1};
            mapping->desc.name = name;
            builder->mapping_count++;
        }
    }
    return dqg_source_open_mapped(builder->context, builder->source, 1, false, builder->mappings,
                                  builder->mapping_count, metadata, metadata_count, view);
}

dqg_status dqg_checkpoint_component(struct dqg_context *context, struct dqg_checkpoint *checkpoint, size_t index,
                                    struct dqg_source *view) {
    struct builder builder = {.context = context, .source = &checkpoint->canonical};
    dqg_status status = open_view(&builder, checkpoint, index, view);
    free_builder(&builder);
    return status;
}

const struct dqg_family *dqg_checkpoint_family(const struct dqg_checkpoint *checkpoint, const char **name) {
    const char *slash = checkpoint->count > 1 ? strchr(*name, '/') : NULL;
    size_t length = slash != NULL ? (size_t)(slash - *name) : 0;
    for (size_t i = 0; slash != NULL && i < checkpoint->count; i++) {
        const char *role = checkpoint->components[i].role;
        if (strlen(role) == length && strncmp(role, *name, length) == 0) {
            *name = slash + 1;
            return checkpoint->components[i].family;
        }
    }
    return checkpoint->components[0].family;
}

void dqg_checkpoint_close(struct dqg_checkpoint *checkpoint) {
    dqg_source_close(&checkpoint->canonical);
}
