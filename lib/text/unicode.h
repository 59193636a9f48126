/* SPDX-License-Identifier: MIT */
/* Code points and what kind they are, for the tokenizers; tables made by tests/golden/make_unicode_tables.py. */
#ifndef DQG_UNICODE_H
#define DQG_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/text.h"

/* The code point at text[*at], *at moved behind it. Broken sequences give U+FFFD for each longest part that begins a
 * sound one, as Python's errors="replace" does. */
uint32_t dqg_utf8_next(const char *text, size_t length, size_t *at);

bool dqg_is_letter(uint32_t code); /* categories L and N, property White_Space */
bool dqg_is_number(uint32_t code);
bool dqg_is_space(uint32_t code);

/* The lower-case form of each code point alone; two for U+0130. Returns how many. */
size_t dqg_lower(uint32_t code, uint32_t out[2]);

/* Grapheme clusters, as far as they can be short: the end of the one that begins at codes[at]. */
size_t dqg_cluster_end(const uint32_t *codes, size_t count, size_t at);

/*
 * Composed normal form (NFC). codes: count code points, room for NFC_GROWTH times as many; scratch: the same room.
 * Returns the new count.
 */
enum { DQG_NFC_GROWTH = 4 };
size_t dqg_nfc(uint32_t *codes, size_t count, uint32_t *scratch);

/* Canonical parts of a code point, second 0 for a single one; and the composite of two or 0. Tables of nfc.c. */
struct dqg_unicode_pair {
    uint32_t first, second;
};
bool dqg_decompose(uint32_t code, struct dqg_unicode_pair *pair);
uint32_t dqg_compose(uint32_t first, uint32_t second);
uint32_t dqg_combining_class(uint32_t code);

#endif
