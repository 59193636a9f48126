/* SPDX-License-Identifier: MIT */
/*
 * Resampling with Lanczos's kernel of three lobes, rows and columns apart. The kernel is as wide as the coarser of the
 * two grids, so that making smaller does not alias; at edges the weights that remain are scaled to a sum of 1. Called
 * by resize.c.
 */
#include <math.h>

#include "run/run.h"

static const double lobes = 3;

static double kernel(double x) {
    double p = 3.14159265358979323846 * x;
    if (fabs(x) < 1e-9) {
        return 1;
    }
    return fabs(x) < lobes ? lobes * sin(p) * sin(p / lobes) / (p * p) : 0;
}

/* One output position of lines lying line_stride apart, of values step apart, both in elements; equal for in and out
 * but for the length of a line. */
struct line {
    size_t in_count, out_count, step, lines, line_in, line_out;
};

static void resample(float *out, const float *in, const struct line *line) {
    double scale = (double)line->in_count / (double)line->out_count;
    double width = fmax(scale, 1);
    for (size_t o = 0; o < line->out_count; o++) {
        double centre = ((double)o + 0.5) * scale - 0.5;
        size_t first = (size_t)fmax(ceil(centre - lobes * width), 0);
        size_t last = (size_t)fmin(floor(centre + lobes * width), (double)line->in_count - 1);
        double sum = 0;
        for (size_t i = first; i <= last; i++) {
            sum += kernel(((double)i - centre) / width);
        }
        for (size_t l = 0; l < line->lines; l++) {
            const float *from = in + l * line->line_in;
            double value = 0;
            for (size_t i = first; i <= last; i++) {
                value += kernel(((double)i - centre) / width) * from[i * line->step];
            }
            out[l * line->line_out + o * line->step] = (float)(value / sum);
        }
    }
}

dqg_status dqg_lanczos(struct dqg_context *context, float *out, size_t out_height, size_t out_width, const float *in,
                       size_t height, size_t width, size_t planes) {
    size_t bytes;
    if (!dqg_mul_size(height * sizeof(float), out_width, &bytes)) {
        return dqg_fail(context, DQG_ERROR_LIMIT, "a picture of this size does not fit the address space");
    }
    float *wide = dqg_malloc(&context->alloc, bytes); /* a plane with its final width */
    if (wide == NULL) {
        return dqg_fail_memory(context, "resampling", bytes);
    }
    for (size_t p = 0; p < planes; p++) {
        const struct line rows = {width, out_width, 1, height, width, out_width};
        const struct line columns = {height, out_height, out_width, out_width, 1, 1};
        resample(wide, in + p * height * width, &rows);
        resample(out + p * out_height * out_width, wide, &columns);
    }
    dqg_free(&context->alloc, wide, bytes);
    return DQG_OK;
}
