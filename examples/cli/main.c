/* SPDX-License-Identifier: MIT */
/*
 * dqgen: the command line of libdqgen. A thin user of the public header: this file picks the command, keeps the
 * context, passes Ctrl-C on to the library as a cancelled progress callback, and puts failures in plain words.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static volatile sig_atomic_t interrupted;

static const struct command {
    const char *name;
    int (*run)(struct cli *cli, int argc, char **argv);
    const char *help;
} commands[] = {
    {"generate", generate_main, "make pictures with a model"},
    {"quantize", quantize_main, "turn a float checkpoint into a 4-bit .dqg file"},
    {"encode", encode_main, "turn a picture into a latent"},
    {"decode", decode_main, "turn a latent into a picture"},
    {"schedulers", schedulers_main, "list the ways of sampling, explain one, show its points"},
    {"info", info_main, "show what is in a model file"},
    {"verify", verify_main, "check files for damage"},
    {"compare", compare_main, "measure how far a quantized model is from its float original"},
    {"bench", bench_main, "measure speed and memory"},
};

/* ---- interruption and errors ---- */

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

/* The first Ctrl-C stops the work at the next safe point; a second one ends the program at once. */
static void catch_interrupts(void) {
    struct sigaction action = {0};
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool cli_interrupted(void) {
    return interrupted != 0;
}

int cli_error(struct cli *cli, int code, const char *format, ...) {
    progress_end(&cli->progress);
    va_list args;
    va_start(args, format);
    fputs("dqgen: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

int cli_library_error(struct cli *cli, dqg_status status, const char *format, ...) {
    if (status == DQG_ERROR_CANCELLED) {
        return cli_error(cli, EXIT_INTERRUPTED, "interrupted");
    }
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    const char *why = cli->context != NULL ? dqg_context_error(cli->context) : "";
    bool usage = status == DQG_ERROR_ARGUMENT || status == DQG_ERROR_RANGE || status == DQG_ERROR_NAME;
    return cli_error(cli, usage ? EXIT_USAGE : EXIT_FAILED, "cannot %s: %s", what,
                     why[0] != '\0' ? why : dqg_status_text(status));
}

/* ---- shared by the commands ---- */

static int32_t on_progress(void *user, const dqg_progress *progress) {
    struct cli *cli = user;
    if (progress->total > 0) {
        progress_draw(&cli->progress, (double)progress->done / (double)progress->total, progress->name);
    }
    return interrupted != 0;
}

/* Errors are not printed here: they come back as a status, with the same text. */
static void on_log(void *user, int32_t level, const char *message) {
    struct cli *cli = user;
    if (level == DQG_LOG_WARNING || (level > DQG_LOG_WARNING && cli->verbose)) {
        progress_end(&cli->progress);
        fprintf(stderr, "dqgen: %s%s\n", level == DQG_LOG_WARNING ? "warning: " : "", message);
    }
}

dqg_model *cli_load(struct cli *cli, const char *path, int *exit_code) {
    dqg_model *model = NULL;
    dqg_options *options;
    progress_begin(&cli->progress, "loading");
    dqg_status status = dqg_options_create(cli->context, DQG_OPTIONS_MODEL, &options);
    if (status >= 0 && cli->variant != NULL) {
        status = dqg_options_parse(options, "variant", cli->variant);
    }
    if (status >= 0 && cli->components != NULL) {
        status = dqg_options_set_text(options, DQG_MODEL_COMPONENTS, cli->components);
    }
    if (status >= 0) {
        status = dqg_model_load(cli->context, path, options, &model);
    }
    dqg_options_destroy(options);
    progress_end(&cli->progress);
    *exit_code = EXIT_OK;
    if (status < 0) {
        *exit_code = cli_library_error(cli, status, "load '%s'", path);
        *exit_code = *exit_code == EXIT_USAGE ? EXIT_FAILED : *exit_code;
        return NULL;
    }
    return model;
}

int cli_check_output(struct cli *cli, const char *path) {
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    size_t length = slash != NULL ? (size_t)(slash - path) : 1;
    if (length >= sizeof(folder)) {
        return cli_error(cli, EXIT_USAGE, "the path '%s' is too long", path);
    }
    if (slash != NULL) {
        memcpy(folder, length > 0 ? path : "/", length > 0 ? length : 1);
        folder[length > 0 ? length : 1] = '\0';
    }
    struct stat info;
    bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    if (is_folder || access(folder, W_OK) != 0) {
        return cli_error(cli, EXIT_FAILED, "cannot write '%s': %s", path,
                         is_folder ? "it is a folder" : strerror(errno));
    }
    return EXIT_OK;
}

uint64_t file_bytes(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
}

const char *bytes_text(char *buffer, uint64_t bytes) {
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < COUNT_OF(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(buffer, 32, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
    return buffer;
}

/* ---- the program itself ---- */

static void print_help(FILE *file) {
    fputs("usage: dqgen COMMAND [arguments]\n\n"
          "Makes pictures with 4-bit generative models on the CPU, and makes those models.\n\ncommands:\n",
          file);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\n'dqgen COMMAND --help' explains a command; 'dqgen --version' tells the version.\n\n"
          "exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted\n",
          file);
}

static void print_version(void) {
    int32_t version = dqg_version();
    printf("dqgen %d.%d.%d (libdqgen %d.%d.%d; kernels:", DQG_VERSION_MAJOR, DQG_VERSION_MINOR, DQG_VERSION_PATCH,
           (int)(version / 1000000), (int)(version / 1000 % 1000), (int)(version % 1000));
    const char *name;
    for (int32_t i = 0; (name = dqg_backend_name(i)) != NULL; i++) {
        printf(" %s", name);
    }
    printf(")\n");
}

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown_command(struct cli *cli, const char *name) {
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (looks_like(name, commands[i].name)) {
            return cli_error(cli, EXIT_USAGE, "there is no command '%s'; did you mean '%s'?", name, commands[i].name);
        }
    }
    return cli_error(cli, EXIT_USAGE, "there is no command '%s'\nTry 'dqgen --help'.", name);
}

static int run_command(struct cli *cli, const struct command *command, int argc, char **argv) {
    dqg_status status = dqg_context_create(NULL, &cli->context);
    if (status < 0) {
        return cli_library_error(cli, status, "start the library");
    }
    dqg_context_set_progress(cli->context, on_progress, cli);
    dqg_context_set_log(cli->context, on_log, cli, DQG_LOG_INFO);
    catch_interrupts();
    int code = command->run(cli, argc, argv);
    progress_end(&cli->progress);
    dqg_context_destroy(cli->context);
    return code;
}

/* What was printed must have arrived: a full disk behind a redirection is a failure too. */
static int close_output(int code) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "dqgen: cannot write to standard output: %s\n", strerror(errno));
        return code == EXIT_OK ? EXIT_FAILED : code;
    }
    return code;
}

int main(int argc, char **argv) {
    struct cli cli = {0};
    const char *name = argc > 1 ? argv[1] : "";
    if (name[0] == '\0') {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        print_version();
        return close_output(EXIT_OK);
    }
    bool help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
    if (help && argc < 3) {
        print_help(stdout);
        return close_output(EXIT_OK);
    }
    const struct command *command = find_command(help ? argv[2] : name);
    if (command == NULL) {
        return unknown_command(&cli, help ? argv[2] : name);
    }
    char help_flag[] = "--help";
    char *help_arguments[] = {help_flag, NULL};
    return close_output(run_command(&cli, command, help ? 1 : argc - 2, help ? help_arguments : argv + 2));
}
