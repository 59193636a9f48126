/* SPDX-License-Identifier: MIT */
/* JSON: headers of safetensors files, indexes of sharded checkpoints, recipes, vocabularies. */
#ifndef DQG_JSON_H
#define DQG_JSON_H

#include "support/support.h"

/*
 * A pull parser over a complete text. Depth limit 8. Each call moves over one item; a failure is remembered, so that
 * callers may check once at the end.
 */
enum dqg_json_kind {
    DQG_JSON_ERROR,
    DQG_JSON_OBJECT, /* then dqg_json_next() and dqg_json_key() for each member */
    DQG_JSON_ARRAY,  /* then dqg_json_next() for each member */
    DQG_JSON_STRING,
    DQG_JSON_NUMBER,
    DQG_JSON_BOOL,
    DQG_JSON_NULL
};

struct dqg_json {
    const char *start, *at, *end;
    int depth;
    bool first[8 + 1];
    bool closing_object[8 + 1];
    bool out_of_memory; /* the error is a failed allocation */
    const char *error;  /* static text, or NULL */
};

void dqg_json_init(struct dqg_json *json, const char *text, size_t length);
enum dqg_json_kind dqg_json_peek(struct dqg_json *json);
bool dqg_json_enter(struct dqg_json *json); /* over '{' or '[' */
bool dqg_json_next(struct dqg_json *json);  /* another member? false also consumes the closing bracket */
bool dqg_json_string(struct dqg_json *json, const struct dqg_alloc *alloc, struct dqg_arena *arena,
                     const char **text); /* decoded UTF-8, copied to the arena; no embedded zero */
bool dqg_json_key(struct dqg_json *json, const struct dqg_alloc *alloc, struct dqg_arena *arena, const char **text);
bool dqg_json_int(struct dqg_json *json, int64_t *value); /* 0 .. 2^63 - 1 or negative; no fraction, no exponent */
bool dqg_json_number(struct dqg_json *json, double *value);
bool dqg_json_skip(struct dqg_json *json);          /* any value */
/* Into the object that comes next, up to the value of a key that needs no escapes. False where it is not there. */
bool dqg_json_seek(struct dqg_json *json, const char *key);
/* Is a text that needs no escapes what comes next? Stays there. */
bool dqg_json_is(struct dqg_json *json, const char *text);
size_t dqg_json_count(const struct dqg_json *json); /* members of the object or array that comes next */
bool dqg_json_end(struct dqg_json *json);           /* only white space is left */
bool dqg_json_fail(struct dqg_json *json, const char *error);

#endif
