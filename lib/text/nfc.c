/* SPDX-License-Identifier: MIT */
/*
 * The composed normal form of Unicode (UAX 15): take apart, sort marks by class, put together. Linear in the length of
 * the text whatever it is. Used by byte-pair tokenizers.
 */
#include "text/unicode.h"

enum {
    HANGUL = 0xAC00,
    LEADS = 0x1100,
    VOWELS = 0x1161,
    TAILS = 0x11A7, /* one before the first */
    LEAD_COUNT = 19,
    VOWEL_COUNT = 21,
    TAIL_COUNT = 28,
    HANGUL_COUNT = LEAD_COUNT * VOWEL_COUNT * TAIL_COUNT
};

/* Writes at most DQG_NFC_GROWTH code points, the longest chain of the tables. */
static size_t take_apart(uint32_t code, uint32_t *out) {
    uint32_t syllable = code - HANGUL;
    if (syllable < HANGUL_COUNT) {
        out[0] = LEADS + syllable / (VOWEL_COUNT * TAIL_COUNT);
        out[1] = VOWELS + syllable / TAIL_COUNT % VOWEL_COUNT;
        out[2] = TAILS + syllable % TAIL_COUNT;
        return out[2] == TAILS ? 2 : 3;
    }
    struct dqg_unicode_pair pair;
    uint32_t behind[DQG_NFC_GROWTH];
    size_t behind_count = 0;
    while (code >= 0x80 && dqg_decompose(code, &pair)) {
        if (pair.second != 0 && behind_count < DQG_NFC_GROWTH - 1) {
            behind[behind_count++] = pair.second; /* never has parts of its own */
        }
        code = pair.first;
    }
    out[0] = code;
    for (size_t i = 0; i < behind_count; i++) {
        out[1 + i] = behind[behind_count - 1 - i];
    }
    return 1 + behind_count;
}

/* Sort marks by class; equal ones keep their order. */
static void sort_marks(uint32_t *marks, size_t count, uint32_t *scratch) {
    size_t starts[257] = {0};
    for (size_t i = 0; i < count; i++) {
        starts[dqg_combining_class(marks[i]) + 1]++;
    }
    for (size_t k = 0; k < 256; k++) {
        starts[k + 1] += starts[k];
    }
    for (size_t i = 0; i < count; i++) {
        scratch[starts[dqg_combining_class(marks[i])]++] = marks[i];
    }
    memcpy(marks, scratch, count * sizeof *marks);
}

static void sort_all(uint32_t *codes, size_t count, uint32_t *scratch) {
    for (size_t at = 0; at < count;) {
        size_t end = at;
        uint32_t last = 0;
        bool sorted = true;
        for (uint32_t k; end < count && (k = dqg_combining_class(codes[end])) != 0; end++) {
            sorted = sorted && k >= last;
            last = k;
        }
        if (!sorted) {
            sort_marks(codes + at, end - at, scratch);
        }
        at = end + 1;
    }
}

static uint32_t put_together(uint32_t first, uint32_t second) {
    uint32_t lead = first - LEADS, vowel = second - VOWELS, syllable = first - HANGUL, tail = second - TAILS;
    if (lead < LEAD_COUNT && vowel < VOWEL_COUNT) {
        return HANGUL + (lead * VOWEL_COUNT + vowel) * TAIL_COUNT;
    }
    if (syllable < HANGUL_COUNT && syllable % TAIL_COUNT == 0 && tail > 0 && tail < TAIL_COUNT) {
        return first + tail;
    }
    return second < 0x80 ? 0 : dqg_compose(first, second);
}

/* In place. A mark is blocked from its starter by one of the same or a higher class between them. */
static size_t compose(uint32_t *codes, size_t count) {
    size_t kept = 0;
    size_t starter = SIZE_MAX;
    uint32_t last = 0; /* class of the mark kept last behind the starter */
    for (size_t i = 0; i < count; i++) {
        uint32_t k = dqg_combining_class(codes[i]);
        bool adjacent = starter != SIZE_MAX && kept == starter + 1;
        if (starter != SIZE_MAX && (adjacent || (last < k && k != 0))) {
            uint32_t composite = put_together(codes[starter], codes[i]);
            if (composite != 0) {
                codes[starter] = composite;
                continue;
            }
        }
        if (k == 0) {
            starter = kept;
        }
        last = k;
        codes[kept++] = codes[i];
    }
    return kept;
}

size_t dqg_nfc(uint32_t *codes, size_t count, uint32_t *scratch) {
    size_t parts = 0;
    for (size_t i = 0; i < count; i++) {
        parts += take_apart(codes[i], scratch + parts);
    }
    memcpy(codes, scratch, parts * sizeof *codes);
    sort_all(codes, parts, scratch);
    return compose(codes, parts);
}
