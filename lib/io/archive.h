/* SPDX-License-Identifier: MIT */
/* Readers of what zip archives may hold. Private to lib/io. */
#ifndef DQG_ARCHIVE_H
#define DQG_ARCHIVE_H

#include "io/zip.h"

/* Each fills the source; entry is the pickle of a PyTorch checkpoint. */
dqg_status dqg_torch_open_archive(struct dqg_source *source, const struct dqg_zip *zip,
                                  const struct dqg_zip_entry *entry);
dqg_status dqg_numpy_open_archive(struct dqg_source *source, const struct dqg_zip *zip);

#endif
