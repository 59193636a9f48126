/* SPDX-License-Identifier: MIT */
/*
 * The quantizer's main loop: open the checkpoint, decide each tensor's format, then stream tensor by tensor into the
 * container. Memory is bounded by the largest tensor and its packed form.
 */
#include "quant/quant.h"

/* Everything of one run that must be cleaned up together. */
struct job {
    struct dqg_quantizer *quantizer;
    struct dqg_source file;
    struct dqg_checkpoint checkpoint; /* of file */
    struct dqg_tensor_desc *to;
    size_t *from; /* index in the source of each tensor that is kept */
    size_t count;
    struct dqg_metadata *metadata;
    size_t metadata_count;
    struct dqg_writer *writer;
    void *in;
    size_t in_bytes;
    void *planes[DQG_PLANE_COUNT];
    size_t plane_bytes[DQG_PLANE_COUNT];
};

static void *from_arena(struct job *job, size_t count, size_t size, dqg_status *status) {
    struct dqg_context *context = job->quantizer->context;
    size_t bytes;
    void *ptr = dqg_mul_size(count, size, &bytes)
                    ? dqg_arena_alloc(&context->alloc, &job->quantizer->report_arena, bytes)
                    : NULL;
    if (ptr == NULL) {
        *status = dqg_fail_memory(context, "the quantizer's plan", count * size);
    }
    return ptr;
}

static const char *keep(struct job *job, const char *text, dqg_status *status) {
    char *copy = from_arena(job, strlen(text) + 1, 1, status);
    return copy != NULL ? strcpy(copy, text) : "";
}

/* Choose every tensor's format and size the buffers. */
static dqg_status plan_tensors(struct job *job) {
    struct dqg_quantizer *quantizer = job->quantizer;
    const struct dqg_source *source = &job->checkpoint.canonical;
    dqg_status status = DQG_OK;
    job->to = from_arena(job, source->tensor_count, sizeof *job->to, &status);
    job->from = from_arena(job, source->tensor_count, sizeof *job->from, &status);
    quantizer->report = from_arena(job, source->tensor_count, sizeof *quantizer->report, &status);
    DQG_TRY(status);
    for (size_t i = 0; i < source->tensor_count; i++) {
        const struct dqg_tensor_desc *from = &source->tensors[i];
        if (dqg_dtype_is_quantized(from->dtype)) {
            return dqg_fail(quantizer->context, DQG_ERROR_UNSUPPORTED,
                            "tensor '%s' is quantized already; quantize the "
                            "float checkpoint instead",
                            from->name);
        }
        if (from->dtype == 0) {
            dqg_log(quantizer->context, DQG_LOG_WARNING, "tensor '%s' of type %s is left out", from->name,
                    from->type_name);
            continue;
        }
        struct dqg_tensor_desc *to = &job->to[job->count];
        struct dqg_recipe recipe = dqg_recipe_choose(quantizer, &job->checkpoint, from);
        *to = *from;
        to->name = keep(job, from->name, &status);
        DQG_TRY(status);
        to->dtype = recipe.dtype;
        to->group = recipe.group;
        if (!dqg_format_plane_bytes(to->dtype, to->group, to->rank, to->shape, to->plane_bytes)) {
            return dqg_fail(quantizer->context, DQG_ERROR_UNSUPPORTED, "tensor '%s' cannot be stored as %s", to->name,
                            dqg_dtype_name(to->dtype));
        }
        for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
            if (to->plane_bytes[plane] > job->plane_bytes[plane]) {
                job->plane_bytes[plane] = (size_t)to->plane_bytes[plane];
            }
        }
        if (from->plane_bytes[0] > job->in_bytes) {
            job->in_bytes = (size_t)from->plane_bytes[0];
        }
        job->from[job->count++] = i;
    }
    return DQG_OK;
}

static void set_entry(struct job *job, const char *key, const char *value) {
    for (size_t i = 0; i < job->metadata_count; i++) {
        if (strcmp(job->metadata[i].key, key) == 0) {
            job->metadata[i].value = value;
            return;
        }
    }
    job->metadata[job->metadata_count++] = (struct dqg_metadata){key, value};
}

/* The checkpoint's own entries, how it was quantized, and the caller's, the later replacing the earlier. */
static dqg_status plan_metadata(struct job *job) {
    struct dqg_quantizer *quantizer = job->quantizer;
    dqg_status status = DQG_OK;
    size_t most =
        job->checkpoint.canonical.metadata_count + quantizer->metadata_count + 1 + (size_t)DQG_COMPONENT_ENTRIES;
    char method[128];
    job->metadata = from_arena(job, most, sizeof *job->metadata, &status);
    DQG_TRY(status);
    for (size_t i = 0; i < job->checkpoint.canonical.metadata_count; i++) {
        set_entry(job, job->checkpoint.canonical.metadata[i].key, job->checkpoint.canonical.metadata[i].value);
    }
    DQG_TRY(dqg_quantizer_add_components(quantizer, &job->checkpoint, job->metadata, &job->metadata_count));
    struct dqg_recipe recipe = quantizer->recipe;
    size_t length = dqg_format(method, sizeof method, "round to nearest, %s", dqg_dtype_name(recipe.dtype));
    if (recipe.group > 0) {
        length += dqg_format(method + length, sizeof method - length, ", group %d", (int)recipe.group);
    }
    dqg_format(method + length, sizeof method - length, ", %d clipping points", (int)quantizer->search);
    set_entry(job, "quantization", keep(job, method, &status));
    DQG_TRY(status);
    for (size_t i = 0; i < quantizer->metadata_count; i++) {
        set_entry(job, quantizer->metadata[i].key, quantizer->metadata[i].value);
    }
    return DQG_OK;
}

