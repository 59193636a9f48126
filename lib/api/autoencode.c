/* SPDX-License-Identifier: MIT */
/* The public calls between latents and pictures: checks, scales, random numbers. lib/model/autoencoder.c does the work.
 */
#include <math.h>

#include "api/api.h"
#include "model/autoencoder.h"
#include "model/settings.h"
#include "run/run.h"
#include "support/rng.h"
#include "tensor/view.h"

enum { DEFAULT_OVERLAP = 8, MOST_OVERLAP = 64, MOST_SAMPLES = 4096, MOST_SIDE = 8192 /* of a latent */ };

/* One call. */
struct call {
    struct dqg_context *context;
    const struct dqg_model *whole; /* the caller's */
    const struct dqg_model *model; /* the autoencoder of it */
    dqg_picture_spec spec;
    struct dqg_autoencode job;
    size_t samples, encoded; /* encoded: columns that encoding gives */
    size_t latent, picture;  /* values of a sample */
    float *in, *work, *out;
    size_t in_count, work_count, out_count;
};

/* Where the caller does not say: what the file says of its autoencoder; of TAESD the latents as they are; what the
 * denoiser beside it was trained on; Stable Diffusion's. */
static dqg_status find_scale(struct call *call) {
    dqg_picture_spec *spec = &call->spec;
    const struct dqg_hyper *own = &call->model->hyper, *denoiser = &call->whole->hyper;
    if (!isfinite(spec->scale) || !isfinite(spec->shift) || spec->scale < 0) {
        return dqg_fail(call->context, DQG_ERROR_RANGE, "scale: %g and shift: %g must be numbers, scale not below 0",
                        spec->scale, spec->shift);
    }
    if (spec->scale > 0) {
        return DQG_OK;
    }
    spec->shift = 0;
    if (dqg_model_number(call->model, "vae", "scaling_factor", &spec->scale) && spec->scale > 0) {
        spec->shift = dqg_model_number(call->model, "vae", "shift_factor", &spec->shift) ? spec->shift : 0;
    } else if (own->latent_limit > 0) {
        spec->scale = 1;
    } else if (denoiser->latent_scale > 0) {
        spec->scale = denoiser->latent_scale;
        spec->shift = denoiser->latent_shift;
    } else if (own->channels == 4) {
        spec->scale = 0.18215;
        dqg_log(call->context, DQG_LOG_WARNING,
                "nothing tells the scale of this autoencoder's latents: it is taken for that of Stable Diffusion 1 or "
                "2, 0.18215; for SDXL or PixArt Sigma give scale 0.13025");
    } else {
        return dqg_fail(call->context, DQG_ERROR_RANGE,
                        "scale: this autoencoder's is not known, give scale and shift (SD3: 1.5305 and 0.0609, FLUX: "
                        "0.3611 and 0.1159)");
    }
    return DQG_OK;
}

static dqg_status check_spec(struct call *call, const dqg_picture_spec *spec) {
    struct dqg_context *context = call->context;
    DQG_INIT(&call->spec);
    if (spec != NULL && spec->struct_size < sizeof *spec) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "spec: not a picture spec (use DQG_INIT, then fill it in)");
    }
    call->spec = spec != NULL ? *spec : call->spec;
    if ((call->spec.flags & ~(uint32_t)DQG_PICTURE_SAMPLE) != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "spec: unknown flags");
    }
    if (call->spec.tile < 0 || call->spec.overlap < 0 || call->spec.overlap > MOST_OVERLAP) {
        return dqg_fail(context, DQG_ERROR_RANGE, "tile: %d must not be below 0, overlap: %d not outside 0..%d",
                        (int)call->spec.tile, (int)call->spec.overlap, (int)MOST_OVERLAP);
    }
    call->job.tile = (size_t)call->spec.tile;
    call->job.overlap = call->spec.overlap > 0 ? (size_t)call->spec.overlap : DEFAULT_OVERLAP;
    return find_scale(call);
}

