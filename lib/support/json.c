/* SPDX-License-Identifier: MIT */
/*
 * The pull parser of json.h: strict JSON (RFC 8259) over a text in memory, for the headers of safetensors files,
 * indexes of sharded checkpoints, vocabularies and recipes. Never recurses deeper than DEPTH_MAX; allocates only for
 * the strings it hands out.
 */
#include "support/json.h"

enum { DEPTH_MAX = 8 };

void dqg_json_init(struct dqg_json *json, const char *text, size_t length) {
    memset(json, 0, sizeof *json);
    json->start = json->at = text;
    json->end = text + length;
}

bool dqg_json_fail(struct dqg_json *json, const char *error) {
    if (json->error == NULL) {
        json->error = error;
    }
    return false;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void skip_space(struct dqg_json *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t')) {
        json->at++;
    }
}

/* The next character that is not white space, or 0 at the end and after an error. */
static char look(struct dqg_json *json) {
    if (json->error != NULL) {
        return 0;
    }
    skip_space(json);
    return json->at < json->end ? *json->at : 0;
}

static bool expect(struct dqg_json *json, char c, const char *error) {
    if (look(json) != c) {
        return dqg_json_fail(json, json->at == json->end ? "the text ends too early" : error);
    }
    json->at++;
    return true;
}

static bool take_word(struct dqg_json *json, const char *word) {
    size_t length = strlen(word);
    if (json->error == NULL && (size_t)(json->end - json->at) >= length && memcmp(json->at, word, length) == 0) {
        json->at += length;
        return true;
    }
    return dqg_json_fail(json, "not a JSON value");
}

enum dqg_json_kind dqg_json_peek(struct dqg_json *json) {
    char c = look(json);
    switch (c) {
    case '{':
        return DQG_JSON_OBJECT;
    case '[':
        return DQG_JSON_ARRAY;
    case '"':
        return DQG_JSON_STRING;
    case 't':
    case 'f':
        return DQG_JSON_BOOL;
    case 'n':
        return DQG_JSON_NULL;
    default:
        if (c == '-' || is_digit(c)) {
            return DQG_JSON_NUMBER;
        }
        dqg_json_fail(json, json->at == json->end ? "the text ends too early" : "not a JSON value");
        return DQG_JSON_ERROR;
    }
}

bool dqg_json_enter(struct dqg_json *json) {
    char c = look(json);
    if (c != '{' && c != '[') {
        return dqg_json_fail(json, json->at == json->end ? "the text ends too early" : "expected '{' or '['");
    }
    if (json->depth == DEPTH_MAX) {
        return dqg_json_fail(json, "nested too deeply");
    }
    json->at++;
    json->depth++;
    json->first[json->depth] = true;
    json->closing_object[json->depth] = c == '{';
    return true;
}

bool dqg_json_next(struct dqg_json *json) {
    char c = look(json);
    if (json->error != NULL || json->depth == 0) {
        return false;
    }
    bool first = json->first[json->depth];
    json->first[json->depth] = false;
    if (c == (json->closing_object[json->depth] ? '}' : ']')) {
        json->at++;
        json->depth--;
        return false;
    }
    return first || expect(json, ',', "expected ',' or a closing bracket");
}

/* ---- strings ---- */

static bool hex4(struct dqg_json *json, uint32_t *value) {
    *value = 0;
    if (json->end - json->at < 4) {
        return dqg_json_fail(json, "the text ends too early");
    }
    for (int i = 0; i < 4; i++) {
        char c = *json->at;
        uint32_t digit = is_digit(c)              ? (uint32_t)(c - '0')
                         : (c >= 'a' && c <= 'f') ? (uint32_t)(c - 'a') + 10
                         : (c >= 'A' && c <= 'F') ? (uint32_t)(c - 'A') + 10
                                                  : 16;
        if (digit == 16) {
            return dqg_json_fail(json, "\\u wants four hexadecimal digits");
        }
        *value = *value << 4 | digit;
        json->at++;
    }
    return true;
}

