/* SPDX-License-Identifier: MIT */
/* The rows of the four tables one by one, with what a reader who chooses wants to know. Called by lib/api. */
#include "sched/pieces.h"

/* Families of schedules that a solver works on: EDM has k coordinates only. */
static int32_t solver_families(const struct dqg_solver *solver) {
    int32_t families = 0;
    for (size_t i = 0; i < dqg_schedule_count; i++) {
        families |= dqg_schedule_family(&dqg_schedules[i]);
    }
    return solver->k_coordinates ? families : families & ~DQG_FAMILY_EDM;
}

bool dqg_sched_solver_at(size_t index, struct dqg_sched_piece *piece) {
    if (index >= dqg_solver_count) {
        return false;
    }
    const struct dqg_solver *row = &dqg_solvers[index];
    int32_t all = solver_families(row);
    int32_t noisy = row->noise_families | (row->noise_families & DQG_FAMILY_VP ? DQG_FAMILY_EDM : 0);
    *piece = (struct dqg_sched_piece){
        .name = row->piece.name,
        .doc = row->piece.doc,
        .families = all,
        .noise_families = row->always_noise ? all : noisy & all,
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
