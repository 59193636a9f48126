/* SPDX-License-Identifier: MIT */
/*
 * What the names in pickles of PyTorch stand for: storages, tensors, and dicts that keep their order. Only these have a
 * meaning; a call of anything else gives an opaque value. Used by torch.c.
 */
#include "io/torch.h"

static const struct {
    const char *global;
    char encoding[9];
} types[] = {
    {"torch\nFloatStorage", "F32"},
    {"torch\nHalfStorage", "F16"},
    {"torch\nBFloat16Storage", "BF16"},
    {"torch\nDoubleStorage", "F64"},
    {"torch\nLongStorage", "I64"},
    {"torch\nIntStorage", "I32"},
    {"torch\nShortStorage", "I16"},
    {"torch\nCharStorage", "I8"},
    {"torch\nByteStorage", "U8"},
    {"torch\nBoolStorage", "BOOL"},
    {"torch\nComplexFloatStorage", "C64"},
    {"torch\nfloat32", "F32"},
    {"torch\nfloat16", "F16"},
    {"torch\nbfloat16", "BF16"},
    {"torch\nfloat64", "F64"},
    {"torch\nint64", "I64"},
    {"torch\nint32", "I32"},
    {"torch\nint16", "I16"},
    {"torch\nint8", "I8"},
    {"torch\nuint64", "U64"},
    {"torch\nuint32", "U32"},
    {"torch\nuint16", "U16"},
    {"torch\nuint8", "U8"},
    {"torch\nbool", "BOOL"},
    {"torch\ncomplex64", "C64"},
    {"torch\nfloat8_e4m3fn", "F8_E4M3"},
    {"torch\nfloat8_e5m2", "F8_E5M2"},
};

static const struct dqg_encoding *find_type(const struct dqg_pickle_value *global) {
    for (size_t i = 0; global->kind == DQG_PICKLE_GLOBAL && i < DQG_COUNT_OF(types); i++) {
        if (dqg_pickle_is_text(global, types[i].global)) {
            return dqg_encoding_find(types[i].encoding);
        }
    }
    return NULL;
}

static struct dqg_pickle_value *opaque(struct dqg_pickle *pickle) {
    return dqg_pickle_new(pickle, DQG_PICKLE_OPAQUE);
}

/* A value that holds size bytes of its own. */
static struct dqg_pickle_value *new_object(struct dqg_pickle *pickle, enum dqg_pickle_kind kind, size_t size) {
    void *object = dqg_pickle_alloc(pickle, size);
    struct dqg_pickle_value *value = dqg_pickle_new(pickle, kind);
    if (pickle->status >= 0) {
        value->object = object;
    }
    return value;
}

/* ("storage", class, key, place, elements), and nothing or None. */
static struct dqg_pickle_value *make_storage(struct dqg_pickle *pickle, const struct dqg_pickle_value *id) {
    struct dqg_torch_storage **storages = pickle->user;
    struct dqg_pickle_value *const *items = id->list.items;
    bool valid = id->kind == DQG_PICKLE_LIST && id->list.count >= 5 && id->list.count <= 6 &&
                 dqg_pickle_is_text(items[0], "storage") && items[1]->kind == DQG_PICKLE_GLOBAL &&
                 items[2]->kind == DQG_PICKLE_TEXT && items[4]->kind == DQG_PICKLE_INT && items[4]->integer >= 0;
    if (!valid) {
        return dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "it names a storage in an unknown way");
    }
    if (id->list.count == 6 && items[5]->kind != DQG_PICKLE_NONE) {
        return dqg_pickle_fail(pickle, DQG_ERROR_UNSUPPORTED, "it has storages that are parts of others");
    }
    const struct dqg_encoding *encoding = find_type(items[1]);
    bool untyped = dqg_pickle_is_text(items[1], "torch.storage\nUntypedStorage") ||
                   dqg_pickle_is_text(items[1], "torch\nUntypedStorage");
    if (encoding == NULL && !untyped) {
        return opaque(pickle); /* of quantized numbers, for example */
    }
    struct dqg_pickle_value *value = new_object(pickle, DQG_PICKLE_STORAGE, sizeof(struct dqg_torch_storage));
    if (pickle->status >= 0) {
        struct dqg_torch_storage *storage = value->object;
        *storage = (struct dqg_torch_storage){.next = *storages,
                                              .encoding = encoding,
                                              .key = items[2]->text.data,
                                              .key_length = items[2]->text.length,
                                              .count = (uint64_t)items[4]->integer};
        *storages = storage;
    }
    return value;
}

