/* SPDX-License-Identifier: MIT */
/* Tells what a zip archive holds: a PyTorch checkpoint or NumPy's arrays. Called by source.c. */
#include "io/archive.h"

dqg_status dqg_archive_open(struct dqg_source *source) {
    struct dqg_zip zip;
    bool arrays = false;
    DQG_TRY(dqg_zip_open(source, &zip));
    for (size_t i = 0; i < zip.count; i++) {
        if (dqg_ends_with(zip.entries[i].name, "/data.pkl")) {
            return dqg_torch_open_archive(source, &zip, &zip.entries[i]);
        }
        arrays = arrays || dqg_ends_with(zip.entries[i].name, ".npy");
    }
    return arrays
               ? dqg_numpy_open_archive(source, &zip)
               : dqg_fail(source->context, DQG_ERROR_FORMAT,
                          "%s is a zip archive, but neither a PyTorch checkpoint nor one of NumPy's arrays: unpack it",
                          source->inputs[0].name);
}
