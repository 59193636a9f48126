/* SPDX-License-Identifier: MIT */
/*
 * Tables of code points and the ways to ask them. A set is a sorted list of ranges, each one number: the first code
 * point << 11 | length - 1. Combining classes: first << 11 | class << 3 | length - 1.
 */
#include "text/unicode.h"

/* count letters, stride apart, whose lower-case forms are distance away. */
struct lower_run {
    uint32_t first;
    uint8_t count, stride;
    int32_t distance;
};

/* second is 0 where it is one code point for another. */
struct decomposition {
    uint32_t code, first, second;
};

#include "text/unicode_tables.inc"

/* ---- UTF-8 ---- */

uint32_t dqg_utf8_next(const char *text, size_t length, size_t *at) {
    const uint8_t *bytes = (const uint8_t *)text + *at;
    size_t left = length - *at;
    uint8_t lead = bytes[0];
    ++*at;
    if (lead < 0x80) {
        return lead;
    }
    size_t count = lead >= 0xC2 && lead <= 0xDF ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
    uint32_t code = count == 0 ? 0 : lead & (0xFFu >> (count + 1));
    for (size_t i = 1; i < count; i++) {
        /* the second byte excludes overlong forms, surrogates and what is above U+10FFFF */
        uint8_t least = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        uint8_t most = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (i >= left || bytes[i] < least || bytes[i] > most) {
            return 0xFFFD;
        }
        code = code << 6 | (bytes[i] & 0x3F);
        ++*at;
    }
    return count == 0 ? 0xFFFD : code;
}

/* ---- sets ---- */

/* The last range that does not begin behind code, or NULL. */
static const uint32_t *find_range(const uint32_t *ranges, size_t count, uint32_t code) {
    size_t low = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (ranges[low + half] >> 11 <= code) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low > 0 ? ranges + low - 1 : NULL;
}

static bool in_set(const uint32_t *ranges, size_t count, uint32_t code) {
    const uint32_t *range = find_range(ranges, count, code);
    return range != NULL && code - (*range >> 11) <= (*range & 2047);
}

bool dqg_is_letter(uint32_t code) {
    return in_set(letter_ranges, DQG_COUNT_OF(letter_ranges), code);
}

bool dqg_is_number(uint32_t code) {
    return in_set(number_ranges, DQG_COUNT_OF(number_ranges), code);
}

bool dqg_is_space(uint32_t code) {
    return in_set(space_ranges, DQG_COUNT_OF(space_ranges), code);
}

uint32_t dqg_combining_class(uint32_t code) {
    const uint32_t *range = find_range(combining_ranges, DQG_COUNT_OF(combining_ranges), code);
    return range != NULL && code - (*range >> 11) <= (*range & 7) ? *range >> 3 & 255 : 0;
}

/* ---- letters ---- */

size_t dqg_lower(uint32_t code, uint32_t out[2]) {
    out[0] = code;
    if (code == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    size_t low = 0, count = DQG_COUNT_OF(lower_runs);
    while (count > 0) {
        size_t half = count / 2;
        if (lower_runs[low + half].first <= code) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    const struct lower_run *run = &lower_runs[low > 0 ? low - 1 : 0];
    uint32_t offset = code - run->first;
    if (low > 0 && offset % run->stride == 0 && offset / run->stride < run->count) {
        out[0] = (uint32_t)((int64_t)code + run->distance);
    }
    return 1;
}

/* ---- clusters ---- */

static bool is_control(uint32_t code) {
    return in_set(control_ranges, DQG_COUNT_OF(control_ranges), code);
}

/* Rules GB4, GB5, GB9, GB9a and GB9b of UAX 29. Sequences that the others keep together (Hangul, flags, emoji, Indic
 * conjuncts) take more than the 5 bytes that callers look at. */
size_t dqg_cluster_end(const uint32_t *codes, size_t count, size_t at) {
    while (at + 1 < count && in_set(leading_ranges, DQG_COUNT_OF(leading_ranges), codes[at]) &&
           !is_control(codes[at + 1])) {
        at++;
    }
    bool alone = is_control(codes[at]);
    at++;
    while (!alone && at < count && in_set(joining_ranges, DQG_COUNT_OF(joining_ranges), codes[at])) {
        at++;
    }
    return at;
}

/* ---- canonical parts ---- */

bool dqg_decompose(uint32_t code, struct dqg_unicode_pair *pair) {
    size_t low = 0, high = DQG_COUNT_OF(decompositions);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (decompositions[middle].code < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == DQG_COUNT_OF(decompositions) || decompositions[low].code != code) {
        return false;
    }
    *pair = (struct dqg_unicode_pair){decompositions[low].first, decompositions[low].second};
    return true;
}

uint32_t dqg_compose(uint32_t first, uint32_t second) {
    size_t low = 0, high = DQG_COUNT_OF(compositions);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct decomposition *entry = &decompositions[compositions[middle]];
        if (entry->first == first && entry->second == second) {
            return entry->code;
        }
        if (entry->first < first || (entry->first == first && entry->second < second)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}
