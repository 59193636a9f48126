/* SPDX-License-Identifier: MIT */
/* The public call that tells the memory of encoding, denoising and decoding beforehand. */
#include "api/api.h"
#include "model/pipeline.h"

/* Two prompts of one chunk, with copies of what is made of them. */
static dqg_status tell_encoding(struct dqg_context *context, const dqg_model *model, uint64_t *bytes) {
    static const char *const texts[] = {"", ""};
    const struct dqg_prompts prompts = {.texts = texts, .count = DQG_COUNT_OF(texts), .plain = true};
    struct dqg_encoding encoding;
    if (model->hyper.context_width == 0) {
        return DQG_OK;
    }
    dqg_status status = dqg_encoding_prepare(context, model, &prompts, &encoding);
    if (status >= 0) {
        status = dqg_encoding_bytes(&encoding, bytes);
        *bytes += prompts.count * sizeof(float) *
                  (encoding.rows * (model->hyper.context_width + 1) + model->hyper.pooled_width);
    }
    dqg_encoding_free(&encoding);
    if (status == DQG_ERROR_UNSUPPORTED) { /* no prompts: the host has rows of its own */
        dqg_error_clear(context);
        status = DQG_OK;
    }
    return status;
}

static dqg_status tell_decoding(struct dqg_context *context, const dqg_model *model, const dqg_options *options,
                                const dqg_picture_spec *spec, uint64_t *bytes) {
    const struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_model *autoencoder = dqg_model_autoencoder(model);
    dqg_memory_info memory;
    dqg_tensor_view latent;
    DQG_INIT(&memory);
    DQG_INIT(&latent);
    if (autoencoder == NULL || autoencoder->hyper.hidden == 0) {
        return DQG_OK;
    }
    int64_t height = dqg_option(options, DQG_RUN_HEIGHT).integer, width = dqg_option(options, DQG_RUN_WIDTH).integer;
    latent.dtype = DQG_DTYPE_F32;
    latent.rank = 4;
    latent.shape[0] = 1;
    latent.shape[1] = (int64_t)autoencoder->hyper.channels;
    latent.shape[2] = height > 0 ? height : (int64_t)hyper->height;
    latent.shape[3] = width > 0 ? width : (int64_t)hyper->width;
    DQG_TRY(dqg_model_decode(context, model, &latent, spec, NULL, &memory));
    *bytes = memory.run_bytes;
    return DQG_OK;
}

dqg_status dqg_model_phase_memory(dqg_context *context, const dqg_model *model, const dqg_scheduler *scheduler,
                                  const dqg_options *options, const dqg_picture_spec *spec, dqg_phase_memory *memory) {
    dqg_phase_memory filled = {0};
    dqg_memory_info run;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, model, "model"));
    DQG_TRY(dqg_need(context, memory, "memory"));
    DQG_INIT(&run);
    DQG_TRY(dqg_model_memory(context, model, scheduler, options, &run));
    filled.model_bytes = run.model_bytes;
    filled.denoise_bytes = run.run_bytes;
    DQG_TRY(tell_decoding(context, model, options, spec, &filled.decode_bytes));
    DQG_TRY(tell_encoding(context, model, &filled.encode_bytes));
    uint64_t most = filled.encode_bytes > filled.denoise_bytes ? filled.encode_bytes : filled.denoise_bytes;
    filled.peak_bytes = filled.model_bytes + (filled.decode_bytes > most ? filled.decode_bytes : most);
    return dqg_record_return(context, memory, &filled, sizeof filled);
}
