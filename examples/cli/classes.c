/* SPDX-License-Identifier: MIT */
/*
 * Class names on the command line: names, numbers, "all" and "none", with near matches and the whole list when a name
 * is unknown. Used by sampling.c.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* All class names, in lines of readable length. */
static void list_classes(const dqg_model *model, int32_t count) {
    size_t column = SIZE_MAX / 2;
    for (int32_t i = 0; i < count; i++) {
        const char *name = dqg_model_class_name(model, i);
        if (name == NULL) {
            continue;
        }
        if (column + strlen(name) > 90) {
            fprintf(stderr, "%s", i == 0 ? "classes: " : "\n         ");
            column = 9;
        }
        fprintf(stderr, "%s%s", name, i + 1 < count ? ", " : "\n");
        column += strlen(name) + 2;
    }
}

static int unknown_class(struct cli *cli, const dqg_model *model, int32_t count, const char *name) {
    if (count == 0) {
        return cli_error(cli, EXIT_USAGE, "this model has no classes; leave --class out");
    }
    char near_names[256] = "";
    size_t used = 0;
    for (int32_t i = 0; i < count; i++) {
        const char *candidate = dqg_model_class_name(model, i);
        if (candidate != NULL && looks_like(name, candidate) && used + strlen(candidate) + 8 < sizeof(near_names)) {
            used += (size_t)snprintf(near_names + used, sizeof(near_names) - used, "%s'%s'", used > 0 ? " or " : "",
                                     candidate);
        }
    }
    if (used > 0) {
        cli_error(cli, EXIT_USAGE, "the model has no class '%s'; did you mean %s?", name, near_names);
    } else {
        cli_error(cli, EXIT_USAGE, "the model has no class '%s' (numbers go from 0 to %d)", name, (int)count - 1);
    }
    list_classes(model, count);
    return EXIT_USAGE;
}

static int add_class(struct cli *cli, struct sampling *sampling, const dqg_model *model, const char *name) {
    int64_t index = -1;
    if (strcmp(name, "none") != 0) {
        index = dqg_model_class_find(model, name);
        if (index < 0 && (!parse_int(name, &index) || index < -1 || index >= sampling->info.classes)) {
            return unknown_class(cli, model, sampling->info.classes, name);
        }
    }
    int32_t *classes = realloc(sampling->classes, ((size_t)sampling->class_count + 1) * sizeof(*classes));
    if (classes == NULL) {
        return cli_error(cli, EXIT_FAILED, "out of memory");
    }
    sampling->classes = classes;
    sampling->classes[sampling->class_count++] = (int32_t)index;
    return EXIT_OK;
}

/* One --class text: names and numbers with commas between, or "all". */
static int add_classes(struct cli *cli, struct sampling *sampling, const dqg_model *model, const char *text) {
    char name[128];
    if (strcmp(text, "all") == 0) {
        int code = EXIT_OK;
        for (int32_t i = 0; code == EXIT_OK && i < sampling->info.classes; i++) {
            snprintf(name, sizeof(name), "%d", (int)i);
            code = add_class(cli, sampling, model, name);
        }
        return code;
    }
    while (true) {
        size_t length = strcspn(text, ",");
        if (length == 0 || length >= sizeof(name)) {
            return cli_error(cli, EXIT_USAGE, "--class: a name is missing or too long in '%s'", text);
        }
        memcpy(name, text, length);
        name[length] = '\0';
        int code = add_class(cli, sampling, model, name);
        if (code != EXIT_OK || text[length] == '\0') {
            return code;
        }
        text += length + 1;
    }
}

int sampling_classes(struct cli *cli, struct sampling *sampling, const dqg_model *model) {
    for (size_t i = 0; i < sampling->class_texts.count; i++) {
        int code = add_classes(cli, sampling, model, sampling->class_texts.items[i]);
        if (code != EXIT_OK) {
            return code;
        }
    }
    if (sampling->class_count > 0) {
        return EXIT_OK;
    }
    if (sampling->spread == 0 || sampling->info.classes == 0) {
        return add_class(cli, sampling, model, "none");
    }
    int code = EXIT_OK;
    for (int32_t i = 0; code == EXIT_OK && i < sampling->spread; i++) {
        char number[32];
        snprintf(number, sizeof(number), "%lld", (long long)i * sampling->info.classes / sampling->spread);
        code = add_class(cli, sampling, model, number);
    }
    return code;
}
