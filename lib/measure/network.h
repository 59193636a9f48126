/* SPDX-License-Identifier: MIT */
/* Measurements of whole networks; called by lib/api/measure.c. */
#ifndef DQG_MEASURE_NETWORK_H
#define DQG_MEASURE_NETWORK_H

#include "model/model.h"

/* A model whose weights are random, of the tensors that are listed; count is at least 1. */
dqg_status dqg_measure_random_model(struct dqg_context *context, const dqg_tensor_info *tensors, size_t count,
                                    struct dqg_model **model);

/* fn may be NULL: no operator is timed then. */
dqg_status dqg_measure_evaluations(struct dqg_context *context, const struct dqg_model *model,
                                   const dqg_measure_spec *spec, dqg_measure_fn fn, void *user,
                                   dqg_measure_result *result);

#endif
