/* SPDX-License-Identifier: MIT */
/* A source that is no file: descriptions from the caller, planes from a function. For models that are made up, such as
 * those that benchmarks run; used by lib/measure. */
#include "io/source.h"

struct made {
    dqg_make_plane_fn make;
    void *user;
};

/* Planes are read whole. */
static dqg_status read_made(struct dqg_source *source, const struct dqg_plane_read *reads, size_t count,
                            struct dqg_work *work) {
    const struct made *made = source->detail;
    for (size_t i = 0; i < count; i++) {
        const struct dqg_tensor_desc *desc = &source->tensors[reads[i].tensor];
        if (work != NULL) {
            DQG_TRY(dqg_work_set(work, work->done, desc->name));
        }
        made->make(made->user, desc, reads[i].plane, reads[i].out, (size_t)reads[i].size);
        if (work != NULL) {
            work->done += reads[i].size;
        }
    }
    return DQG_OK;
}

static dqg_status verify_made(struct dqg_source *source) {
    (void)source;
    return DQG_OK;
}

static const struct dqg_source_type made_type = {.read = read_made, .verify = verify_made};

static dqg_status fill(struct dqg_source *source, const struct dqg_tensor_desc *tensors, size_t count,
                       dqg_make_plane_fn make, void *user) {
    struct made *made;
    DQG_TRY(dqg_source_alloc(source, "the model", 1, sizeof *made, &made));
    DQG_TRY(dqg_source_alloc(source, "the model", 1, sizeof *source->inputs, &source->inputs));
    DQG_TRY(dqg_source_alloc(source, "the model's tensors", count, sizeof *tensors, &source->tensors));
    *made = (struct made){make, user};
    source->detail = made;
    source->inputs[0].name = "the list of tensors";
    source->tensor_count = count;
    memcpy(source->tensors, tensors, count * sizeof *tensors);
    for (size_t i = 0; i < count; i++) {
        const char *name = tensors[i].name;
        DQG_TRY(dqg_source_copy_text(source, name, strlen(name), &source->tensors[i].name));
    }
    return dqg_source_index_names(source);
}

dqg_status dqg_source_open_made(struct dqg_context *context, const struct dqg_tensor_desc *tensors, size_t count,
                                dqg_make_plane_fn make, void *user, struct dqg_source *source) {
    *source = (struct dqg_source){.context = context, .format = "made", .type = &made_type};
    dqg_status status = fill(source, tensors, count, make, user);
    if (status < 0) {
        dqg_source_close(source);
    }
    return status;
}