/* After "\u": one character, which may take a second escape. */
static bool unicode_escape(struct dqg_json *json, uint32_t *code) {
    uint32_t low;
    if (!hex4(json, code)) {
        return false;
    }
    if (*code >= 0xD800 && *code <= 0xDBFF) {
        if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') {
            return dqg_json_fail(json, "half of a surrogate pair");
        }
        json->at += 2;
        if (!hex4(json, &low)) {
            return false;
        }
        if (low < 0xDC00 || low > 0xDFFF) {
            return dqg_json_fail(json, "half of a surrogate pair");
        }
        *code = 0x10000 + ((*code - 0xD800) << 10 | (low - 0xDC00));
    } else if (*code >= 0xDC00 && *code <= 0xDFFF) {
        return dqg_json_fail(json, "half of a surrogate pair");
    }
    return *code != 0 || dqg_json_fail(json, "a zero character in a string");
}

/* After a backslash: decode one escape to out (at most 4 bytes). */
static bool escape(struct dqg_json *json, char *out, size_t *count) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (json->at == json->end) {
        return dqg_json_fail(json, "the text ends inside a string");
    }
    char c = *json->at++;
    const char *found = c != 0 ? strchr(names, c) : NULL;
    if (found != NULL) {
        *out = values[found - names];
        *count = 1;
        return true;
    }
    uint32_t code;
    if (c != 'u') {
        return dqg_json_fail(json, "unknown escape in a string");
    }
    if (!unicode_escape(json, &code)) {
        return false;
    }
    *count = dqg_utf8_put(code, out);
    return true;
}

/* After the opening quote. Decodes to out where that is not NULL; the result is never longer than the source. */
static bool scan_string(struct dqg_json *json, char *out, size_t *length) {
    char scratch[4];
    *length = 0;
    while (json->error == NULL) {
        const char *run = json->at;
        while (json->at < json->end && *json->at != '"' && *json->at != '\\' && (unsigned char)*json->at >= 0x20) {
            json->at++;
        }
        size_t count = (size_t)(json->at - run);
        if (!dqg_utf8_valid(run, count)) {
            return dqg_json_fail(json, "a string is not valid UTF-8");
        }
        if (out != NULL) {
            memcpy(out + *length, run, count);
        }
        *length += count;
        if (json->at == json->end) {
            return dqg_json_fail(json, "the text ends inside a string");
        }
        char c = *json->at++;
        if (c == '"') {
            return true;
        }
        if (c != '\\') {
            return dqg_json_fail(json, "a control character in a string");
        }
        if (escape(json, out != NULL ? out + *length : scratch, &count)) {
            *length += count;
        }
    }
    return false;
}

bool dqg_json_string(struct dqg_json *json, const struct dqg_alloc *alloc, struct dqg_arena *arena, const char **text) {
    size_t length;
    *text = NULL;
    if (!expect(json, '"', "expected a string")) {
        return false;
    }
    struct dqg_json ahead = *json;
    if (!scan_string(&ahead, NULL, &length)) {
        return dqg_json_fail(json, ahead.error);
    }
    char *copy = dqg_arena_alloc(alloc, arena, length + 1);
    if (copy == NULL) {
        json->out_of_memory = true;
        return dqg_json_fail(json, "out of memory");
    }
    *text = copy;
    return scan_string(json, copy, &length);
}

bool dqg_json_key(struct dqg_json *json, const struct dqg_alloc *alloc, struct dqg_arena *arena, const char **text) {
    return dqg_json_string(json, alloc, arena, text) && expect(json, ':', "expected ':' after a key");
}

/* ---- numbers ---- */

static bool digits(struct dqg_json *json) {
    const char *from = json->at;
    while (json->at < json->end && is_digit(*json->at)) {
        json->at++;
    }
    return json->at > from || dqg_json_fail(json, "expected a digit");
}

