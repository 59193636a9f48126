/* SPDX-License-Identifier: MIT */
/*
 * The grammar of weighted prompts, as users of AUTOMATIC1111's program know it: (more), [less], (a number:1.3),
 * escapes, BREAK. Nothing a user types is an error but too many brackets inside each other.
 */
#include "text/prompt.h"

static const double more = 1.1;

/* Places where brackets of one kind were opened: numbers of the runs that begin there. */
struct brackets {
    size_t opened[DQG_BRACKETS_MAX];
    size_t count;
};

struct parser {
    const char *at, *end;
    struct dqg_prompt_runs *runs;
    size_t written; /* bytes of the clean text */
    bool fresh;     /* the next byte begins a run: a bracket or BREAK stands before it */
    struct brackets round, square;
};

bool dqg_is_word_byte(char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           byte == '_' || (byte & 0x80) != 0;
}

static bool is_blank(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void put(struct parser *parser, char byte) {
    struct dqg_prompt_runs *runs = parser->runs;
    if (parser->fresh) {
        runs->items[runs->count++] = (struct dqg_prompt_run){parser->written, parser->written, 1, false};
        parser->fresh = false;
    }
    runs->text[parser->written++] = byte;
    runs->items[runs->count - 1].end = parser->written;
}

static bool open_bracket(struct parser *parser, struct brackets *brackets) {
    if (brackets->count == DQG_BRACKETS_MAX) {
        return false;
    }
    brackets->opened[brackets->count++] = parser->runs->count;
    parser->fresh = true;
    return true;
}

static void close_bracket(struct parser *parser, struct brackets *brackets, double factor) {
    for (size_t i = brackets->opened[--brackets->count]; i < parser->runs->count; i++) {
        parser->runs->items[i].weight *= factor;
    }
    parser->fresh = true;
}

/* ":", a number and ")" in a round bracket: its end, or NULL. */
static const char *read_weight(const struct parser *parser, double *weight) {
    const char *at = parser->at, *end = parser->end;
    if (*at != ':' || parser->round.count == 0) {
        return NULL;
    }
    at++;
    while (at < end && is_blank(*at)) {
        at++;
    }
    const char *number = at;
    while (at < end && ((*at >= '0' && *at <= '9') || *at == '.' || (at == number && (*at == '-' || *at == '+')))) {
        at++;
    }
    size_t length = (size_t)(at - number);
    while (at < end && is_blank(*at)) {
        at++;
    }
    bool whole = at < end && *at == ')' && dqg_parse_double(number, length, weight);
    return whole && *weight > -1e6 && *weight < 1e6 ? at + 1 : NULL;
}

/* The word BREAK by itself: a run of its own. */
static bool read_break(struct parser *parser, const char *start) {
    static const char word[] = "BREAK";
    enum { LENGTH = sizeof word - 1 };
    const char *at = parser->at;
    if (parser->end - at < LENGTH || memcmp(at, word, LENGTH) != 0 || (at > start && dqg_is_word_byte(at[-1])) ||
        (at + LENGTH < parser->end && dqg_is_word_byte(at[LENGTH]))) {
        return false;
    }
    struct dqg_prompt_runs *runs = parser->runs;
    runs->items[runs->count++] = (struct dqg_prompt_run){parser->written, parser->written, 1, true};
    parser->fresh = true;
    parser->at += LENGTH;
    return true;
}

/* Over one item of the text. false: too many brackets. */
static bool read_item(struct parser *parser, const char *start) {
    double weight;
    const char *behind = read_weight(parser, &weight);
    if (behind != NULL) {
        close_bracket(parser, &parser->round, weight);
        parser->at = behind;
        return true;
    }
    if (read_break(parser, start)) {
        return true;
    }
    char byte = *parser->at++;
    if (byte == '\\') { /* a single one is lost */
        if (parser->at < parser->end && *parser->at != '\0' && strchr("()[]\\", *parser->at) != NULL) {
            put(parser, *parser->at++);
        }
    } else if (byte == '(') {
        return open_bracket(parser, &parser->round);
    } else if (byte == '[') {
        return open_bracket(parser, &parser->square);
    } else if (byte == ')' && parser->round.count > 0) {
        close_bracket(parser, &parser->round, more);
    } else if (byte == ']' && parser->square.count > 0) {
        close_bracket(parser, &parser->square, 1 / more);
    } else {
        put(parser, byte);
    }
    return true;
}

static void join_equal(struct dqg_prompt_runs *runs) {
    size_t kept = 0;
    for (size_t i = 0; i < runs->count; i++) {
        struct dqg_prompt_run *last = &runs->items[kept > 0 ? kept - 1 : 0];
        if (kept > 0 && !last->stop && !runs->items[i].stop && last->weight == runs->items[i].weight) {
            last->end = runs->items[i].end;
        } else {
            runs->items[kept++] = runs->items[i];
        }
    }
    runs->count = kept;
}

dqg_status dqg_prompt_parse(struct dqg_context *context, const char *text, size_t length,
                            struct dqg_prompt_runs *runs) {
    struct parser parser = {.at = text, .end = text + length, .runs = runs, .fresh = true};
    runs->count = 0;
    while (parser.at < parser.end) {
        size_t place = (size_t)(parser.at - text);
        if (!read_item(&parser, text)) {
            return dqg_fail(context, DQG_ERROR_LIMIT,
                            "prompt: byte %zu: more than %d brackets inside each other; write "
                            "(text:1.5), or \\( for a bracket that is meant as one",
                            place, DQG_BRACKETS_MAX);
        }
    }
    while (parser.round.count > 0) { /* those that are never closed reach to the end */
        close_bracket(&parser, &parser.round, more);
    }
    while (parser.square.count > 0) {
        close_bracket(&parser, &parser.square, 1 / more);
    }
    join_equal(runs);
    return DQG_OK;
}
