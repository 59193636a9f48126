/* SPDX-License-Identifier: MIT */
/*
 * NumPy's .npy format, version 1.0, float32 only, written piece by piece so that a large batch never lies in memory as
 * a whole; or read whole. Layout: magic, version, header length, a Python dictionary padded to 64 bytes, data.
 */
#include <stdlib.h>
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

/* What version 1.0 of the format says before the data: float32 in C order, four dimensions. */
static bool read_header(FILE *file, int64_t shape[4]) {
    unsigned char start[NPY_PREFIX];
    char text[1024] = {0};
    if (fread(start, 1, sizeof(start), file) != sizeof(start) || memcmp(start, "\x93NUMPY\x01", 7) != 0) {
        return false;
    }
    size_t length = start[8] + 256u * start[9];
    if (length >= sizeof(text) || fread(text, 1, length, file) != length) {
        return false;
    }
    const char *at = strstr(text, "'shape': (");
    long long sizes[4];
    int end = 0;
    if (at == NULL || strstr(text, "'<f4'") == NULL || strstr(text, "'fortran_order': False") == NULL ||
        sscanf(at, "'shape': (%lld, %lld, %lld, %lld%n", &sizes[0], &sizes[1], &sizes[2], &sizes[3], &end) != 4 ||
        (at[end] != ')' && at[end] != ',')) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        shape[i] = sizes[i];
        if (sizes[i] < 1 || sizes[i] > 1 << 16) {
            return false;
        }
    }
    return true;
}

float *npy_read(const char *path, int64_t shape[4]) {
    FILE *file = fopen(path, "rb");
    float *values = NULL;
    if (file != NULL && read_header(file, shape)) {
        uint64_t count = (uint64_t)(shape[0] * shape[1]) * (uint64_t)(shape[2] * shape[3]);
        values = count <= file_bytes(path) / sizeof(*values) ? malloc(count * sizeof(*values)) : NULL;
        if (values != NULL && fread(values, sizeof(*values), count, file) != count) {
            free(values);
            values = NULL;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return values;
}
