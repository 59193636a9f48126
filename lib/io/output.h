/* SPDX-License-Identifier: MIT */
/*
 * A file that appears under its name only when it is complete: written beside its final place, then renamed. Private to
 * lib/io; used by the container writer.
 */
#ifndef DQG_OUTPUT_H
#define DQG_OUTPUT_H

#include "support/support.h"

enum { DQG_ERRNO_TEXT = 128 };

/* The system's words for an errno value, written to text[DQG_ERRNO_TEXT]. */
const char *dqg_errno_text(int code, char *text);

/* Zero is a closed output. */
struct dqg_output {
    struct dqg_context *context;
    char *path;
    char *temporary;
    size_t temporary_size;
    int fd;
    bool exists; /* the temporary file is ours to remove */
};

/* Create the temporary file. On failure there is nothing to discard. */
dqg_status dqg_output_create(struct dqg_context *context, const char *path, struct dqg_output *output);
dqg_status dqg_output_write(struct dqg_output *output, uint64_t offset, const void *data, size_t size);
dqg_status dqg_output_commit(struct dqg_output *output); /* close and rename */
void dqg_output_discard(struct dqg_output *output);      /* remove what is not committed; free; twice is fine */

#endif
