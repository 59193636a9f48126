/* SPDX-License-Identifier: MIT */
/* dqgen quantize: a float checkpoint in, a 4-bit .dqg file out, and a report on what it cost. */
#include <errno.h>
#include <string.h>

#include "cli.h"

struct quantize {
    const char *output;        /* -o */
    const char *report;        /* --report */
    struct text_list rules;    /* PATTERN=FORMAT */
    struct text_list metadata; /* KEY=VALUE */
    struct text_list tokenizers; /* [ROLE=]PATH */
    dqg_options *options;
    dqg_quantizer *quantizer;
};

static const char notes[] =
    "Formats of --rule are those of --format. Those of 6 bits or less but for vq2 and vq4 take a group size:\n"
    "int4:64, nf4:128.\n"
    "In a pattern '*' stands for any text and '?' for one character; the first rule that matches wins.\n\n"
    "examples:\n"
    "  dqgen quantize sprites.safetensors -o sprites.dqg\n"
    "  dqgen quantize v1-5.safetensors -o sd15.dqg --tokenizer clip-vit-large-patch14/\n"
    "  dqgen quantize sprites.safetensors -o sprites.dqg --group 64 --rule 'blocks.0.*=int8' --report report.json";

typedef dqg_status (*pair_fn)(dqg_quantizer *quantizer, const char *left, const char *right);

/* "LEFT=RIGHT" to a call with two texts. The last '=' divides rules (patterns may hold one), the first one metadata. */
static int apply_pair(struct cli *cli, dqg_quantizer *quantizer, const char *option, const char *text, bool last,
                      pair_fn apply) {
    const char *equals = last ? strrchr(text, '=') : strchr(text, '=');
    char left[512];
    size_t length = equals != NULL ? (size_t)(equals - text) : 0;
    if (length == 0 || length >= sizeof(left)) {
        return cli_error(cli, EXIT_USAGE, "--%s takes LEFT=RIGHT, not '%s'\nTry 'dqgen quantize --help'.", option,
                         text);
    }
    memcpy(left, text, length);
    left[length] = '\0';
    dqg_status status = apply(quantizer, left, equals + 1);
    return status < 0 ? cli_error(cli, EXIT_USAGE, "--%s %s: %s", option, text, dqg_context_error(cli->context))
                      : EXIT_OK;
}

/* "PATH", or "ROLE=PATH" where what is in front of the '=' is a word. */
static int add_tokenizer(struct cli *cli, dqg_quantizer *quantizer, const char *text) {
    char role[32];
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789");
    bool named = text[length] == '=' && length > 0 && length < sizeof(role);
    if (named) {
        memcpy(role, text, length);
        role[length] = '\0';
    }
    dqg_status status =
        dqg_quantizer_add_tokenizer(quantizer, named ? role : NULL, named ? text + length + 1 : text);
    return status < 0 ? cli_library_error(cli, status, "use the tokenizer '%s'", text) : EXIT_OK;
}

static int configure(struct cli *cli, struct quantize *job) {
    dqg_status status = dqg_quantizer_create(cli->context, job->options, &job->quantizer);
    if (status < 0) {
        return cli_library_error(cli, status, "set up the quantizer");
    }
    int code = EXIT_OK;
    for (size_t i = 0; code == EXIT_OK && i < job->rules.count; i++) {
        code = apply_pair(cli, job->quantizer, "rule", job->rules.items[i], true, dqg_quantizer_add_rule);
    }
    for (size_t i = 0; code == EXIT_OK && i < job->metadata.count; i++) {
        code = apply_pair(cli, job->quantizer, "meta", job->metadata.items[i], false, dqg_quantizer_set_metadata);
    }
    if (code == EXIT_OK && cli->variant != NULL &&
        (status = dqg_quantizer_set_metadata(job->quantizer, "variant", cli->variant)) < 0) {
        code = cli_library_error(cli, status, "note the variant");
    }
    for (size_t i = 0; code == EXIT_OK && i < job->tokenizers.count; i++) {
        code = add_tokenizer(cli, job->quantizer, job->tokenizers.items[i]);
    }
    return code;
}

