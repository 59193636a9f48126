/* SPDX-License-Identifier: MIT */
/*
 * Finds the state dict in what a PyTorch checkpoint holds: training programs put it under one of some keys, beside the
 * state of optimizers, and averaged weights beside the others. Used by torch.c.
 */
#include "io/torch.h"

enum { DEPTH_MAX = 4, STEPS_MAX = 4000000 };

/* In the order of preference. Averaged weights replace those of the same name. */
static const char *const averaged_keys[] = {"ema", "params_ema", "model_ema", "state_dict_ema"};
static const char *const plain_keys[] = {"state_dict", "model", "params", "generator", "module", "net"};

/* Beside state dicts, but none. */
static const char *const other_keys[] = {"optimizer", "optimizer_states", "optimizers", "opt", "lr_schedulers"};

struct search {
    struct dqg_pickle *pickle;
    struct dqg_torch_entry *entries; /* NULL while they are counted */
    size_t count;
    size_t steps; /* looked at: dicts may hold each other many times */
};

static const struct dqg_pickle_value *find_key(const struct dqg_pickle_value *dict, const char *key) {
    for (size_t i = dict->list.count; i >= 2; i -= 2) { /* the last of a name counts */
        if (dqg_pickle_is_text(dict->list.items[i - 2], key)) {
            return dict->list.items[i - 1];
        }
    }
    return NULL;
}

static bool holds_tensors(const struct dqg_pickle_value *value) {
    for (size_t i = 0; value != NULL && value->kind == DQG_PICKLE_DICT && i + 1 < value->list.count; i += 2) {
        if (value->list.items[i + 1]->kind == DQG_PICKLE_TENSOR) {
            return true;
        }
    }
    return false;
}

static const struct dqg_pickle_value *find_state(const struct dqg_pickle_value *root, const char *const *keys,
                                                 size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct dqg_pickle_value *value = find_key(root, keys[i]);
        if (holds_tensors(value)) {
            return value;
        }
    }
    return NULL;
}

/* ---- entries ---- */

static void add_entry(struct search *search, const char *prefix, const struct dqg_pickle_value *key,
                      const struct dqg_torch_tensor *tensor) {
    if (search->entries == NULL) {
        search->count++;
        return;
    }
    size_t before = strlen(prefix), length = before + key->text.length;
    char *name = dqg_pickle_alloc(search->pickle, length + 1);
    if (name != NULL) {
        memcpy(name, prefix, before);
        memcpy(name + before, key->text.data, key->text.length);
        search->entries[search->count++] = (struct dqg_torch_entry){name, tensor};
        if (length >= DQG_NAME_MAX || strlen(name) != length || !dqg_utf8_valid(name, length)) {
            dqg_pickle_fail(search->pickle, DQG_ERROR_FORMAT, "the name of a tensor is no text, or too long");
        }
    }
}

static bool is_other(const struct dqg_pickle_value *key) {
    for (size_t i = 0; i < DQG_COUNT_OF(other_keys); i++) {
        if (dqg_pickle_is_text(key, other_keys[i])) {
            return true;
        }
    }
    return false;
}

/* The tensors of a dict, and of dicts in it with its key in front. */
static void collect(struct search *search, const struct dqg_pickle_value *dict, const char *prefix, int depth) {
    char inner[DQG_NAME_MAX];
    for (size_t i = 0; i + 1 < dict->list.count && search->pickle->status >= 0; i += 2) {
        const struct dqg_pickle_value *key = dict->list.items[i], *value = dict->list.items[i + 1];
        size_t before = strlen(prefix);
        if (++search->steps > STEPS_MAX || search->count > DQG_TORCH_TENSORS_MAX) {
            dqg_pickle_fail(search->pickle, DQG_ERROR_LIMIT, "it holds too many tensors");
        } else if (key->kind != DQG_PICKLE_TEXT) {
            continue;
        } else if (value->kind == DQG_PICKLE_TENSOR) {
            add_entry(search, prefix, key, value->object);
        } else if (value->kind == DQG_PICKLE_DICT && depth < DEPTH_MAX && !is_other(key) &&
                   before + key->text.length + 2 <= sizeof inner) {
            memcpy(inner, prefix, before);
            memcpy(inner + before, key->text.data, key->text.length);
            memcpy(inner + before + key->text.length, ".", 2);
            collect(search, value, inner, depth + 1);
        }
    }
}

