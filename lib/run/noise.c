/* SPDX-License-Identifier: MIT */
/*
 * Where a run's random numbers come from: the library's own counter, or PyTorch's generators. Each image has a
 * generator of its own seed, so that it does not depend on what is made beside it. Called by create.c, step.c, state.c.
 */
#include <math.h>

#include "kernel/kernel.h"
#include "run/run.h"
#include "support/rng.h"

/* Values of native noise in a piece of work: 10 us on a core, less is not worth waking another for. */
enum { CHUNK_VALUES = 16384, PATH_VALUES = 512 };

/* Stream of the offsets: the latent has stream 0, the fresh noise of step i stream i + 1. */
static const uint32_t offset_stream = UINT32_MAX;

dqg_status dqg_run_set_noise(struct dqg_run *run, const struct dqg_run_config *config) {
    if (config->seed_count > 0 && (size_t)config->seed_count != run->images) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "%d seeds for %zu samples: give one for each",
                        (int)config->seed_count, run->images);
    }
    int32_t variations = config->variation_seed_count;
    if (variations > 1 && (size_t)variations != run->images) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT,
                        "%d variation-seeds for %zu samples: give one, or one for each", (int)variations, run->images);
    }
    if (variations == 0 && config->variation_strength > 0) {
        return dqg_fail(run->context, DQG_ERROR_ARGUMENT, "variation-strength is %g, but there are no variation-seeds",
                        config->variation_strength);
    }
    run->noise = config->noise;
    run->offset_noise = config->offset_noise > 0;
    run->noise_path = config->noise_path;
    return DQG_OK;
}

size_t dqg_run_generators(const struct dqg_run *run) {
    return run->noise == DQG_NOISE_TORCH_CPU ? run->images : 0;
}

/* A latent of fewer than three dimensions is one channel. */
static size_t channels(const struct dqg_run *run) {
    return run->rank >= 3 ? (size_t)run->shape[1] : 1;
}

/* Values of one image in its draw of this number, which is the same for all images. */
static size_t draw_size(const struct dqg_run *run, uint64_t draw) {
    return draw == 1 && run->offset_noise ? channels(run) : run->image_size;
}

/* Generators to the beginning of their seeds. */
static void rewind_generators(struct dqg_run *run) {
    for (size_t i = 0; i < dqg_run_generators(run); i++) {
        dqg_torch_seed(&run->generators[i], run->seeds[i]);
    }
    run->draws = 0;
}

struct native_draw {
    const struct dqg_run *run;
    const struct dqg_draw *path; /* of the noise path between its ends, or NULL */
    uint32_t stream;
    float *out;           /* [images][count] */
    size_t count, chunks; /* of an image */
};

static void draw_chunk(void *task, size_t index, size_t lane) {
    const struct native_draw *t = task;
    const struct dqg_kernels *kernels = t->run->context->kernels;
    size_t chunk = t->path != NULL ? PATH_VALUES : CHUNK_VALUES;
    size_t image = index / t->chunks, first = index % t->chunks * chunk;
    size_t count = dqg_min_size(chunk, t->count - first);
    float *out = t->out + image * t->count + first;
    (void)lane;
    if (t->path != NULL) {
        dqg_kernels_path(kernels, t->run->seeds[image], t->path->from, t->path->to, first, out, count);
    } else {
        dqg_kernels_normal(kernels, t->run->seeds[image], t->stream, first, out, count);
    }
}

static void draw_native(const struct dqg_run *run, const struct dqg_draw *path, uint32_t stream, float *out,
                        size_t count) {
    size_t chunk = path != NULL ? PATH_VALUES : CHUNK_VALUES;
    struct native_draw task = {run, path, stream, out, count, (count + chunk - 1) / chunk};
    dqg_parallel(run->context, run->images * task.chunks, draw_chunk, &task);
}

/* The next draw of all images, next to each other in out. Native numbers are found by their stream alone. */
static void draw(struct dqg_run *run, uint32_t stream, float *out) {
    size_t count = draw_size(run, run->draws);
    if (run->noise == DQG_NOISE_NATIVE) {
        draw_native(run, NULL, stream, out, count);
    }
    for (size_t i = 0; i < run->images; i++, out += count) {
        if (run->noise == DQG_NOISE_TORCH_CPU) {
            dqg_torch_normal(&run->generators[i], out, count);
        } else if (run->noise == DQG_NOISE_TORCH_CUDA) {
            dqg_torch_normal_cuda(run->seeds[i], run->draws, out, count);
        }
    }
    run->draws++;
}

