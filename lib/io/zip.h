/* SPDX-License-Identifier: MIT */
/* The directory of a zip archive, for the readers of PyTorch's and NumPy's archives. Private to lib/io. */
#ifndef DQG_ZIP_H
#define DQG_ZIP_H

#include "io/source.h"

struct dqg_zip_entry {
    const char *name;
    uint64_t size, stored; /* bytes, and bytes that they take in the archive */
    uint64_t header;       /* where the entry begins */
    uint32_t method;       /* 0: stored as it is */
};

struct dqg_zip {
    struct dqg_zip_entry *entries; /* in the order of the directory */
    uint32_t *by_name;
    size_t count;
};

/* The directory of the first input, kept as long as the source. Names are texts and differ. */
dqg_status dqg_zip_open(struct dqg_source *source, struct dqg_zip *zip);

const struct dqg_zip_entry *dqg_zip_find(const struct dqg_zip *zip, const char *name); /* or NULL */

/* Where the bytes of an entry are; fails where they are compressed, or not in the file. */
dqg_status dqg_zip_locate(struct dqg_source *source, const struct dqg_zip_entry *entry, uint64_t *offset);

#endif
