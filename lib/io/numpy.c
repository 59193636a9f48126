/* SPDX-License-Identifier: MIT */
/*
 * Reader for NumPy's arrays: .npy files, whose tensor is called "array", and .npz archives of them, whose tensors have
 * the names of the entries. The header is a Python dict of three entries, written in one way only. Called by source.c
 * and archive.c.
 */
#include "io/archive.h"
#include "io/bytes.h"
#include "io/stored_tensor.h"

enum { HEADER_MAX = 65536, ARRAYS_MAX = 16384 };

static const struct {
    char descr[3], encoding[5];
} types[] = {{"f2", "F16"}, {"f4", "F32"}, {"f8", "F64"}, {"i1", "I8"},  {"i2", "I16"},  {"i4", "I32"}, {"i8", "I64"},
             {"u1", "U8"},  {"u2", "U16"}, {"u4", "U32"}, {"u8", "U64"}, {"b1", "BOOL"}, {"c8", "C64"}};

/* A header being read. */
struct literal {
    const char *at, *end;
    char descr[16];
    bool fortran;
    int32_t rank;
    int64_t shape[DQG_MAX_RANK];
    uint32_t has; /* which of the three entries */
};

/* ---- the header ---- */

/* Skip white space; is the text next? */
static bool accept(struct literal *literal, const char *text) {
    size_t length = strlen(text);
    while (literal->at < literal->end && (*literal->at == ' ' || *literal->at == '\n')) {
        literal->at++;
    }
    bool is = (size_t)(literal->end - literal->at) >= length && memcmp(literal->at, text, length) == 0;
    literal->at += is ? length : 0;
    return is;
}

static bool parse_text(struct literal *literal, char *out, size_t size) {
    const char *quote = accept(literal, "'") ? "'" : accept(literal, "\"") ? "\"" : NULL;
    size_t length = 0;
    for (; quote != NULL && literal->at < literal->end && *literal->at != *quote; literal->at++) {
        if (length + 1 == size) {
            return false;
        }
        out[length++] = *literal->at;
    }
    out[length] = '\0';
    return quote != NULL && accept(literal, quote);
}

static bool parse_shape(struct literal *literal) {
    if (!accept(literal, "(")) {
        return false;
    }
    while (!accept(literal, ")")) {
        const char *from = literal->at;
        while (literal->at < literal->end && *literal->at >= '0' && *literal->at <= '9') {
            literal->at++;
        }
        if (literal->rank == DQG_MAX_RANK ||
            !dqg_parse_int64(from, (size_t)(literal->at - from), &literal->shape[literal->rank++])) {
            return false;
        }
        accept(literal, "L"); /* Python 2 */
        if (!accept(literal, ",") && !accept(literal, ")")) {
            return false;
        }
        if (literal->at[-1] == ')') {
            break;
        }
    }
    return true;
}

static bool parse_entry(struct literal *literal) {
    char key[16];
    if (!parse_text(literal, key, sizeof key) || !accept(literal, ":")) {
        return false;
    }
    uint32_t entry = strcmp(key, "descr") == 0           ? 1
                     : strcmp(key, "fortran_order") == 0 ? 2
                     : strcmp(key, "shape") == 0         ? 4
                                                         : 0;
    if (entry == 0 || (literal->has & entry) != 0) {
        return false;
    }
    literal->has |= entry;
    if (entry == 2) {
        literal->fortran = accept(literal, "True");
        return literal->fortran || accept(literal, "False");
    }
    return entry == 1 ? parse_text(literal, literal->descr, sizeof literal->descr) : parse_shape(literal);
}

static bool parse_header(struct literal *literal) {
    if (!accept(literal, "{")) {
        return false;
    }
    while (!accept(literal, "}")) {
        if (!parse_entry(literal)) {
            return false;
        }
        accept(literal, ",");
    }
    accept(literal, "");
    return literal->has == 7 && literal->at == literal->end;
}

/* '<f4', '=f4', '|u1' */
static const struct dqg_encoding *find_type(const char *descr) {
    bool byte_order = descr[0] == '<' || descr[0] == '=' || descr[0] == '|';
    for (size_t i = 0; byte_order && i < DQG_COUNT_OF(types); i++) {
        if (strcmp(types[i].descr, descr + 1) == 0) {
            return dqg_encoding_find(types[i].encoding);
        }
    }
    return NULL;
}

/* ---- arrays ---- */

static dqg_status fail_array(struct dqg_source *source, const char *name, const char *what) {
    return dqg_fail(source->context, DQG_ERROR_FORMAT, "array '%s' in %s %s", name, source->inputs[0].name, what);
}

