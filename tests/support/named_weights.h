/* SPDX-License-Identifier: MIT */
/*
 * Networks whose weights follow from names and places instead of being stored: safetensors files made of a list of
 * tensors, each a line "<a program's name> <another's> <shape>". The same numbers as weight() in
 * tests/golden/make_autoencoder_golden.py. Lines in a row with the same name are parts of one tensor, whose rows follow
 * each other; "~" in front of the other's name says that it has the halves of rows in the other order.
 */
#ifndef TESTS_NAMED_WEIGHTS_H
#define TESTS_NAMED_WEIGHTS_H

#include <stddef.h>

struct named_file {
    const char *list;     /* path */
    int second;           /* tensors are called by their second name; weights follow from the first in any case */
    int convolutions;     /* matrices are (outputs, inputs, 1, 1) under their second names */
    const char *side;     /* only tensors whose names begin with it, which is cut off; or NULL */
    const char *prefix;   /* put in front of all names; or NULL */
    const char *metadata; /* a JSON object, or NULL */
};

/* A safetensors file in memory, which the caller frees; NULL where the list cannot be read. */
unsigned char *named_file_make(const struct named_file *file, size_t *bytes);

/* The same on disk; 0 on success. */
int named_file_write(const struct named_file *file, const char *path);

#endif
