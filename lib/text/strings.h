/* SPDX-License-Identifier: MIT */
/* A sorted table of texts with a number each: pieces, tokens with a meaning, vocabularies while they are read. */
#ifndef DQG_STRINGS_H
#define DQG_STRINGS_H

#include "text/text.h"

struct dqg_string {
    const char *text; /* not terminated */
    uint32_t length;
    int32_t id;
    float score;
};

struct dqg_strings {
    struct dqg_string *items;
    size_t count;
};

/* Sort by bytes. Fails where a text is empty or comes twice; what names the table in the message. */
dqg_status dqg_strings_sort(struct dqg_context *context, struct dqg_strings *strings, const char *what);

/*
 * The texts that begin like a text to be read byte by byte: begin with all, then step; false when none is left. The
 * match is the one that ends where the walk stands, or NULL.
 */
struct dqg_walk {
    const struct dqg_string *first, *end;
    uint32_t depth;
};
struct dqg_walk dqg_walk_begin(const struct dqg_strings *strings);
bool dqg_walk_step(struct dqg_walk *walk, char byte);
static inline const struct dqg_string *dqg_walk_match(const struct dqg_walk *walk) {
    return walk->first < walk->end && walk->first->length == walk->depth ? walk->first : NULL;
}

/* The longest text of the table that text begins with, or NULL; the one that equals it, or NULL. */
const struct dqg_string *dqg_strings_longest(const struct dqg_strings *strings, const char *text, size_t length);
const struct dqg_string *dqg_strings_find(const struct dqg_strings *strings, const char *text, size_t length);

#endif
