/* SPDX-License-Identifier: MIT */
/* A folder of several networks; see pipeline_folder.h. */
#include "pipeline_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "named_weights.h"

/* "" where there is no room. */
static const char *join(const char *folder, const char *name, char path[512]) {
    if (snprintf(path, 512, "%s/%s", folder, name) >= 512) {
        path[0] = '\0';
    }
    return path;
}

static int copy(const char *from, const char *folder, const char *name) {
    char path[512], block[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(join(folder, name, path), "wb");
    size_t size = 1;
    int bad = in == NULL || out == NULL;
    while (!bad && (size = fread(block, 1, sizeof block, in)) > 0) {
        bad = fwrite(block, 1, size, out) != size;
    }
    bad = (in != NULL && fclose(in) != 0) || bad;
    return (out != NULL && fclose(out) != 0) || bad;
}

static int write_text(const char *folder, const char *name, const char *text) {
    char path[512];
    FILE *file = fopen(join(folder, name, path), "w");
    int bad = file == NULL || fputs(text, file) < 0;
    return (file != NULL && fclose(file) != 0) || bad;
}

static int make_network(const char *root, const char *sub, const char *list, const char *file_name,
                        const char *config) {
    char folder[512], path[512];
    const struct named_file file = {.list = list, .second = 1};
    return mkdir(join(root, sub, folder), 0700) != 0 || named_file_write(&file, join(folder, file_name, path)) != 0 ||
           write_text(folder, "config.json", config) != 0;
}

static int make_byte_pairs(const char *root, const char *sub, const char *config) {
    char folder[512];
    return mkdir(join(root, sub, folder), 0700) != 0 ||
           copy("tests/golden/text/small_vocab.json", folder, "vocab.json") != 0 ||
           copy("tests/golden/text/small_merges.txt", folder, "merges.txt") != 0 ||
           write_text(folder, "special_tokens_map.json", config) != 0;
}

int pipeline_folder_make(const char *root, int parts) {
    char folder[512];
    int bad = 0;
    if (parts & PIPELINE_CLIP) {
        bad = make_network(root, "text_encoder", "tests/golden/pipeline/clip.txt", "model.safetensors",
                           "{\"hidden_act\": \"quick_gelu\", \"vocab_size\": 1514}") ||
              make_byte_pairs(root, "tokenizer", "{\"pad_token\": \"<|endoftext|>\"}") || bad;
    }
    if (parts & PIPELINE_CLIP_2) {
        bad = make_network(root, "text_encoder_2", "tests/golden/pipeline/clip_2.txt", "model.safetensors",
                           "{\"hidden_act\": \"gelu\"}") ||
              make_byte_pairs(root, "tokenizer_2", "{\"pad_token\": {\"content\": \"!\", \"lstrip\": false}}") || bad;
    }
    if (parts & PIPELINE_T5) {
        bad = make_network(root, "text_encoder_3", "tests/golden/pipeline/t5.txt", "model.safetensors", "{}") ||
              mkdir(join(root, "tokenizer_3", folder), 0700) != 0 ||
              copy("tests/golden/text/t5.model", folder, "spiece.model") || bad;
    }
    if (parts & PIPELINE_DIT) {
        bad = mkdir(join(root, "transformer", folder), 0700) != 0 ||
              copy("tests/golden/dit/tiny.safetensors", folder, "diffusion_pytorch_model.safetensors") || bad;
    }
    if (parts & PIPELINE_UNET) {
        bad = make_network(root, "unet", "tests/golden/pipeline/unet.txt", "diffusion_pytorch_model.safetensors",
                           "{\"attention_head_dim\": 2, \"sample_size\": 16}") ||
              bad;
    }
    if (parts & PIPELINE_VAE) {
        bad = make_network(root, "vae", "tests/golden/pipeline/vae.txt", "diffusion_pytorch_model.safetensors",
                           "{\"scaling_factor\": 0.18215, \"sample_size\": 32}") ||
              bad;
    }
    if (parts & PIPELINE_CONTROL) {
        bad = make_network(root, "controlnet", "tests/golden/pipeline/control.txt",
                           "diffusion_pytorch_model.safetensors", "{\"attention_head_dim\": 2}") ||
              bad;
    }
    return bad;
}

void pipeline_folder_remove(const char *folder) {
    DIR *handle = opendir(folder);
    char path[512];
    for (struct dirent *entry; handle != NULL && (entry = readdir(handle)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            join(folder, entry->d_name, path);
            if (unlink(path) != 0) {
                pipeline_folder_remove(path);
            }
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
    rmdir(folder);
}
