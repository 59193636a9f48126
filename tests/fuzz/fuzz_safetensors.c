/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: safetensors files. Each input is tried as it is, and then with its first eight bytes replaced by the
 * length of the JSON that follows up to the last '}', which random changes mostly spoil.
 */
#include "fuzz.h"

#include "io/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_context fuzz;
    fuzz_begin(&fuzz);
    fuzz_source(&fuzz, data, size);
    if (size > 8) {
        uint8_t *copy = malloc(size);
        size_t end = size;
        memcpy(copy, data, size);
        while (end > 8 && copy[end - 1] != '}') {
            end--;
        }
        dqg_put_u64(copy, end - 8);
        fuzz_source(&fuzz, copy, size);
        free(copy);
    }
    fuzz_end(&fuzz, size);
    return 0;
}
