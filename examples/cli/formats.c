/* SPDX-License-Identifier: MIT */
/* The storage formats of weights by name, for info and bench, in the order in which they are listed. */
#include <string.h>

#include "cli.h"

const struct storage_format storage_formats[STORAGE_FORMATS] = {
    {"int4", DQG_DTYPE_INT4, true},   {"int4z", DQG_DTYPE_INT4Z, true}, {"int6", DQG_DTYPE_INT6, true},
    {"int6z", DQG_DTYPE_INT6Z, true}, {"int5", DQG_DTYPE_INT5, true},   {"int5z", DQG_DTYPE_INT5Z, true},
    {"int3", DQG_DTYPE_INT3, true},   {"int3z", DQG_DTYPE_INT3Z, true}, {"int2", DQG_DTYPE_INT2, true},
    {"int2z", DQG_DTYPE_INT2Z, true}, {"e5m2", DQG_DTYPE_E5M2, false},  {"e4m3", DQG_DTYPE_E4M3, false},
    {"e3m0", DQG_DTYPE_E3M0, true},   {"e2m1", DQG_DTYPE_E2M1, true},   {"e1m2", DQG_DTYPE_E1M2, true},
    {"nf4", DQG_DTYPE_NF4, true},     {"bin2", DQG_DTYPE_BIN2, true},   {"bin1", DQG_DTYPE_BIN1, true},
    {"vq2", DQG_DTYPE_VQ2, false},    {"vq4", DQG_DTYPE_VQ4, false},    {"int8", DQG_DTYPE_INT8, false},
    {"f16", DQG_DTYPE_F16, false},    {"bf16", DQG_DTYPE_BF16, false},  {"f32", DQG_DTYPE_F32, false},
};

const char *storage_name(int32_t dtype) {
    for (size_t i = 0; i < STORAGE_FORMATS; i++) {
        if (storage_formats[i].dtype == dtype) {
            return storage_formats[i].name;
        }
    }
    return "other";
}

const struct storage_format *storage_find(const char *name) {
    for (size_t i = 0; i < STORAGE_FORMATS; i++) {
        if (strcmp(storage_formats[i].name, name) == 0) {
            return &storage_formats[i];
        }
    }
    return NULL;
}
