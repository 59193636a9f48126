/* SPDX-License-Identifier: MIT */
/*
 * dqgen compare: how far a quantized model is from its float original - single evaluations operator by operator, whole
 * trajectories step by step, and the finished pictures. This file reads the arguments and prints; measuring is done in
 * compare_steps.c and compare_layers.c.
 */
#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char notes[] =
    "Errors are relative: ||float - quantized|| / ||float||. Both models get the same inputs and the same noise.\n"
    "Without --class the seeds take classes from all over the model, with guidance 3. Networks that take a text, a "
    "picture\n"
    "or the like get random numbers in its place, or what their files make of --prompt.\n\n"
    "example:\n"
    "  dqgen compare sprites.safetensors sprites.dqg --seeds 8 --steps 20 --json > errors.json";

enum { BAR_WIDTH = 24 };

/* A line of '#' for value out of maximum. */
static const char *bar(char buffer[BAR_WIDTH + 1], double value, double maximum) {
    int length = maximum > 0 && isfinite(value) ? (int)(value / maximum * BAR_WIDTH + 0.5) : 0;
    memset(buffer, '#', (size_t)length);
    buffer[length] = '\0';
    return buffer;
}

static double largest_layer_error(const struct comparison *comparison) {
    double largest = 0;
    for (size_t i = 0; i < comparison->layer_count; i++) {
        for (int t = 0; t < COMPARE_TIMES; t++) {
            double error = error_value(&comparison->layers[i].errors[t]);
            largest = isfinite(error) && error > largest ? error : largest;
        }
    }
    return largest;
}

static double largest_step_error(const struct comparison *comparison) {
    double largest = 0;
    for (int32_t i = 0; i < comparison->steps; i++) {
        largest = fmax(largest, error_value(&comparison->step_errors[i]));
    }
    return largest;
}

static void print_layers(const struct comparison *comparison) {
    char buffer[BAR_WIDTH + 1];
    double largest = largest_layer_error(comparison);
    printf("\none evaluation with the same input, relative error\n  %-36s", "");
    for (int t = 0; t < COMPARE_TIMES; t++) {
        printf("  t = %-5.3g", comparison->times[t]);
    }
    printf("\n");
    for (size_t i = 0; i < comparison->layer_count; i++) {
        const struct layer_error *layer = &comparison->layers[i];
        double worst = 0;
        if (isnan(error_value(&layer->errors[0]))) {
            continue; /* the quantized network has no operator of this name */
        }
        printf("  %-36s", layer->name);
        for (int t = 0; t < COMPARE_TIMES; t++) {
            double error = error_value(&layer->errors[t]);
            worst = fmax(worst, error);
            printf("  %7.3f %%", 100 * error);
        }
        printf("  %s\n", bar(buffer, worst, largest));
    }
    printf("  %-36s", "network output");
    for (int t = 0; t < COMPARE_TIMES; t++) {
        printf("  %7.3f %%", 100 * error_value(&comparison->evaluations[t]));
    }
    printf("\n");
    if (comparison->unmatched > 0) {
        printf("  (%zu operators of the quantized network have no partner of the same name)\n", comparison->unmatched);
    }
}

static void psnr_summary(const struct comparison *comparison, double *mean, double *lowest) {
    *mean = 0;
    *lowest = INFINITY;
    for (int64_t i = 0; i < comparison->seeds; i++) {
        *mean += comparison->psnr[i] / (double)comparison->seeds;
        *lowest = fmin(*lowest, comparison->psnr[i]);
    }
}

static const char *class_label(const struct comparison *comparison, int64_t index) {
    int32_t label = sampling_class(&comparison->sampling, index, 1);
    const char *name = label >= 0 ? dqg_model_class_name(comparison->models[0], label) : NULL;
    return name != NULL ? name : label >= 0 ? "unnamed" : "none";
}

