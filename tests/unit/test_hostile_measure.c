/* SPDX-License-Identifier: MIT */
/*
 * The experimental calls that measure: wrong arguments give the documented status and a cleared result, memory that
 * runs out anywhere gives DQG_ERROR_MEMORY and leaks nothing, and what comes out of tiny measurements is plausible.
 */
#include "check.h"
#include "failing_alloc.h"

#include <math.h>

static dqg_measure_spec spec_of(int32_t operation) {
    dqg_measure_spec spec;
    DQG_INIT(&spec);
    spec.operation = operation;
    spec.repeats = 2;
    spec.seconds = 1e-4;
    spec.memory_bytes = 1 << 16;
    spec.rows = 5;
    spec.outputs = 24;
    spec.inputs = 40;
    spec.heads = 2;
    return spec;
}

static dqg_context *context_of(void **state) {
    return *state;
}

static void assert_refused(dqg_context *context, const dqg_measure_spec *spec, dqg_status status) {
    dqg_measure_result result;
    memset(&result, 0x7f, sizeof(result));
    result.struct_size = sizeof(result);
    assert_fails(context, dqg_measure(context, spec, &result), status);
    assert_int_equal(result.times, 0);
    assert_true(result.seconds_min == 0 && result.operations == 0 && result.error == -1);
}

