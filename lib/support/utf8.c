/* SPDX-License-Identifier: MIT */
/* UTF-8 by the table of well-formed sequences of the Unicode standard (no overlong forms, no surrogates). Used on names
 * and metadata of every file format. */
#include "support/support.h"

/* Length of the sequence at the front of text, or 0 where it is not well-formed. */
static size_t sequence_length(const uint8_t *text, size_t length) {
    uint8_t lead = text[0];
    if (lead < 0x80) {
        return lead != 0 ? 1 : 0;
    }
    size_t count = lead >= 0xC2 && lead <= 0xDF ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
    if (count == 0 || count > length) {
        return 0;
    }
    for (size_t i = 1; i < count; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (lead == 0xE0 && text[1] < 0xA0) || (lead == 0xF0 && text[1] < 0x90);
    bool surrogate = lead == 0xED && text[1] > 0x9F;
    bool too_large = lead == 0xF4 && text[1] > 0x8F;
    return overlong || surrogate || too_large ? 0 : count;
}

bool dqg_utf8_valid(const char *text, size_t length) {
    for (size_t at = 0, step; at < length; at += step) {
        step = sequence_length((const uint8_t *)text + at, length - at);
        if (step == 0) {
            return false;
        }
    }
    return true;
}

size_t dqg_utf8_put(uint32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t count = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = count - 1; i > 0; i--, code >>= 6) {
        out[i] = (char)(0x80 | (code & 0x3F));
    }
    out[0] = (char)((0xF00u >> count) | code); /* 0xC0, 0xE0, 0xF0: a one for each byte, then a zero */
    return count;
}
