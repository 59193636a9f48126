/* SPDX-License-Identifier: MIT */
/* What the makers of probes share: checked sizes, memory, weights. */
#include <math.h>

#include "measure/measure.h"
#include "ops/conv.h"

/* Most memory that one measurement takes: sizes typed by mistake must not bring the machine down. */
static const size_t memory_limit = (size_t)6 << 30;

enum { MOST_COPIES = 1024 };

dqg_status dqg_probe_range(struct dqg_probe *probe, const char *name, int64_t value, int64_t lowest, int64_t highest) {
    if (value < lowest || value > highest) {
        return dqg_fail(probe->context, DQG_ERROR_RANGE, "%s: %lld is outside %lld..%lld", name, (long long)value,
                        (long long)lowest, (long long)highest);
    }
    return DQG_OK;
}

static dqg_status too_large(struct dqg_probe *probe) {
    return dqg_fail(probe->context, DQG_ERROR_LIMIT, "a measurement of this size needs more than %zu GB of memory",
                    memory_limit >> 30);
}

dqg_status dqg_probe_alloc(struct dqg_probe *probe, size_t count, size_t element, void *out) {
    size_t bytes;
    if (!dqg_mul_size(count, element, &bytes) || !dqg_add_size(bytes, DQG_ALIGNMENT, &bytes) || bytes > memory_limit ||
        probe->arena.total > memory_limit - bytes) {
        return too_large(probe);
    }
    char *memory = dqg_arena_alloc(&probe->context->alloc, &probe->arena, bytes);
    if (memory == NULL) {
        return dqg_fail_memory(probe->context, "the measurement", bytes);
    }
    memory += (size_t)(-(uintptr_t)memory & (DQG_ALIGNMENT - 1));
    memcpy(out, &memory, sizeof memory);
    return DQG_OK;
}

dqg_status dqg_probe_scratch(struct dqg_probe *probe, size_t lane_bytes) {
    probe->ops.lane_bytes = dqg_round_up(lane_bytes, DQG_ALIGNMENT);
    return dqg_probe_alloc(probe, dqg_concurrency(probe->context), probe->ops.lane_bytes, &probe->ops.scratch);
}

uint64_t (*dqg_probe_roof(const struct dqg_probe *probe, int32_t dtype))(uint64_t rounds) {
    const struct dqg_kernels *kernels = probe->ops.kernels;
    return dqg_dtype_is_quantized(dtype) ? kernels->ceiling_i8
           : probe->ops.bf16             ? kernels->ceiling_bf16
                                         : kernels->ceiling_f32;
}

bool dqg_probe_pointwise(const dqg_measure_spec *spec) {
    return spec->kernel == 1 && spec->stride == 1 && (spec->flags & DQG_MEASURE_UPSAMPLE) == 0;
}

int64_t dqg_probe_pixels(const dqg_measure_spec *spec) {
    bool square = spec->height == 0 && spec->width == 0;
    return spec->samples * spec->depth * (square ? spec->rows * spec->rows : spec->height * spec->width);
}

/* What all copies are like. */
static dqg_status describe(struct dqg_probe *probe, struct dqg_weight *weight) {
    const dqg_measure_spec *spec = probe->spec;
    *weight = (struct dqg_weight){.name = "the weights", .dtype = spec->dtype, .group = spec->group, .rank = 2};
    if (weight->dtype == 0) {
        weight->dtype = DQG_DTYPE_INT4;
    }
    const struct dqg_format *format = dqg_format_find(weight->dtype);
    if (weight->group == 0 && format != NULL && dqg_format_has_groups(format)) {
        weight->group = 64;
    }
    weight->shape[0] = spec->outputs;
    weight->shape[1] = spec->inputs;
    if (spec->operation == DQG_MEASURE_CONV) {
        weight->rank = spec->depth > 1 ? 5 : 4;
        for (int axis = 2; axis < weight->rank; axis++) {
            weight->shape[axis] = spec->kernel;
        }
    }
    if (!dqg_format_plane_bytes(weight->dtype, weight->group, weight->rank, weight->shape, weight->bytes)) {
        return dqg_fail(probe->context, DQG_ERROR_ARGUMENT, "dtype %d with groups of %d is no format of weights",
                        (int)weight->dtype, (int)weight->group);
    }
    dqg_matrix_size(weight->dtype, weight->group, weight->rank, weight->shape, &weight->size);
    return DQG_OK;
}

/* Scratch of a lane: for products, and for a decoded panel. */
static size_t lane_bytes(const struct dqg_probe *probe, const struct dqg_weight *weight) {
    size_t panel = DQG_PANEL * weight->size.columns_padded;
    bool conv = probe->spec->operation == DQG_MEASURE_CONV && !dqg_probe_pointwise(probe->spec);
    size_t product = conv ? dqg_op_conv_scratch(weight) : dqg_op_linear_scratch(weight, probe->ops.bf16);
    return product > panel ? product : panel;
}

dqg_status dqg_probe_weights(struct dqg_probe *probe, bool cold) {
    const dqg_measure_spec *spec = probe->spec;
    struct dqg_weight weight;
    DQG_TRY(dqg_probe_range(probe, "outputs", spec->outputs, 1, 1 << 20));
    DQG_TRY(dqg_probe_range(probe, "inputs", spec->inputs, 1, 1 << 17));
    DQG_TRY(describe(probe, &weight));
    uint64_t bytes = weight.bytes[0] + weight.bytes[1] + weight.bytes[2];
    uint64_t copies = cold ? (spec->memory_bytes + bytes - 1) / bytes : 1;
    copies = copies < MOST_COPIES ? copies : MOST_COPIES;
    if (bytes > memory_limit / copies) {
        return too_large(probe);
    }
    DQG_TRY(dqg_probe_scratch(probe, lane_bytes(probe, &weight)));
    DQG_TRY(dqg_probe_alloc(probe, (size_t)copies, sizeof weight, &probe->weights));
    while (probe->weight_count < copies) {
        struct dqg_weight *copy = &probe->weights[probe->weight_count++];
        *copy = weight;
        DQG_TRY(dqg_weight_allocate(probe->context, copy));
        dqg_random_weight(probe->weight_count, copy, 1.0f / sqrtf((float)spec->inputs));
        DQG_TRY(dqg_weight_finish(probe->context, copy));
        if (copy->sums != NULL) {
            dqg_op_weight_sums(&probe->ops, copy);
        }
    }
    return DQG_OK;
}