static void wrong_records(void **state) {
    dqg_context *context = context_of(state);
    dqg_measure_spec spec = spec_of(DQG_MEASURE_LINEAR);
    dqg_measure_result result;
    DQG_INIT(&result);
    assert_int_equal(dqg_measure(NULL, &spec, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_measure(context, NULL, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_measure(context, &spec, NULL), DQG_ERROR_ARGUMENT);
    result.struct_size = 4;
    assert_fails(context, dqg_measure(context, &spec, &result), DQG_ERROR_ARGUMENT);
    spec.struct_size = 0;
    assert_refused(context, &spec, DQG_ERROR_ARGUMENT);
    spec.struct_size = 12;
    assert_refused(context, &spec, DQG_ERROR_ARGUMENT);
}

static void wrong_convs(dqg_context *context) {
    static const int64_t wrong[] = {-1, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        for (size_t which = 0; which < 6; which++) {
            dqg_measure_spec spec = spec_of(DQG_MEASURE_CONV);
            int64_t *sizes[] = {&spec.kernel, &spec.stride, &spec.depth, &spec.height, &spec.width, &spec.rows};
            spec.height = spec.width = which < 5 ? 4 : 0;
            *sizes[which] = wrong[i];
            assert_refused(context, &spec, DQG_ERROR_RANGE);
        }
    }
    dqg_measure_spec spec = spec_of(DQG_MEASURE_CONV);
    spec.kernel = 2;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec.kernel = 3;
    spec.flags = DQG_MEASURE_UPSAMPLE; /* of 5 x 5 */
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec.rows = 4;
    spec.stride = 2;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
}

static void wrong_numbers(void **state) {
    dqg_context *context = context_of(state);
    static const int64_t sizes[] = {-1, INT64_MIN, INT64_MAX, ((int64_t)1 << 20) + 1};
    for (int32_t operation = DQG_MEASURE_LINEAR; operation <= DQG_MEASURE_CONV; operation++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            dqg_measure_spec spec = spec_of(operation);
            spec.inputs = sizes[i];
            assert_refused(context, &spec, DQG_ERROR_RANGE);
        }
        dqg_measure_spec spec = spec_of(operation);
        spec.inputs = 0;
        assert_refused(context, &spec, DQG_ERROR_RANGE);
    }
    dqg_measure_spec spec = spec_of(DQG_MEASURE_LINEAR);
    spec.rows = 0;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec = spec_of(DQG_MEASURE_LINEAR);
    spec.outputs = -7;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec = spec_of(DQG_MEASURE_ATTENTION);
    spec.heads = 0;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec.heads = 1;
    spec.samples = -1;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec = spec_of(DQG_MEASURE_ATTENTION);
    spec.keys = -1;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec = spec_of(DQG_MEASURE_GROUP_NORM);
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    wrong_convs(context);
    spec = spec_of(DQG_MEASURE_LINEAR);
    spec.seconds = NAN;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec.seconds = -1;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec.seconds = 0;
    spec.repeats = 501;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
    spec.repeats = -1;
    assert_refused(context, &spec, DQG_ERROR_RANGE);
}

static void wrong_kinds(void **state) {
    dqg_context *context = context_of(state);
    static const int32_t operations[] = {0, -1, 1000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        dqg_measure_spec spec = spec_of(operations[i]);
        assert_refused(context, &spec, DQG_ERROR_ARGUMENT);
    }
    dqg_measure_spec spec = spec_of(DQG_MEASURE_LINEAR);
    spec.flags = 1u << 31;
    assert_refused(context, &spec, DQG_ERROR_ARGUMENT);
    spec = spec_of(DQG_MEASURE_LINEAR);
    spec.dtype = DQG_DTYPE_U8;
    assert_refused(context, &spec, DQG_ERROR_ARGUMENT);
    spec.dtype = DQG_DTYPE_INT4;
    spec.group = 33;
    assert_refused(context, &spec, DQG_ERROR_ARGUMENT);
    spec.group = -64;
    assert_refused(context, &spec, DQG_ERROR_ARGUMENT);
}

/* Sizes within their ranges that together need more memory than a machine has. */
static void too_large(void **state) {
    dqg_context *context = context_of(state);
    dqg_measure_spec spec = spec_of(DQG_MEASURE_LINEAR);
    spec.rows = spec.outputs = 1 << 20;
    assert_refused(context, &spec, DQG_ERROR_LIMIT);
    spec.inputs = 1 << 17;
    assert_refused(context, &spec, DQG_ERROR_LIMIT);
    spec = spec_of(DQG_MEASURE_BANDWIDTH);
    spec.memory_bytes = UINT64_MAX;
    assert_refused(context, &spec, DQG_ERROR_LIMIT);
    spec = spec_of(DQG_MEASURE_ATTENTION);
    spec.rows = 1 << 20;
    spec.samples = 4096;
    spec.heads = 1024;
    assert_refused(context, &spec, DQG_ERROR_LIMIT);
}

static int32_t stop(void *user, const dqg_progress *progress) {
    assert_int_equal(progress->phase, DQG_PHASE_MEASURE);
    ++*(int *)user;
    return 1;
}

static void cancelled(void **state) {
    dqg_context *context = context_of(state);
    int calls = 0;
    dqg_measure_spec spec = spec_of(DQG_MEASURE_NORM);
    assert_ok(dqg_context_set_progress(context, stop, &calls));
    assert_refused(context, &spec, DQG_ERROR_CANCELLED);
    assert_int_equal(calls, 1);
    assert_ok(dqg_context_set_progress(context, NULL, NULL));
}

static void plausible(void **state) {
    dqg_context *context = context_of(state);
    static const int32_t dtypes[] = {DQG_DTYPE_F32, DQG_DTYPE_F16, DQG_DTYPE_INT8, DQG_DTYPE_INT4, DQG_DTYPE_INT4Z};
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        dqg_measure_spec spec = spec_of(DQG_MEASURE_LINEAR);
        dqg_measure_result result;
        DQG_INIT(&result);
        spec.dtype = dtypes[i];
        spec.rows = i % 2 == 0 ? 3 : 70;
        assert_ok(dqg_measure(context, &spec, &result));
        assert_true(result.times >= 2);
        assert_true(0 < result.seconds_min && result.seconds_min <= result.seconds_median);
        assert_true(result.seconds_median <= result.seconds_max);
        assert_true(result.operations == 2.0 * (double)spec.rows * 24 * 40);
        assert_true(result.ceiling > 0);
        double limit = dtypes[i] < DQG_DTYPE_INT8 ? 1e-6 : 0.02;
        if (!(result.error >= 0 && result.error < limit)) {
            fail_msg("dtype %d: error %g", (int)dtypes[i], result.error);
        }
    }
}

