/* SPDX-License-Identifier: MIT */
/*
 * Loading a model on several lanes: the first of several faulty tensors is named whatever lane meets it, progress only
 * grows and comes to its end, and a load can be stopped at each report without leaving anything behind.
 */
#include "container_file.h"
#include "tiny_model.h"

/* ---- faults behind fitting hashes ---- */

enum { TENSORS = 24 };

/* Scales of 1, but not a number in some tensors. A file that a family takes for its own, so that loading begins. */
static void write_faulty(struct io_fixture *fixture, const char *path, size_t first_bad, size_t step) {
    struct dqg_tensor_desc tensors[TENSORS];
    struct dqg_writer *writer;
    char names[TENSORS][48];
    uint64_t size;
    for (size_t i = 0; i < TENSORS; i++) {
        snprintf(names[i], sizeof(names[i]), "blocks.%zu.adaLN_modulation.1.weight", i);
        if (i == TENSORS - 1) {
            strcpy(names[i], "y_embedder.embedding_table.weight");
        }
        /* the first tensors are the largest: their lanes are the last to be ready */
        tensors[i] = describe(names[i], DQG_DTYPE_INT4, 32, 2, 16 * (int64_t)(TENSORS - i), 64, 0);
    }
    assert_ok(dqg_writer_create(fixture->context, path, tensors, TENSORS, some_metadata, 2, 3, &writer));
    for (size_t i = 0; i < TENSORS; i++) {
        size_t scales = (size_t)tensors[i].plane_bytes[DQG_PLANE_SCALES];
        uint8_t *codes = plane_contents(&tensors[i], i, DQG_PLANE_CODES);
        uint16_t *halves = malloc(scales);
        for (size_t k = 0; k < scales / 2; k++) {
            halves[k] = 0x3c00;
        }
        if (i >= first_bad && (i - first_bad) % step == 0) {
            halves[scales / 2 - 1] = 0x7e00;
        }
        assert_ok(dqg_writer_plane(writer, i, DQG_PLANE_CODES, codes, (size_t)tensors[i].plane_bytes[0], 1.0f, &size));
        assert_ok(dqg_writer_plane(writer, i, DQG_PLANE_SCALES, halves, scales, 1.0f, &size));
        free(codes);
        free(halves);
    }
    assert_ok(dqg_writer_finish(writer, &size));
    dqg_writer_abandon(writer);
}

static void names_the_first_faulty_tensor(void **state) {
    struct io_fixture *fixture = *state;
    const char *path = io_path(fixture, "faulty.dqg");
    for (size_t first = 0; first + 1 < TENSORS; first += 5) {
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "'blocks.%zu.", first);
        write_faulty(fixture, path, first, 3);
        for (int32_t threads = 1; threads <= 4; threads++) {
            dqg_model *model;
            assert_ok(dqg_context_set_threads(fixture->context, threads));
            assert_fails(fixture->context, dqg_model_load(fixture->context, path, NULL, &model), DQG_ERROR_FORMAT);
            assert_null(model);
            assert_non_null(strstr(dqg_context_error(fixture->context), wanted));
        }
    }
}

/* ---- progress ---- */

struct watch {
    uint64_t last, total;
    int calls, stop_at;
};

static int32_t watch_progress(void *user, const dqg_progress *progress) {
    struct watch *watch = user;
    assert_int_equal(progress->phase, DQG_PHASE_LOAD);
    assert_true(progress->done >= watch->last && progress->done <= progress->total);
    assert_non_null(progress->name);
    watch->last = progress->done;
    watch->total = progress->total;
    watch->calls++;
    return watch->calls == watch->stop_at;
}

static void reports_progress_and_can_be_stopped(void **state) {
    struct io_fixture *fixture = *state;
    dqg_context *context = fixture->context;
    dqg_quantizer *quantizer;
    dqg_model *model;
    char checkpoint[128], quantized[128];
    snprintf(checkpoint, sizeof(checkpoint), "%s", io_path(fixture, "tiny.safetensors"));
    snprintf(quantized, sizeof(quantized), "%s", io_path(fixture, "tiny.dqg"));
    assert_ok(dqg_context_set_threads(context, 1)); /* the smallest batches */
    assert_int_equal(tiny_dit_write(checkpoint, 64, 4, 4, 2, 4, 8, 5, 0, 1), 0);
    assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
    assert_ok(dqg_quantizer_run(quantizer, checkpoint, quantized));
    dqg_quantizer_destroy(quantizer);
    const char *paths[] = {checkpoint, quantized};
    for (size_t i = 0; i < 2; i++) {
        struct watch watch = {0};
        assert_ok(dqg_context_set_progress(context, watch_progress, &watch));
        assert_ok(dqg_model_load(context, paths[i], NULL, &model));
        dqg_model_release(model);
        assert_true(watch.calls >= 2 && watch.total > 0);
        assert_int_equal(watch.last, watch.total);
        int64_t blocks = fixture->memory.live_blocks;
        for (int stop_at = 1; stop_at <= 2; stop_at++) { /* the first report and the last always come */
            watch = (struct watch){.stop_at = stop_at};
            dqg_status status = dqg_model_load(context, paths[i], NULL, &model);
            assert_int_equal(status, DQG_ERROR_CANCELLED);
            assert_null(model);
            assert_int_equal(fixture->memory.live_blocks, blocks);
        }
        assert_ok(dqg_context_set_progress(context, NULL, NULL));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_the_first_faulty_tensor, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reports_progress_and_can_be_stopped, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
