/* SPDX-License-Identifier: MIT */
/* The caller's tensor views: checking them, and copying between them and contiguous floats. */
#ifndef DQG_VIEW_H
#define DQG_VIEW_H

#include "support/support.h"

/* Fails with a message that names the view where it is not a float tensor of this shape. */
dqg_status dqg_view_check(struct dqg_context *context, const dqg_tensor_view *view, const char *name, int32_t rank,
                          const int64_t *shape);

/* Copy a checked view to contiguous floats, and back. */
void dqg_view_read(const dqg_tensor_view *view, float *out);
void dqg_view_write(const dqg_tensor_view *view, const float *in);

/* Part of a checked view along one axis. */
dqg_tensor_view dqg_view_slice(const dqg_tensor_view *view, int32_t axis, int64_t first, int64_t count);

#endif
