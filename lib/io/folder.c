/* SPDX-License-Identifier: MIT */
/*
 * Folders as diffusers writes them: a sub-folder for each network, with its configuration and its weights in one file
 * or several, and others with tokenizers and schedules. Shown as one source whose tensors are called
 * "<sub-folder>/<name>" and whose metadata are the configurations and tokenizers. Also the sub-folder of one network,
 * and a folder with the two halves of a TAESD. Called by source.c.
 */
#include <dirent.h>

#include "io/source.h"

enum {
    ENTRIES_MAX = 1024,       /* of a folder */
    CONFIG_MAX = 1 << 20,     /* bytes of a configuration */
    TOKENIZER_MAX = 16 << 20, /* of a text of a tokenizer */
    METADATA_MAX = ENTRIES_MAX
};

/* Where networks are, in this order. */
static const char *const components[] = {"unet",           "transformer",    "vae",       "text_encoder",
                                         "text_encoder_2", "text_encoder_3", "controlnet"};

/* Their weights, the first that is there. */
static const char *const weight_names[] = {
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.fp16.bin",
};

struct names {
    const char *items[ENTRIES_MAX];
    uint32_t order[ENTRIES_MAX];
    size_t count;
};

struct folder {
    struct dqg_context *context;
    const char *path;
    struct dqg_arena arena; /* of all that is needed until the source has its copies */
    struct dqg_source inner[DQG_COUNT_OF(components)];
    const char *prefix[DQG_COUNT_OF(components)]; /* "unet/"; "encoder." */
    size_t inner_count;
    struct dqg_metadata *metadata; /* [METADATA_MAX] */
    size_t metadata_count;
};

/* ---- names and paths ---- */

static dqg_status from_arena(struct folder *folder, size_t size, void *out) {
    void *memory = dqg_arena_alloc(&folder->context->alloc, &folder->arena, size);
    memcpy(out, &memory, sizeof memory);
    return memory != NULL ? DQG_OK : dqg_fail_memory(folder->context, "the names of files", size);
}

static dqg_status put_together(struct folder *folder, const char *a, const char *middle, const char *b,
                               const char **path) {
    size_t size = strlen(a) + strlen(middle) + strlen(b) + 1;
    char *text;
    DQG_TRY(from_arena(folder, size, &text));
    dqg_format(text, size, "%s%s%s", a, middle, b);
    *path = text;
    return DQG_OK;
}

/* "a/b", or b alone where a is empty */
static dqg_status join(struct folder *folder, const char *a, const char *b, const char **path) {
    return put_together(folder, a, a[0] != '\0' && a[strlen(a) - 1] != '/' ? "/" : "", b, path);
}

static bool name_before(const void *items, size_t a, size_t b) {
    const struct names *names = items;
    return strcmp(names->items[a], names->items[b]) < 0;
}

static dqg_status read_names(struct folder *folder, const char *path, DIR *handle, struct names *names) {
    for (struct dirent *entry; (entry = readdir(handle)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || !dqg_utf8_valid(entry->d_name, length)) {
            continue;
        }
        if (names->count == ENTRIES_MAX) {
            return dqg_fail(folder->context, DQG_ERROR_LIMIT, "the folder %s has more than %d entries", path,
                            ENTRIES_MAX);
        }
        char *copy;
        DQG_TRY(from_arena(folder, length + 1, &copy));
        memcpy(copy, entry->d_name, length);
        names->items[names->count++] = copy;
    }
    dqg_sort_indices(names->order, names->count, name_before, names);
    return DQG_OK;
}

/* What is in a folder, by name. */
static dqg_status list(struct folder *folder, const char *path, struct names **names) {
    DQG_TRY(from_arena(folder, sizeof **names, names));
    DIR *handle = opendir(path);
    if (handle == NULL) {
        return dqg_fail(folder->context, DQG_ERROR_IO, "cannot list the folder %s", path);
    }
    dqg_status status = read_names(folder, path, handle, *names);
    closedir(handle);
    return status;
}

