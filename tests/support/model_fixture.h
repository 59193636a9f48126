/* SPDX-License-Identifier: MIT */
/* What tests of the public API begin with: a folder, a tiny model in it, a context, the model loaded. */
#ifndef TESTS_MODEL_FIXTURE_H
#define TESTS_MODEL_FIXTURE_H

#include "libdqgen.h"
#include "tiny_model.h"

struct model_fixture {
    char directory[128];
    char path[192]; /* tiny_dit_write_default() wrote it */
    dqg_context *context;
    dqg_model *model;
};

/* Returns 0 on success. close undoes what open did, also after a failure. */
int model_fixture_open(struct model_fixture *fixture);
void model_fixture_close(struct model_fixture *fixture);

/* For cmocka groups whose tests need nothing else; *state is the fixture. */
int model_fixture_setup(void **state);
int model_fixture_teardown(void **state);

#endif
