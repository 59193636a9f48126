/* SPDX-License-Identifier: MIT */
/*
 * Allocation through the host's allocator or the C library's, and arenas on top of it. Every handle keeps a copy of the
 * allocator, so that a model can outlive the context that loaded it.
 */
#include <stdlib.h>

#include "support/support.h"

static void *default_allocate(void *user, size_t size, size_t alignment) {
    (void)user;
    void *ptr = NULL;
    return posix_memalign(&ptr, alignment, size) == 0 ? ptr : NULL;
}

static void default_release(void *user, void *ptr, size_t size) {
    (void)user;
    (void)size;
    free(ptr);
}

dqg_status dqg_alloc_init(struct dqg_alloc *alloc, const dqg_allocator *allocator) {
    *alloc = (struct dqg_alloc){default_allocate, default_release, NULL};
    if (allocator == NULL) {
        return DQG_OK;
    }
    if (allocator->struct_size < sizeof *allocator || allocator->flags != 0 || allocator->allocate == NULL ||
        allocator->release == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    *alloc = (struct dqg_alloc){allocator->allocate, allocator->release, allocator->user};
    return DQG_OK;
}

/* Never ask a host for 0 bytes. */
static size_t request_size(size_t size) {
    return size > 0 ? size : 1;
}

void *dqg_malloc(const struct dqg_alloc *alloc, size_t size) {
    return alloc->allocate(alloc->user, request_size(size), DQG_ALIGNMENT);
}

void *dqg_calloc(const struct dqg_alloc *alloc, size_t count, size_t size) {
    size_t bytes;
    if (!dqg_mul_size(count, size, &bytes)) {
        return NULL;
    }
    void *ptr = dqg_malloc(alloc, bytes);
    if (ptr != NULL) {
        memset(ptr, 0, request_size(bytes));
    }
    return ptr;
}

void dqg_free(const struct dqg_alloc *alloc, void *ptr, size_t size) {
    if (ptr != NULL) {
        alloc->release(alloc->user, ptr, request_size(size));
    }
}

char *dqg_strdup(const struct dqg_alloc *alloc, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = dqg_malloc(alloc, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

void dqg_free_text(const struct dqg_alloc *alloc, char *text) {
    if (text != NULL) {
        dqg_free(alloc, text, strlen(text) + 1);
    }
}

/* ---- arena ---- */

enum { ARENA_BLOCK = 16 * 1024, ARENA_ALIGN = 16 };

struct dqg_arena_block {
    struct dqg_arena_block *next;
    size_t size; /* of the whole allocation */
    size_t used; /* this header included */
};

bool dqg_carve(size_t *used, char *base, size_t count, size_t element, void **out) {
    size_t bytes;
    size_t end;
    if (!dqg_mul_size(count, element, &bytes) || bytes > SIZE_MAX - DQG_ALIGNMENT ||
        !dqg_add_size(*used, dqg_round_up(bytes, DQG_ALIGNMENT), &end)) {
        return false;
    }
    *out = base != NULL ? base + *used : NULL;
    *used = end;
    return true;
}

void *dqg_arena_alloc(const struct dqg_alloc *alloc, struct dqg_arena *arena, size_t size) {
    size_t header = dqg_round_up(sizeof(struct dqg_arena_block), ARENA_ALIGN);
    size_t need;
    if (!dqg_add_size(size, header + ARENA_ALIGN, &need)) {
        return NULL;
    }
    size = dqg_round_up(size, ARENA_ALIGN);
    struct dqg_arena_block *block = arena->head;
    if (block == NULL || block->size - block->used < size) {
        size_t bytes = need > ARENA_BLOCK ? need : ARENA_BLOCK;
        block = dqg_malloc(alloc, bytes);
        if (block == NULL) {
            return NULL;
        }
        *block = (struct dqg_arena_block){arena->head, bytes, header};
        arena->head = block;
        arena->total += bytes;
    }
    void *ptr = (char *)block + block->used;
    block->used += size;
    memset(ptr, 0, size);
    return ptr;
}

char *dqg_arena_copy(const struct dqg_alloc *alloc, struct dqg_arena *arena, const char *text, size_t length) {
    char *copy = length < SIZE_MAX ? dqg_arena_alloc(alloc, arena, length + 1) : NULL;
    if (copy != NULL) {
        memcpy(copy, text, length); /* the arena is zeroed: the terminator is there */
    }
    return copy;
}

void dqg_arena_free(const struct dqg_alloc *alloc, struct dqg_arena *arena) {
    while (arena->head != NULL) {
        struct dqg_arena_block *block = arena->head;
        arena->head = block->next;
        dqg_free(alloc, block, block->size);
    }
    arena->total = 0;
}