/* Up to DQG_MAX_RANK numbers, none of them negative. */
static bool take_numbers(const struct dqg_pickle_value *tuple, uint64_t numbers[DQG_MAX_RANK]) {
    if (tuple->kind != DQG_PICKLE_LIST || tuple->list.count > DQG_MAX_RANK) {
        return false;
    }
    for (size_t i = 0; i < tuple->list.count; i++) {
        const struct dqg_pickle_value *item = tuple->list.items[i];
        if (item->kind != DQG_PICKLE_INT || item->integer < 0) {
            return false;
        }
        numbers[i] = (uint64_t)item->integer;
    }
    return true;
}

/* Storage, offset, sizes, strides, ...; the type where the storage has none is the argument numbered type. */
static struct dqg_pickle_value *make_tensor(struct dqg_pickle *pickle, const struct dqg_pickle_value *arguments,
                                            size_t type) {
    struct dqg_pickle_value *const *items = arguments->list.items;
    if (arguments->list.count < 4) {
        return dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "a tensor lacks its storage, offset, shape or strides");
    }
    if (items[0]->kind != DQG_PICKLE_STORAGE) {
        return opaque(pickle);
    }
    struct dqg_torch_storage *storage = items[0]->object;
    const struct dqg_encoding *encoding = storage->encoding;
    if (type > 0) {
        encoding = type < arguments->list.count ? find_type(items[type]) : NULL;
    }
    if (encoding == NULL) {
        return opaque(pickle);
    }
    struct dqg_pickle_value *value = new_object(pickle, DQG_PICKLE_TENSOR, sizeof(struct dqg_torch_tensor));
    if (pickle->status < 0) {
        return value;
    }
    struct dqg_torch_tensor *tensor = value->object;
    *tensor = (struct dqg_torch_tensor){.storage = storage, .encoding = encoding};
    bool valid = items[1]->kind == DQG_PICKLE_INT && items[1]->integer >= 0 && take_numbers(items[2], tensor->sizes) &&
                 take_numbers(items[3], tensor->strides) && items[2]->list.count == items[3]->list.count;
    if (!valid) {
        return dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "the offset, shape or strides of a tensor are impossible");
    }
    tensor->offset = (uint64_t)items[1]->integer;
    tensor->rank = (int32_t)items[2]->list.count;
    return value;
}

/* Empty, or of a list of pairs. */
static struct dqg_pickle_value *make_dict(struct dqg_pickle *pickle, const struct dqg_pickle_value *arguments) {
    struct dqg_pickle_value *dict = dqg_pickle_new(pickle, DQG_PICKLE_DICT);
    const struct dqg_pickle_value *pairs = arguments->list.count > 0 ? arguments->list.items[0] : NULL;
    for (size_t i = 0; pairs != NULL && pairs->kind == DQG_PICKLE_LIST && i < pairs->list.count; i++) {
        const struct dqg_pickle_value *pair = pairs->list.items[i];
        if (pair->kind == DQG_PICKLE_LIST && pair->list.count == 2 && pickle->status >= 0) {
            dqg_pickle_append(pickle, dict, pair->list.items[0]);
            dqg_pickle_append(pickle, dict, pair->list.items[1]);
        }
    }
    return dict;
}

static struct dqg_pickle_value *call(struct dqg_pickle *pickle, const struct dqg_pickle_value *global,
                                     const struct dqg_pickle_value *arguments) {
    if (dqg_pickle_is_text(global, "torch._utils\n_rebuild_tensor_v2") ||
        dqg_pickle_is_text(global, "torch._utils\n_rebuild_tensor")) {
        return make_tensor(pickle, arguments, 0);
    }
    if (dqg_pickle_is_text(global, "torch._utils\n_rebuild_tensor_v3")) {
        return make_tensor(pickle, arguments, 6);
    }
    if (dqg_pickle_is_text(global, "collections\nOrderedDict")) {
        return make_dict(pickle, arguments);
    }
    bool wraps = dqg_pickle_is_text(global, "torch._utils\n_rebuild_parameter") ||
                 dqg_pickle_is_text(global, "torch._utils\n_rebuild_parameter_with_state") ||
                 dqg_pickle_is_text(global, "torch\nSize");
    return wraps && arguments->list.count > 0 ? arguments->list.items[0] : opaque(pickle);
}

void dqg_torch_begin(struct dqg_pickle *pickle, struct dqg_torch_storage **storages) {
    *storages = NULL;
    pickle->call = call;
    pickle->persistent = make_storage;
    pickle->user = storages;
}
