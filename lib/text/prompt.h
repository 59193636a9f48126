/* SPDX-License-Identifier: MIT */
/* Between the grammar of prompts (prompt.c) and their tokens (prompt_chunks.c): stretches of text with one weight. */
#ifndef DQG_PROMPT_H
#define DQG_PROMPT_H

#include "text/text.h"

struct dqg_prompt_run {
    size_t begin, end; /* of the text */
    double weight;
    bool stop; /* no text: the word BREAK */
};

/* Sized by the caller for texts of length bytes: text length, runs length + 1. */
struct dqg_prompt_runs {
    char *text; /* without brackets and escapes */
    struct dqg_prompt_run *items;
    size_t count;
};

/* Understand the brackets of a prompt. Neighbours of one weight are one run. */
dqg_status dqg_prompt_parse(struct dqg_context *context, const char *text, size_t length, struct dqg_prompt_runs *runs);

/* A byte of a letter, a digit, an underline or anything beyond ASCII. */
bool dqg_is_word_byte(char byte);

#endif