static int write_report(struct cli *cli, struct quantize *job) {
    const char *text;
    dqg_status status = dqg_quantizer_report(job->quantizer, DQG_REPORT_JSON, &text);
    if (status < 0) {
        return cli_library_error(cli, status, "make the report");
    }
    FILE *file = fopen(job->report, "w");
    bool good = file != NULL && fputs(text, file) >= 0;
    if (file == NULL || fclose(file) != 0 || !good) {
        return cli_error(cli, EXIT_FAILED, "cannot write '%s': %s", job->report, strerror(errno));
    }
    return EXIT_OK;
}

/* The whole report with --verbose, otherwise its last line, which holds the totals. */
static int print_summary(struct cli *cli, struct quantize *job, double seconds) {
    const char *text;
    dqg_status status = dqg_quantizer_report(job->quantizer, DQG_REPORT_TEXT, &text);
    if (status < 0) {
        return cli_library_error(cli, status, "make the report");
    }
    const char *last = text + strlen(text);
    while (last > text && last[-1] == '\n') {
        last--;
    }
    while (last > text && last[-1] != '\n') {
        last--;
    }
    printf("%s", cli->verbose ? text : last);
    printf("%s: written in %.1f s\n", job->output, seconds);
    return EXIT_OK;
}

static int quantize_file(struct cli *cli, struct quantize *job, const char *input) {
    double start = now_s();
    progress_begin(&cli->progress, "quantizing");
    dqg_status status = dqg_quantizer_run(job->quantizer, input, job->output);
    progress_end(&cli->progress);
    if (status < 0) {
        cli_library_error(cli, status, "quantize '%s'", input);
        return status == DQG_ERROR_CANCELLED ? EXIT_INTERRUPTED : EXIT_FAILED;
    }
    int code = job->report != NULL ? write_report(cli, job) : EXIT_OK;
    if (code == EXIT_OK && !cli->quiet) {
        code = print_summary(cli, job, now_s() - start);
    }
    return code;
}

int quantize_main(struct cli *cli, int argc, char **argv) {
    struct quantize job = {0};
    const struct arg_row rows[] = {
        {"output", 'o', ARG_TEXT, "FILE.dqg", "where the quantized model goes", 0, 0, &job.output},
        {"rule", 0, ARG_LIST, "PATTERN=FORMAT", "store matching matrices so; repeatable", 0, 0, &job.rules},
        {"meta", 0, ARG_LIST, "KEY=VALUE", "add a metadata entry; repeatable", 0, 0, &job.metadata},
        {"tokenizer", 0, ARG_LIST, "[ROLE=]PATH", "tokenizer of text encoders that have none; repeatable", 0, 0,
         &job.tokenizers},
        {"report", 0, ARG_TEXT, "FILE.json", "write the report on every tensor as JSON", 0, 0, &job.report},
    };
    struct args args = {.cli = cli,
                        .command = "quantize",
                        .operands = "CHECKPOINT -o FILE.dqg",
                        .summary = "Turns a checkpoint (safetensors, GGUF, PyTorch, folder) into a 4-bit .dqg file.",
                        .notes = notes,
                        .rows = rows,
                        .row_count = COUNT_OF(rows),
                        .min_operands = 1,
                        .max_operands = 1};
    dqg_status status = dqg_options_create(cli->context, DQG_OPTIONS_QUANTIZER, &job.options);
    if (status < 0) {
        return cli_library_error(cli, status, "make options");
    }
    args.sets[0] = job.options;
    args.set_kinds[0] = DQG_OPTIONS_QUANTIZER;
    int code;
    if (args_parse(&args, argc, argv, &code)) {
        if (job.output == NULL) {
            code = cli_error(cli, EXIT_USAGE, "where should the model go? Give '-o FILE.dqg'.");
        }
        if (code == EXIT_OK) {
            code = cli_check_output(cli, job.output);
        }
        if (code == EXIT_OK && job.report != NULL) {
            code = cli_check_output(cli, job.report);
        }
        if (code == EXIT_OK && (code = configure(cli, &job)) == EXIT_OK) {
            code = quantize_file(cli, &job, args.operand[0]);
        }
    }
    dqg_quantizer_destroy(job.quantizer);
    dqg_options_destroy(job.options);
    text_list_free(&job.rules);
    text_list_free(&job.metadata);
    text_list_free(&job.tokenizers);
    return code;
}