/* Convolutions compare with plain loops too: strides, doubling, volumes, windows of one pixel, which are products. */
static void plausible_conv(void **state) {
    static const int32_t dtypes[] = {DQG_DTYPE_F16, DQG_DTYPE_INT8, DQG_DTYPE_INT4};
    static const double limits[] = {1e-6, 0.03, 0.03};
    dqg_context *context = context_of(state);
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        dqg_measure_spec spec = spec_of(DQG_MEASURE_CONV);
        dqg_measure_result result;
        DQG_INIT(&result);
        spec.dtype = dtypes[i];
        spec.rows = 9;
        assert_ok(dqg_measure(context, &spec, &result));
        assert_true(result.operations == 2.0 * 81 * 24 * 40 * 9 && result.ceiling > 0);
        assert_true(result.error >= 0 && result.error < limits[i]);
    }
    static const struct {
        int64_t depth, height, width, kernel, stride;
        uint32_t flags;
        double taps;
    } shapes[] = {{0, 4, 6, 3, 2, 0, 9},  {0, 4, 10, 3, 1, DQG_MEASURE_UPSAMPLE, 9}, {3, 5, 4, 3, 1, 0, 27},
                  {2, 3, 6, 1, 1, 0, 1}, {0, 4, 4, 1, 2, 0, 1},                     {0, 9, 8, 5, 1, 0, 25}};
    for (size_t i = 0; i < 3 * sizeof(shapes) / sizeof(shapes[0]); i++) {
        dqg_measure_spec spec = spec_of(DQG_MEASURE_CONV);
        dqg_measure_result result;
        DQG_INIT(&result);
        spec.dtype = dtypes[i % 3];
        spec.depth = shapes[i / 3].depth;
        spec.height = shapes[i / 3].height;
        spec.width = shapes[i / 3].width;
        spec.kernel = shapes[i / 3].kernel;
        spec.stride = shapes[i / 3].stride;
        spec.flags = shapes[i / 3].flags;
        assert_ok(dqg_measure(context, &spec, &result));
        double pixels = (double)((spec.depth > 0 ? spec.depth : 1) * spec.height * spec.width);
        assert_true(result.operations == 2.0 * pixels * 24 * 40 * shapes[i / 3].taps);
        if (!(result.error >= 0 && result.error < limits[i % 3])) {
            fail_msg("shape %zu, dtype %d: error %g", i / 3, (int)dtypes[i % 3], result.error);
        }
    }
}

/* Attention in integers says how far it is from that in floats. */
static void plausible_attention(void **state) {
    dqg_context *context = context_of(state);
    for (int64_t keys = 0; keys < 200; keys += 77) {
        dqg_measure_spec spec = spec_of(DQG_MEASURE_ATTENTION);
        dqg_measure_result result;
        DQG_INIT(&result);
        spec.rows = 70;
        spec.keys = keys;
        spec.dtype = DQG_DTYPE_INT8;
        assert_ok(dqg_measure(context, &spec, &result));
        assert_true(result.operations == 4.0 * 70 * (double)(keys > 0 ? keys : 70) * 2 * 40);
        assert_true(result.error > 0 && result.error < 1e-2);
        spec.dtype = DQG_DTYPE_F32;
        assert_ok(dqg_measure(context, &spec, &result));
        assert_true(result.error == -1);
    }
}

static void all_operations(void **state) {
    dqg_context *context = context_of(state);
    for (int32_t operation = DQG_MEASURE_CEILING_I8; operation <= DQG_MEASURE_CEILING_BF16; operation++) {
        dqg_measure_spec spec = spec_of(operation);
        spec.inputs = operation == DQG_MEASURE_GROUP_NORM ? 64 : spec.inputs;
        struct {
            dqg_measure_result result;
            double guard;
        } room = {.guard = 7};
        DQG_INIT(&room.result);
        assert_ok(dqg_measure(context, &spec, &room.result));
        assert_true(room.result.seconds_min > 0 && room.result.operations > 0);
        room.result.struct_size = 16; /* an older program's record */
        room.result.seconds_median = 3;
        assert_ok(dqg_measure(context, &spec, &room.result));
        assert_true(room.result.seconds_median == 3 && room.guard == 7);
    }
}

