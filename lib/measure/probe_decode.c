/* SPDX-License-Identifier: MIT */
/* The probe of decoding: panels of weights from their storage format to int8, as products do it before they multiply.
 */
#include "measure/measure.h"

static void decode_panel(void *argument, size_t index, size_t lane) {
    struct dqg_probe *probe = argument;
    const struct dqg_weight *weight = probe->task;
    dqg_panels_int8(&probe->ops, weight, index, 1, probe->ops.scratch + lane * probe->ops.lane_bytes);
}

static void call_decode(struct dqg_probe *probe) {
    probe->task = &probe->weights[probe->turn++ % probe->weight_count];
    dqg_parallel(probe->context, probe->weights[0].size.rows_padded / DQG_PANEL, decode_panel, probe);
}

dqg_status dqg_probe_decode(struct dqg_probe *probe) {
    DQG_TRY(dqg_probe_weights(probe, (probe->spec->flags & DQG_MEASURE_COLD) != 0));
    const struct dqg_weight *weight = &probe->weights[0];
    if (!dqg_dtype_is_quantized(weight->dtype) || weight->dtype == DQG_DTYPE_INT8) {
        return dqg_fail(probe->context, DQG_ERROR_UNSUPPORTED, "weights of dtype %d are used as they are stored",
                        (int)weight->dtype);
    }
    probe->call = call_decode;
    probe->operations = (double)weight->size.rows * (double)weight->size.columns;
    probe->bytes = (double)(weight->bytes[0] + weight->bytes[1] + weight->bytes[2]);
    return DQG_OK;
}