void dqg_run_replay_noise(struct dqg_run *run, uint64_t draws) {
    rewind_generators(run);
    for (; run->draws < draws; run->draws++) {
        for (size_t i = 0; i < dqg_run_generators(run); i++) {
            dqg_torch_skip(&run->generators[i], draw_size(run, run->draws));
        }
    }
}

void dqg_run_white_noise(struct dqg_run *run, int32_t index, float *buffer) {
    draw(run, (uint32_t)index + 1, buffer);
}

void dqg_run_fresh_noise(void *user, const struct dqg_draw *request, float *buffer, size_t n) {
    struct dqg_run *run = user;
    DQG_ASSERT(n == run->size);
    (void)n;
    if (!run->noise_path) {
        dqg_run_white_noise(run, request->index, buffer);
        return;
    }
    draw_native(run, request, 0, buffer, run->image_size);
}

/* ---- the initial latent ---- */

/* Image i gets the i-th seed; one seed serves all; without seeds it is first + i. */
static void use_seeds(struct dqg_run *run, const int64_t *seeds, int32_t count, int64_t first) {
    for (size_t i = 0; i < run->images; i++) {
        run->seeds[i] = count > 0 ? (uint64_t)seeds[count > 1 ? i : 0] : (uint64_t)first + i;
    }
    rewind_generators(run);
}

/*
 * a moves the share t of the way to b on the arc between them, which keeps the norm that noise has; a straight line
 * where there is no angle to speak of.
 */
static void interpolate(float *a, const float *b, size_t count, double t) {
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < count; i++) {
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
        ab += (double)a[i] * b[i];
    }
    double norms = sqrt(aa * bb);
    double angle = norms > 0 ? acos(fmin(fmax(ab / norms, -1), 1)) : 0;
    double sine = sin(angle);
    bool arc = sine > 1e-6;
    double from = arc ? sin((1 - t) * angle) / sine : 1 - t;
    double to = arc ? sin(t * angle) / sine : t;
    for (size_t i = 0; i < count; i++) {
        a[i] = (float)(from * a[i] + to * b[i]);
    }
}

/* One more normal for each channel of each image, times amount. */
static void add_offset(struct dqg_run *run, float amount) {
    size_t plane = run->image_size / channels(run);
    draw(run, offset_stream, run->scratch);
    for (size_t i = 0; i < run->size; i++) {
        run->latent[i] += amount * run->scratch[i / plane];
    }
}

void dqg_run_next_seeds(struct dqg_run *run) {
    for (size_t i = 0; i < run->images; i++) {
        /* splitmix64 (Steele et al. 2014): seeds that lie beside each other do not afterwards */
        uint64_t z = run->seeds[i] + 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        run->seeds[i] = z ^ (z >> 31);
    }
    rewind_generators(run);
}

void dqg_run_reseed(struct dqg_run *run, int64_t seed) {
    use_seeds(run, &seed, 1, 0);
    draw(run, 0, run->latent);
    dqg_run_scale_start(run);
}

void dqg_run_first_noise(struct dqg_run *run, const struct dqg_run_config *config) {
    double strength = config->variation_strength;
    if (strength > 0) {
        use_seeds(run, config->variation_seeds, config->variation_seed_count, 0);
        draw(run, 0, run->scratch);
    }
    use_seeds(run, config->seeds, config->seed_count, config->seed);
    draw(run, 0, run->latent);
    for (size_t i = 0; strength > 0 && i < run->images; i++) {
        interpolate(run->latent + i * run->image_size, run->scratch + i * run->image_size, run->image_size, strength);
    }
    if (run->offset_noise) {
        add_offset(run, (float)config->offset_noise);
    }
    for (size_t i = 0; i < run->images; i++) {
        dqg_sched_shape_noise(&run->scheduler->sched, run->seeds[i], run->latent + i * run->image_size,
                              run->image_size);
    }
}
