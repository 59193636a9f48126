/* SPDX-License-Identifier: MIT */
/*
 * Layer 5, measure: how long operators and networks take, on data made here, beside the most the processor can do. A
 * probe is one thing to time: a maker fills it, timing.c calls it again and again. Called by lib/api/measure.c.
 */
#ifndef DQG_MEASURE_H
#define DQG_MEASURE_H

#include "ops/ops.h"

struct dqg_probe {
    struct dqg_context *context;
    const dqg_measure_spec *spec;
    struct dqg_arena arena; /* everything but weights */
    struct dqg_ops ops;
    struct dqg_weight *weights; /* copies that calls take in turn */
    size_t weight_count, turn;
    void *task; /* the maker's own */

    void (*call)(struct dqg_probe *probe);
    dqg_status (*compare)(struct dqg_probe *probe); /* sets error after a call; NULL where there is nothing to say */
    uint64_t (*ceiling)(uint64_t rounds);           /* of the arithmetic that counts, or NULL */
    double operations, bytes;                       /* of one call */
    double error;                                   /* relative; below 0: not known */
};

/* ---- makers: each checks the spec's sizes, takes memory and sets call, operations and what else it knows ---- */

dqg_status dqg_probe_ceiling(struct dqg_probe *probe); /* all of them */
dqg_status dqg_probe_bandwidth(struct dqg_probe *probe);
dqg_status dqg_probe_linear(struct dqg_probe *probe);
dqg_status dqg_probe_conv(struct dqg_probe *probe);
dqg_status dqg_probe_decode(struct dqg_probe *probe);
dqg_status dqg_probe_norm(struct dqg_probe *probe); /* layer and RMS norm */
dqg_status dqg_probe_group_norm(struct dqg_probe *probe);
dqg_status dqg_probe_quantize(struct dqg_probe *probe);
dqg_status dqg_probe_attention(struct dqg_probe *probe);

/* ---- for makers ---- */

/* Fails unless lowest <= value <= highest. */
dqg_status dqg_probe_range(struct dqg_probe *probe, const char *name, int64_t value, int64_t lowest, int64_t highest);

/* count zeroed elements, DQG_ALIGNMENT-aligned, freed with the probe. Fails with DQG_ERROR_LIMIT beyond a few GB. */
dqg_status dqg_probe_alloc(struct dqg_probe *probe, size_t count, size_t element, void *out);

/* Scratch for all lanes. */
dqg_status dqg_probe_scratch(struct dqg_probe *probe, size_t lane_bytes);

/* The ceiling of products with weights of a dtype. */
uint64_t (*dqg_probe_roof(const struct dqg_probe *probe, int32_t dtype))(uint64_t rounds);

/* Is a convolution a matrix product of its pixels? And how many pixels its result has. */
bool dqg_probe_pointwise(const dqg_measure_spec *spec);
int64_t dqg_probe_pixels(const dqg_measure_spec *spec);

/* Random weights of the spec's format, outputs x inputs (x window), and scratch to work with them: one, or where cold
 * is true as many copies as it takes to find none of them in a cache when its turn comes. */
dqg_status dqg_probe_weights(struct dqg_probe *probe, bool cold);

/* ---- random data ---- */

/* Nearly normal, mean 0, variance 1. Equal seeds give equal numbers. */
void dqg_random_floats(uint64_t seed, float *out, size_t count);

/* A plane (0 codes, 1 scales, 2 zero points) of weights of any format, whose values then have about the given standard
 * deviation; and what the tensor's scale must be for that. */
void dqg_random_plane(uint64_t seed, int32_t dtype, int plane, void *out, size_t bytes, float deviation);
float dqg_random_scale(int32_t dtype, float deviation);

/* All of that for an allocated weight. */
void dqg_random_weight(uint64_t seed, struct dqg_weight *weight, float deviation);

/* ---- timing.c ---- */

dqg_status dqg_measure_run(struct dqg_context *context, const dqg_measure_spec *spec, dqg_measure_result *result);

/* Seconds of some repetitions, sorted, to the result. */
void dqg_measure_summarize(double *seconds, size_t count, dqg_measure_result *result);

/* The ceiling loop on all lanes at once; operations a second. rounds grows until a run takes long enough. */
double dqg_measure_ceiling(struct dqg_context *context, uint64_t (*ceiling)(uint64_t rounds), uint64_t *rounds);

#endif
