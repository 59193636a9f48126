/* SPDX-License-Identifier: MIT */
/*
 * Writes the random DiT described in tiny_model.h. The tensors are listed twice by the same code: once for the JSON
 * header, once for the numbers. Used by tests through the public API; relies on nothing of the library.
 */
#include "tiny_model.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct buffer {
    unsigned char *data;
    size_t length, capacity;
    int failed;
};

/* One pass over the tensors: text goes to the header, numbers to the data. */
struct writer {
    struct buffer *header; /* NULL while the numbers are written */
    struct buffer *data;   /* NULL while the header is written */
    size_t offset;
    uint64_t random;
};

static void *reserve(struct buffer *buffer, size_t more) {
    if (buffer->length + more > buffer->capacity) {
        size_t capacity = (buffer->length + more) * 2;
        unsigned char *data = realloc(buffer->data, capacity);
        if (data == NULL) {
            buffer->failed = 1;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    buffer->length += more;
    return buffer->data + buffer->length - more;
}

static void add_text(struct buffer *buffer, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    void *at = length >= 0 && (size_t)length < sizeof(text) ? reserve(buffer, (size_t)length) : NULL;
    if (at == NULL) {
        buffer->failed = 1;
        return;
    }
    memcpy(at, text, (size_t)length);
}

/* Uniform in -1..1. */
static float random_number(struct writer *writer) {
    writer->random = writer->random * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(writer->random >> 32) * (1.0f / 2147483648.0f);
}

/* One F32 tensor; rank is the number of sizes that are not 0. Values are uniform in -range..range. */
static void tensor(struct writer *writer, const char *prefix, const char *name, const int sizes[4], float range) {
    size_t count = 1;
    int rank = 0;
    while (rank < 4 && sizes[rank] != 0) {
        count *= (size_t)sizes[rank++];
    }
    if (writer->header != NULL) {
        add_text(writer->header, ",\"%s%s\":{\"dtype\":\"F32\",\"shape\":[", prefix, name);
        for (int i = 0; i < rank; i++) {
            add_text(writer->header, "%s%d", i > 0 ? "," : "", sizes[i]);
        }
        add_text(writer->header, "],\"data_offsets\":[%zu,%zu]}", writer->offset, writer->offset + count * 4);
    } else {
        unsigned char *at = reserve(writer->data, count * 4);
        for (size_t i = 0; at != NULL && i < count; i++) {
            float value = random_number(writer) * range;
            memcpy(at + 4 * i, &value, 4);
        }
    }
    writer->offset += count * 4;
}

/* The weight (outputs, inputs) and bias of a linear layer. */
static void linear(struct writer *writer, const char *prefix, const char *name, int outputs, int inputs) {
    char text[64];
    float range = 1.0f;
    while (range * range * (float)inputs > 2.0f) { /* about 1 / sqrt(inputs), without libm */
        range *= 0.9f;
    }
    snprintf(text, sizeof(text), "%s.weight", name);
    tensor(writer, prefix, text, (int[4]){outputs, inputs}, range);
    snprintf(text, sizeof(text), "%s.bias", name);
    tensor(writer, prefix, text, (int[4]){outputs}, 0.1f);
}

static void all_tensors(struct writer *writer, int hidden, int depth, int patch, int channels, int size, int classes,
                        int learn_sigma) {
    int tokens = (size / patch) * (size / patch);
    int outputs = patch * patch * channels * (learn_sigma ? 2 : 1);
    writer->offset = 0;
    tensor(writer, "x_embedder.", "proj.weight", (int[4]){hidden, channels, patch, patch}, 0.4f);
    tensor(writer, "x_embedder.", "proj.bias", (int[4]){hidden}, 0.1f);
    linear(writer, "t_embedder.", "mlp.0", hidden, 256);
    linear(writer, "t_embedder.", "mlp.2", hidden, hidden);
    tensor(writer, "y_embedder.", "embedding_table.weight", (int[4]){classes + 1, hidden}, 0.5f);
    tensor(writer, "", "pos_embed", (int[4]){1, tokens, hidden}, 1.0f);
    for (int i = 0; i < depth; i++) {
        char prefix[32];
        snprintf(prefix, sizeof(prefix), "blocks.%d.", i);
        linear(writer, prefix, "attn.qkv", 3 * hidden, hidden);
        linear(writer, prefix, "attn.proj", hidden, hidden);
        linear(writer, prefix, "mlp.fc1", 4 * hidden, hidden);
        linear(writer, prefix, "mlp.fc2", hidden, 4 * hidden);
        linear(writer, prefix, "adaLN_modulation.1", 6 * hidden, hidden);
    }
    linear(writer, "final_layer.", "linear", outputs, hidden);
    linear(writer, "final_layer.", "adaLN_modulation.1", 2 * hidden, hidden);
}

static void add_metadata(struct buffer *header, int hidden, int depth, int heads, int patch, int channels, int size,
                         int classes, int learn_sigma) {
    add_text(header, "{\"__metadata__\":{\"format\":\"pt\",\"architecture\":\"DiT\",\"prediction\":\"flow_velocity\","
                     "\"timestep_scale\":\"1000\",\"license\":\"CC0-1.0\"");
    add_text(header, ",\"hidden_size\":\"%d\",\"depth\":\"%d\",\"num_heads\":\"%d\",\"patch_size\":\"%d\"", hidden,
             depth, heads, patch);
    add_text(header, ",\"in_channels\":\"%d\",\"input_size\":\"%d\",\"num_classes\":\"%d\",\"learn_sigma\":\"%s\"",
             channels, size, classes, learn_sigma ? "True" : "False");
    add_text(header, ",\"layout\":\"RGBA premultiplied, -1..1\",\"classes\":\"[");
    for (int i = 0; i < classes; i++) {
        add_text(header, "%s\\\"class%d\\\"", i > 0 ? ", " : "", i);
    }
    add_text(header, "]\"}");
}

unsigned char *tiny_dit_build(int hidden, int depth, int heads, int patch, int channels, int size, int classes,
                              int learn_sigma, unsigned seed, size_t *bytes) {
    struct buffer file = {0};
    struct writer writer = {&file, NULL, 0, seed * 2u + 1u};
    *bytes = 0;
    add_text(&file, "        "); /* the length of the header comes here */
    add_metadata(&file, hidden, depth, heads, patch, channels, size, classes, learn_sigma);
    all_tensors(&writer, hidden, depth, patch, channels, size, classes, learn_sigma);
    add_text(&file, "}");
    while (file.length % 8 != 0) {
        add_text(&file, " ");
    }
    uint64_t header = file.length - 8;
    for (size_t i = 0; i < 8 && !file.failed; i++) {
        file.data[i] = (unsigned char)(header >> (8 * i));
    }
    writer.header = NULL;
    writer.data = &file;
    all_tensors(&writer, hidden, depth, patch, channels, size, classes, learn_sigma);
    if (file.failed) {
        free(file.data);
        return NULL;
    }
    *bytes = file.length;
    return file.data;
}

int tiny_dit_write(const char *path, int hidden, int depth, int heads, int patch, int channels, int size, int classes,
                   int learn_sigma, unsigned seed) {
    size_t bytes;
    unsigned char *data =
        tiny_dit_build(hidden, depth, heads, patch, channels, size, classes, learn_sigma, seed, &bytes);
    FILE *file = data != NULL ? fopen(path, "wb") : NULL;
    int failed = file == NULL || fwrite(data, 1, bytes, file) != bytes;
    if (file != NULL && fclose(file) != 0) {
        failed = 1;
    }
    free(data);
    return failed;
}

int tiny_dit_write_default(const char *path) {
    return tiny_dit_write(path, 64, 2, 4, 2, 4, 8, 5, 0, 1);
}

int tiny_dir_make(char *directory, size_t size) {
    const char *base = getenv("TMPDIR");
    int length = snprintf(directory, size, "%s/dqgen-test-XXXXXX", base != NULL && base[0] != '\0' ? base : "/tmp");
    return length < 0 || (size_t)length >= size || mkdtemp(directory) == NULL;
}

char *tiny_path(char *buffer, size_t size, const char *directory, const char *name) {
    snprintf(buffer, size, "%s/%s", directory, name);
    return buffer;
}

void tiny_dir_remove(const char *directory) {
    DIR *folder = opendir(directory);
    if (folder == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[1024];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            unlink(tiny_path(path, sizeof(path), directory, entry->d_name));
        }
    }
    closedir(folder);
    rmdir(directory);
}