static bool has(const struct names *names, const char *name) {
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- texts ---- */

/* Bytes that a text may have; 0 where it is none of those that are kept. */
static uint64_t text_limit(const char *name) {
    bool tokenizer =
        strcmp(name, "vocab.json") == 0 || strcmp(name, "merges.txt") == 0 || strcmp(name, "tokenizer.json") == 0;
    bool index = dqg_ends_with(name, ".index.json") || dqg_ends_with(name, ".index.fp16.json");
    return tokenizer ? TOKENIZER_MAX : dqg_ends_with(name, ".json") && !index ? CONFIG_MAX : 0;
}

/* NULL where the file is larger than limit or no text. */
static dqg_status read_text(struct folder *folder, const char *path, uint64_t limit, const char **text) {
    struct dqg_input input;
    *text = NULL;
    DQG_TRY(dqg_input_open_path(folder->context, path, &input));
    dqg_status status = DQG_OK;
    if (input.size <= limit) {
        char *data;
        size_t size = (size_t)input.size;
        status = from_arena(folder, size + 1, &data);
        if (status >= 0) {
            status = dqg_input_read(folder->context, &input, 0, data, size);
        }
        if (status >= 0 && dqg_utf8_valid(data, size)) {
            *text = data;
        }
    }
    dqg_input_close(&input);
    return status;
}

/* The texts of a sub-folder, or of the folder itself; of a SentencePiece model only where it is. */
static dqg_status take_texts(struct folder *folder, const char *sub, const struct names *names) {
    const char *key, *path, *text;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[names->order[i]];
        uint64_t limit = text_limit(name);
        bool pieces = strcmp(name, "spiece.model") == 0;
        if ((limit == 0 && !pieces) || folder->metadata_count == METADATA_MAX) {
            continue;
        }
        DQG_TRY(join(folder, sub, name, &key));
        DQG_TRY(join(folder, folder->path, key, &path));
        text = key;
        if (!pieces) {
            DQG_TRY(read_text(folder, path, limit, &text));
        }
        if (text != NULL) {
            folder->metadata[folder->metadata_count++] = (struct dqg_metadata){key, text};
        }
    }
    return DQG_OK;
}

/* ---- weights ---- */

