/* SPDX-License-Identifier: MIT */
/*
 * NumPy's .npy format, version 1.0, float32 only, written piece by piece so that a large batch never lies in memory as
 * a whole. Used by generate --raw. Layout: magic, version, header length, a Python dictionary padded to 64 bytes, data.
 */
#include <string.h>

#include "cli.h"

enum { NPY_HEADER = 192, NPY_PREFIX = 10 };

bool npy_open(struct npy *npy, const char *path, const int64_t *shape, int rank) {
    const uint16_t probe = 1;
    bool little = *(const uint8_t *)&probe == 1;
    char header[NPY_HEADER] = {0};
    char *text = header + NPY_PREFIX;
    size_t room = NPY_HEADER - NPY_PREFIX;
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(NPY_HEADER - NPY_PREFIX);
    int used = snprintf(text, room, "{'descr': '%cf4', 'fortran_order': False, 'shape': (", little ? '<' : '>');
    for (int i = 0; i < rank; i++) {
        used += snprintf(text + used, room - (size_t)used, "%lld,", (long long)shape[i]);
    }
    used += snprintf(text + used, room - (size_t)used, "), }");
    memset(text + used, ' ', room - (size_t)used);
    header[NPY_HEADER - 1] = '\n';

    npy->path = path;
    npy->file = fopen(path, "wb");
    if (npy->file == NULL) {
        return false;
    }
    if (fwrite(header, 1, NPY_HEADER, npy->file) != NPY_HEADER) {
        npy_close(npy, false);
        return false;
    }
    return true;
}

bool npy_append(struct npy *npy, const float *values, size_t count) {
    return fwrite(values, sizeof(*values), count, npy->file) == count;
}

bool npy_close(struct npy *npy, bool keep) {
    bool good = npy->file == NULL || fclose(npy->file) == 0;
    npy->file = NULL;
    if (!keep || !good) {
        remove(npy->path);
    }
    return good;
}
