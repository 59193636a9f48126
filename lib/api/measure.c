/* SPDX-License-Identifier: MIT */
/* The experimental public calls that measure. lib/measure does the work. */
#include "api/api.h"
#include "measure/measure.h"
#include "measure/network.h"

enum {
    SPEC_LEAST = offsetof(dqg_measure_spec, seconds), /* bytes of a spec that says anything */
    DEFAULT_REPEATS = 7
};

/* The caller's spec, which may be of an older, shorter version, with defaults filled in. */
static dqg_status read_spec(struct dqg_context *context, const dqg_measure_spec *from, dqg_measure_spec *spec) {
    if (from->struct_size < SPEC_LEAST) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "the spec's struct_size is %u: set it with DQG_INIT",
                        from->struct_size);
    }
    memset(spec, 0, sizeof *spec);
    memcpy(spec, from, dqg_min_size(from->struct_size, sizeof *spec));
    if ((spec->flags & ~(uint32_t)(DQG_MEASURE_COLD | DQG_MEASURE_BF16 | DQG_MEASURE_UPSAMPLE)) != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "flags %u are not known", spec->flags);
    }
    if (!(spec->seconds >= 0.0 && spec->seconds <= 60.0)) {
        return dqg_fail(context, DQG_ERROR_RANGE, "seconds: %g is outside 0..60", spec->seconds);
    }
    if (spec->repeats < 0 || spec->repeats > 500) {
        return dqg_fail(context, DQG_ERROR_RANGE, "repeats: %d is outside 0..500", (int)spec->repeats);
    }
    spec->seconds = spec->seconds > 0.0 ? spec->seconds : 0.25;
    spec->repeats = spec->repeats > 0 ? spec->repeats : DEFAULT_REPEATS;
    spec->memory_bytes = spec->memory_bytes > 0 ? spec->memory_bytes : (uint64_t)512 << 20;
    spec->samples = spec->samples != 0 ? spec->samples : 1;
    spec->depth = spec->depth != 0 ? spec->depth : 1;
    spec->kernel = spec->kernel != 0 ? spec->kernel : 3;
    spec->stride = spec->stride != 0 ? spec->stride : 1;
    return DQG_OK;
}

/* The result as it is on failure. */
static dqg_status clear_result(struct dqg_context *context, dqg_measure_result *result, dqg_measure_result *filled) {
    DQG_TRY(dqg_need(context, result, "result"));
    DQG_INIT(filled);
    filled->error = -1.0;
    return dqg_record_return(context, result, filled, sizeof *filled);
}

dqg_status dqg_measure(dqg_context *context, const dqg_measure_spec *spec, dqg_measure_result *result) {
    dqg_measure_spec checked;
    dqg_measure_result filled;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(clear_result(context, result, &filled));
    DQG_TRY(dqg_need(context, spec, "spec"));
    DQG_TRY(read_spec(context, spec, &checked));
    DQG_TRY(dqg_parallel_prepare(context));
    DQG_TRY(dqg_measure_run(context, &checked, &filled));
    return dqg_record_return(context, result, &filled, sizeof filled);
}

/* ---- networks ---- */

dqg_status dqg_measure_model(dqg_context *context, const dqg_tensor_info *tensors, int32_t count, dqg_model **model) {
    if (model != NULL) {
        *model = NULL;
    }
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, tensors, "tensors"));
    DQG_TRY(dqg_need(context, model, "model"));
    if (count < 1 || count > 1 << 20 || tensors->struct_size < sizeof *tensors) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%d tensors, records of %u bytes: set struct_size with DQG_INIT",
                        (int)count, tensors->struct_size);
    }
    DQG_TRY(dqg_parallel_prepare(context));
    return dqg_measure_random_model(context, tensors, (size_t)count, model);
}

static dqg_status check_network_spec(struct dqg_context *context, const dqg_measure_spec *spec) {
    if (spec->samples < 1 || spec->samples > 4096) {
        return dqg_fail(context, DQG_ERROR_RANGE, "samples: %lld is outside 1..4096", (long long)spec->samples);
    }
    if (spec->height < 0 || spec->height > 65536 || spec->width < 0 || spec->width > 65536) {
        return dqg_fail(context, DQG_ERROR_RANGE, "height %lld or width %lld is outside 0..65536",
                        (long long)spec->height, (long long)spec->width);
    }
    return DQG_OK;
}

dqg_status dqg_measure_network(dqg_context *context, const dqg_model *model, const dqg_measure_spec *spec,
                               dqg_measure_fn fn, void *user, dqg_measure_result *result) {
    dqg_measure_spec usual, checked;
    dqg_measure_result filled;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(clear_result(context, result, &filled));
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_INIT(&usual);
    DQG_TRY(read_spec(context, spec != NULL ? spec : &usual, &checked));
    DQG_TRY(check_network_spec(context, &checked));
    DQG_TRY(dqg_parallel_prepare(context));
    struct dqg_held held;
    DQG_TRY(dqg_model_hold(context, model, &held));
    dqg_status status = dqg_measure_evaluations(context, held.network, &checked, fn, user, &filled);
    dqg_model_let_go(&held);
    DQG_TRY(status);
    return dqg_record_return(context, result, &filled, sizeof filled);
}