/* Over one number; *whole says whether it has neither fraction nor exponent. */
static bool scan_number(struct dqg_json *json, bool *whole) {
    char c = look(json);
    if (c != '-' && !is_digit(c)) {
        return dqg_json_fail(json, json->at == json->end ? "the text ends too early" : "expected a number");
    }
    json->at += c == '-';
    bool zero = json->at < json->end && *json->at == '0';
    const char *from = json->at;
    if (!digits(json)) {
        return false;
    }
    if (zero && json->at - from > 1) {
        return dqg_json_fail(json, "a number starts with 0");
    }
    *whole = true;
    if (json->at < json->end && *json->at == '.') {
        *whole = false;
        json->at++;
        if (!digits(json)) {
            return false;
        }
    }
    if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
        *whole = false;
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) {
            json->at++;
        }
        return digits(json);
    }
    return true;
}

bool dqg_json_int(struct dqg_json *json, int64_t *value) {
    *value = 0;
    look(json);
    const char *from = json->at;
    bool whole;
    if (!scan_number(json, &whole)) {
        return false;
    }
    if (!whole || !dqg_parse_int64(from, (size_t)(json->at - from), value)) {
        return dqg_json_fail(json, whole ? "a number does not fit in 64 bits" : "expected a whole number");
    }
    return true;
}

bool dqg_json_number(struct dqg_json *json, double *value) {
    *value = 0;
    look(json);
    const char *from = json->at;
    bool whole;
    if (!scan_number(json, &whole)) {
        return false;
    }
    return dqg_parse_double(from, (size_t)(json->at - from), value) || dqg_json_fail(json, "a number is out of range");
}

/* ---- the rest ---- */

static bool skip_key(struct dqg_json *json) {
    size_t length;
    return expect(json, '"', "expected a string") && scan_string(json, NULL, &length) &&
           expect(json, ':', "expected ':' after a key");
}

bool dqg_json_skip(struct dqg_json *json) {
    size_t length;
    bool whole;
    switch (dqg_json_peek(json)) {
    case DQG_JSON_STRING:
        json->at++;
        return scan_string(json, NULL, &length);
    case DQG_JSON_NUMBER:
        return scan_number(json, &whole);
    case DQG_JSON_BOOL:
        return take_word(json, *json->at == 't' ? "true" : "false");
    case DQG_JSON_NULL:
        return take_word(json, "null");
    case DQG_JSON_OBJECT:
    case DQG_JSON_ARRAY:
        break;
    default:
        return false;
    }
    if (!dqg_json_enter(json)) {
        return false;
    }
    int depth = json->depth;
    while (dqg_json_next(json)) {
        if (!json->closing_object[depth] || skip_key(json)) {
            dqg_json_skip(json);
        }
    }
    return json->error == NULL;
}

bool dqg_json_is(struct dqg_json *json, const char *text) {
    size_t length = strlen(text);
    if (dqg_json_peek(json) != DQG_JSON_STRING) {
        return false;
    }
    const char *from = json->at + 1;
    return (size_t)(json->end - from) > length && memcmp(from, text, length) == 0 && from[length] == '"';
}

bool dqg_json_seek(struct dqg_json *json, const char *key) {
    if (dqg_json_peek(json) != DQG_JSON_OBJECT || !dqg_json_enter(json)) {
        return false;
    }
    while (dqg_json_next(json)) {
        bool found = dqg_json_is(json, key);
        if (!skip_key(json) || found) {
            return found && json->error == NULL;
        }
        dqg_json_skip(json);
    }
    return false;
}

size_t dqg_json_count(const struct dqg_json *json) {
    struct dqg_json ahead = *json;
    size_t count = 0;
    dqg_json_enter(&ahead);
    int depth = ahead.depth;
    while (dqg_json_next(&ahead)) {
        if (!ahead.closing_object[depth] || skip_key(&ahead)) {
            dqg_json_skip(&ahead);
        }
        count++;
    }
    return count;
}

bool dqg_json_end(struct dqg_json *json) {
    look(json);
    if (json->error == NULL && (json->depth > 0 || json->at < json->end)) {
        dqg_json_fail(json, json->depth > 0 ? "a bracket is not closed" : "text after the end");
    }
    return json->error == NULL;
}