/* The view that gives the sizes, and the other, whose sizes follow. */
static dqg_status check_views(struct call *call, const dqg_tensor_view *in, const dqg_tensor_view *out) {
    const struct dqg_hyper *hyper = &call->model->hyper;
    bool decode = call->job.decode;
    size_t channels[2] = {decode ? hyper->channels : hyper->out_channels,
                          decode ? hyper->out_channels : hyper->channels};
    int64_t unit = decode ? 1 : (int64_t)hyper->reduction;
    const char *names[2] = {decode ? "latents" : "pictures", decode ? "pictures" : "latents"};
    if (in->struct_size < sizeof *in || in->rank != 4 || in->shape[0] < 1 || in->shape[0] > MOST_SAMPLES ||
        in->shape[2] < unit || in->shape[2] > MOST_SIDE * unit || in->shape[3] < unit ||
        in->shape[3] > MOST_SIDE * unit) {
        return dqg_fail(call->context, DQG_ERROR_ARGUMENT, "%s: the shape must be (samples, %zu, height, width)",
                        names[0], channels[0]);
    }
    if (in->shape[2] % unit != 0 || in->shape[3] % unit != 0) {
        return dqg_fail(call->context, DQG_ERROR_RANGE, "%s: height %lld and width %lld must be multiples of %lld",
                        names[0], (long long)in->shape[2], (long long)in->shape[3], (long long)unit);
    }
    call->samples = (size_t)in->shape[0];
    call->job.height = (size_t)(in->shape[2] / unit);
    call->job.width = (size_t)(in->shape[3] / unit);
    size_t pixels = call->job.height * call->job.width;
    call->latent = pixels * hyper->channels;
    call->picture = pixels * hyper->reduction * hyper->reduction * hyper->out_channels;
    if (out == NULL) {
        return DQG_OK;
    }
    int64_t times = (int64_t)hyper->reduction;
    int64_t shape[4] = {in->shape[0], (int64_t)channels[0], in->shape[2], in->shape[3]};
    DQG_TRY(dqg_view_check(call->context, in, names[0], 4, shape));
    shape[1] = (int64_t)channels[1];
    for (int axis = 2; axis < 4; axis++) {
        shape[axis] = decode ? shape[axis] * times : shape[axis] / times;
    }
    return dqg_view_check(call->context, out, names[1], 4, shape);
}

/* ---- values ---- */

/* The autoencoder's own latent of the diffusion model's. */
static void prepare_latent(const struct call *call, float *latent) {
    double limit = call->model->hyper.latent_limit;
    for (size_t i = 0; i < call->latent; i++) {
        double z = (double)latent[i] / call->spec.scale + call->spec.shift;
        latent[i] = (float)(limit > 0 ? limit * tanh(z / limit) : z);
    }
}

/* Rows of colours to planes of 0..1. */
static void finish_picture(const struct call *call, const float *rows, float *planes) {
    size_t colours = call->model->hyper.out_channels, pixels = call->picture / colours;
    for (size_t c = 0; c < colours; c++) {
        for (size_t i = 0; i < pixels; i++) {
            float value = rows[i * colours + c];
            value = call->model->hyper.signed_picture ? value * 0.5f + 0.5f : value;
            planes[c * pixels + i] = value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f; /* NaN becomes 0 */
        }
    }
}

static void prepare_picture(const struct call *call, float *picture) {
    for (size_t i = 0; i < call->picture && call->model->hyper.signed_picture; i++) {
        picture[i] = picture[i] * 2.0f - 1.0f;
    }
}

/* Rows of means and logarithms of variances, or of latents, to planes of latents; noise is in the planes. */
static void finish_latent(const struct call *call, const float *rows, float *planes) {
    size_t channels = call->model->hyper.channels, pixels = call->latent / channels, columns = call->encoded;
    bool sample = columns == 2 * channels && (call->spec.flags & DQG_PICTURE_SAMPLE) != 0;
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; i < pixels; i++) {
            double z = (double)rows[i * columns + c], noise = (double)planes[c * pixels + i];
            if (sample) {
                double log_variance = fmin(fmax((double)rows[i * columns + channels + c], -30), 20);
                z += exp(0.5 * log_variance) * noise;
            }
            planes[c * pixels + i] = (float)((z - call->spec.shift) * call->spec.scale);
        }
    }
}

static dqg_status run_sample(struct call *call, size_t sample) {
    struct dqg_autoencode *job = &call->job;
    float *in = call->in + sample * (job->decode ? call->latent : call->picture);
    float *out = call->out + sample * (job->decode ? call->picture : call->latent);
    job->in = in;
    job->out = call->work;
    if (job->decode) {
        prepare_latent(call, in);
    } else {
        prepare_picture(call, in);
    }
    DQG_TRY(dqg_autoencode(call->context, call->model, job));
    if (job->decode) {
        finish_picture(call, call->work, out);
        return DQG_OK;
    }
    if ((call->spec.flags & DQG_PICTURE_SAMPLE) != 0) {
        dqg_rng_normal((uint64_t)call->spec.seed + sample, 0, out, call->latent);
    }
    finish_latent(call, call->work, out);
    return DQG_OK;
}

/* ---- memory ---- */

