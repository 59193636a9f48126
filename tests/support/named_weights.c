/* SPDX-License-Identifier: MIT */
/* Files of weights that follow from names; see named_weights.h. */
#include "named_weights.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 256, NAME_BYTES = 112 };

struct tensor {
    char names[2][NAME_BYTES];
    int rank;
    long shape[4];
    size_t count;
    int swapped;
};

static void make_weights(const struct tensor *tensor, float *out) {
    uint32_t seed = 2166136261u;
    double fan = 1;
    size_t length = strlen(tensor->names[0]);
    for (const char *c = tensor->names[0]; *c != '\0'; c++) {
        seed = (seed ^ (uint8_t)*c) * 16777619u;
    }
    for (int i = 1; i < tensor->rank; i++) {
        fan *= (double)tensor->shape[i];
    }
    /* Tables of positions are as large as what they are added to. */
    fan = length >= 9 && strcmp(tensor->names[0] + length - 9, "pos_embed") == 0 ? 3 : fan;
    double offset = length > 7 && strcmp(tensor->names[0] + length - 7, ".weight") == 0 ? 1 : 0;
    for (size_t i = 0; i < tensor->count; i++) {
        uint32_t h = (uint32_t)i * 2654435769u + seed;
        h = (h ^ (h >> 16)) * 0x7feb352du;
        h = (h ^ (h >> 15)) * 0x846ca68bu;
        h ^= h >> 16;
        double v = (double)(h >> 8) / 8388608 - 1;
        out[i] = (float)(tensor->rank == 1 ? v * 0.2 + offset : v * sqrt(3.0 / fan));
    }
}

static void swap_halves(float *x, size_t count) {
    for (size_t i = 0; i < count / 2; i++) {
        float kept = x[i];
        x[i] = x[count / 2 + i];
        x[count / 2 + i] = kept;
    }
}

static const char *stored_name(const struct named_file *file, const struct tensor *tensor) {
    return tensor->names[file->second != 0] + (file->side != NULL ? strlen(file->side) : 0);
}

/* The next tensor of the list that belongs to the file; false at the end. */
static int next_tensor(FILE *list, const struct named_file *file, struct tensor *tensor) {
    char line[LINE_BYTES], other[NAME_BYTES];
    while (fgets(line, sizeof line, list) != NULL) {
        long *n = tensor->shape;
        n[0] = n[1] = n[2] = n[3] = 1;
        tensor->rank =
            sscanf(line, "%111s %111s %ld %ld %ld %ld", tensor->names[0], other, &n[0], &n[1], &n[2], &n[3]) - 2;
        tensor->count = (size_t)(n[0] * n[1] * n[2] * n[3]);
        tensor->swapped = other[0] == '~';
        strcpy(tensor->names[1], other + tensor->swapped);
        if (file->side == NULL || strncmp(tensor->names[file->second != 0], file->side, strlen(file->side)) == 0) {
            return 1;
        }
    }
    return 0;
}

static int stored_rank(const struct named_file *file, const struct tensor *tensor) {
    return file->second && file->convolutions && tensor->rank == 2 ? 4 : tensor->rank;
}

/* The header's text; returns its length, and the bytes of all tensors in *data. header NULL: to count. */
static size_t write_header(FILE *list, const struct named_file *file, char *header, size_t room, size_t *data) {
    struct tensor tensor, next;
    const char *comma = "";
    size_t used = 0;
    *data = 0;
#define PUT(...)                                                                                                       \
    used += (size_t)snprintf(header != NULL ? header + used : NULL, header != NULL ? room - used : 0, __VA_ARGS__)
    PUT("{");
    if (file->metadata != NULL) {
        PUT("\"__metadata__\":%s", file->metadata);
        comma = ",";
    }
    rewind(list);
    for (int more = next_tensor(list, file, &next); more;) {
        tensor = next;
        while ((more = next_tensor(list, file, &next)) &&
               strcmp(stored_name(file, &next), stored_name(file, &tensor)) == 0) {
            tensor.shape[0] += next.shape[0];
            tensor.count += next.count;
        }
        size_t bytes = tensor.count * sizeof(float);
        PUT("%s\"%s%s\":{\"dtype\":\"F32\",\"shape\":[", comma, file->prefix != NULL ? file->prefix : "",
            stored_name(file, &tensor));
        for (int i = 0; i < stored_rank(file, &tensor); i++) {
            PUT(i > 0 ? ",%ld" : "%ld", tensor.shape[i]);
        }
        PUT("],\"data_offsets\":[%zu,%zu]}", *data, *data + bytes);
        *data += bytes;
        comma = ",";
    }
    PUT("}");
#undef PUT
    return used;
}

unsigned char *named_file_make(const struct named_file *file, size_t *bytes) {
    struct tensor tensor;
    size_t data;
    FILE *list = fopen(file->list, "r");
    if (list == NULL) {
        return NULL;
    }
    size_t text = write_header(list, file, NULL, 0, &data);
    uint64_t length = (text + 1 + 7) / 8 * 8;
    *bytes = sizeof length + (size_t)length + data;
    unsigned char *out = malloc(*bytes);
    if (out != NULL) {
        memcpy(out, &length, sizeof length);
        write_header(list, file, (char *)out + sizeof length, text + 1, &data);
        memset(out + sizeof length + text, ' ', (size_t)length - text);
        float *at = (float *)(void *)(out + sizeof length + length);
        rewind(list);
        while (next_tensor(list, file, &tensor)) {
            make_weights(&tensor, at);
            if (file->second && tensor.swapped) {
                swap_halves(at, tensor.count);
            }
            at += tensor.count;
        }
    }
    fclose(list);
    return out;
}

int named_file_write(const struct named_file *file, const char *path) {
    size_t bytes;
    unsigned char *data = named_file_make(file, &bytes);
    FILE *out = data != NULL ? fopen(path, "wb") : NULL;
    int bad = out == NULL || fwrite(data, 1, bytes, out) != bytes;
    bad = (out != NULL && fclose(out) != 0) || bad;
    free(data);
    return bad;
}
