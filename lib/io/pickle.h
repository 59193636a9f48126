/* SPDX-License-Identifier: MIT */
/*
 * Python's pickles as trees of plain values. Nothing is ever called or imported: what a pickle asks to call is left to
 * a function here that knows a few names, and everything else becomes an opaque value. Private to lib/io.
 */
#ifndef DQG_PICKLE_H
#define DQG_PICKLE_H

#include "support/support.h"

enum dqg_pickle_kind {
    DQG_PICKLE_NONE,
    DQG_PICKLE_INT, /* truth values too */
    DQG_PICKLE_TEXT,
    DQG_PICKLE_LIST, /* tuples too */
    DQG_PICKLE_DICT,
    DQG_PICKLE_GLOBAL, /* text is "module\nname" */
    DQG_PICKLE_STORAGE,
    DQG_PICKLE_TENSOR,
    DQG_PICKLE_OPAQUE, /* floats too: nobody needs them */
    DQG_PICKLE_MARK
};

/* Values refer to each other: lists and dicts may grow after something else holds them, or hold themselves. */
struct dqg_pickle_value {
    enum dqg_pickle_kind kind;
    union {
        int64_t integer;
        struct {
            const char *data; /* in the pickle; not terminated */
            size_t length;
        } text;
        struct {
            struct dqg_pickle_value **items; /* of a dict: keys and values in turn */
            size_t count, capacity;
        } list;
        void *object; /* of storages and tensors: what the functions below made of them */
    };
};

struct dqg_pickle {
    const struct dqg_alloc *alloc;
    struct dqg_arena arena; /* of the values */
    size_t left;            /* bytes that values may still take */
    const uint8_t *data;    /* outlives the values */
    size_t size, at;

    /* A call of global with a list of arguments, and what a persistent id stands for. May fail with dqg_pickle_fail().
     */
    struct dqg_pickle_value *(*call)(struct dqg_pickle *pickle, const struct dqg_pickle_value *global,
                                     const struct dqg_pickle_value *arguments);
    struct dqg_pickle_value *(*persistent)(struct dqg_pickle *pickle, const struct dqg_pickle_value *id);
    void *user;

    dqg_status status; /* the first failure, with */
    const char *error; /* static text */

    /* The rest belongs to the machine. */
    struct dqg_pickle_value **stack, **memo;
    size_t stack_count, stack_capacity, memo_count, memo_capacity;
    struct dqg_pickle_value mark;
    struct dqg_pickle_value none; /* what functions return after a failure */
};

/* Run the pickle that begins at pickle->at; the value it leaves, and pickle->at behind it. See status. */
struct dqg_pickle_value *dqg_pickle_run(struct dqg_pickle *pickle);
void dqg_pickle_free(struct dqg_pickle *pickle);

struct dqg_pickle_value *dqg_pickle_fail(struct dqg_pickle *pickle, dqg_status status, const char *error);
void *dqg_pickle_alloc(struct dqg_pickle *pickle, size_t size); /* zeroed; NULL after a failure */
struct dqg_pickle_value *dqg_pickle_new(struct dqg_pickle *pickle, enum dqg_pickle_kind kind);
void dqg_pickle_append(struct dqg_pickle *pickle, struct dqg_pickle_value *list, struct dqg_pickle_value *item);
bool dqg_pickle_is_text(const struct dqg_pickle_value *value, const char *text); /* of texts and globals */

#endif
