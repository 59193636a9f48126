/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target without a fuzzing engine: replay FOLDER [MUTATIONS [SEED]]. Every file of the folder is tried as
 * it is, then MUTATIONS times with random changes. The same seed gives the same changes on every machine; on a crash
 * the input is left in replay-crash.bin.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { MOST_FILES = 1000, MOST_BYTES = 1 << 20, ROOM = 64 };

static uint64_t random_state;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((random_state >> 32) * limit >> 32);
}

/* One change; data has room for MOST_BYTES + ROOM. Returns the new size. */
static size_t change(uint8_t *data, size_t size) {
    static const uint32_t extremes[] = {0, 1, 0x7f, 0xff, 0x7fff, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};
    uint32_t at = random_below((uint32_t)size + 1);
    uint32_t count = 1 + random_below(random_below(4) == 0 ? ROOM : 4);
    if (at + count > size) {
        count = (uint32_t)size - at;
    }
    switch (random_below(8)) {
    case 0: /* cut off */
        return random_below(4) == 0 ? at : size;
    case 1: /* remove */
        memmove(data + at, data + at + count, size - at - count);
        return size - count;
    case 2: /* double */
        if (size + count > MOST_BYTES + ROOM) {
            return size;
        }
        memmove(data + at + count, data + at, size - at);
        return size + count;
    case 3: /* copy from elsewhere */
        if (count > 0) {
            memmove(data + at, data + random_below((uint32_t)size - count + 1), count);
        }
        return size;
    case 4: /* a number at its limits */
        for (uint32_t i = 0, value = extremes[random_below(9)]; i < 4 && at + i < size; i++) {
            data[at + i] = (uint8_t)(value >> 8 * i);
        }
        return size;
    case 5: /* a character that means something */
        if (at < size) {
            data[at] = (uint8_t) "{}[]\":,\\u0129-.eE tfn"[random_below(22)];
        }
        return size;
    default: /* a bit */
        if (at < size) {
            data[at] ^= (uint8_t)(1u << random_below(8));
        }
        return size;
    }
}

/* What is being tried, for keep_input(). */
static uint8_t *tried;
static size_t tried_size;

/* With sanitizers, set abort_on_error=1 in their options to come here. */
static void keep_input(int number) {
    int file = open("replay-crash.bin", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file >= 0) {
        ssize_t written = write(file, tried, tried_size);
        (void)written;
        close(file);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void try_input(const uint8_t *data, size_t size) {
    tried = malloc(size > 0 ? size : 1); /* exact: a sanitizer sees a read past the end */
    tried_size = size;
    memcpy(tried, data, size);
    LLVMFuzzerTestOneInput(tried, size);
    free(tried);
}

static size_t load(const char *folder, const char *name, uint8_t *data) {
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    size_t size = fread(data, 1, MOST_BYTES, file);
    fclose(file);
    return size;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list(const char *path, char *names[MOST_FILES]) {
    DIR *folder = opendir(path);
    size_t count = 0;
    if (folder == NULL) {
        fprintf(stderr, "cannot open the folder %s\n", path);
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && count < MOST_FILES;) {
        if (entry->d_name[0] != '.') {
            names[count] = malloc(strlen(entry->d_name) + 1);
            strcpy(names[count++], entry->d_name);
        }
    }
    closedir(folder);
    qsort(names, count, sizeof(names[0]), by_name);
    return count;
}

int main(int argc, char **argv) {
    static char *names[MOST_FILES];
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER [MUTATIONS [SEED]]\n", argv[0]);
        return 2;
    }
    long mutations = argc > 2 ? atol(argv[2]) : 0;
    random_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    signal(SIGABRT, keep_input);
    size_t count = list(argv[1], names);
    uint8_t *seed = malloc(MOST_BYTES), *data = malloc(MOST_BYTES + ROOM);
    for (size_t i = 0; i < count; i++) {
        size_t seed_size = load(argv[1], names[i], seed);
        try_input(seed, seed_size);
        for (long j = 0; j < mutations; j++) {
            size_t size = seed_size;
            memcpy(data, seed, seed_size);
            for (uint32_t changes = 1 + random_below(4); changes > 0; changes--) {
                size = change(data, size);
            }
            try_input(data, size);
        }
        free(names[i]);
    }
    printf("%zu files, %ld mutations of each\n", count, mutations);
    free(seed);
    free(data);
    return count == 0;
}
