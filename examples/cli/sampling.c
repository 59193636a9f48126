/* SPDX-License-Identifier: MIT */
/*
 * What generate, compare and bench share: which classes, which seeds, which scheduler. Turns what was typed into
 * settings of the library for the model at hand, and starts runs. Picture i has the same class, seed and noise however
 * the pictures are split into runs.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Classifier-free guidance when a class is asked for and --guidance is not given. */
#define DEFAULT_GUIDANCE 3.0

int sampling_init(struct cli *cli, struct sampling *sampling, struct args *args) {
    dqg_status status = dqg_options_create(cli->context, DQG_OPTIONS_RUN, &sampling->run_options);
    if (status >= 0) {
        status = dqg_options_create(cli->context, DQG_OPTIONS_SCHEDULER, &sampling->scheduler_options);
    }
    if (status < 0) {
        return cli_library_error(cli, status, "make options");
    }
    args->sets[0] = sampling->run_options;
    args->set_kinds[0] = DQG_OPTIONS_RUN;
    args->sets[1] = sampling->scheduler_options;
    args->set_kinds[1] = DQG_OPTIONS_SCHEDULER;
    return EXIT_OK;
}

void sampling_free(struct sampling *sampling) {
    dqg_options_destroy(sampling->run_options);
    dqg_options_destroy(sampling->scheduler_options);
    dqg_scheduler_release(sampling->scheduler);
    text_list_free(&sampling->class_texts);
    free(sampling->classes);
    free(sampling->seeds);
}

/* ---- seeds ---- */

static int resolve_seeds(struct cli *cli, struct sampling *sampling) {
    dqg_options_get_int(sampling->run_options, DQG_RUN_SEED, &sampling->seed);
    const char *text = sampling->seeds_text;
    if (text == NULL) {
        return EXIT_OK;
    }
    char number[32];
    sampling->seeds = malloc((strlen(text) + 1) * sizeof(*sampling->seeds));
    if (sampling->seeds == NULL) {
        return cli_error(cli, EXIT_FAILED, "out of memory");
    }
    while (true) {
        size_t length = strcspn(text, ",");
        snprintf(number, sizeof(number), "%.*s", (int)(length < sizeof(number) ? length : sizeof(number)), text);
        if (length >= sizeof(number) || !parse_int(number, &sampling->seeds[sampling->seed_count++])) {
            return cli_error(cli, EXIT_USAGE, "--seeds takes whole numbers with commas between, not '%s'", number);
        }
        if (text[length] == '\0') {
            return EXIT_OK;
        }
        text += length + 1;
    }
}

static bool has_text(const struct sampling *sampling, int32_t key) {
    const char *text;
    return dqg_options_get_text(sampling->run_options, key, &text) >= 0 && text != NULL && text[0] != '\0';
}

bool sampling_has_prompt(const struct sampling *sampling) {
    return has_text(sampling, DQG_RUN_PROMPT) || has_text(sampling, DQG_RUN_NEGATIVE_PROMPT);
}

void sampling_size(const struct sampling *sampling, int32_t *height, int32_t *width) {
    int64_t rows = 0, columns = 0;
    dqg_options_get_int(sampling->run_options, DQG_RUN_HEIGHT, &rows);
    dqg_options_get_int(sampling->run_options, DQG_RUN_WIDTH, &columns);
    *height = rows > 0 ? (int32_t)rows : sampling->info.height;
    *width = columns > 0 ? (int32_t)columns : sampling->info.width;
}

int32_t sampling_class(const struct sampling *sampling, int64_t index, int64_t per_class) {
    return sampling->classes[index / per_class % sampling->class_count];
}

static int64_t sampling_seed(const struct sampling *sampling, int64_t index) {
    if (sampling->seeds != NULL) {
        return sampling->seeds[index % sampling->seed_count];
    }
    return (int64_t)((uint64_t)sampling->seed + (uint64_t)index);
}

/* ---- scheduler ---- */

/* Copy one option of the model's own scheduler. A value that the library refuses leaves the default. */
static void copy_option(dqg_options *to, const dqg_options *from, const dqg_option_info *option) {
    int64_t integer;
    double number;
    const char *text;
    if (option->type == DQG_TYPE_INT && dqg_options_get_int(from, option->key, &integer) >= 0) {
        dqg_options_set_int(to, option->key, integer);
    } else if (option->type == DQG_TYPE_FLOAT && dqg_options_get_float(from, option->key, &number) >= 0) {
        dqg_options_set_float(to, option->key, number);
    } else if (option->type == DQG_TYPE_TEXT && dqg_options_get_text(from, option->key, &text) >= 0) {
        dqg_options_set_text(to, option->key, text);
    }
}

/* The base on which the command line changes things: how the model says that it is sampled. */
static int start_from_model(struct cli *cli, struct sampling *sampling, const struct args *args,
                            const dqg_model *model) {
    dqg_options *own;
    dqg_option_info option;
    dqg_status status = dqg_model_scheduler_options(cli->context, model, &own);
    if (status < 0) {
        return cli_library_error(cli, status, "read how the model is sampled");
    }
    DQG_INIT(&option);
    for (int32_t i = 0; dqg_option_at(DQG_OPTIONS_SCHEDULER, i, &option) == DQG_OK; i++) {
        if (!args_given(args, option.key)) {
            copy_option(sampling->scheduler_options, own, &option);
        }
    }
    dqg_options_destroy(own);
    return EXIT_OK;
}

