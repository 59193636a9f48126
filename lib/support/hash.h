/* SPDX-License-Identifier: MIT */
/* XXH3 behind two functions; hash.c is the only file that knows xxHash. */
#ifndef DQG_HASH_H
#define DQG_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t dqg_hash64(const void *data, size_t size); /* XXH3-64, seed 0 */

/* XXH3-128, seed 0: out[0] is the low half, out[1] the high half. */
void dqg_hash128(const void *data, size_t size, uint64_t out[2]);

#endif
