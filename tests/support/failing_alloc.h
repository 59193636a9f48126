/* SPDX-License-Identifier: MIT */
/*
 * A host allocator for tests: counts, checks that every block comes back with the size it was asked for, and fails the
 * n-th request on demand. Thread-safe. One struct serves one test at a time.
 *
 *     struct failing_alloc memory;
 *     dqg_allocator allocator;
 *     failing_alloc_init(&memory, &allocator);
 *     memory.fail_at = 17;                        the 17th request from here returns NULL; 0: none does
 *     ... dqg_context_create(&allocator, &context) ...
 *     assert_int_equal(failing_alloc_errors(&memory), 0);    nothing leaked, no wrong release
 */
#ifndef TESTS_FAILING_ALLOC_H
#define TESTS_FAILING_ALLOC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "libdqgen.h"

struct failing_alloc {
    _Atomic int64_t fail_at;      /* counts down; the request that takes it from 1 to 0 fails. 0: none */
    _Atomic int32_t fail_forever; /* with fail_at: every later request fails too */
    _Atomic int64_t requests;     /* since init */
    _Atomic int64_t failed;       /* requests that were refused */
    _Atomic int64_t live_blocks;
    _Atomic int64_t live_bytes;
    _Atomic int64_t peak_bytes;
    _Atomic int64_t wrong; /* releases of foreign or damaged blocks or with another size, requests of 0 bytes */
};

void failing_alloc_init(struct failing_alloc *memory, dqg_allocator *allocator);

/* Wrong releases plus live blocks: 0 when all is well and everything was given back. Says on stderr what is not. */
int failing_alloc_errors(const struct failing_alloc *memory);

#endif