/* Each request for memory fails once. */
static void allocations_fail(void **state) {
    (void)state;
    static const int32_t operations[] = {DQG_MEASURE_BANDWIDTH, DQG_MEASURE_LINEAR, DQG_MEASURE_NORM,
                                         DQG_MEASURE_ATTENTION, DQG_MEASURE_CONV};
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        int failed = 1;
        for (int64_t n = 1; failed; n++) {
            struct failing_alloc memory;
            dqg_allocator allocator;
            dqg_context *context;
            dqg_measure_result result;
            dqg_measure_spec spec = spec_of(operations[i]);
            DQG_INIT(&result);
            failing_alloc_init(&memory, &allocator);
            assert_ok(dqg_context_create(&allocator, &context));
            assert_ok(dqg_context_set_threads(context, 2));
            memory.fail_at = n;
            dqg_status status = dqg_measure(context, &spec, &result);
            failed = memory.failed > 0;
            assert_int_equal(status, failed ? DQG_ERROR_MEMORY : DQG_OK);
            assert_true(!failed || result.times == 0);
            memory.fail_at = 0;
            dqg_context_destroy(context);
            assert_int_equal(failing_alloc_errors(&memory), 0);
        }
    }
}

/* ---- networks ---- */

/* The tensors of a tiny DiT: one block, 8 x 8 pixels of 4 channels, 384 wide, 5 classes, 16 tokens. */
enum { TENSORS = 20 };

static void describe_network(dqg_tensor_info tensors[TENSORS], int32_t dtype, int32_t group) {
    static const struct {
        const char *name;
        int64_t shape[4];
    } all[TENSORS] = {
        {"x_embedder.proj.weight", {384, 4, 2, 2}},
        {"x_embedder.proj.bias", {384}},
        {"t_embedder.mlp.0.weight", {384, 256}},
        {"t_embedder.mlp.0.bias", {384}},
        {"t_embedder.mlp.2.weight", {384, 384}},
        {"t_embedder.mlp.2.bias", {384}},
        {"y_embedder.embedding_table.weight", {6, 384}},
        {"pos_embed", {1, 16, 384}},
        {"blocks.0.attn.qkv.weight", {1152, 384}},
        {"blocks.0.attn.qkv.bias", {1152}},
        {"blocks.0.attn.proj.weight", {384, 384}},
        {"blocks.0.attn.proj.bias", {384}},
        {"blocks.0.mlp.fc1.weight", {256, 384}},
        {"blocks.0.mlp.fc1.bias", {256}},
        {"blocks.0.mlp.fc2.weight", {384, 256}},
        {"blocks.0.mlp.fc2.bias", {384}},
        {"blocks.0.adaLN_modulation.1.weight", {2304, 384}},
        {"blocks.0.adaLN_modulation.1.bias", {2304}},
        {"final_layer.linear.weight", {16, 384}},
        {"final_layer.linear.bias", {16}},
    };
    for (int i = 0; i < TENSORS; i++) {
        DQG_INIT(&tensors[i]);
        tensors[i].name = all[i].name;
        tensors[i].dtype = DQG_DTYPE_F32;
        for (int d = 0; d < 4 && all[i].shape[d] > 0; d++) {
            tensors[i].shape[d] = all[i].shape[d];
            tensors[i].rank++;
        }
        if (tensors[i].rank == 2 && strncmp(tensors[i].name, "blocks", 6) == 0) {
            tensors[i].dtype = dtype;
            tensors[i].group = group;
        }
    }
}

/* The list above lacks the last modulation, so that there is something to be missing. */
static int32_t describe_whole_network(dqg_tensor_info tensors[TENSORS + 2], int32_t dtype, int32_t group) {
    describe_network(tensors, dtype, group);
    for (int i = 0; i < 2; i++) {
        DQG_INIT(&tensors[TENSORS + i]);
        tensors[TENSORS + i].name =
            i == 0 ? "final_layer.adaLN_modulation.1.weight" : "final_layer.adaLN_modulation.1.bias";
        tensors[TENSORS + i].dtype = DQG_DTYPE_F32;
        tensors[TENSORS + i].rank = 2 - i;
        tensors[TENSORS + i].shape[0] = 768;
        tensors[TENSORS + i].shape[1] = i == 0 ? 384 : 0;
    }
    return TENSORS + 2;
}

