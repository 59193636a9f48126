/* SPDX-License-Identifier: MIT */
/* Images in NHWC made larger. Bound by memory: rows of pixels are copied. */
#include "ops/ops.h"

struct upsample_task {
    float *y;
    const float *x;
    size_t width, channels;
};

/* One line of the input makes two of the output. */
static void upsample_line(void *argument, size_t index, size_t lane) {
    const struct upsample_task *task = argument;
    size_t pixel = task->channels * sizeof(float);
    const float *from = task->x + index * task->width * task->channels;
    float *first = task->y + index * task->width * task->channels * 4;
    float *to = first;
    (void)lane;
    for (size_t i = 0; i < task->width; i++) {
        memcpy(to, from, pixel);
        memcpy(to + task->channels, from, pixel);
        from += task->channels;
        to += 2 * task->channels;
    }
    memcpy(to, first, 2 * task->width * pixel);
}

void dqg_op_upsample(const struct dqg_ops *ops, float *y, const float *x, size_t lines, size_t width,
                     size_t channels) {
    struct upsample_task task = {y, x, width, channels};
    dqg_parallel(ops->context, lines, upsample_line, &task);
}
