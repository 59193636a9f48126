/* SPDX-License-Identifier: MIT */
/*
 * The allocator of failing_alloc.h. Each block carries its size and a mark in front, and a guard pattern behind it, so
 * that a release with another size, a double release or a write past the end is found without a sanitizer.
 */
#include "failing_alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK UINT64_C(0x6471675f6c697665)
#define DEAD UINT64_C(0x6471675f64656164)
#define HEAD 64 /* bytes before the block, a multiple of every alignment the library asks for */

static const unsigned char guard[16] = {0xa5, 0x5a, 0xc3, 0x3c, 0x96, 0x69, 0xf0, 0x0f,
                                        0xa5, 0x5a, 0xc3, 0x3c, 0x96, 0x69, 0xf0, 0x0f};

static void complain(struct failing_alloc *memory, const char *what, size_t size) {
    atomic_fetch_add(&memory->wrong, 1);
    fprintf(stderr, "allocator: %s (%zu bytes)\n", what, size);
}

static int refuse(struct failing_alloc *memory) {
    int64_t left = atomic_load(&memory->fail_at);
    while (left > 0 && !atomic_compare_exchange_weak(&memory->fail_at, &left, left - 1)) {
    }
    return left == 1 || (left == 0 && atomic_load(&memory->fail_forever) && atomic_load(&memory->failed) > 0);
}

static void *allocate(void *user, size_t size, size_t alignment) {
    struct failing_alloc *memory = user;
    atomic_fetch_add(&memory->requests, 1);
    if (size == 0 || alignment == 0 || alignment > HEAD || (alignment & (alignment - 1)) != 0) {
        complain(memory, "a request of size 0 or odd alignment", size);
        return NULL;
    }
    if (refuse(memory)) {
        atomic_fetch_add(&memory->failed, 1);
        return NULL;
    }
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    unsigned char *base = aligned_alloc(HEAD, (HEAD + size + sizeof(guard) + HEAD - 1) / HEAD * HEAD);
    if (base == NULL) {
        return NULL;
    }
    uint64_t head[2] = {MARK, size};
    memcpy(base, head, sizeof(head));
    memcpy(base + HEAD + size, guard, sizeof(guard));
    atomic_fetch_add(&memory->live_blocks, 1);
    int64_t live = atomic_fetch_add(&memory->live_bytes, (int64_t)size) + (int64_t)size;
    int64_t peak = atomic_load(&memory->peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak(&memory->peak_bytes, &peak, live)) {
    }
    return base + HEAD;
}

static void release(void *user, void *ptr, size_t size) {
    struct failing_alloc *memory = user;
    if (ptr == NULL) {
        complain(memory, "release of NULL", size);
        return;
    }
    unsigned char *base = (unsigned char *)ptr - HEAD;
    uint64_t head[2];
    memcpy(head, base, sizeof(head));
    if (head[0] != MARK) {
        complain(memory, head[0] == DEAD ? "released twice" : "release of a foreign or damaged block", size);
        return;
    }
    if (head[1] != size) {
        complain(memory, "released with another size than asked for", size);
    }
    if (memcmp(base + HEAD + head[1], guard, sizeof(guard)) != 0) {
        complain(memory, "written past the end", size);
    }
    atomic_fetch_sub(&memory->live_blocks, 1);
    atomic_fetch_sub(&memory->live_bytes, (int64_t)head[1]);
    head[0] = DEAD;
    memcpy(base, head, sizeof(head));
    free(base);
}

void failing_alloc_init(struct failing_alloc *memory, dqg_allocator *allocator) {
    memset(memory, 0, sizeof(*memory));
    memset(allocator, 0, sizeof(*allocator));
    allocator->struct_size = (uint32_t)sizeof(*allocator);
    allocator->allocate = allocate;
    allocator->release = release;
    allocator->user = memory;
}

int failing_alloc_errors(const struct failing_alloc *memory) {
    long long blocks = (long long)atomic_load(&memory->live_blocks);
    if (blocks != 0) {
        fprintf(stderr, "allocator: %lld blocks, %lld bytes were not released\n", blocks,
                (long long)atomic_load(&memory->live_bytes));
    }
    return (int)(blocks != 0) + (int)atomic_load(&memory->wrong);
}