static dqg_status tell_memory(struct call *call, dqg_memory_info *memory) {
    uint64_t bytes;
    DQG_TRY(dqg_autoencode_bytes(call->context, call->model, &call->job, &bytes));
    bytes += (call->in_count + call->work_count + call->out_count) * sizeof(float);
    dqg_memory_info info = {.run_bytes = dqg_model_use_bytes(call->model, bytes),
                            .model_bytes = dqg_model_loaded_bytes(call->model)};
    return dqg_record_return(call->context, memory, &info, sizeof info);
}

static dqg_status count_values(struct call *call) {
    bool decode = call->job.decode;
    size_t pixels = call->job.height * call->job.width;
    if (!decode) {
        DQG_TRY(dqg_autoencoder_columns(call->context, call->model, &call->encoded));
        if (call->encoded != call->model->hyper.channels && call->encoded != 2 * call->model->hyper.channels) {
            return dqg_fail(call->context, DQG_ERROR_FORMAT, "the encoder gives %zu channels for latents of %zu",
                            call->encoded, call->model->hyper.channels);
        }
    }
    call->work_count = decode ? call->picture : pixels * call->encoded;
    call->in_count = call->samples * (decode ? call->latent : call->picture);
    call->out_count = call->samples * (decode ? call->picture : call->latent);
    return DQG_OK;
}

static dqg_status run_samples(struct call *call, const dqg_tensor_view *in, const dqg_tensor_view *out) {
    const struct dqg_alloc *alloc = &call->context->alloc;
    dqg_status status = DQG_OK;
    call->in = dqg_malloc(alloc, call->in_count * sizeof(float));
    call->work = dqg_malloc(alloc, call->work_count * sizeof(float));
    call->out = dqg_malloc(alloc, call->out_count * sizeof(float));
    if (call->in == NULL || call->work == NULL || call->out == NULL) {
        status = dqg_fail_memory(call->context, "the pictures",
                                 (call->in_count + call->work_count + call->out_count) * sizeof(float));
    } else {
        dqg_view_read(in, call->in);
        memset(call->out, 0, call->out_count * sizeof(float));
    }
    for (size_t sample = 0; sample < call->samples && status >= 0; sample++) {
        status = run_sample(call, sample);
    }
    if (status >= 0) {
        dqg_view_write(out, call->out);
    }
    dqg_free(alloc, call->in, call->in_count * sizeof(float));
    dqg_free(alloc, call->work, call->work_count * sizeof(float));
    dqg_free(alloc, call->out, call->out_count * sizeof(float));
    return status;
}

static dqg_status run_held(struct call *call, const dqg_tensor_view *in, const dqg_tensor_view *out) {
    struct dqg_held held;
    DQG_TRY(dqg_model_hold(call->context, call->model, &held));
    call->model = held.network;
    dqg_status status = run_samples(call, in, out);
    dqg_model_let_go(&held);
    return status;
}

static dqg_status convert(struct dqg_context *context, const dqg_model *model, bool decode, const dqg_tensor_view *in,
                          const dqg_picture_spec *spec, const dqg_tensor_view *out, dqg_memory_info *memory) {
    struct call call = {.context = context, .whole = model, .job = {.decode = decode}};
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, in, decode ? "latents" : "pictures"));
    DQG_TRY(out == NULL && memory == NULL ? dqg_need(context, out, decode ? "pictures" : "latents") : DQG_OK);
    call.model = dqg_model_autoencoder(model);
    if (call.model == NULL || (decode ? call.model->hyper.hidden : call.model->hyper.encoded) == 0) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "this %s model has no %s", model->family->name,
                        decode ? "decoder of pictures" : "encoder of pictures");
    }
    DQG_TRY(check_spec(&call, spec));
    DQG_TRY(check_views(&call, in, out));
    DQG_TRY(count_values(&call));
    DQG_TRY(memory != NULL ? tell_memory(&call, memory) : DQG_OK);
    return out != NULL ? run_held(&call, in, out) : DQG_OK;
}

dqg_status dqg_model_decode(dqg_context *context, const dqg_model *model, const dqg_tensor_view *latents,
                            const dqg_picture_spec *spec, const dqg_tensor_view *pictures, dqg_memory_info *memory) {
    return convert(context, model, true, latents, spec, pictures, memory);
}

dqg_status dqg_model_encode(dqg_context *context, const dqg_model *model, const dqg_tensor_view *pictures,
                            const dqg_picture_spec *spec, const dqg_tensor_view *latents, dqg_memory_info *memory) {
    return convert(context, model, false, pictures, spec, latents, memory);
}
