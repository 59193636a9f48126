/* SPDX-License-Identifier: MIT */
/* dqgen verify: read files from end to end and check every checksum and size, without building models from them. */
#include "cli.h"

static int verify_file(struct cli *cli, const char *path) {
    progress_begin(&cli->progress, "verifying");
    dqg_status status = dqg_file_verify(cli->context, path);
    progress_end(&cli->progress);
    if (status == DQG_ERROR_CANCELLED) {
        return cli_library_error(cli, status, "verify");
    }
    if (status < 0) {
        return cli_error(cli, EXIT_FAILED, "'%s' is not good: %s", path, dqg_context_error(cli->context));
    }
    if (!cli->quiet) {
        char size[32];
        uint64_t bytes = file_bytes(path); /* 0 for a folder */
        printf(bytes > 0 ? "%s: good (%s)\n" : "%s: good\n", path, bytes_text(size, bytes));
    }
    return EXIT_OK;
}

int verify_main(struct cli *cli, int argc, char **argv) {
    struct args args = {.cli = cli,
                        .command = "verify",
                        .operands = "FILE...",
                        .summary =
                            "Checks .dqg files and checkpoints from end to end. Names the tensor that is damaged.",
                        .min_operands = 1,
                        .max_operands = ARGS_POSITIONAL};
    int code;
    if (!args_parse(&args, argc, argv, &code)) {
        return code;
    }
    for (int i = 0; i < args.operand_count && code != EXIT_INTERRUPTED; i++) {
        int result = verify_file(cli, args.operand[i]);
        code = result != EXIT_OK ? result : code;
    }
    return code;
}
