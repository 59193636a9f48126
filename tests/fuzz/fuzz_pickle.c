/* SPDX-License-Identifier: MIT */
/* Fuzz target: the machine for pickles and the search for state dicts, without the archive around. */
#include "fuzz.h"

#include "io/torch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { OBJECTS = 8 << 20 };
    struct fuzz_context fuzz;
    struct dqg_torch_storage *storages;
    size_t count;
    fuzz_begin(&fuzz);
    struct dqg_pickle pickle = {.alloc = &fuzz.context->alloc, .left = OBJECTS + size, .data = data, .size = size};
    dqg_torch_begin(&pickle, &storages);
    const struct dqg_pickle_value *root = dqg_pickle_run(&pickle);
    if (pickle.status >= 0) {
        const struct dqg_torch_entry *entries = dqg_torch_state(&pickle, root, &count);
        for (size_t i = 0; pickle.status >= 0 && i < count; i++) {
            FUZZ_REQUIRE(entries[i].tensor->storage->key != NULL && strlen(entries[i].name) < 1024);
        }
    }
    FUZZ_REQUIRE(pickle.status >= 0 || pickle.error != NULL);
    FUZZ_REQUIRE(pickle.at <= size);
    dqg_pickle_free(&pickle);
    fuzz_end(&fuzz, size);
    return 0;
}
