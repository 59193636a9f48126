/* SPDX-License-Identifier: MIT */
/* Base64 (RFC 4648, section 4) in one piece: charsmaps in tokenizer.json, and packed tokenizers. */
#include "text/tokenizer.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void dqg_base64_encode(const uint8_t *data, size_t size, char *out) {
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (left > 2 ? (uint32_t)data[i + 2] : 0);
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[bits & 63] : '=';
    }
}

static uint32_t digit_value(char c) {
    return c >= 'A' && c <= 'Z'   ? (uint32_t)(c - 'A')
           : c >= 'a' && c <= 'z' ? (uint32_t)(c - 'a') + 26
           : c >= '0' && c <= '9' ? (uint32_t)(c - '0') + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : 64;
}

bool dqg_base64_decode(const char *data, size_t size, uint8_t *out, size_t *count) {
    *count = 0;
    if (size % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < size; i += 4) {
        size_t filled = i + 4 < size || data[i + 3] != '=' ? 4 : data[i + 2] != '=' ? 3 : 2;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            uint32_t value = k < filled ? digit_value(data[i + k]) : 0;
            if (value > 63) {
                return false;
            }
            bits = bits << 6 | value;
        }
        for (size_t k = 0; k + 1 < filled; k++) {
            out[(*count)++] = (uint8_t)(bits >> (16 - 8 * k));
        }
    }
    return true;
}
