/* SPDX-License-Identifier: MIT */
/* The options of guidance, which runs and dqg_guidance_combine() read alike. */
#ifndef DQG_API_RUN_GUIDANCE_H
#define DQG_API_RUN_GUIDANCE_H

#include "api/api.h"
#include "run/guidance.h"

struct dqg_guidance dqg_option_guidance(const dqg_options *options);

#endif
