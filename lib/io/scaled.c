/* SPDX-License-Identifier: MIT */
/*
 * 8-bit floats of safetensors checkpoints with a scale for each tensor, which is a tensor beside it. Called by
 * safetensors.c and sharded.c when all tensors are known.
 */
#include "io/safetensors.h"
#include "tensor/format.h"

/* "<module>.weight" -> "<module><end>" */
static int64_t find_beside(const struct dqg_source *source, const char *weight, const char *end) {
    char name[DQG_NAME_MAX];
    size_t length = strlen(weight) - strlen(".weight");
    if (length + strlen(end) >= sizeof name) {
        return -1;
    }
    memcpy(name, weight, length);
    strcpy(name + length, end);
    return dqg_source_find(source, name);
}

static dqg_status read_scale(struct dqg_source *source, size_t tensor, float *scale) {
    const struct dqg_tensor_desc *desc = &source->tensors[tensor];
    uint64_t count;
    uint8_t bytes[8];
    if (!dqg_dtype_is_float(desc->dtype) || !dqg_shape_count(desc->rank, desc->shape, &count) || count != 1) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        "tensor '%s' in %s: only one scale for a whole tensor of 8-bit floats can be read", desc->name,
                        source->inputs[0].name);
    }
    DQG_TRY(dqg_source_read(source, tensor, DQG_PLANE_CODES, 0, bytes, dqg_dtype_size(desc->dtype)));
    dqg_floats_decode(scale, bytes, desc->dtype, 1);
    return *scale - *scale == 0 ? DQG_OK
                                : dqg_fail(source->context, DQG_ERROR_FORMAT, "the scale '%s' in %s is not a number",
                                           desc->name, source->inputs[0].name);
}

dqg_status dqg_safetensors_scales(struct dqg_source *source) {
    struct dqg_stored *stored = source->detail;
    for (size_t i = 0; i < source->tensor_count; i++) {
        const char *name = source->tensors[i].name;
        if (dqg_ends_with(name, ".comfy_quant")) {
            return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                            "%s is quantized in a way that '%s' describes, which cannot be read: use the float "
                            "checkpoint, or one of 8-bit floats",
                            source->inputs[0].name, name);
        }
        if (stored[i].encoding->decode == NULL || stored[i].encoding->bytes != 1 || !dqg_ends_with(name, ".weight")) {
            continue;
        }
        int64_t scale = find_beside(source, name, ".scale_weight");
        scale = scale >= 0 ? scale : find_beside(source, name, ".weight_scale");
        if (scale >= 0) {
            DQG_TRY(read_scale(source, (size_t)scale, &stored[i].scale));
        }
    }
    return DQG_OK;
}