/* VQ-Diffusion's averaged weights lack the first word of the others' names. */
static const char *averaged_prefix(const struct dqg_pickle_value *averaged, const struct dqg_pickle_value *plain) {
    static const char word[] = "transformer.";
    for (size_t i = 0; plain != NULL && i + 1 < averaged->list.count; i += 2) {
        const struct dqg_pickle_value *key = averaged->list.items[i];
        for (size_t j = 0; key->kind == DQG_PICKLE_TEXT && j + 1 < plain->list.count; j += 2) {
            const struct dqg_pickle_value *other = plain->list.items[j];
            if (other->kind == DQG_PICKLE_TEXT && other->text.length == key->text.length + strlen(word) &&
                memcmp(other->text.data, word, strlen(word)) == 0 &&
                memcmp(other->text.data + strlen(word), key->text.data, key->text.length) == 0) {
                return word;
            }
        }
        break;
    }
    return "";
}

/* Both kinds of weights, those that count more first; or all that the checkpoint holds. */
static void collect_states(struct search *search, const struct dqg_pickle_value *root) {
    const struct dqg_pickle_value *averaged = find_state(root, averaged_keys, DQG_COUNT_OF(averaged_keys));
    const struct dqg_pickle_value *plain = find_state(root, plain_keys, DQG_COUNT_OF(plain_keys));
    search->count = search->steps = 0;
    if (averaged != NULL) {
        collect(search, averaged, averaged_prefix(averaged, plain), 1);
    }
    if (plain != NULL) {
        collect(search, plain, "", 1);
    }
    if (averaged == NULL && plain == NULL) {
        collect(search, root, "", 0);
    }
}

static bool entry_before(const void *items, size_t a, size_t b) {
    const struct dqg_torch_entry *entries = items;
    int order = strcmp(entries[a].name, entries[b].name);
    return order != 0 ? order < 0 : a < b;
}

/* Of entries of one name the first stays. */
static void drop_twins(struct search *search) {
    uint32_t *order = dqg_pickle_alloc(search->pickle, search->count * sizeof *order);
    if (order == NULL) {
        return;
    }
    dqg_sort_indices(order, search->count, entry_before, search->entries);
    for (size_t i = 1, first = 0; i < search->count; i++) {
        bool twin = strcmp(search->entries[order[first]].name, search->entries[order[i]].name) == 0;
        search->entries[order[i]].tensor = twin ? NULL : search->entries[order[i]].tensor;
        first = twin ? first : i;
    }
    size_t kept = 0;
    for (size_t i = 0; i < search->count; i++) {
        if (search->entries[i].tensor != NULL) {
            search->entries[kept++] = search->entries[i];
        }
    }
    search->count = kept;
}

/* "module." before each of the names says that several machines trained the network. */
static void drop_module(struct search *search) {
    static const char word[] = "module.";
    for (size_t i = 0; i < search->count; i++) {
        if (strncmp(search->entries[i].name, word, strlen(word)) != 0) {
            return;
        }
    }
    for (size_t i = 0; i < search->count; i++) {
        search->entries[i].name += strlen(word);
    }
}

struct dqg_torch_entry *dqg_torch_state(struct dqg_pickle *pickle, const struct dqg_pickle_value *root, size_t *count) {
    struct search search = {.pickle = pickle};
    *count = 0;
    if (root->kind != DQG_PICKLE_DICT) {
        dqg_pickle_fail(pickle, DQG_ERROR_UNSUPPORTED, "it holds no dict of tensors");
        return NULL;
    }
    collect_states(&search, root);
    if (search.count == 0) {
        dqg_pickle_fail(pickle, DQG_ERROR_UNSUPPORTED, "it holds no dict of tensors");
    }
    search.entries = dqg_pickle_alloc(pickle, search.count * sizeof *search.entries);
    if (search.entries != NULL) {
        collect_states(&search, root);
    }
    if (pickle->status >= 0) {
        drop_twins(&search);
        drop_module(&search);
    }
    *count = search.count;
    return search.entries;
}
