/* SPDX-License-Identifier: MIT */
/*
 * Where bytes come from: a file, a block of memory, or the host's reader. All three look alike to the file formats,
 * which read at offsets and from several threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/output.h"
#include "io/source.h"

enum {
    READ_ENDED_EARLY = -1, /* what file_read() returns besides errno values */
    READ_AT_MOST = 1 << 30 /* of one system call: some systems refuse more than 2^31 */
};

/* user carries the descriptor: the record around it may be moved. */
static int32_t file_read(void *user, uint64_t offset, void *buffer, size_t size) {
    int fd = (int)(intptr_t)user;
    char *at = buffer;
    while (size > 0) {
        ssize_t got = pread(fd, at, dqg_min_size(size, READ_AT_MOST), (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : READ_ENDED_EARLY;
        }
        at += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

static void file_close(struct dqg_input *input) {
    close(input->fd);
}

static dqg_status fail_open(struct dqg_context *context, const char *path, int code) {
    char text[DQG_ERRNO_TEXT];
    dqg_status status = code == ENOENT || code == ENOTDIR ? DQG_ERROR_NOT_FOUND : DQG_ERROR_IO;
    return dqg_fail(context, status, "cannot open %s: %s", path, dqg_errno_text(code, text));
}

dqg_status dqg_input_open_path(struct dqg_context *context, const char *path, struct dqg_input *input) {
    struct stat about;
    *input = (struct dqg_input){.fd = -1, .name = path};
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not block here: it is refused */
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return fail_open(context, path, errno);
    }
    dqg_status status = DQG_OK;
    if (fstat(fd, &about) != 0) {
        status = fail_open(context, path, errno);
    } else if (S_ISDIR(about.st_mode)) {
        status = dqg_fail(context, DQG_ERROR_IO, "%s is a folder; name a file in it", path);
    } else if (!S_ISREG(about.st_mode) || about.st_size < 0) {
        status = dqg_fail(context, DQG_ERROR_IO, "%s is not a regular file; copy its contents to one", path);
    }
    if (status < 0) {
        close(fd);
        return status;
    }
    input->size = (uint64_t)about.st_size;
    input->read = file_read;
    input->user = (void *)(intptr_t)fd;
    input->close = file_close;
    input->fd = fd;
    return DQG_OK;
}

/* ---- memory ---- */

static int32_t memory_read(void *user, uint64_t offset, void *buffer, size_t size) {
    memcpy(buffer, (const char *)user + offset, size);
    return 0;
}

void dqg_input_open_memory(const void *data, size_t size, struct dqg_input *input) {
    *input = (struct dqg_input){.size = size, .read = memory_read, .fd = -1, .name = "memory"};
    memcpy(&input->user, &data, sizeof data); /* read-only in truth: memory_read() casts it back */
}

/* ---- the host's reader ---- */

dqg_status dqg_input_open_reader(struct dqg_context *context, const dqg_reader *reader, struct dqg_input *input) {
    *input = (struct dqg_input){.fd = -1, .name = "reader"};
    if (reader == NULL || reader->struct_size < sizeof *reader || reader->read == NULL) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "the reader needs a read function and its struct_size set");
    }
    if (reader->flags != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "the reader's flags must be 0, not %u", (unsigned)reader->flags);
    }
    input->size = reader->size;
    input->read = reader->read;
    input->user = reader->user;
    return DQG_OK;
}

/* ---- all of them ---- */

void dqg_input_close(struct dqg_input *input) {
    if (input->close != NULL) {
        input->close(input);
        input->close = NULL;
    }
}

int32_t dqg_input_fetch(const struct dqg_input *input, uint64_t offset, void *buffer, size_t size) {
    return size > 0 ? input->read(input->user, offset, buffer, size) : 0;
}

dqg_status dqg_input_fail(struct dqg_context *context, const struct dqg_input *input, uint64_t offset, int32_t code) {
    char text[DQG_ERRNO_TEXT];
    if (input->fd < 0) {
        return dqg_fail(context, DQG_ERROR_IO, "the host's reader failed at byte %llu with code %d",
                        (unsigned long long)offset, (int)code);
    }
    if (code == READ_ENDED_EARLY) {
        return dqg_fail(context, DQG_ERROR_IO, "cannot read %s at byte %llu: the file became shorter while it was read",
                        input->name, (unsigned long long)offset);
    }
    return dqg_fail(context, DQG_ERROR_IO, "cannot read %s at byte %llu: %s", input->name, (unsigned long long)offset,
                    dqg_errno_text(code, text));
}

dqg_status dqg_input_read(struct dqg_context *context, const struct dqg_input *input, uint64_t offset, void *buffer,
                          size_t size) {
    if (offset > input->size || size > input->size - offset) {
        return dqg_fail(context, DQG_ERROR_TRUNCATED, "%s ends at byte %llu, but %zu bytes are expected from byte %llu",
                        input->name, (unsigned long long)input->size, size, (unsigned long long)offset);
    }
    int32_t code = dqg_input_fetch(input, offset, buffer, size);
    return code == 0 ? DQG_OK : dqg_input_fail(context, input, offset, code);
}
