/* SPDX-License-Identifier: MIT */
/*
 * Reads tensors of files that other programs wrote. What is kept as the library wants it is read to its place; the rest
 * is fetched, put in order and decoded in chunks that the lanes share. Serves safetensors.c, sharded.c, gguf.c, torch.c
 * and numpy.c.
 */
#include "io/stored_tensor.h"
#include "tensor/format.h"

enum { CHUNK = 8192, WIDEST = 8 }; /* elements decoded at a time, a multiple of every block; most bytes of an element */

const char *dqg_stored_describe(const struct dqg_encoding *encoding, struct dqg_tensor_desc *desc,
                                struct dqg_stored *stored) {
    uint64_t count, bytes, seen;
    if (!dqg_shape_count(desc->rank, desc->shape, &count) ||
        __builtin_mul_overflow(count / encoding->block, (uint64_t)encoding->bytes, &bytes)) {
        return "its shape is too large";
    }
    if (count % encoding->block != 0) {
        return "its last block is not full";
    }
    seen = bytes;
    if (encoding->decode != NULL && __builtin_mul_overflow(count, dqg_dtype_size(encoding->dtype), &seen)) {
        return "its shape is too large";
    }
    desc->dtype = encoding->dtype;
    desc->type_name = encoding->name;
    desc->scale = 1.0f;
    desc->stored_bytes = bytes;
    desc->plane_bytes[DQG_PLANE_CODES] = seen;
    *stored = (struct dqg_stored){.encoding = encoding, .scale = 1.0f};
    return NULL;
}

dqg_status dqg_stored_alloc(struct dqg_source *source, size_t count) {
    DQG_TRY(dqg_source_alloc(source, "the tensor list", count, sizeof *source->tensors, &source->tensors));
    return dqg_source_alloc(source, "the tensor list", count, sizeof(struct dqg_stored), &source->detail);
}

/* ---- decoding ---- */

/* Elements [first, end) of a tensor on their way to out. */
struct decoding {
    const struct dqg_input *input;
    const struct dqg_tensor_desc *desc;
    const struct dqg_stored *stored;
    size_t element; /* bytes of one as it is seen */
    uint64_t first, end;
    uint8_t *out;
    const uint8_t *span;  /* of a strided tensor: all from its first to its last element */
    uint8_t *scratch;     /* for each lane: CHUNK elements as they are kept, and as floats */
    _Atomic int32_t code; /* of a failed fetch */
};

enum { LANE_BYTES = CHUNK * (WIDEST + (int)sizeof(float)) };

/* count elements from number first on, in the order of the shape. */
static void gather(const struct decoding *decoding, uint64_t first, size_t count, uint8_t *out) {
    const struct dqg_tensor_desc *desc = decoding->desc;
    const uint64_t *strides = decoding->stored->strides;
    size_t bytes = decoding->stored->encoding->bytes;
    uint64_t at[DQG_MAX_RANK] = {0}, position = 0;
    for (int32_t i = desc->rank - 1; i >= 0; i--) {
        at[i] = first % (uint64_t)desc->shape[i];
        first /= (uint64_t)desc->shape[i];
        position += at[i] * strides[i];
    }
    for (size_t n = 0; n < count; n++) {
        memcpy(out + n * bytes, decoding->span + position * bytes, bytes);
        for (int32_t i = desc->rank - 1; i >= 0; i--) {
            position += strides[i];
            if (++at[i] < (uint64_t)desc->shape[i]) {
                break;
            }
            position -= at[i] * strides[i];
            at[i] = 0;
        }
    }
}

static void decode_chunk(void *task, size_t index, size_t lane) {
    struct decoding *decoding = task;
    const struct dqg_encoding *encoding = decoding->stored->encoding;
    uint64_t chunk = decoding->first / CHUNK + index;
    uint64_t from = chunk * CHUNK > decoding->first ? chunk * CHUNK : decoding->first;
    uint64_t to = decoding->end - chunk * CHUNK > CHUNK ? (chunk + 1) * CHUNK : decoding->end;
    uint64_t block = from / encoding->block;
    size_t blocks = (size_t)((to + encoding->block - 1) / encoding->block - block), count = (size_t)(to - from);
    float *floats = (float *)(void *)(decoding->scratch + lane * LANE_BYTES);
    uint8_t *raw = (uint8_t *)(floats + CHUNK), *out = decoding->out + (from - decoding->first) * decoding->element;
    if (decoding->span != NULL) {
        gather(decoding, from, count, raw);
    } else {
        int32_t code = dqg_input_fetch(decoding->input, decoding->stored->offset + block * encoding->bytes, raw,
                                       blocks * encoding->bytes);
        if (code != 0) {
            atomic_store(&decoding->code, code);
            return;
        }
    }
    if (encoding->decode == NULL) {
        memcpy(out, raw, count * decoding->element);
        return;
    }
    encoding->decode(floats, raw, blocks);
    float *wanted = floats + (from - block * encoding->block);
    for (size_t i = 0; decoding->stored->scale != 1.0f && i < count; i++) {
        wanted[i] *= decoding->stored->scale;
    }
    dqg_floats_encode(out, wanted, encoding->dtype, count);
}

