/* SPDX-License-Identifier: MIT */
/* Temporary file and rename (output.h), and the words of the operating system for its errors. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/output.h"

/* From <stdio.h>, which has no other business here. */
int rename(const char *from, const char *to);

enum {
    NAME_ATTEMPTS = 100,
    NAME_EXTRA = 32, /* bytes added to the path by ".<pid>-<time>.tmp" */
    WRITE_AT_MOST = 1 << 30
};

const char *dqg_errno_text(int code, char *text) {
    if (strerror_r(code, text, DQG_ERRNO_TEXT) != 0) {
        dqg_format(text, DQG_ERRNO_TEXT, "system error %d", code);
    }
    return text;
}

static dqg_status fail_write(const struct dqg_output *output, const char *what, int code) {
    char text[DQG_ERRNO_TEXT];
    return dqg_fail(output->context, DQG_ERROR_IO, "cannot %s %s: %s", what, output->path, dqg_errno_text(code, text));
}

/* Opens a file that did not exist before. Permissions: what the process's umask leaves of rw-rw-rw-. */
static dqg_status open_temporary(struct dqg_output *output) {
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        dqg_format(output->temporary, output->temporary_size, "%s.%d-%u.tmp", output->path, (int)getpid(),
                   (unsigned)dqg_now_us());
        output->fd = open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        output->exists = output->fd >= 0;
        if (output->exists) {
            return DQG_OK;
        }
        if (errno != EEXIST && errno != EINTR) {
            break;
        }
    }
    return fail_write(output, "create a temporary file beside", errno);
}

dqg_status dqg_output_create(struct dqg_context *context, const char *path, struct dqg_output *output) {
    struct stat about;
    *output = (struct dqg_output){.context = context, .fd = -1};
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
        return dqg_fail(context, DQG_ERROR_IO, "cannot write %s: it is a folder; name a file in it", path);
    }
    size_t size = strlen(path) + NAME_EXTRA;
    output->path = dqg_strdup(&context->alloc, path);
    output->temporary = dqg_malloc(&context->alloc, size);
    output->temporary_size = size;
    dqg_status status = output->path != NULL && output->temporary != NULL
                            ? open_temporary(output)
                            : dqg_fail_memory(context, "the name of the output", size);
    if (status < 0) {
        dqg_output_discard(output);
    }
    return status;
}

dqg_status dqg_output_write(struct dqg_output *output, uint64_t offset, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t put = pwrite(output->fd, at, dqg_min_size(size, WRITE_AT_MOST), (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return fail_write(output, "write", put < 0 ? errno : ENOSPC);
        }
        at += put;
        offset += (uint64_t)put;
        size -= (size_t)put;
    }
    return DQG_OK;
}

dqg_status dqg_output_commit(struct dqg_output *output) {
    /* Some file systems report a full disk only here. After close() the descriptor is gone, whatever it returned. */
    int failed = close(output->fd);
    output->fd = -1;
    if (failed != 0 && errno != EINTR) {
        return fail_write(output, "write", errno);
    }
    if (rename(output->temporary, output->path) != 0) {
        return fail_write(output, "rename the finished file to", errno);
    }
    output->exists = false;
    return DQG_OK;
}

void dqg_output_discard(struct dqg_output *output) {
    if (output->context == NULL) {
        return;
    }
    const struct dqg_alloc *alloc = &output->context->alloc;
    if (output->fd >= 0) {
        close(output->fd);
    }
    if (output->exists) {
        unlink(output->temporary);
    }
    dqg_free(alloc, output->temporary, output->temporary_size);
    dqg_free_text(alloc, output->path);
    *output = (struct dqg_output){.fd = -1};
}
