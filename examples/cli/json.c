/* SPDX-License-Identifier: MIT */
/* A small JSON writer for the --json outputs: nesting, commas and escapes. Used by info, compare and bench. */
#include <math.h>
#include <string.h>

#include "cli.h"

static void write_text(FILE *file, const char *text) {
    fputc('"', file);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(file, "\\%c", c);
        } else if (c < 0x20) {
            fprintf(file, "\\u%04x", c);
        } else {
            fputc(c, file);
        }
    }
    fputc('"', file);
}

/* The comma, the line break, the indentation and the key. */
static void begin_value(struct json *json, const char *key) {
    if (json->depth > 0) {
        fprintf(json->file, "%s\n%*s", json->first ? "" : ",", 2 * json->depth, "");
    }
    json->first = false;
    if (key != NULL) {
        write_text(json->file, key);
        fputs(": ", json->file);
    }
}

void json_begin(struct json *json, FILE *file) {
    *json = (struct json){.file = file, .first = true};
    json_open(json, NULL, '{');
}

void json_open(struct json *json, const char *key, char bracket) {
    begin_value(json, key);
    fputc(bracket, json->file);
    json->depth++;
    json->first = true;
}

void json_close(struct json *json, char bracket) {
    json->depth--;
    if (!json->first) {
        fprintf(json->file, "\n%*s", 2 * json->depth, "");
    }
    fputc(bracket, json->file);
    json->first = false;
}

void json_text(struct json *json, const char *key, const char *value) {
    begin_value(json, key);
    if (value == NULL) {
        fputs("null", json->file);
    } else {
        write_text(json->file, value);
    }
}

void json_int(struct json *json, const char *key, int64_t value) {
    begin_value(json, key);
    fprintf(json->file, "%lld", (long long)value);
}

void json_number(struct json *json, const char *key, double value) {
    begin_value(json, key);
    if (isfinite(value)) {
        fprintf(json->file, "%.9g", value);
    } else {
        fputs("null", json->file);
    }
}

void json_end(struct json *json) {
    json_close(json, '}');
    fputc('\n', json->file);
}
