/* SPDX-License-Identifier: MIT */
/*
 * Which texts of a checkpoint are kept: of a folder with dozens of configurations those that networks and runs read,
 * under the roles of the networks, and its tokenizers as one text each. Called by checkpoint.c.
 */
#include "model/pipeline.h"

/* Of configurations: what becomes an entry of its own, "<role>/<name>". */
static const char *const config_values[] = {"hidden_act", "scaling_factor", "shift_factor"};

struct collection {
    struct dqg_context *context;
    const struct dqg_checkpoint *checkpoint;
    const struct dqg_source *source;
    struct dqg_arena *arena;
    struct dqg_metadata *list;
    size_t count;
};

static dqg_status keep(struct collection *collection, const char *text, size_t length, const char **out) {
    *out = dqg_arena_copy(&collection->context->alloc, collection->arena, text, length);
    return *out != NULL ? DQG_OK : dqg_fail_memory(collection->context, "metadata", length);
}

static bool has(const struct collection *collection, const char *key) {
    for (size_t i = 0; i < collection->count; i++) {
        if (strcmp(collection->list[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

/* "<role>/<rest>", unless it is there. value lives on. */
static dqg_status add(struct collection *collection, const char *role, const char *rest, const char *value) {
    size_t size = strlen(role) + strlen(rest) + 2;
    char *key = dqg_arena_alloc(&collection->context->alloc, collection->arena, size);
    if (key == NULL) {
        return dqg_fail_memory(collection->context, "metadata", size);
    }
    dqg_format(key, size, "%s/%s", role, rest);
    if (!has(collection, key)) {
        collection->list[collection->count++] = (struct dqg_metadata){key, value};
    }
    return DQG_OK;
}

static bool is_file(const char *key) {
    return dqg_ends_with(key, ".json") || dqg_ends_with(key, ".txt") || dqg_ends_with(key, ".model");
}

/* The network whose sub-folder, or in this library's files whose role, a key begins with; *rest is what follows. */
static const struct dqg_component *owner(const struct collection *collection, const char *key, const char **rest) {
    for (size_t i = 0; i < collection->checkpoint->count; i++) {
        const struct dqg_component *component = &collection->checkpoint->components[i];
        size_t length = strlen(component->prefix), role = strlen(component->role);
        if (length > 0 && component->prefix[length - 1] == '/' && strncmp(key, component->prefix, length) == 0) {
            *rest = key + length;
            return component;
        }
        if (strncmp(key, component->role, role) == 0 && key[role] == '/') {
            *rest = key + role + 1;
            return component;
        }
    }
    return NULL;
}

static dqg_status take_entry(struct collection *collection, const struct dqg_metadata *entry) {
    const char *rest = NULL;
    const struct dqg_component *component = owner(collection, entry->key, &rest);
    if (component != NULL) {
        bool wanted = is_file(rest) ? strcmp(rest, "config.json") == 0 : strcmp(rest, "format") != 0;
        return wanted ? add(collection, component->role, rest, entry->value) : DQG_OK;
    }
    if (!is_file(entry->key) || strcmp(entry->key, "config.json") == 0 || strcmp(entry->key, "model_index.json") == 0 ||
        strcmp(entry->key, "scheduler/scheduler_config.json") == 0) {
        collection->list[collection->count++] = *entry;
    }
    return DQG_OK;
}

/* ---- values of configurations ---- */

/* The text of a value, a string without its quotes, or NULL. */
static dqg_status find_value(struct collection *collection, const char *config, const char *name, const char **value) {
    const struct dqg_alloc *alloc = &collection->context->alloc;
    struct dqg_json json;
    const char *key;
    *value = NULL;
    dqg_json_init(&json, config, strlen(config));
    bool good = dqg_json_peek(&json) == DQG_JSON_OBJECT && dqg_json_enter(&json);
    while (good && *value == NULL && dqg_json_next(&json)) {
        good = dqg_json_key(&json, alloc, collection->arena, &key);
        enum dqg_json_kind kind = good ? dqg_json_peek(&json) : DQG_JSON_ERROR;
        const char *begin = json.at;
        if (!good || strcmp(key, name) != 0 || (kind != DQG_JSON_STRING && kind != DQG_JSON_NUMBER)) {
            good = good && dqg_json_skip(&json);
        } else if (kind == DQG_JSON_STRING) {
            good = dqg_json_string(&json, alloc, collection->arena, value);
        } else if ((good = dqg_json_skip(&json))) {
            DQG_TRY(keep(collection, begin, (size_t)(json.at - begin), value));
        }
    }
    return DQG_OK;
}

static dqg_status take_config(struct collection *collection, const struct dqg_component *component) {
    char key[sizeof component->role + 16];
    const char *config = NULL, *value;
    dqg_format(key, sizeof key, "%s/config.json", component->role);
    for (size_t i = 0; i < collection->count && config == NULL; i++) {
        const struct dqg_metadata *entry = &collection->list[i];
        bool own =
            strcmp(entry->key, key) == 0 || (component->prefix[0] == '\0' && strcmp(entry->key, "config.json") == 0);
        config = own ? entry->value : NULL;
    }
    for (size_t i = 0; config != NULL && i < DQG_COUNT_OF(config_values); i++) {
        DQG_TRY(find_value(collection, config, config_values[i], &value));
        DQG_TRY(value != NULL ? add(collection, component->role, config_values[i], value) : DQG_OK);
    }
    return DQG_OK;
}

/* ---- tokenizers ---- */

static dqg_status pack(struct collection *collection, const char *role, struct dqg_tokenizer *tokenizer) {
    struct dqg_text text = {.alloc = &collection->context->alloc};
    const char *packed = NULL;
    dqg_status status = dqg_tokenizer_pack(collection->context, tokenizer, &text);
    if (status >= 0) {
        status = keep(collection, text.data, text.length, &packed);
    }
    if (status >= 0) {
        status = add(collection, role, "tokenizer", packed);
    }
    dqg_text_free(&text);
    return status;
}

/* text_encoder, text_encoder_2, ... have tokenizer, tokenizer_2, ... beside them; one network by itself in its folder.
 */
static dqg_status take_tokenizer(struct collection *collection, const struct dqg_component *component) {
    static const char front[] = "text_encoder";
    char key[sizeof component->role + 16], folder[32] = "";
    bool beside = strncmp(component->prefix, front, sizeof front - 1) == 0 && dqg_ends_with(component->prefix, "/");
    struct dqg_tokenizer *tokenizer;
    dqg_format(key, sizeof key, "%s/tokenizer", component->role);
    if (has(collection, key) || (!beside && component->prefix[0] != '\0')) {
        return DQG_OK;
    }
    if (beside) {
        dqg_format(folder, sizeof folder, "tokenizer%s", component->prefix + sizeof front - 1);
    }
    DQG_TRY(dqg_tokenizer_of_source(collection->context, collection->source, folder, &tokenizer));
    dqg_status status = tokenizer != NULL ? pack(collection, component->role, tokenizer) : DQG_OK;
    dqg_tokenizer_destroy(tokenizer);
    return status;
}

dqg_status dqg_pipeline_metadata(struct dqg_context *context, const struct dqg_checkpoint *checkpoint,
                                 const struct dqg_source *source, struct dqg_arena *arena, struct dqg_metadata **list,
                                 size_t *count) {
    struct collection collection = {.context = context, .checkpoint = checkpoint, .source = source, .arena = arena};
    size_t most = source->metadata_count + checkpoint->count * (DQG_COUNT_OF(config_values) + 1);
    collection.list = dqg_arena_alloc(&context->alloc, arena, most * sizeof *collection.list);
    if (collection.list == NULL) {
        return dqg_fail_memory(context, "metadata", most * sizeof *collection.list);
    }
    for (size_t i = 0; i < source->metadata_count; i++) {
        DQG_TRY(take_entry(&collection, &source->metadata[i]));
    }
    for (size_t i = 0; i < checkpoint->count; i++) {
        const struct dqg_component *component = &checkpoint->components[i];
        bool text = strcmp(component->family->role, "clip") == 0 || strcmp(component->family->role, "t5") == 0;
        DQG_TRY(take_config(&collection, component));
        DQG_TRY(text ? take_tokenizer(&collection, component) : DQG_OK);
    }
    *list = collection.list;
    *count = collection.count;
    return DQG_OK;
}
