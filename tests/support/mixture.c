/* SPDX-License-Identifier: MIT */
/* See mixture.h. Relies on the parameters of the mixture in analytic.h; used by tests/bench/solver_error.c. */
#include "mixture.h"

#include <math.h>
#include <stdlib.h>

#include "analytic.h"
#include "halton.h"

static const double pi = 3.14159265358979323846;

void mixture_halton_normals(float *z, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        double radius = sqrt(-2 * log(halton(2, i + 1)));
        double angle = 2 * pi * halton(3, i + 1);
        z[2 * i] = (float)(radius * cos(angle));
        z[2 * i + 1] = (float)(radius * sin(angle));
    }
}

/* Where the mixture, projected on a direction, has the share p below. */
static double projected_quantile(const double direction[2], double p) {
    double low = -10;
    double high = 10;
    for (int i = 0; i < 48; i++) {
        double middle = (low + high) / 2;
        double below = 0;
        for (int k = 0; k < ANALYTIC_MODES; k++) {
            double mean = direction[0] * analytic_mode_mean[k][0] + direction[1] * analytic_mode_mean[k][1];
            below += analytic_mode_weight[k] * 0.5 * erfc((mean - middle) / (sqrt(2) * analytic_mode_std[k]));
        }
        if (below < p) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (low + high) / 2;
}

static void set_direction(int index, double direction[2]) {
    double angle = pi * index / MIXTURE_DIRECTIONS;
    direction[0] = cos(angle);
    direction[1] = sin(angle);
}

void mixture_sliced_create(struct mixture_sliced *sliced, size_t pairs) {
    sliced->pairs = pairs;
    sliced->quantiles = malloc(MIXTURE_DIRECTIONS * pairs * sizeof(double));
    sliced->scratch = malloc(pairs * sizeof(double));
    for (int d = 0; d < MIXTURE_DIRECTIONS; d++) {
        double direction[2];
        set_direction(d, direction);
        for (size_t i = 0; i < pairs; i++) {
            double p = ((double)i + 0.5) / (double)pairs;
            sliced->quantiles[(size_t)d * pairs + i] = projected_quantile(direction, p);
        }
    }
}

void mixture_sliced_destroy(struct mixture_sliced *sliced) {
    free(sliced->quantiles);
    free(sliced->scratch);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double mixture_sliced_distance(const struct mixture_sliced *sliced, const float *x) {
    double total = 0;
    for (int d = 0; d < MIXTURE_DIRECTIONS; d++) {
        double direction[2];
        set_direction(d, direction);
        for (size_t i = 0; i < sliced->pairs; i++) {
            sliced->scratch[i] = direction[0] * x[2 * i] + direction[1] * x[2 * i + 1];
        }
        qsort(sliced->scratch, sliced->pairs, sizeof(double), ascending);
        for (size_t i = 0; i < sliced->pairs; i++) {
            double gap = sliced->scratch[i] - sliced->quantiles[(size_t)d * sliced->pairs + i];
            total += gap * gap;
        }
    }
    return sqrt(total / (MIXTURE_DIRECTIONS * (double)sliced->pairs));
}

double mixture_median_distance(const float *x, const double *exact, size_t pairs) {
    double *distances = malloc(pairs * sizeof(double));
    for (size_t i = 0; i < pairs; i++) {
        distances[i] = hypot(x[2 * i] - exact[2 * i], x[2 * i + 1] - exact[2 * i + 1]);
    }
    qsort(distances, pairs, sizeof(double), ascending);
    double median = distances[pairs / 2];
    free(distances);
    return median;
}
