/* SPDX-License-Identifier: MIT */
/*
 * Formatting and parsing that do not depend on stdio or on the host's locale: for messages, reports and option values.
 */
#include <math.h>

#include "support/support.h"

struct sink {
    char *buffer;
    size_t size;
    size_t length; /* wanted, without the terminator */
};

static void put(struct sink *sink, char c) {
    if (sink->length + 1 < sink->size) {
        sink->buffer[sink->length] = c;
    }
    sink->length++;
}

static void put_text(struct sink *sink, const char *text) {
    for (const char *c = text != NULL ? text : "(null)"; *c != '\0'; c++) {
        put(sink, *c);
    }
}

static void put_unsigned(struct sink *sink, uint64_t value) {
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0) {
        put(sink, digits[--count]);
    }
}

static void put_signed(struct sink *sink, int64_t value) {
    if (value < 0) {
        put(sink, '-');
    }
    put_unsigned(sink, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Up to six significant digits, trailing zeros dropped; the notation of %g. */
static void put_double(struct sink *sink, double value) {
    if (isnan(value)) {
        put_text(sink, "nan");
        return;
    }
    if (signbit(value)) {
        put(sink, '-');
        value = -value;
    }
    if (isinf(value)) {
        put_text(sink, "inf");
        return;
    }
    if (value == 0.0) {
        put(sink, '0');
        return;
    }
    int exponent = (int)floor(log10(value));
    double scaled = exponent >= -300 ? value * pow(10.0, 5 - exponent) : value * 1e300 * pow(10.0, 5 - exponent - 300);
    uint64_t digits = (uint64_t)(scaled + 0.5); /* six digits, give or take the rounding of log10 */
    if (digits >= 1000000) {
        digits = (digits + 5) / 10;
        exponent++;
    } else if (digits < 100000) {
        digits *= 10;
        exponent--;
    }
    char text[6];
    for (int i = 5; i >= 0; i--) {
        text[i] = (char)('0' + digits % 10);
        digits /= 10;
    }
    int count = 6;
    while (count > 1 && text[count - 1] == '0') {
        count--;
    }
    bool scientific = exponent < -5 || exponent > 5;
    int point = scientific ? 1 : exponent + 1; /* digits before the point */
    if (point <= 0) {
        put_text(sink, "0.");
        for (int i = point; i < 0; i++) {
            put(sink, '0');
        }
    }
    for (int i = 0; i < count || i < point; i++) {
        if (i == point && i > 0) {
            put(sink, '.');
        }
        put(sink, i < count ? text[i] : '0');
    }
    if (scientific) {
        put(sink, 'e');
        put_signed(sink, exponent);
    }
}

size_t dqg_vformat(char *buffer, size_t size, const char *format, va_list args) {
    struct sink sink = {buffer, size, 0};
    for (const char *c = format; *c != '\0'; c++) {
        if (*c != '%') {
            put(&sink, *c);
            continue;
        }
        c++;
        if (*c == 's') {
            put_text(&sink, va_arg(args, const char *));
        } else if (*c == 'd') {
            put_signed(&sink, va_arg(args, int));
        } else if (*c == 'u') {
            put_unsigned(&sink, va_arg(args, unsigned));
        } else if (*c == 'c') {
            put(&sink, (char)va_arg(args, int));
        } else if (*c == 'g') {
            put_double(&sink, va_arg(args, double));
        } else if (*c == 'z') {
            c++; /* %zu */
            put_unsigned(&sink, va_arg(args, size_t));
        } else if (*c == 'l') {
            c += 2; /* %lld, %llu */
            if (*c == 'd') {
                put_signed(&sink, va_arg(args, long long));
            } else {
                put_unsigned(&sink, va_arg(args, unsigned long long));
            }
        } else {
            DQG_ASSERT(*c == '%');
            put(&sink, '%');
        }
    }
    if (size > 0) {
        buffer[dqg_min_size(sink.length, size - 1)] = '\0';
    }
    return sink.length;
}

size_t dqg_format(char *buffer, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t length = dqg_vformat(buffer, size, format, args);
    va_end(args);
    return length;
}

/* ---- parsing ---- */

bool dqg_parse_int64(const char *text, size_t length, int64_t *value) {
    size_t i = 0;
    bool negative = length > 0 && text[0] == '-';
    if (negative || (length > 0 && text[0] == '+')) {
        i = 1;
    }
    if (i == length) {
        return false;
    }
    int64_t result = 0; /* accumulated below zero, where the range is wider */
    for (; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(result, (int64_t)10, &result) ||
            __builtin_sub_overflow(result, (int64_t)(text[i] - '0'), &result)) {
            return false;
        }
    }
    if (!negative && result == INT64_MIN) {
        return false;
    }
    *value = negative ? result : -result;
    return true;
}

/* Reads digits into a mantissa of up to 18 significant ones; counts those dropped or behind the point. */
static size_t parse_digits(const char *text, size_t i, size_t length, uint64_t *mantissa, int *digits, int *exponent,
                           bool fraction) {
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        if (*mantissa < 100000000000000000u) {
            *mantissa = *mantissa * 10 + (uint64_t)(text[i] - '0');
            *exponent -= fraction ? 1 : 0;
        } else {
            *exponent += fraction ? 0 : 1;
        }
        *digits += 1;
    }
    return i;
}

