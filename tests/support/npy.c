/* SPDX-License-Identifier: MIT */
/* Just enough .npy for golden files that the scripts beside them wrote. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npy.h"

static int read_shape(const char *header, struct npy *array) {
    const char *at = strstr(header, "'shape': (");
    if (at == NULL || strstr(header, "'<f4'") == NULL || strstr(header, "'fortran_order': False") == NULL) {
        return -1;
    }
    at += strlen("'shape': (");
    array->count = 1;
    while (*at != ')' && array->rank < 8) {
        char *end;
        array->shape[array->rank] = strtoll(at, &end, 10);
        array->count *= array->shape[array->rank++];
        at = end + strspn(end, ", ");
    }
    return 0;
}

int npy_read(const char *path, struct npy *array) {
    unsigned char start[10];
    memset(array, 0, sizeof *array);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return -1;
    }
    int status = -1;
    if (fread(start, 1, sizeof start, file) == sizeof start && memcmp(start, "\x93NUMPY\x01", 7) == 0) {
        size_t length = start[8] | (size_t)start[9] << 8;
        char *header = calloc(1, length + 1);
        if (header != NULL && fread(header, 1, length, file) == length && read_shape(header, array) == 0) {
            array->data = malloc((size_t)array->count * sizeof *array->data);
            size_t count = (size_t)array->count;
            status = array->data != NULL && fread(array->data, sizeof *array->data, count, file) == count ? 0 : -1;
        }
        free(header);
    }
    fclose(file);
    return status;
}