static void assert_no_model(dqg_context *context, const dqg_tensor_info *tensors, int32_t count, dqg_status status) {
    dqg_model *model = anything;
    assert_fails(context, dqg_measure_model(context, tensors, count, &model), status);
    assert_null(model);
}

static void wrong_models(void **state) {
    dqg_context *context = context_of(state);
    dqg_tensor_info tensors[TENSORS + 2];
    dqg_model *model = anything;
    int32_t count = describe_whole_network(tensors, DQG_DTYPE_F32, 0);
    assert_int_equal(dqg_measure_model(NULL, tensors, count, &model), DQG_ERROR_ARGUMENT);
    assert_null(model);
    assert_fails(context, dqg_measure_model(context, tensors, count, NULL), DQG_ERROR_ARGUMENT);
    assert_no_model(context, NULL, 1, DQG_ERROR_ARGUMENT);
    assert_no_model(context, tensors, 0, DQG_ERROR_ARGUMENT);
    assert_no_model(context, tensors, -1, DQG_ERROR_ARGUMENT);
    assert_no_model(context, tensors, INT32_MAX, DQG_ERROR_ARGUMENT);
    assert_no_model(context, tensors, 3, DQG_ERROR_UNSUPPORTED);
    assert_no_model(context, tensors, TENSORS, DQG_ERROR_FORMAT);
    tensors[0].struct_size = 8;
    assert_no_model(context, tensors, count, DQG_ERROR_ARGUMENT);
    for (int i = 0; i < 6; i++) {
        describe_whole_network(tensors, DQG_DTYPE_F32, 0);
        dqg_tensor_info *tensor = &tensors[12];
        tensor->name = i == 0 ? NULL : i == 1 ? "" : tensor->name;
        tensor->rank = i == 2 ? -1 : i == 3 ? DQG_MAX_RANK + 1 : tensor->rank;
        tensor->dtype = i == 4 ? DQG_DTYPE_U8 : tensor->dtype;
        tensor->shape[1] = i == 5 ? INT64_MAX : tensor->shape[1];
        assert_no_model(context, tensors, count, DQG_ERROR_ARGUMENT);
    }
    describe_whole_network(tensors, DQG_DTYPE_F32, 0);
    tensors[3].name = tensors[1].name;
    assert_no_model(context, tensors, count, DQG_ERROR_FORMAT);
}

struct told {
    int count, evaluations;
    double seconds, operations;
};

static void tell(void *user, const dqg_measure_operator *record) {
    struct told *told = user;
    assert_true(record->struct_size == sizeof(*record) && record->seconds >= 0 && record->operations >= 0);
    assert_true(strlen(record->kind) > 0 && strlen(record->name) > 0);
    assert_int_equal(record->index, told->count);
    assert_int_equal(record->evaluation, told->evaluations);
    told->count++;
    told->seconds += record->seconds;
    told->operations += record->operations;
    if (strcmp(record->name, "output") == 0) {
        told->count = 0;
        told->evaluations++;
    }
}

static void networks(void **state) {
    dqg_context *context = context_of(state);
    static const int32_t dtypes[] = {DQG_DTYPE_BF16, DQG_DTYPE_INT8, DQG_DTYPE_INT4, DQG_DTYPE_INT4Z};
    for (int i = 0; i < 4; i++) {
        dqg_tensor_info tensors[TENSORS + 2];
        dqg_model *model;
        dqg_model_info info;
        dqg_measure_result result;
        dqg_measure_spec spec = spec_of(0);
        struct told told = {0};
        DQG_INIT(&info);
        DQG_INIT(&result);
        int32_t count = describe_whole_network(tensors, dtypes[i], i > 1 ? 32 : 0);
        assert_ok(dqg_measure_model(context, tensors, count, &model));
        assert_ok(dqg_model_get_info(model, &info));
        assert_int_equal(info.layers, 1);
        spec.samples = 2;
        assert_ok(dqg_measure_network(context, model, &spec, tell, &told, &result));
        assert_true(result.times >= 2 && result.times == told.evaluations);
        assert_true(0 < result.seconds_min && result.seconds_min <= result.seconds_max && result.ceiling > 0);
        assert_true(told.operations == result.operations * result.times && result.operations > 2.0 * 32 * 384 * 384);
        assert_true(told.seconds > 0 && told.seconds < 1.01 * result.seconds_max * result.times);
        assert_ok(dqg_measure_network(context, model, NULL, NULL, NULL, &result));
        assert_true(result.times >= 2);
        dqg_model_release(model);
    }
}

