/* SPDX-License-Identifier: MIT */
/*
 * What a .dqg file of several networks says beside their weights: how they fit together, as far as it is known, and
 * tokenizers that the caller names because the checkpoint has none. Called by convert.c.
 */
#include "model/pipeline.h"
#include "quant/quant.h"

struct packer {
    struct dqg_quantizer *quantizer;
    const struct dqg_model *model; /* described */
    struct dqg_metadata *list;
    size_t *count;
};

static dqg_status add(struct packer *packer, const char *key, const char *value, size_t length) {
    struct dqg_context *context = packer->quantizer->context;
    struct dqg_arena *arena = &packer->quantizer->report_arena;
    struct dqg_metadata entry = {dqg_arena_copy(&context->alloc, arena, key, strlen(key)),
                                 dqg_arena_copy(&context->alloc, arena, value, length)};
    if (entry.key == NULL || entry.value == NULL) {
        return dqg_fail_memory(context, "metadata", length);
    }
    for (size_t i = 0; i < *packer->count; i++) {
        if (strcmp(packer->list[i].key, key) == 0) {
            packer->list[i].value = entry.value;
            return DQG_OK;
        }
    }
    packer->list[(*packer->count)++] = entry;
    return DQG_OK;
}

static bool has(const struct packer *packer, const char *key) {
    for (size_t i = 0; i < *packer->count; i++) {
        if (strcmp(packer->list[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

static dqg_status pack(struct packer *packer, const struct dqg_model *encoder, struct dqg_tokenizer *tokenizer,
                       bool padded) {
    struct dqg_context *context = packer->quantizer->context;
    struct dqg_text text = {.alloc = &context->alloc};
    char key[sizeof encoder->role + 16];
    if (!padded && encoder->hyper.activation == DQG_ACT_GELU_ERF && encoder->hyper.positions > 0) {
        dqg_tokenizer_set_pad(tokenizer, "!"); /* OpenCLIP pads with its first token */
    }
    dqg_format(key, sizeof key, "%s/tokenizer", encoder->role);
    dqg_status status = dqg_tokenizer_pack(context, tokenizer, &text);
    if (status >= 0) {
        status = add(packer, key, text.data, text.length);
    }
    dqg_text_free(&text);
    return status;
}

/* With a role for that encoder, without one for all of its kind that have none. */
static dqg_status pack_for(struct packer *packer, const struct dqg_tokenizer_path *wanted,
                           struct dqg_tokenizer *tokenizer, bool padded) {
    bool byte_pairs = dqg_tokenizer_kind(tokenizer) == DQG_TOKENIZER_BYTE_PAIR, found = false;
    for (size_t i = 0; i <= packer->model->part_count; i++) {
        const struct dqg_model *part = i == 0 ? packer->model : packer->model->parts[i - 1];
        char key[sizeof part->role + 16];
        bool named = wanted->role != NULL && strcmp(part->role, wanted->role) == 0;
        bool fits = part->hyper.vocabulary > 0 && (part->hyper.positions > 0) == byte_pairs;
        dqg_format(key, sizeof key, "%s/tokenizer", part->role);
        if (fits && (named || (wanted->role == NULL && !has(packer, key)))) {
            DQG_TRY(pack(packer, part, tokenizer, padded));
        }
        found = found || (fits && (named || wanted->role == NULL));
    }
    return found ? DQG_OK
                 : dqg_fail(packer->quantizer->context, DQG_ERROR_NAME,
                            "the tokenizer %s is one of %s, but the checkpoint has no such text encoder%s%s",
                            wanted->path, byte_pairs ? "CLIP" : "T5", wanted->role != NULL ? " called " : "",
                            wanted->role != NULL ? wanted->role : "");
}

/* Those with a role come first. */
static dqg_status pack_tokenizers(struct packer *packer) {
    struct dqg_context *context = packer->quantizer->context;
    for (int named = 1; named >= 0; named--) {
        for (const struct dqg_tokenizer_path *path = packer->quantizer->tokenizers; path != NULL; path = path->next) {
            struct dqg_tokenizer *tokenizer;
            bool padded;
            if ((path->role != NULL) != (named == 1)) {
                continue;
            }
            DQG_TRY(dqg_tokenizer_of_path(context, path->path, &tokenizer, &padded));
            dqg_status status = pack_for(packer, path, tokenizer, padded);
            dqg_tokenizer_destroy(tokenizer);
            DQG_TRY(status);
        }
    }
    return DQG_OK;
}

static dqg_status write_all(struct packer *packer) {
    for (size_t i = 0; i < packer->model->metadata_count; i++) {
        const struct dqg_metadata *entry = &packer->model->metadata[i];
        if (strncmp(entry->key, "pipeline.", strlen("pipeline.")) == 0 ||
            dqg_ends_with(entry->key, "/scaling_factor") || dqg_ends_with(entry->key, "/shift_factor")) {
            DQG_TRY(add(packer, entry->key, entry->value, strlen(entry->value)));
        }
    }
    return pack_tokenizers(packer);
}

static const char *find_variant(const struct dqg_quantizer *quantizer) {
    const char *variant = NULL;
    for (size_t i = 0; i < quantizer->metadata_count; i++) {
        variant = strcmp(quantizer->metadata[i].key, "variant") == 0 ? quantizer->metadata[i].value : variant;
    }
    return variant;
}

dqg_status dqg_quantizer_add_components(struct dqg_quantizer *quantizer, struct dqg_checkpoint *checkpoint,
                                        struct dqg_metadata *list, size_t *count) {
    struct dqg_model *model;
    if (checkpoint->count == 1 && quantizer->tokenizers == NULL) {
        return DQG_OK;
    }
    DQG_TRY(dqg_model_describe(quantizer->context, checkpoint, NULL, 0, find_variant(quantizer), &model));
    struct packer packer = {quantizer, model, list, count};
    dqg_status status = write_all(&packer);
    dqg_model_free(model);
    return status;
}