/* From the first to the last element; the shape has no zeros. */
static uint64_t span_bytes(const struct dqg_tensor_desc *desc, const struct dqg_stored *stored) {
    uint64_t last = 0;
    for (int32_t i = 0; i < desc->rank; i++) {
        last += (uint64_t)(desc->shape[i] - 1) * stored->strides[i];
    }
    return (last + 1) * stored->encoding->bytes;
}

static dqg_status decode_range(struct dqg_source *source, struct decoding *decoding, size_t lanes) {
    struct dqg_context *context = source->context;
    const struct dqg_stored *stored = decoding->stored;
    uint8_t *span = NULL;
    size_t bytes = stored->strided ? (size_t)span_bytes(decoding->desc, stored) : 0;
    if (stored->strided) {
        span = dqg_malloc(&context->alloc, bytes);
        if (span == NULL) {
            return dqg_fail_memory(context, decoding->desc->name, bytes);
        }
        decoding->span = span;
    }
    dqg_status status = DQG_OK;
    if (stored->strided) {
        status = dqg_input_read(context, decoding->input, stored->offset, span, bytes);
    }
    decoding->scratch = dqg_malloc(&context->alloc, lanes * LANE_BYTES);
    if (decoding->scratch == NULL) {
        status = dqg_fail_memory(context, decoding->desc->name, lanes * LANE_BYTES);
    }
    if (status >= 0) {
        uint64_t chunks = (decoding->end - 1) / CHUNK - decoding->first / CHUNK + 1;
        dqg_parallel(context, (size_t)chunks, decode_chunk, decoding);
        int32_t code = atomic_load(&decoding->code);
        status = code == 0 ? DQG_OK : dqg_input_fail(context, decoding->input, stored->offset, code);
    }
    dqg_free(&context->alloc, decoding->scratch, lanes * LANE_BYTES);
    dqg_free(&context->alloc, span, bytes);
    return status;
}

/* ---- reading ---- */

static dqg_status read_tensor(struct dqg_source *source, const struct dqg_plane_read *read) {
    const struct dqg_stored *stored = (const struct dqg_stored *)source->detail + read->tensor;
    const struct dqg_tensor_desc *desc = &source->tensors[read->tensor];
    const struct dqg_input *input = &source->inputs[stored->input];
    if (stored->encoding->decode == NULL && !stored->strided) {
        return dqg_input_read(source->context, input, stored->offset + read->offset, read->out, (size_t)read->size);
    }
    size_t element = stored->encoding->decode != NULL ? dqg_dtype_size(desc->dtype) : stored->encoding->bytes;
    if (read->offset % element != 0 || read->size % element != 0) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED, "tensor '%s' can be read in whole elements only",
                        desc->name);
    }
    if (read->size == 0) {
        return DQG_OK;
    }
    struct decoding decoding = {.input = input,
                                .desc = desc,
                                .stored = stored,
                                .element = element,
                                .first = read->offset / element,
                                .end = (read->offset + read->size) / element,
                                .out = read->out};
    return decode_range(source, &decoding, dqg_concurrency(source->context));
}

/* There is one plane: the ranges of the others are empty. */
static dqg_status read_stored(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                              struct dqg_work *work) {
    DQG_TRY(dqg_parallel_prepare(source->context));
    for (size_t i = 0; i < count; i++) {
        const struct dqg_tensor_desc *desc = &source->tensors[reads[i].tensor];
        if (work != NULL) {
            DQG_TRY(dqg_work_set(work, work->done, desc->name));
        }
        DQG_TRY(read_tensor(source, &reads[i]));
        if (work != NULL && reads[i].size > 0) {
            work->done += desc->stored_bytes;
        }
    }
    return DQG_OK;
}

/* There are no checksums: what can be checked is that every byte can be read. */
static dqg_status verify_stored(struct dqg_source *source) {
    const struct dqg_alloc *alloc = &source->context->alloc;
    struct dqg_work work;
    uint64_t total = 0;
    for (size_t i = 0; i < source->input_count; i++) {
        total += source->inputs[i].size;
    }
    char *buffer = dqg_malloc(alloc, DQG_CHECK_BYTES);
    if (buffer == NULL) {
        return dqg_fail_memory(source->context, "reading the file", DQG_CHECK_BYTES);
    }
    dqg_work_begin(&work, source->context, DQG_PHASE_VERIFY, total);
    dqg_status status = DQG_OK;
    for (size_t i = 0; i < source->input_count; i++) {
        const struct dqg_input *input = &source->inputs[i];
        for (uint64_t at = 0; status >= 0 && at < input->size; at += DQG_CHECK_BYTES) {
            size_t size = input->size - at < DQG_CHECK_BYTES ? (size_t)(input->size - at) : (size_t)DQG_CHECK_BYTES;
            status = dqg_input_read(source->context, input, at, buffer, size);
            if (status >= 0) {
                status = dqg_work_set(&work, work.done + size, input->name);
            }
        }
    }
    dqg_free(alloc, buffer, DQG_CHECK_BYTES);
    return status;
}

const struct dqg_source_type dqg_stored_type = {read_stored, verify_stored, NULL};
