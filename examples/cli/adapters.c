/* SPDX-License-Identifier: MIT */
/* --lora and --embedding: files that change a model after it was loaded. Used by commands that run one. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* "FILE:SCALE" cut in two; a colon with no number behind it belongs to the name. */
static double cut_scale(char *text) {
    char *colon = strrchr(text, ':'), *end;
    if (colon == NULL || colon == text || colon[1] == '\0') {
        return 1;
    }
    double scale = strtod(colon + 1, &end);
    if (*end != '\0') {
        return 1;
    }
    *colon = '\0';
    return scale;
}

static int apply(struct cli *cli, const struct adapters *adapters, dqg_adaptation *list, char **paths,
                 dqg_model **model) {
    size_t count = adapters->loras.count + adapters->embeddings.count;
    for (size_t i = 0; i < count; i++) {
        bool lora = i < adapters->loras.count;
        const char *text = lora ? adapters->loras.items[i] : adapters->embeddings.items[i - adapters->loras.count];
        size_t size = strlen(text) + 1;
        paths[i] = malloc(size);
        if (paths[i] == NULL) {
            return cli_error(cli, EXIT_FAILED, "out of memory");
        }
        memcpy(paths[i], text, size);
        DQG_INIT(&list[i]);
        list[i].scale = lora ? cut_scale(paths[i]) : 1;
        list[i].path = paths[i];
        list[i].flags = DQG_ADAPT_PARTIAL; /* many are for text encoders too: a warning tells */
    }
    dqg_model *adapted;
    dqg_status status = dqg_model_adapt(cli->context, *model, list, (int32_t)count, &adapted);
    if (status < 0) {
        return cli_library_error(cli, status, "adapt the model");
    }
    dqg_model_release(*model);
    *model = adapted;
    return EXIT_OK;
}

int adapters_apply(struct cli *cli, const struct adapters *adapters, dqg_model **model) {
    size_t count = adapters->loras.count + adapters->embeddings.count;
    int code = EXIT_OK;
    if (count > 0) {
        dqg_adaptation *list = calloc(count, sizeof *list);
        char **paths = calloc(count, sizeof *paths);
        code = list != NULL && paths != NULL ? apply(cli, adapters, list, paths, model)
                                             : cli_error(cli, EXIT_FAILED, "out of memory");
        for (size_t i = 0; paths != NULL && i < count; i++) {
            free(paths[i]);
        }
        free(paths);
        free(list);
    }
    return code;
}

void adapters_free(struct adapters *adapters) {
    text_list_free(&adapters->loras);
    text_list_free(&adapters->embeddings);
}