static dqg_status allocate_buffers(struct job *job) {
    struct dqg_context *context = job->quantizer->context;
    job->in = dqg_malloc(&context->alloc, job->in_bytes);
    if (job->in == NULL) {
        return dqg_fail_memory(context, "the largest tensor", job->in_bytes);
    }
    for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
        job->planes[plane] = dqg_malloc(&context->alloc, job->plane_bytes[plane]);
        if (job->planes[plane] == NULL) {
            return dqg_fail_memory(context, "the largest packed tensor", job->plane_bytes[plane]);
        }
    }
    return DQG_OK;
}

static dqg_status convert_tensor(struct job *job, size_t index) {
    struct dqg_quantizer *quantizer = job->quantizer;
    const struct dqg_tensor_desc *from = &job->checkpoint.canonical.tensors[job->from[index]];
    struct dqg_tensor_desc *to = &job->to[index];
    struct dqg_report_entry *entry = &quantizer->report[index];
    struct dqg_packing packing = {.from = from, .to = to, .in = job->in, .search = quantizer->search};
    memcpy(packing.planes, job->planes, sizeof packing.planes);
    DQG_TRY(dqg_source_read(&job->checkpoint.canonical, job->from[index], DQG_PLANE_CODES, 0, job->in,
                            (size_t)from->plane_bytes[0]));
    DQG_TRY(dqg_quantize_tensor(quantizer->context, &packing));
    *entry = (struct dqg_report_entry){.name = to->name,
                                       .rank = to->rank,
                                       .from = from->dtype,
                                       .to = {to->dtype, to->group},
                                       .source_bytes = from->plane_bytes[0],
                                       .error = packing.error};
    memcpy(entry->shape, to->shape, sizeof entry->shape);
    dqg_shape_count(to->rank, to->shape, &entry->count);
    for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
        uint64_t stored = 0;
        if (to->plane_bytes[plane] > 0) {
            DQG_TRY(dqg_writer_plane(job->writer, index, (enum dqg_plane)plane, job->planes[plane],
                                     (size_t)to->plane_bytes[plane], to->scale, &stored));
        }
        entry->memory_bytes += to->plane_bytes[plane];
        entry->stored_bytes += stored;
    }
    return DQG_OK;
}

static dqg_status convert_all(struct job *job) {
    struct dqg_work work;
    uint64_t total = 0;
    for (size_t i = 0; i < job->count; i++) {
        total += job->checkpoint.canonical.tensors[job->from[i]].plane_bytes[0];
    }
    dqg_work_begin(&work, job->quantizer->context, DQG_PHASE_QUANTIZE, total);
    for (size_t i = 0; i < job->count; i++) {
        DQG_TRY(dqg_work_set(&work, work.done, job->to[i].name));
        DQG_TRY(convert_tensor(job, i));
        work.done += job->checkpoint.canonical.tensors[job->from[i]].plane_bytes[0];
    }
    DQG_TRY(dqg_work_set(&work, total, "done"));
    return dqg_writer_finish(job->writer, &job->quantizer->file_bytes);
}

static dqg_status run_job(struct job *job, const char *output) {
    struct dqg_quantizer *quantizer = job->quantizer;
    DQG_TRY(plan_tensors(job));
    DQG_TRY(plan_metadata(job));
    DQG_TRY(allocate_buffers(job));
    DQG_TRY(dqg_writer_create(quantizer->context, output, job->to, job->count, job->metadata, job->metadata_count,
                              quantizer->level, &job->writer));
    return convert_all(job);
}

dqg_status dqg_quantizer_convert(struct dqg_quantizer *quantizer, const char *input, const char *output) {
    struct dqg_context *context = quantizer->context;
    struct job job = {.quantizer = quantizer};
    quantizer->report_count = 0;
    dqg_arena_free(&context->alloc, &quantizer->report_arena);
    DQG_TRY(dqg_parallel_prepare(context));
    DQG_TRY(dqg_source_open_path(context, input, &job.file));
    dqg_status status = dqg_checkpoint_open(context, &job.file, &job.checkpoint);
    status = status < 0 ? status : run_job(&job, output);
    dqg_writer_abandon(job.writer);
    dqg_checkpoint_close(&job.checkpoint);
    dqg_source_close(&job.file);
    dqg_free(&context->alloc, job.in, job.in_bytes);
    for (int plane = 0; plane < DQG_PLANE_COUNT; plane++) {
        dqg_free(&context->alloc, job.planes[plane], job.plane_bytes[plane]);
    }
    if (status >= 0) {
        quantizer->report_count = job.count;
    }
    return status;
}
