/* SPDX-License-Identifier: MIT */
/* Fuzz target: GGUF files, all that follows from their headers. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_context fuzz;
    fuzz_begin(&fuzz);
    fuzz_source(&fuzz, data, size);
    fuzz_end(&fuzz, size);
    return 0;
}
