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

static void wrong_numbers(void **state) {
    dqg_context *context = context_of(state);
    static const int64_t sizes[] = {-1, INT64_MIN, INT64_MAX, ((int64_t)1 << 20) + 1};
    for (int32_t operation = DQG_MEASURE_LINEAR; operation <= DQG_MEASURE_ATTENTION; operation++) {
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

static void all_operations(void **state) {
    dqg_context *context = context_of(state);
    for (int32_t operation = DQG_MEASURE_CEILING_I8; operation <= DQG_MEASURE_ATTENTION; operation++) {
        dqg_measure_spec spec = spec_of(operation);
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
                                         DQG_MEASURE_ATTENTION};
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

static int setup(void **state) {
    return dqg_context_create(NULL, (dqg_context **)state) < 0;
}

static int teardown(void **state) {
    dqg_context_destroy(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_records),  cmocka_unit_test(wrong_numbers),    cmocka_unit_test(wrong_kinds),
        cmocka_unit_test(too_large),      cmocka_unit_test(cancelled),        cmocka_unit_test(plausible),
        cmocka_unit_test(all_operations), cmocka_unit_test(allocations_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
