/* SPDX-License-Identifier: MIT */
/* XXH3 through libxxhash: checksums of files (lib/io) and of saved run states. No other file knows xxHash. */
#include <xxhash.h>

#include "support/hash.h"

uint64_t dqg_hash64(const void *data, size_t size) {
    return XXH3_64bits(data, size);
}

void dqg_hash128(const void *data, size_t size, uint64_t out[2]) {
    XXH128_hash_t hash = XXH3_128bits(data, size);
    out[0] = hash.low64;
    out[1] = hash.high64;
}