static bool is_component(const char *name) {
    for (size_t i = 0; i < DQG_COUNT_OF(components); i++) {
        if (strcmp(components[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* What the files of weights say about themselves. */
static dqg_status take_metadata(struct folder *folder, const char *sub, const struct dqg_source *inner) {
    for (size_t i = 0; i < inner->metadata_count && folder->metadata_count < METADATA_MAX; i++) {
        struct dqg_metadata *entry = &folder->metadata[folder->metadata_count++];
        entry->value = inner->metadata[i].value;
        DQG_TRY(join(folder, sub, inner->metadata[i].key, &entry->key));
    }
    return DQG_OK;
}

/* The weights among names, if any, become a source in the list. */
static dqg_status take_weights(struct folder *folder, const char *sub, const struct names *names) {
    const char *file, *path;
    for (size_t i = 0; i < DQG_COUNT_OF(weight_names); i++) {
        if (has(names, weight_names[i])) {
            DQG_TRY(join(folder, sub, weight_names[i], &file));
            DQG_TRY(join(folder, folder->path, file, &path));
            DQG_TRY(join(folder, sub, "", &folder->prefix[folder->inner_count]));
            DQG_TRY(dqg_source_open_path(folder->context, path, &folder->inner[folder->inner_count]));
            return take_metadata(folder, sub, &folder->inner[folder->inner_count++]);
        }
    }
    return DQG_OK;
}

/* A file of weights whose name ends so, as a source whose tensors get a prefix; several such files are too many. */
static dqg_status take_half(struct folder *folder, const struct names *names, const char *half, const char *prefix) {
    static const char *const kinds[] = {".safetensors", ".pth"};
    const char *found = NULL, *path;
    for (size_t i = 0; i < names->count; i++) {
        for (size_t k = 0; k < DQG_COUNT_OF(kinds); k++) {
            char end[32];
            dqg_format(end, sizeof end, "%s%s", half, kinds[k]);
            if (strncmp(names->items[i], "tae", 3) == 0 && dqg_ends_with(names->items[i], end)) {
                if (found != NULL) {
                    return dqg_fail(folder->context, DQG_ERROR_UNSUPPORTED,
                                    "%s holds several networks, %s and %s: name a file in it", folder->path, found,
                                    names->items[i]);
                }
                found = names->items[i];
            }
        }
    }
    if (found == NULL) {
        return DQG_OK;
    }
    DQG_TRY(join(folder, folder->path, found, &path));
    folder->prefix[folder->inner_count] = prefix;
    DQG_TRY(dqg_source_open_path(folder->context, path, &folder->inner[folder->inner_count]));
    folder->inner_count++;
    return DQG_OK;
}

static dqg_status take_sub_folders(struct folder *folder, const struct names *root) {
    struct names *names;
    const char *path;
    for (size_t i = 0; i < root->count; i++) {
        const char *sub = root->items[root->order[i]];
        DQG_TRY(join(folder, folder->path, sub, &path));
        if (dqg_path_is_folder(path)) {
            DQG_TRY(list(folder, path, &names));
            DQG_TRY(take_texts(folder, sub, names));
            if (is_component(sub)) {
                DQG_TRY(take_weights(folder, sub, names));
            }
        }
    }
    return DQG_OK;
}

/* ---- the source ---- */

static dqg_status map_tensors(struct folder *folder, struct dqg_source *source) {
    struct dqg_mapping *mappings;
    struct dqg_part *pieces;
    size_t count = 0;
    for (size_t i = 0; i < folder->inner_count; i++) {
        count += folder->inner[i].tensor_count;
    }
    DQG_TRY(from_arena(folder, count * sizeof *mappings, &mappings));
    DQG_TRY(from_arena(folder, count * sizeof *pieces, &pieces));
    for (size_t i = 0, at = 0; i < folder->inner_count; i++) {
        for (size_t t = 0; t < folder->inner[i].tensor_count; t++, at++) {
            const struct dqg_tensor_desc *desc = &folder->inner[i].tensors[t];
            pieces[at] = (struct dqg_part){i, t, 0, desc->plane_bytes[DQG_PLANE_CODES]};
            mappings[at] = (struct dqg_mapping){.desc = *desc, .pieces = &pieces[at], .piece_count = 1};
            DQG_TRY(put_together(folder, folder->prefix[i], "", desc->name, &mappings[at].desc.name));
        }
    }
    size_t inner_count = folder->inner_count;
    folder->inner_count = 0; /* they are the source's now, also if this fails */
    DQG_TRY(dqg_source_open_mapped(folder->context, folder->inner, inner_count, true, mappings, count, folder->metadata,
                                   folder->metadata_count, source));
    dqg_status status = dqg_source_copy_text(source, folder->path, strlen(folder->path), &source->inputs[0].name);
    if (status < 0) {
        dqg_source_close(source);
    }
    return status;
}

static dqg_status open_folder(struct folder *folder, struct dqg_source *source) {
    struct names *root;
    DQG_TRY(from_arena(folder, METADATA_MAX * sizeof *folder->metadata, &folder->metadata));
    DQG_TRY(list(folder, folder->path, &root));
    DQG_TRY(take_texts(folder, "", root));
    DQG_TRY(take_sub_folders(folder, root));
    if (folder->inner_count == 0) {
        DQG_TRY(take_weights(folder, "", root));
    }
    if (folder->inner_count == 0) {
        DQG_TRY(take_half(folder, root, "_encoder", "encoder."));
        DQG_TRY(take_half(folder, root, "_decoder", "decoder."));
    }
    if (folder->inner_count == 0) {
        return dqg_fail(folder->context, DQG_ERROR_NOT_FOUND,
                        "%s is a folder without weights of networks (unet, transformer, vae, text_encoder, ... with a "
                        ".safetensors or .bin file); name a file in it",
                        folder->path);
    }
    return map_tensors(folder, source);
}

dqg_status dqg_folder_open(struct dqg_context *context, const char *path, struct dqg_source *source) {
    struct folder folder = {.context = context, .path = path};
    dqg_status status = open_folder(&folder, source);
    for (size_t i = 0; i < folder.inner_count; i++) {
        dqg_source_close(&folder.inner[i]);
    }
    dqg_arena_free(&context->alloc, &folder.arena);
    return status;
}
