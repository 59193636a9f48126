/* SPDX-License-Identifier: MIT */
/*
 * Names of modules in adapters, for every family: a checkpoint whose matrices have each a low-rank update added must be
 * the model that the adapter of all these updates is merged into, tensor by tensor, under the checkpoint's names as
 * PEFT and kohya write them.
 */
#include "context_check.h"
#include "io/io.h"
#include "tensor/format.h"
#include "tensor_file.h"

enum { RANK = 2 };

struct network {
    const char *path;   /* of a checkpoint, under tests/golden */
    const char *dotted; /* in front of modules in PEFT's files, and in kohya's */
    const char *flat;
};

/* Tables are read row by row, and no program adapts them. */
static bool is_table(const char *name) {
    static const char *const tables[] = {"embedding_table", "token_embedding", "position_embedding", "shared.",
                                         "relative_attention_bias"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strstr(name, tables[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void add_metadata(struct tensor_file *file, const struct dqg_source *source) {
    struct dqg_text text = {.alloc = &context->alloc};
    for (size_t i = 0; i < source->metadata_count; i++) {
        dqg_text_add(&text, i > 0 ? "," : "");
        dqg_text_add_json(&text, source->metadata[i].key);
        dqg_text_add(&text, ":");
        dqg_text_add_json(&text, source->metadata[i].value);
    }
    if (source->metadata_count > 0) {
        file->used += (size_t)snprintf(file->header + file->used, sizeof file->header - file->used,
                                       ",\"__metadata__\":{%s}", text.data);
        assert_true(file->used < sizeof file->header);
    }
    dqg_text_free(&text);
}

/* The tensors of an update, and what they add to the matrix data. */
static void add_update(struct tensor_file *adapter, const struct network *network, bool flat,
                       const struct dqg_tensor_desc *desc, unsigned seed, float *data) {
    char module[192], name[256];
    int64_t down_shape[4] = {RANK}, up_shape[4] = {desc->shape[0], RANK, 1, 1};
    size_t columns = 1, rows = (size_t)desc->shape[0];
    snprintf(module, sizeof module, "%.*s", (int)(strlen(desc->name) - strlen(".weight")), desc->name);
    for (char *at = module; *at != '\0' && flat; at++) {
        *at = *at == '.' ? '_' : *at;
    }
    for (int32_t i = 1; i < desc->rank; i++) {
        down_shape[i] = desc->shape[i];
        columns *= (size_t)desc->shape[i];
    }
    float *up = malloc(rows * RANK * sizeof *up);
    tensor_fill(up, rows * RANK, seed, 0.5f);
    snprintf(name, sizeof name, "%s%s%s", flat ? network->flat : network->dotted, module,
             flat ? ".lora_up.weight" : ".lora_B.weight");
    memcpy(tensor_file_add(adapter, name, desc->rank, up_shape), up, rows * RANK * sizeof *up);
    snprintf(name, sizeof name, "%s%s%s", flat ? network->flat : network->dotted, module,
             flat ? ".lora_down.weight" : ".lora_A.weight");
    float *down = tensor_file_add(adapter, name, desc->rank, down_shape);
    tensor_fill(down, RANK * columns, seed + 1, 0.5f);
    for (size_t row = 0; row < rows; row++) {
        for (size_t k = 0; k < columns; k++) {
            for (size_t r = 0; r < RANK; r++) {
                data[row * columns + k] += up[row * RANK + r] * down[r * columns + k];
            }
        }
    }
    free(up);
}

/* The checkpoint in F32, the same with the updates, and these. */
static void make_files(const struct network *network, bool flat, struct tensor_file *plain, struct tensor_file *merged,
                       struct tensor_file *adapter) {
    char path[160];
    struct dqg_source source;
    unsigned seed = 1;
    snprintf(path, sizeof path, "tests/golden/%s", network->path);
    assert_ok(dqg_source_open_path(context, path, &source));
    for (size_t i = 0; i < source.tensor_count; i++) {
        const struct dqg_tensor_desc *desc = &source.tensors[i];
        size_t bytes = (size_t)desc->plane_bytes[0], length = strlen(desc->name);
        size_t count = bytes / dqg_dtype_size(desc->dtype);
        void *raw = malloc(bytes);
        assert_ok(dqg_source_read(&source, i, DQG_PLANE_CODES, 0, raw, bytes));
        float *a = tensor_file_add(plain, desc->name, desc->rank, desc->shape);
        dqg_floats_decode(a, raw, desc->dtype, count);
        float *b = tensor_file_add(merged, desc->name, desc->rank, desc->shape);
        memcpy(b, a, count * sizeof *b);
        if (desc->rank >= 2 && length > 7 && strcmp(desc->name + length - 7, ".weight") == 0 && !is_table(desc->name)) {
            add_update(adapter, network, flat, desc, seed += 2, b);
        }
        free(raw);
    }
    assert_true(seed > 1);
    add_metadata(plain, &source);
    add_metadata(merged, &source);
    dqg_source_close(&source);
    tensor_file_close(plain);
    tensor_file_close(merged);
    tensor_file_close(adapter);
}

static dqg_model *load(const struct network *network, const struct tensor_file *file) {
    dqg_model *model;
    if (dqg_model_load_memory(context, file->bytes, file->size, NULL, &model) != DQG_OK) {
        fail_msg("%s: %s", network->path, dqg_context_error(context));
    }
    return model;
}

static float *read_tensor(const dqg_model *model, const dqg_tensor_info *info, size_t count) {
    float *data = malloc(count * sizeof *data);
    dqg_tensor_view view = view_f32(data, 0, 0, 0, 0);
    view.rank = info->rank;
    memcpy(view.shape, info->shape, sizeof view.shape);
    assert_ok(dqg_model_read_tensor(context, model, info->name, &view));
    return data;
}

static void check_equal(const struct network *network, const dqg_model *adapted, const dqg_model *merged) {
    dqg_tensor_info info;
    for (int32_t i = 0; DQG_INIT(&info), dqg_model_tensor_at(merged, i, &info) == DQG_OK; i++) {
        size_t count = 1;
        for (int32_t side = 0; side < info.rank; side++) {
            count *= (size_t)info.shape[side];
        }
        float *a = read_tensor(adapted, &info, count), *b = read_tensor(merged, &info, count);
        for (size_t k = 0; k < count; k++) {
            if (fabsf(a[k] - b[k]) > 1e-5f) {
                fail_msg("%s: '%s' differs at %zu: %g, wanted %g", network->path, info.name, k, (double)a[k],
                         (double)b[k]);
            }
        }
        free(a);
        free(b);
    }
}

static void check_network(const struct network *network) {
    for (int flat = 0; flat < 2; flat++) {
        struct tensor_file *files = calloc(3, sizeof *files);
        dqg_model *adapted;
        dqg_adaptation adaptation;
        make_files(network, flat, &files[0], &files[1], &files[2]);
        dqg_model *model = load(network, &files[0]), *merged = load(network, &files[1]);
        DQG_INIT(&adaptation);
        adaptation.data = files[2].bytes;
        adaptation.size = files[2].size;
        adaptation.scale = 1;
        adaptation.flags = DQG_ADAPT_MERGE;
        if (dqg_model_adapt(context, model, &adaptation, 1, &adapted) != DQG_OK) {
            fail_msg("%s: %s", network->path, dqg_context_error(context));
        }
        check_equal(network, adapted, merged);
        dqg_model_release(adapted);
        /* Beside the weights: every one of them is a product's. */
        adaptation.flags = 0;
        if (dqg_model_adapt(context, model, &adaptation, 1, &adapted) != DQG_OK) {
            fail_msg("%s: %s", network->path, dqg_context_error(context));
        }
        dqg_model_release(adapted);
        dqg_model_release(model);
        dqg_model_release(merged);
        for (int i = 0; i < 3; i++) {
            tensor_file_free(&files[i]);
        }
        free(files);
    }
}

static void test_names(void **state) {
    static const struct network networks[] = {
        {"dit/tiny_sigma.safetensors", "transformer.", "lora_unet_"},
        {"encoders/clip_wide.safetensors", "text_encoder.", "lora_te_"},
        {"encoders/clip_deep.safetensors", "text_encoder.", "lora_te1_"},
        {"encoders/t5_odd.safetensors", "text_encoder_3.", "lora_te3_"},
        {"pixart/alpha_sizes_own.safetensors", "base_model.model.", "lora_unet_"},
        {"pixart/alpha_sizes_diffusers.safetensors", "transformer.", "lora_transformer_"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        check_network(&networks[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
