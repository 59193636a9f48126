/* SPDX-License-Identifier: MIT */
/* The conditions of a run in its saved state. Called by state.c. */
#include "run/run.h"

static size_t plane_size(const struct dqg_run *run) {
    return (size_t)run->shape[2] * (size_t)run->shape[3];
}

/* Followed by what the network is given, weights, which conditions have masks, masks. */
struct saved_conditions {
    struct dqg_guidance guidance;
    uint64_t conditions, copies;
};

size_t dqg_run_conditions_bytes(const struct dqg_run *run) {
    size_t record = sizeof *run->weights + 1 + plane_size(run) * sizeof *run->masks;
    size_t records = run->conditions * run->images;
    return run->model != NULL ? sizeof(struct saved_conditions) + run->given.bytes + records * record : 0;
}

/* Copy between the run and its state, in order. */
static void copy_records(const struct dqg_run *run, char *out, const char *in) {
    size_t count = run->conditions * run->images;
    const struct {
        void *data;
        size_t bytes;
    } arrays[] = {{run->given.labels, run->given.bytes},
                  {run->weights, count * sizeof *run->weights},
                  {run->masked, count},
                  {run->masks, count * plane_size(run) * sizeof *run->masks}};
    for (size_t i = 0; i < DQG_COUNT_OF(arrays); i++) {
        if (out != NULL) {
            memcpy(out, arrays[i].data, arrays[i].bytes);
            out += arrays[i].bytes;
        } else {
            memcpy(arrays[i].data, in, arrays[i].bytes);
            in += arrays[i].bytes;
        }
    }
}

void dqg_run_conditions_write(const struct dqg_run *run, char *out) {
    if (run->model != NULL) {
        struct saved_conditions saved = {run->guidance, run->conditions, run->copies};
        memcpy(out, &saved, sizeof saved);
        copy_records(run, out + sizeof saved, NULL);
    }
}

dqg_status dqg_run_conditions_check(const struct dqg_run *run, const char *in) {
    struct saved_conditions saved;
    if (run->model == NULL) {
        return DQG_OK;
    }
    memcpy(&saved, in, sizeof saved);
    if (saved.conditions != run->conditions || saved.copies != run->copies) {
        return dqg_fail(run->context, DQG_ERROR_STATE,
                        "the saved run has other conditions, or guidance where this has none");
    }
    in += sizeof saved;
    for (size_t i = 0; i < run->given.samples; i++, in += sizeof(int32_t)) {
        int32_t label;
        memcpy(&label, in, sizeof label);
        if (label < -1 || label >= (int32_t)run->model->hyper.classes) {
            return dqg_fail(run->context, DQG_ERROR_FORMAT, "the saved run has the impossible class %d", (int)label);
        }
    }
    return dqg_run_check_guidance(run, &saved.guidance);
}

void dqg_run_conditions_read(struct dqg_run *run, const char *in) {
    if (run->model != NULL) {
        struct saved_conditions saved;
        memcpy(&saved, in, sizeof saved);
        run->guidance = saved.guidance;
        copy_records(run, NULL, in + sizeof saved);
        dqg_run_summarize(run);
    }
}