static void print_text(const struct comparison *comparison, const struct args *args) {
    char buffer[BAR_WIDTH + 1];
    printf("%s against %s: %lld seeds, %d steps, guidance %g\n", args->operand[1], args->operand[0],
           (long long)comparison->seeds, (int)comparison->steps, comparison->sampling.guidance);
    print_layers(comparison);
    printf("\nalong the trajectory, relative error of the latents\n");
    double largest = largest_step_error(comparison);
    for (int32_t i = 0; i < comparison->steps; i++) {
        double error = error_value(&comparison->step_errors[i]);
        printf("  step %3d  sigma %-8.4g  %7.3f %%  %s\n", (int)i + 1, comparison->step_sigma[i], 100 * error,
               bar(buffer, error, largest));
    }
    double mean, lowest;
    psnr_summary(comparison, &mean, &lowest);
    printf("\nfinished %s: mean %.2f dB, lowest %.2f dB\n",
           comparison->latents ? "latents, PSNR for a range of 2" : "pictures, PSNR", mean, lowest);
    for (int64_t i = 0; i < comparison->seeds; i++) {
        printf("  seed %-6lld %-14s %6.2f dB\n", (long long)(comparison->sampling.seed + i), class_label(comparison, i),
               comparison->psnr[i]);
    }
}

