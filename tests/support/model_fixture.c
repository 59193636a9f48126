/* SPDX-License-Identifier: MIT */
/* The fixture of model_fixture.h. Relies on the public API alone. */
#include "model_fixture.h"

#include <string.h>

int model_fixture_open(struct model_fixture *fixture) {
    memset(fixture, 0, sizeof(*fixture));
    if (tiny_dir_make(fixture->directory, sizeof(fixture->directory)) != 0) {
        return -1;
    }
    tiny_path(fixture->path, sizeof(fixture->path), fixture->directory, "tiny.safetensors");
    return tiny_dit_write_default(fixture->path) || dqg_context_create(NULL, &fixture->context) ||
           dqg_model_load(fixture->context, fixture->path, NULL, &fixture->model);
}

void model_fixture_close(struct model_fixture *fixture) {
    dqg_model_release(fixture->model);
    dqg_context_destroy(fixture->context);
    tiny_dir_remove(fixture->directory);
}

int model_fixture_setup(void **state) {
    static struct model_fixture fixture;
    *state = &fixture;
    return model_fixture_open(&fixture);
}

int model_fixture_teardown(void **state) {
    model_fixture_close(*state);
    return 0;
}
