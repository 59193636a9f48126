/* SPDX-License-Identifier: MIT */
/* Wrong arguments to the calls on prompts, components and phases. */
#include "check.h"
#include "model_fixture.h"
#include "pipeline_folder.h"

#include <stdio.h>
#include <sys/stat.h>

struct fixture {
    struct model_fixture base; /* a model that takes no prompt */
    char folder[192];
    dqg_model *model;
};

static int setup(void **state) {
    static struct fixture fixture;
    int bad = model_fixture_open(&fixture.base);
    snprintf(fixture.folder, sizeof fixture.folder, "%s/sd", fixture.base.directory);
    *state = &fixture;
    return bad || mkdir(fixture.folder, 0700) || pipeline_folder_make(fixture.folder, PIPELINE_SD) ||
           dqg_model_load(fixture.base.context, fixture.folder, NULL, &fixture.model);
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    dqg_model_release(fixture->model);
    pipeline_folder_remove(fixture->folder);
    model_fixture_close(&fixture->base);
    return 0;
}

static void prompts(void **state) {
    enum { ROWS = 77 * 64 };
    static float floats[ROWS];
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    const dqg_model *model = fixture->model;
    const char *const texts[] = {"a cat"};
    dqg_prompt_settings settings;
    dqg_prompt_info info;
    dqg_tensor_view rows = view_f32(floats, 1, 77, 64, 0), wrong = view_f32(floats, 1, 76, 64, 0);
    dqg_tensor_view mask = view_f32(floats, 1, 76, 0, 0);
    DQG_INIT(&info);
    DQG_INIT(&settings);
    assert_int_equal(dqg_model_prompt_info(NULL, model, texts, 1, NULL, &info), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_prompt_info(context, NULL, texts, 1, NULL, &info), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_prompt_info(context, model, NULL, 1, NULL, &info), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 1, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 0, NULL, &info), DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_prompt_info(context, model, texts, -1, NULL, &info), DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 4097, NULL, &info), DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_prompt_info(context, fixture->base.model, texts, 1, NULL, &info),
                 DQG_ERROR_UNSUPPORTED);
    settings.flags = 64;
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 1, &settings, &info), DQG_ERROR_ARGUMENT);
    settings.flags = 0;
    settings.skip = 4;
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 1, &settings, &info), DQG_ERROR_RANGE);
    settings.skip = -1;
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 1, &settings, &info), DQG_ERROR_RANGE);
    settings.skip = 0;
    settings.chunks = 1025;
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 1, &settings, &info), DQG_ERROR_RANGE);
    settings.chunks = 0;
    settings.struct_size = 4;
    assert_fails(context, dqg_model_prompt_info(context, model, texts, 1, &settings, &info), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_encode_prompts(NULL, model, texts, 1, NULL, &rows, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_prompts(context, model, texts, 1, NULL, NULL, NULL, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_prompts(context, model, texts, 1, NULL, &wrong, NULL, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_prompts(context, model, texts, 1, NULL, &rows, &mask, NULL),
                 DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_encode_prompts(context, model, texts, 1, NULL, &rows, NULL, &rows),
                 DQG_ERROR_ARGUMENT);
    assert_ok(dqg_model_encode_prompts(context, model, texts, 1, NULL, &rows, NULL, NULL));
}

static void tokens(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    const dqg_model *model = fixture->model;
    dqg_prompt_settings settings;
    int32_t ids[8], count = 7, all;
    float weights[8];
    DQG_INIT(&settings);
    assert_int_equal(dqg_model_tokenize(NULL, model, "a", NULL, NULL, NULL, 0, &count), DQG_ERROR_ARGUMENT);
    assert_int_equal(count, 0);
    assert_fails(context, dqg_model_tokenize(context, NULL, "a", NULL, NULL, NULL, 0, &count), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_tokenize(context, model, NULL, NULL, NULL, NULL, 0, &count), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_tokenize(context, model, "a", NULL, NULL, NULL, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_tokenize(context, model, "a", NULL, NULL, NULL, -1, &count), DQG_ERROR_RANGE);
    assert_fails(context, dqg_model_tokenize(context, fixture->base.model, "a", NULL, NULL, NULL, 0, &count),
                 DQG_ERROR_UNSUPPORTED);
    settings.role = "t5";
    assert_fails(context, dqg_model_tokenize(context, model, "a", &settings, NULL, NULL, 0, &count), DQG_ERROR_NAME);
    settings.role = "clip";
    assert_ok(dqg_model_tokenize(context, model, "a (b:1.5) BREAK c", &settings, ids, weights, 8, &count));
    assert_int_equal(count, 3);
    assert_true(weights[0] == 1.0f && weights[1] == 1.5f && weights[2] == 1.0f);
    assert_ok(dqg_model_tokenize(context, model, "a (b:1.5) BREAK c", &settings, ids + 4, NULL, 1, &all));
    assert_true(all == 3 && ids[4] == ids[0]); /* only the first is written, all are counted */
    settings.flags = DQG_PROMPT_PLAIN;
    assert_ok(dqg_model_tokenize(context, model, "a (b:1.5) BREAK c", &settings, NULL, NULL, 0, &all));
    assert_true(all > 8);
    assert_ok(dqg_model_tokenize(context, model, "", NULL, NULL, NULL, 0, &count));
    assert_int_equal(count, 0);
}

static void components_and_phases(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_component_info info;
    dqg_phase_memory memory;
    dqg_options *options = make_options(context, DQG_OPTIONS_SCHEDULER);
    DQG_INIT(&info);
    DQG_INIT(&memory);
    assert_int_equal(dqg_model_component_at(NULL, 0, &info), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_component_at(fixture->model, 0, NULL), DQG_ERROR_ARGUMENT);
    assert_int_equal(dqg_model_component_at(fixture->model, 3, &info), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_component_at(fixture->model, -1, &info), DQG_ERROR_RANGE);
    assert_int_equal(dqg_model_phase_memory(NULL, fixture->model, NULL, NULL, NULL, &memory), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_phase_memory(context, NULL, NULL, NULL, NULL, &memory), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_phase_memory(context, fixture->model, NULL, NULL, NULL, NULL), DQG_ERROR_ARGUMENT);
    assert_fails(context, dqg_model_phase_memory(context, fixture->model, NULL, options, NULL, &memory),
                 DQG_ERROR_ARGUMENT);
    assert_ok(dqg_model_phase_memory(context, fixture->base.model, NULL, NULL, NULL, &memory));
    assert_true(memory.encode_bytes == 0 && memory.decode_bytes == 0 && memory.denoise_bytes > 0);
    dqg_options_destroy(options);
}

static void tokenizers_of_the_quantizer(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    char output[256];
    dqg_quantizer *quantizer;
    static const struct {
        const char *role, *path;
        dqg_status status;
    } cases[] = {{NULL, "no-such-file", DQG_ERROR_NOT_FOUND},
                 {NULL, "tests/golden/pipeline", DQG_ERROR_NOT_FOUND},
                 {NULL, "tests/golden/text/strings.bin", DQG_ERROR_FORMAT},
                 {NULL, "tests/golden/text/t5.model", DQG_ERROR_NAME},
                 {"clip_2", "tests/golden/text/small_vocab.json", DQG_ERROR_FORMAT},
                 {"vae", "tests/golden/text/small_tokenizer.json", DQG_ERROR_NAME}};
    snprintf(output, sizeof output, "%s/out.dqg", fixture->base.directory);
    assert_int_equal(dqg_quantizer_add_tokenizer(NULL, NULL, "x"), DQG_ERROR_ARGUMENT);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(dqg_quantizer_create(context, NULL, &quantizer));
        assert_fails(context, dqg_quantizer_add_tokenizer(quantizer, NULL, NULL), DQG_ERROR_ARGUMENT);
        assert_ok(dqg_quantizer_add_tokenizer(quantizer, cases[i].role, cases[i].path));
        assert_fails(context, dqg_quantizer_run(quantizer, fixture->folder, output), cases[i].status);
        dqg_quantizer_destroy(quantizer);
    }
}

/* What a run makes of its prompt. */
static void prompts_of_runs(void **state) {
    struct fixture *fixture = *state;
    dqg_context *context = fixture->base.context;
    dqg_run *run = anything;
    dqg_options *options = make_options(context, DQG_OPTIONS_RUN);
    assert_ok(dqg_options_set_text(options, DQG_RUN_PROMPT, "\xff broken \xf0\x9f"));
    assert_fails(context, dqg_run_create(context, fixture->base.model, NULL, options, &run), DQG_ERROR_UNSUPPORTED);
    assert_null(run);
    assert_ok(dqg_run_create(context, fixture->model, NULL, options, &run)); /* counts as U+FFFD */
    dqg_run_destroy(run);
    assert_ok(dqg_options_set_int(options, DQG_RUN_CONDITIONS, 2));
    assert_fails(context, dqg_run_create(context, fixture->model, NULL, options, &run), DQG_ERROR_UNSUPPORTED);
    assert_null(run);
    dqg_options_destroy(options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts),
        cmocka_unit_test(tokens),
        cmocka_unit_test(components_and_phases),
        cmocka_unit_test(tokenizers_of_the_quantizer),
        cmocka_unit_test(prompts_of_runs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