static void print_json(const struct comparison *comparison, const struct args *args) {
    struct json json;
    json_begin(&json, stdout);
    json_text(&json, "float", args->operand[0]);
    json_text(&json, "quantized", args->operand[1]);
    json_int(&json, "seeds", comparison->seeds);
    json_int(&json, "steps", comparison->steps);
    json_number(&json, "guidance", comparison->sampling.guidance);
    json_open(&json, "evaluations", '[');
    for (int t = 0; t < COMPARE_TIMES; t++) {
        json_open(&json, NULL, '{');
        json_number(&json, "t", comparison->times[t]);
        json_number(&json, "relative_error", error_value(&comparison->evaluations[t]));
        json_open(&json, "operators", '[');
        for (size_t i = 0; i < comparison->layer_count; i++) {
            json_open(&json, NULL, '{');
            json_text(&json, "name", comparison->layers[i].name);
            json_number(&json, "relative_error", error_value(&comparison->layers[i].errors[t]));
            json_close(&json, '}');
        }
        json_close(&json, ']');
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_int(&json, "unmatched_operators", (int64_t)comparison->unmatched);
    json_open(&json, "trajectory", '[');
    for (int32_t i = 0; i < comparison->steps; i++) {
        json_open(&json, NULL, '{');
        json_int(&json, "step", i + 1);
        json_number(&json, "sigma", comparison->step_sigma[i]);
        json_number(&json, "relative_error", error_value(&comparison->step_errors[i]));
        json_close(&json, '}');
    }
    json_close(&json, ']');
    double mean, lowest;
    psnr_summary(comparison, &mean, &lowest);
    json_number(&json, "psnr_mean_db", mean);
    json_number(&json, "psnr_lowest_db", lowest);
    json_open(&json, "pictures", '[');
    for (int64_t i = 0; i < comparison->seeds; i++) {
        json_open(&json, NULL, '{');
        json_int(&json, "seed", comparison->sampling.seed + i);
        json_text(&json, "class", class_label(comparison, i));
        json_number(&json, "psnr_db", comparison->psnr[i]);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_end(&json);
}

/* Do a and b take and give the same? */
static bool alike(const dqg_model_info *a, const dqg_model_info *b) {
    return a->channels == b->channels && a->height == b->height && a->width == b->width && a->classes == b->classes &&
           a->layers == b->layers && a->flags == b->flags && a->context_columns == b->context_columns &&
           a->pooled_columns == b->pooled_columns && a->sizes == b->sizes && a->extra_channels == b->extra_channels;
}

/* Load both models and see that they are two forms of one network. */
static int open_models(struct cli *cli, struct comparison *comparison, const struct args *args) {
    dqg_model_info info[2];
    for (int i = 0; i < 2; i++) {
        int code;
        comparison->models[i] = cli_load(cli, args->operand[i], &code);
        if (comparison->models[i] == NULL) {
            return code;
        }
        dqg_component_info component;
        DQG_INIT(&component);
        dqg_model_component_at(comparison->models[i], 0, &component);
        if (strcmp(component.role, "denoiser") != 0) {
            return cli_error(cli, EXIT_FAILED, "'%s' holds no denoiser but a %s; denoisers alone can be compared",
                             args->operand[i], component.family);
        }
        DQG_INIT(&info[i]);
        dqg_model_get_info(comparison->models[i], &info[i]);
    }
    if (!alike(&info[0], &info[1])) {
        return cli_error(cli, EXIT_FAILED, "'%s' and '%s' are not the same network", args->operand[0],
                         args->operand[1]);
    }
    return EXIT_OK;
}

/* Whether both files can be given the prompt, where there is one. */
static int check_prompt(struct cli *cli, const struct comparison *comparison, const struct args *args) {
    for (int i = 0; i < 2 && sampling_has_prompt(&comparison->sampling); i++) {
        struct compare_prompt prompt;
        dqg_prompt_info info;
        dqg_status status = compare_prompt_info(cli, comparison, i, &prompt, &info);
        if (status < 0) {
            return cli_library_error(cli, status, "encode the prompt with '%s'", args->operand[i]);
        }
    }
    return EXIT_OK;
}

static int measure(struct cli *cli, struct comparison *comparison, const struct args *args) {
    int code = sampling_resolve(cli, &comparison->sampling, args, comparison->models[0]);
    code = code == EXIT_OK ? check_prompt(cli, comparison, args) : code;
    if (code != EXIT_OK) {
        return code;
    }
    sampling_size(&comparison->sampling, &comparison->height, &comparison->width);
    comparison->latent_size =
        (size_t)comparison->sampling.info.channels * (size_t)comparison->height * (size_t)comparison->width;
    code = compare_steps(cli, comparison);
    return code == EXIT_OK ? compare_layers(cli, comparison) : code;
}

static void comparison_free(struct comparison *comparison) {
    for (size_t i = 0; i < comparison->layer_count; i++) {
        free(comparison->layers[i].name);
    }
    free(comparison->layers);
    free(comparison->step_sigma);
    free(comparison->step_errors);
    free(comparison->psnr);
    free(comparison->noise);
    free(comparison->finished);
    dqg_model_release(comparison->models[0]);
    dqg_model_release(comparison->models[1]);
    sampling_free(&comparison->sampling);
}

int compare_main(struct cli *cli, int argc, char **argv) {
    struct comparison comparison = {.seeds = 4};
    bool json = false;
    const struct arg_row rows[] = {
        {"seeds", 0, ARG_INT, "N", "pictures to compare, from --seed upward (default 4)", 1, 4096, &comparison.seeds},
        {"json", 0, ARG_FLAG, NULL, "print JSON", 0, 0, &json},
        SAMPLING_ROWS(&comparison.sampling),
    };
    struct args args = {.cli = cli,
                        .command = "compare",
                        .operands = "FLOAT QUANTIZED",
                        .summary = "Measures how far a quantized model is from its float original.",
                        .notes = notes,
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .min_operands = 2,
                        .max_operands = 2};
    int code = sampling_init(cli, &comparison.sampling, &args);
    if (code == EXIT_OK && args_parse(&args, argc, argv, &code)) {
        comparison.sampling.spread = (int32_t)comparison.seeds;
        code = open_models(cli, &comparison, &args);
        if (code == EXIT_OK && (code = measure(cli, &comparison, &args)) == EXIT_OK) {
            if (json) {
                print_json(&comparison, &args);
            } else {
                print_text(&comparison, &args);
            }
        }
    }
    comparison_free(&comparison);
    return code;
}