static int make_scheduler(struct cli *cli, struct sampling *sampling) {
    dqg_status status = dqg_scheduler_create(cli->context, sampling->scheduler_options, &sampling->scheduler);
    if (status < 0) {
        cli_library_error(cli, status, "set up this way of sampling");
        return EXIT_USAGE;
    }
    sampling->steps = dqg_scheduler_steps(sampling->scheduler);
    return EXIT_OK;
}

static int resolve_scheduler(struct cli *cli, struct sampling *sampling, const struct args *args,
                             const dqg_model *model) {
    int code = start_from_model(cli, sampling, args, model);
    if (code == EXIT_OK) {
        code = scheduler_apply(cli, args, &sampling->names, sampling->scheduler_options);
    }
    return code == EXIT_OK ? make_scheduler(cli, sampling) : code;
}

int sampling_follow_size(struct cli *cli, struct sampling *sampling, const struct args *args) {
    int32_t height, width, patch = sampling->info.patch_size;
    int64_t tokens = 0;
    dqg_options_get_int(sampling->scheduler_options, DQG_SCHEDULER_IMAGE_TOKENS, &tokens);
    if (tokens == 0 || args_given(args, DQG_SCHEDULER_IMAGE_TOKENS)) {
        return EXIT_OK;
    }
    sampling_size(sampling, &height, &width);
    tokens = (int64_t)(height / patch) * (width / patch);
    dqg_options_set_int(sampling->scheduler_options, DQG_SCHEDULER_IMAGE_TOKENS, tokens);
    dqg_scheduler_release(sampling->scheduler);
    sampling->scheduler = NULL;
    return make_scheduler(cli, sampling);
}

/* What pictures of prompts are usually made with. */
static double published_guidance(const dqg_model_info *info) {
    static const struct {
        const char *family;
        double scale;
    } scales[] = {{"flux", 1}, {"pixart", 4.5}, {"mmdit", 7}};
    if ((info->flags & DQG_MODEL_GUIDED) != 0) {
        return 3.5;
    }
    for (size_t i = 0; i < COUNT_OF(scales); i++) {
        if (strcmp(info->family, scales[i].family) == 0) {
            return scales[i].scale;
        }
    }
    return info->pooled_columns > 0 ? 5 : 7.5; /* SDXL, Stable Diffusion */
}

int sampling_resolve(struct cli *cli, struct sampling *sampling, const struct args *args, const dqg_model *model) {
    DQG_INIT(&sampling->info);
    dqg_model_get_info(model, &sampling->info);
    int code = sampling_classes(cli, sampling, model);
    if (code == EXIT_OK) {
        code = resolve_seeds(cli, sampling);
    }
    if (code == EXIT_OK) {
        code = resolve_scheduler(cli, sampling, args, model);
    }
    bool has_class = false;
    for (int32_t i = 0; i < sampling->class_count; i++) {
        has_class |= sampling->classes[i] >= 0;
    }
    int64_t conditions = 1;
    dqg_options_get_int(sampling->run_options, DQG_RUN_CONDITIONS, &conditions);
    if (code == EXIT_OK && conditions > 1) {
        if (conditions != sampling->class_count) {
            return cli_error(cli, EXIT_USAGE, "--conditions %lld needs as many classes: --class A,B,...",
                             (long long)conditions);
        }
        sampling->condition_count = sampling->class_count;
        sampling->class_count = 1; /* all in one picture, not a picture of each */
    }
    bool has_prompt = sampling_has_prompt(sampling);
    if ((has_class || has_prompt) && !args_given(args, DQG_RUN_GUIDANCE)) {
        dqg_options_set_float(sampling->run_options, DQG_RUN_GUIDANCE,
                              has_prompt ? published_guidance(&sampling->info) : DEFAULT_GUIDANCE);
    }
    dqg_options_get_float(sampling->run_options, DQG_RUN_GUIDANCE, &sampling->guidance);
    return code;
}

dqg_run *sampling_run(struct cli *cli, struct sampling *sampling, dqg_model *model, int64_t first, int32_t count,
                      int64_t per_class, int *exit_code) {
    int64_t classes[SAMPLING_BATCH];
    int64_t seeds[SAMPLING_BATCH];
    for (int32_t i = 0; i < count; i++) {
        classes[i] = sampling_class(sampling, first + i, per_class);
        seeds[i] = sampling_seed(sampling, first + i);
    }
    dqg_options *options = sampling->run_options;
    dqg_run *run = NULL;
    dqg_status status = dqg_options_set_int(options, DQG_RUN_COUNT, count);
    if (status >= 0) {
        status = dqg_options_set_ints(options, DQG_RUN_SEEDS, seeds, count);
    }
    if (status >= 0 && sampling->condition_count > 0) {
        for (int32_t i = 0; i < sampling->condition_count; i++) {
            classes[i] = sampling->classes[i];
        }
        status = dqg_options_set_ints(options, DQG_RUN_CLASSES, classes, sampling->condition_count);
    } else if (status >= 0 && sampling->info.classes > 0) {
        status = dqg_options_set_ints(options, DQG_RUN_CLASSES, classes, count);
    }
    if (status >= 0) {
        status = dqg_run_create(cli->context, model, sampling->scheduler, options, &run);
    }
    *exit_code = status < 0 ? cli_library_error(cli, status, "start the run") : EXIT_OK;
    return run;
}