/* In Fortran's order the first index runs fastest. */
static void set_strides(const struct literal *literal, struct dqg_stored *stored) {
    uint64_t stride = 1;
    stored->strided = literal->fortran && literal->rank > 1;
    for (int32_t i = 0; i < literal->rank; i++) {
        stored->strides[i] = stride;
        stride *= (uint64_t)literal->shape[i];
    }
}

/* The array whose header has been read; size bytes of data begin at offset. */
static dqg_status add_array(struct dqg_source *source, const char *name, const struct literal *literal, uint64_t offset,
                            uint64_t size) {
    struct dqg_tensor_desc *desc = &source->tensors[source->tensor_count];
    struct dqg_stored *stored = (struct dqg_stored *)source->detail + source->tensor_count++;
    const struct dqg_encoding *encoding = find_type(literal->descr);
    if (encoding == NULL) {
        return dqg_fail(source->context, DQG_ERROR_UNSUPPORTED,
                        "array '%s' in %s is of type '%s'; only little-endian numbers can be read", name,
                        source->inputs[0].name, literal->descr);
    }
    desc->name = name;
    desc->rank = literal->rank;
    memcpy(desc->shape, literal->shape, sizeof desc->shape);
    const char *error = dqg_stored_describe(encoding, desc, stored);
    if (error != NULL || desc->stored_bytes != size) {
        return fail_array(source, name,
                          error != NULL ? "has a shape that is too large"
                                        : "has another size than its shape and type give");
    }
    stored->offset = offset;
    set_strides(literal, stored);
    return DQG_OK;
}

/* The array in size bytes of the input from offset. */
static dqg_status read_array(struct dqg_source *source, const char *name, uint64_t offset, uint64_t size) {
    const struct dqg_input *input = &source->inputs[0];
    uint8_t begin[12] = {0};
    DQG_TRY(dqg_input_read(source->context, input, offset, begin, size < sizeof begin ? (size_t)size : sizeof begin));
    size_t before = begin[6] == 1 ? 10 : 12;
    size_t length = begin[6] == 1 ? (size_t)begin[8] | (size_t)begin[9] << 8 : dqg_get_u32(begin + 8);
    if (size < before || memcmp(begin, "\x93NUMPY", 6) != 0 || begin[6] < 1 || begin[6] > 3 || length > size - before ||
        length > HEADER_MAX) {
        return fail_array(source, name, "has no valid header");
    }
    char *text = dqg_malloc(&source->context->alloc, length);
    if (text == NULL) {
        return dqg_fail_memory(source->context, "the header of an array", length);
    }
    struct literal literal = {.at = text, .end = text + length};
    dqg_status status = dqg_input_read(source->context, input, offset + before, text, length);
    if (status >= 0) {
        status = parse_header(&literal)
                     ? add_array(source, name, &literal, offset + before + length, size - before - length)
                     : fail_array(source, name, "has no valid header, or is a structure of several numbers");
    }
    dqg_free(&source->context->alloc, text, length);
    return status;
}

/* ---- open ---- */

dqg_status dqg_numpy_open(struct dqg_source *source) {
    source->type = &dqg_stored_type;
    source->format = "NumPy";
    DQG_TRY(dqg_stored_alloc(source, 1));
    DQG_TRY(read_array(source, "array", 0, source->inputs[0].size));
    return dqg_source_index_names(source);
}

/* "name.npy" */
static size_t name_length(const struct dqg_zip_entry *entry) {
    size_t length = strlen(entry->name);
    return length > 4 && length < DQG_NAME_MAX && strcmp(entry->name + length - 4, ".npy") == 0 ? length - 4 : 0;
}

dqg_status dqg_numpy_open_archive(struct dqg_source *source, const struct dqg_zip *zip) {
    size_t count = 0;
    source->type = &dqg_stored_type;
    source->format = "NumPy";
    for (size_t i = 0; i < zip->count; i++) {
        count += name_length(&zip->entries[i]) > 0;
    }
    if (count > ARRAYS_MAX) {
        return dqg_fail(source->context, DQG_ERROR_LIMIT, "%s has %zu arrays, the limit is %d", source->inputs[0].name,
                        count, ARRAYS_MAX);
    }
    DQG_TRY(dqg_stored_alloc(source, count));
    for (size_t i = 0; i < zip->count; i++) {
        size_t length = name_length(&zip->entries[i]);
        if (length > 0) {
            const char *name;
            uint64_t offset;
            DQG_TRY(dqg_source_copy_text(source, zip->entries[i].name, length, &name));
            DQG_TRY(dqg_zip_locate(source, &zip->entries[i], &offset));
            DQG_TRY(read_array(source, name, offset, zip->entries[i].size));
        }
    }
    return dqg_source_index_names(source);
}