static void wrong_networks(void **state) {
    dqg_context *context = context_of(state);
    dqg_tensor_info tensors[TENSORS + 2];
    dqg_model *model;
    dqg_measure_result result;
    dqg_measure_spec spec = spec_of(0);
    DQG_INIT(&result);
    int32_t count = describe_whole_network(tensors, DQG_DTYPE_INT4, 32);
    assert_ok(dqg_measure_model(context, tensors, count, &model));
    assert_int_equal(dqg_measure_network(NULL, model, &spec, NULL, NULL, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_measure_network(context, NULL, &spec, NULL, NULL, &result), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_measure_network(context, model, &spec, NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    const int64_t sizes[] = {-1, 7, 65537, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        spec = spec_of(0);
        spec.height = sizes[i];
        assert_fails(context, dqg_measure_network(context, model, &spec, NULL, NULL, &result), DQG_ERROR_RANGE);
        spec = spec_of(0);
        spec.samples = i == 1 ? 4097 : sizes[i];
        assert_fails(context, dqg_measure_network(context, model, &spec, NULL, NULL, &result), DQG_ERROR_RANGE);
    }
    spec = spec_of(0);
    spec.struct_size = 3;
    assert_fails(context, dqg_measure_network(context, model, &spec, NULL, NULL, &result), DQG_ERROR_ARGUMENT);
    dqg_model_release(model);
}

/* Each request for memory fails once, while a model is made and measured. */
static void network_allocations_fail(void **state) {
    (void)state;
    int failed = 1;
    for (int64_t n = 1; failed; n++) {
        struct failing_alloc memory;
        dqg_allocator allocator;
        dqg_context *context;
        dqg_model *model;
        dqg_tensor_info tensors[TENSORS + 2];
        dqg_measure_result result;
        dqg_measure_spec spec = spec_of(0);
        DQG_INIT(&result);
        spec.repeats = 1;
        failing_alloc_init(&memory, &allocator);
        assert_ok(dqg_context_create(&allocator, &context));
        assert_ok(dqg_context_set_threads(context, 2));
        memory.fail_at = n;
        dqg_status status =
            dqg_measure_model(context, tensors, describe_whole_network(tensors, DQG_DTYPE_INT4, 64), &model);
        if (status == DQG_OK) {
            status = dqg_measure_network(context, model, &spec, NULL, NULL, &result);
        }
        failed = memory.failed > 0;
        assert_int_equal(status, failed ? DQG_ERROR_MEMORY : DQG_OK);
        memory.fail_at = 0;
        dqg_model_release(model);
        dqg_context_destroy(context);
        assert_int_equal(failing_alloc_errors(&memory), 0);
    }
}

static int setup(void **state) {
    return dqg_context_create(NULL, (dqg_context **)state) < 0;
}

static int teardown(void **state) {
    dqg_context_destroy(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_records),  cmocka_unit_test(wrong_numbers),
        cmocka_unit_test(wrong_kinds),    cmocka_unit_test(too_large),
        cmocka_unit_test(cancelled),      cmocka_unit_test(plausible),
        cmocka_unit_test(plausible_conv), cmocka_unit_test(plausible_attention),
        cmocka_unit_test(all_operations), cmocka_unit_test(allocations_fail),
        cmocka_unit_test(wrong_models),   cmocka_unit_test(networks),
        cmocka_unit_test(wrong_networks), cmocka_unit_test(network_allocations_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
