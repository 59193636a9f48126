/* SPDX-License-Identifier: MIT */
/* The rows of the four tables one by one, with what a reader who chooses wants to know. Called by lib/api. */
#include "sched/pieces.h"

/* Every family that some schedule is of: a solver works on all of them. */
static int32_t all_families(void) {
    int32_t families = 0;
    for (size_t i = 0; i < dqg_schedule_count; i++) {
        families |= dqg_schedule_family(&dqg_schedules[i]);
    }
    return families;
}

bool dqg_sched_solver_at(size_t index, struct dqg_sched_piece *piece) {
    if (index >= dqg_solver_count) {
        return false;
    }
    const struct dqg_solver *row = &dqg_solvers[index];
    int32_t all = all_families();
    *piece = (struct dqg_sched_piece){
        .name = row->piece.name,
        .doc = row->piece.doc,
        .families = all,
        .noise_families = row->always_noise ? all : row->noise_families,
        .evaluations = row->evaluations,
        .buffers = row->buffers,
    };
    return true;
}

bool dqg_sched_schedule_at(size_t index, struct dqg_sched_piece *piece) {
    if (index >= dqg_schedule_count) {
        return false;
    }
    const struct dqg_schedule *row = &dqg_schedules[index];
    *piece = (struct dqg_sched_piece){row->piece.name, row->piece.doc, dqg_schedule_family(row), 0, 0, 0};
    return true;
}

bool dqg_sched_spacing_at(size_t index, struct dqg_sched_piece *piece) {
    if (index >= dqg_spacing_count) {
        return false;
    }
    const struct dqg_spacing *row = &dqg_spacings[index];
    *piece = (struct dqg_sched_piece){row->piece.name, row->piece.doc, row->families, 0, 0, 0};
    return true;
}

bool dqg_sched_prediction_at(size_t index, struct dqg_sched_piece *piece) {
    if (index >= dqg_prediction_count) {
        return false;
    }
    const struct dqg_prediction_row *row = &dqg_predictions[index];
    *piece = (struct dqg_sched_piece){row->piece.name, row->piece.doc, row->families, 0, 0, 0};
    return true;
}
