/* SPDX-License-Identifier: MIT */
/* Low-rank updates added to float weights of an adapted network, in a copy of the weight. Called by adapted.c. */
#include "model/adapter.h"

#include "tensor/format.h"

/* Weights of its own: the array first, then the numbers of one of them. */
static dqg_status copy_weight(struct dqg_context *context, struct dqg_model *network, size_t index) {
    const struct dqg_model *lender = network->adapted->lender;
    if (network->weights == lender->weights) {
        size_t bytes = network->weight_count * sizeof *network->weights;
        struct dqg_weight *weights = dqg_arena_alloc(&context->alloc, &network->arena, bytes);
        if (weights == NULL) {
            return dqg_fail_memory(context, "the adapted weights", bytes);
        }
        memcpy(weights, lender->weights, bytes);
        network->weights = weights;
        network->additions.weights = weights;
    }
    struct dqg_weight *weight = &network->weights[index];
    if (!dqg_adapted_owns(network, index)) {
        void *codes = dqg_malloc(&context->alloc, (size_t)weight->bytes[0]);
        if (codes == NULL) {
            return dqg_fail_memory(context, weight->name, (size_t)weight->bytes[0]);
        }
        memcpy(codes, weight->codes, (size_t)weight->bytes[0]);
        weight->codes = codes;
        network->weight_bytes += weight->bytes[0];
    }
    return DQG_OK;
}

struct merge {
    struct dqg_weight *weight;
    const struct dqg_update *update;
    double scale;
    const float *down; /* [rank][columns] */
    float *scratch;    /* of each lane: a row of the weight, a row of up */
    size_t lane_floats;
};

static void merge_row(void *argument, size_t row, size_t lane) {
    const struct merge *merge = argument;
    const struct dqg_weight *weight = merge->weight, *up = &merge->update->up;
    size_t columns = weight->size.columns, rank = up->size.columns;
    float *sum = merge->scratch + lane * merge->lane_floats, *factors = sum + columns;
    char *codes = (char *)weight->codes + row * columns * dqg_dtype_size(weight->dtype);
    dqg_floats_decode(sum, codes, weight->dtype, columns);
    dqg_floats_decode(factors, (const char *)up->codes + row * rank * dqg_dtype_size(up->dtype), up->dtype, rank);
    for (size_t r = 0; r < rank; r++) {
        float factor = factors[r] * (float)((double)merge->update->factors[r] * merge->scale);
        const float *down = merge->down + r * columns;
        for (size_t k = 0; k < columns && factor != 0.0f; k++) {
            sum[k] += factor * down[k];
        }
    }
    dqg_floats_encode(codes, sum, weight->dtype, columns);
}

dqg_status dqg_adapted_merge(struct dqg_context *context, struct dqg_model *network, const struct dqg_update *update,
                             double scale) {
    if (!dqg_dtype_is_float(network->weights[update->weight].dtype)) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "'%s' is quantized: nothing can be merged into it. Without DQG_ADAPT_MERGE the update stays "
                        "beside it",
                        network->weights[update->weight].name);
    }
    if (network->described) {
        return dqg_fail(context, DQG_ERROR_STATE,
                        "an update cannot be merged into a network that is read when it is used: load the model without "
                        "that option, or adapt it without DQG_ADAPT_MERGE");
    }
    DQG_TRY(copy_weight(context, network, update->weight));
    struct merge merge = {.weight = &network->weights[update->weight], .update = update, .scale = scale};
    size_t down_floats = update->down.size.rows * update->down.size.columns, floats, bytes;
    merge.lane_floats = update->down.size.columns + update->down.size.rows;
    if (!dqg_mul_size(merge.lane_floats, dqg_concurrency(context), &floats) ||
        !dqg_add_size(floats, down_floats, &floats) || !dqg_mul_size(floats, sizeof(float), &bytes)) {
        return dqg_fail_memory(context, "merging an adapter", SIZE_MAX);
    }
    float *work = dqg_malloc(&context->alloc, bytes);
    if (work == NULL) {
        return dqg_fail_memory(context, "merging an adapter", bytes);
    }
    dqg_floats_decode(work, update->down.codes, update->down.dtype, down_floats);
    merge.down = work;
    merge.scratch = work + down_floats;
    dqg_parallel(context, merge.weight->size.rows, merge_row, &merge);
    dqg_free(&context->alloc, work, bytes);
    return DQG_OK;
}
