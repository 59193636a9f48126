/* SPDX-License-Identifier: MIT */
/* Small files read as a whole: tokenizers beside a checkpoint. Used by lib/model. */
#include <sys/stat.h>

#include "io/source.h"

enum { PATH_BYTES = 4096 };

bool dqg_path_is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static bool join(const char *folder, const char *name, char path[PATH_BYTES]) {
    return dqg_format(path, PATH_BYTES, folder[0] != '\0' ? "%s/%s" : "%s%s", folder, name) < PATH_BYTES;
}

bool dqg_folder_has(const char *folder, const char *name) {
    char path[PATH_BYTES];
    struct stat about;
    return join(folder, name, path) && stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

static dqg_status read_input(struct dqg_context *context, const struct dqg_input *input, uint64_t limit, char **data,
                             size_t *size) {
    if (input->size > limit) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "%s has %llu bytes, at most %llu are read", input->name,
                        (unsigned long long)input->size, (unsigned long long)limit);
    }
    size_t bytes = (size_t)input->size;
    char *made = dqg_malloc(&context->alloc, bytes + 1);
    if (made == NULL) {
        return dqg_fail_memory(context, input->name, bytes + 1);
    }
    dqg_status status = dqg_input_read(context, input, 0, made, bytes);
    if (status < 0) {
        dqg_free(&context->alloc, made, bytes + 1);
        return status;
    }
    made[bytes] = '\0';
    *data = made;
    *size = bytes;
    return DQG_OK;
}

dqg_status dqg_file_read(struct dqg_context *context, const char *folder, const char *name, uint64_t limit, char **data,
                         size_t *size) {
    char path[PATH_BYTES];
    struct dqg_input input;
    *data = NULL;
    *size = 0;
    if (!join(folder, name, path)) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "the path of '%s' is longer than %d bytes", name, (int)PATH_BYTES);
    }
    DQG_TRY(dqg_input_open_path(context, path, &input));
    dqg_status status = read_input(context, &input, limit, data, size);
    dqg_input_close(&input);
    return status;
}