bool dqg_parse_double(const char *text, size_t length, double *value) {
    size_t i = 0;
    bool negative = length > 0 && text[0] == '-';
    if (negative || (length > 0 && text[0] == '+')) {
        i++;
    }
    uint64_t mantissa = 0;
    int digits = 0;
    int exponent = 0;
    i = parse_digits(text, i, length, &mantissa, &digits, &exponent, false);
    if (i < length && text[i] == '.') {
        i = parse_digits(text, i + 1, length, &mantissa, &digits, &exponent, true);
    }
    if (digits == 0) {
        return false;
    }
    if (i < length && (text[i] == 'e' || text[i] == 'E')) {
        int64_t power;
        if (!dqg_parse_int64(text + i + 1, length - i - 1, &power)) {
            return false;
        }
        exponent += power > 1000 ? 1000 : power < -1000 ? -1000 : (int)power;
        i = length;
    }
    if (i != length) {
        return false;
    }
    /* Divide by a positive power: exact for everything a person types. */
    double result = (double)mantissa;
    if (exponent > 0) {
        result *= pow(10.0, exponent);
    } else if (exponent < -300) {
        result = result / 1e300 / pow(10.0, -exponent - 300);
    } else {
        result /= pow(10.0, -exponent);
    }
    *value = negative ? -result : result;
    return true;
}

int32_t dqg_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (int32_t index = 0;; index++) {
        const char *bar = strchr(choices, '|');
        size_t size = bar != NULL ? (size_t)(bar - choices) : strlen(choices);
        if (size == length && memcmp(choices, text, size) == 0) {
            return index;
        }
        if (bar == NULL) {
            return -1;
        }
        choices = bar + 1;
    }
}

bool dqg_ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

bool dqg_match(const char *pattern, const char *text) {
    const char *star = NULL;  /* where to resume in the pattern */
    const char *retry = NULL; /* and in the text */
    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            retry = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

/* ---- growing text ---- */

static bool reserve(struct dqg_text *text, size_t extra) {
    size_t need;
    if (text->failed || !dqg_add_size(text->length + 1, extra, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->capacity) {
        return true;
    }
    size_t capacity = need < 512 ? 1024 : need * 2;
    char *data = dqg_malloc(text->alloc, capacity);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    if (text->data != NULL) {
        memcpy(data, text->data, text->length + 1);
        dqg_free(text->alloc, text->data, text->capacity);
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void dqg_text_add(struct dqg_text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t length = dqg_vformat(NULL, 0, format, args);
    va_end(args);
    if (reserve(text, length)) {
        va_start(args, format);
        dqg_vformat(text->data + text->length, length + 1, format, args);
        va_end(args);
        text->length += length;
    }
}

void dqg_text_add_json(struct dqg_text *text, const char *string) {
    static const char hex[] = "0123456789abcdef";
    dqg_text_add(text, "\"");
    for (const char *c = string; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\') {
            dqg_text_add(text, "\\%c", byte);
        } else if (byte < 0x20) {
            dqg_text_add(text, "\\u00%c%c", hex[byte >> 4], hex[byte & 15]);
        } else {
            dqg_text_add(text, "%c", byte);
        }
    }
    dqg_text_add(text, "\"");
}

void dqg_text_free(struct dqg_text *text) {
    if (text->data != NULL) {
        dqg_free(text->alloc, text->data, text->capacity);
    }
    *text = (struct dqg_text){.alloc = text->alloc};
}
