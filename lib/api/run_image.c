/* SPDX-License-Identifier: MIT */
/* The public call that makes an image of a run's latent: as it is, or decoded by the autoencoder of the model's file.
 */
#include "api/api.h"
#include "run/run.h"
#include "tensor/format.h"

enum { COLOURS = 3, WHOLE_SIDE = 128, TILE_SIDE = 64 /* of latents: larger ones are decoded in tiles */ };

/* times: sides of the picture to those of the latent. */
static dqg_status check_image(dqg_run *run, int64_t times, const dqg_image_view *image) {
    struct dqg_context *context = run->context;
    DQG_TRY(dqg_need(context, image, "image"));
    if (image->struct_size < sizeof *image || image->flags != 0 || image->reserved != 0 || image->data == NULL) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "image: not an image view (use DQG_INIT, then fill it in)");
    }
    if (image->height != times * run->shape[2] || image->width != times * run->shape[3]) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "image: the run makes %lld x %lld pixels, the view has %d x %d",
                        (long long)(times * run->shape[3]), (long long)(times * run->shape[2]), (int)image->width,
                        (int)image->height);
    }
    if (image->channels < 1 || image->channels > 4) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "image: %d channels; 1 to 4 are possible", (int)image->channels);
    }
    if (image->dtype != DQG_DTYPE_U8 && image->dtype != DQG_DTYPE_U16 && image->dtype != DQG_DTYPE_F32) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "image: dtype %d is not U8, U16 or F32", (int)image->dtype);
    }
    if (image->alpha != DQG_ALPHA_STRAIGHT && image->alpha != DQG_ALPHA_PREMULTIPLIED) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "image: alpha %d is not one of DQG_ALPHA_*", (int)image->alpha);
    }
    int64_t row_bytes = (int64_t)image->width * image->channels * (int64_t)dqg_dtype_size(image->dtype);
    if (image->row_stride != 0 && image->row_stride < row_bytes && image->row_stride > -row_bytes) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "image: rows of %lld bytes overlap with a stride of %lld",
                        (long long)row_bytes, (long long)image->row_stride);
    }
    return DQG_OK;
}

/* Previews are for a small autoencoder that works on latents as they are, where there is one. */
static const struct dqg_model *find_decoder(const dqg_run *run, int32_t source) {
    const struct dqg_model *model = run->pipeline, *found = dqg_model_autoencoder(model);
    for (size_t i = 0; source == DQG_SOURCE_X0 && i < model->part_count; i++) {
        const struct dqg_hyper *hyper = &model->parts[i]->hyper;
        found = hyper->latent_limit > 0 && hyper->hidden > 0 ? model->parts[i] : found;
    }
    return found;
}

static dqg_status decode(dqg_run *run, const struct dqg_model *decoder, const float *from,
                         const dqg_image_view *image) {
    struct dqg_context *context = run->context;
    size_t count = (size_t)image->height * (size_t)image->width * COLOURS;
    dqg_picture_spec spec;
    dqg_tensor_view latent, picture;
    DQG_INIT(&spec);
    DQG_INIT(&latent);
    DQG_INIT(&picture);
    bool whole = run->shape[2] <= WHOLE_SIDE && run->shape[3] <= WHOLE_SIDE;
    spec.tile = whole ? 0 : TILE_SIDE;
    float *pixels = dqg_malloc(&context->alloc, run->image_size * sizeof *pixels);
    float *colours = dqg_malloc(&context->alloc, count * sizeof *colours);
    latent.data = pixels;
    picture.data = colours;
    latent.dtype = picture.dtype = DQG_DTYPE_F32;
    latent.rank = picture.rank = 4;
    memcpy(latent.shape, run->shape, 4 * sizeof *run->shape);
    latent.shape[0] = picture.shape[0] = 1;
    picture.shape[1] = COLOURS;
    picture.shape[2] = image->height;
    picture.shape[3] = image->width;
    dqg_status status = DQG_OK;
    if (pixels == NULL || colours == NULL) {
        status = dqg_fail_memory(context, "the picture", (count + run->image_size) * sizeof(float));
    } else {
        memcpy(pixels, from, run->image_size * sizeof *pixels);
        status = dqg_model_decode(context, decoder, &latent, &spec, &picture, NULL);
    }
    for (size_t i = 0; status >= 0 && i < count; i++) {
        colours[i] = colours[i] * 2 - 1;
    }
    if (status >= 0) {
        dqg_convert_image(colours, COLOURS, false, image);
    }
    dqg_free(&context->alloc, colours, count * sizeof *colours);
    dqg_free(&context->alloc, pixels, run->image_size * sizeof *pixels);
    return status;
}

dqg_status dqg_run_read_image(dqg_run *run, int32_t index, int32_t source, const dqg_image_view *image) {
    const float *from = NULL;
    if (run == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(run->context);
    bool plain = run->model != NULL && run->model->image_layout != DQG_IMAGE_NONE;
    const struct dqg_model *decoder = run->pipeline != NULL && !plain ? find_decoder(run, source) : NULL;
    if (!plain && (decoder == NULL || decoder->hyper.channels != run->model->hyper.channels)) {
        return dqg_fail(run->context, DQG_ERROR_UNSUPPORTED,
                        "this run's latent is not a picture, and the model's file has no autoencoder for it; read it "
                        "with dqg_run_read() and decode it");
    }
    DQG_TRY(dqg_run_pick(run, source, &from));
    if (index < 0 || (size_t)index >= run->images) {
        return dqg_fail(run->context, DQG_ERROR_RANGE, "index: %d is outside 0..%zu", (int)index, run->images - 1);
    }
    DQG_TRY(check_image(run, plain ? 1 : (int64_t)decoder->hyper.reduction, image));
    from += (size_t)index * run->image_size;
    if (!plain) {
        return decode(run, decoder, from, image);
    }
    dqg_convert_image(from, run->model->hyper.channels, run->model->image_layout == DQG_IMAGE_PREMULTIPLIED, image);
    return DQG_OK;
}
