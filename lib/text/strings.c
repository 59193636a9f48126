/* SPDX-License-Identifier: MIT */
/*
 * Sorted tables of texts. Finding all pieces at a place of a text narrows a range of the table by one byte at a time,
 * which needs no tree and no memory beside the table.
 */
#include "text/strings.h"

static int compare(const struct dqg_string *a, const struct dqg_string *b) {
    size_t common = dqg_min_size(a->length, b->length);
    int order = memcmp(a->text, b->text, common);
    return order != 0 ? order : a->length < b->length ? -1 : a->length > b->length;
}

static void sift(struct dqg_string *items, size_t at, size_t count) {
    struct dqg_string moving = items[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && compare(&items[child], &items[child + 1]) < 0;
        if (compare(&moving, &items[child]) >= 0) {
            break;
        }
        items[at] = items[child];
    }
    items[at] = moving;
}

dqg_status dqg_strings_sort(struct dqg_context *context, struct dqg_strings *strings, const char *what) {
    struct dqg_string *items = strings->items;
    for (size_t i = strings->count / 2; i-- > 0;) {
        sift(items, i, strings->count);
    }
    for (size_t end = strings->count; end-- > 1;) {
        struct dqg_string last = items[end];
        items[end] = items[0];
        items[0] = last;
        sift(items, 0, end);
    }
    for (size_t i = 0; i < strings->count; i++) {
        if (items[i].length == 0) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "%s: entry %d is empty", what, (int)items[i].id);
        }
        if (i > 0 && compare(&items[i - 1], &items[i]) == 0) {
            return dqg_fail(context, DQG_ERROR_FORMAT, "%s: entries %d and %d are the same text", what,
                            (int)items[i - 1].id, (int)items[i].id);
        }
    }
    return DQG_OK;
}

struct dqg_walk dqg_walk_begin(const struct dqg_strings *strings) {
    const struct dqg_string *items = strings->items; /* NULL in an empty table */
    return (struct dqg_walk){items, strings->count > 0 ? items + strings->count : items, 0};
}

/* The first item of the range whose byte at the walk's depth is not below least; those that end there come first. */
static const struct dqg_string *bound(const struct dqg_walk *walk, int least) {
    const struct dqg_string *low = walk->first;
    size_t count = (size_t)(walk->end - walk->first);
    while (count > 0) {
        size_t half = count / 2;
        const struct dqg_string *middle = low + half;
        int byte = middle->length == walk->depth ? -1 : (unsigned char)middle->text[walk->depth];
        if (byte < least) {
            low = middle + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

bool dqg_walk_step(struct dqg_walk *walk, char byte) {
    int value = (unsigned char)byte;
    walk->first = bound(walk, value);
    walk->end = bound(walk, value + 1);
    walk->depth++;
    return walk->first < walk->end;
}

const struct dqg_string *dqg_strings_longest(const struct dqg_strings *strings, const char *text, size_t length) {
    const struct dqg_string *found = NULL;
    struct dqg_walk walk = dqg_walk_begin(strings);
    for (size_t i = 0; i < length && dqg_walk_step(&walk, text[i]); i++) {
        const struct dqg_string *match = dqg_walk_match(&walk);
        found = match != NULL ? match : found;
    }
    return found;
}

const struct dqg_string *dqg_strings_find(const struct dqg_strings *strings, const char *text, size_t length) {
    struct dqg_walk walk = dqg_walk_begin(strings);
    for (size_t i = 0; i < length; i++) {
        if (!dqg_walk_step(&walk, text[i])) {
            return NULL;
        }
    }
    return dqg_walk_match(&walk);
}
