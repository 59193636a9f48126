/* SPDX-License-Identifier: MIT */
/*
 * dqgen bench MODEL --profile: where the time of an evaluation goes, by kind of operator and by layer. Of each operator
 * the least time over the evaluations counts; layers of the same name but for numbers are one line.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_ops.h"

enum { LINE_NAME = 96 };

/* Operators that are told together. */
struct line {
    char name[LINE_NAME];
    int32_t calls; /* in an evaluation */
    double seconds, operations;
};

struct lines {
    struct line *items;
    size_t count;
};

void profile_free(struct profile *profile) {
    for (size_t i = 0; i < profile->count; i++) {
        free((char *)profile->operators[i].name);
    }
    free(profile->operators);
    *profile = (struct profile){0};
}

/* Told by the library for each operator of each evaluation, in their order. */
void profile_add(void *user, const dqg_measure_operator *told) {
    struct profile *profile = user;
    size_t index = (size_t)told->index;
    if (index >= profile->capacity) {
        size_t capacity = 2 * index + 64;
        dqg_measure_operator *grown = realloc(profile->operators, capacity * sizeof(*grown));
        if (grown == NULL) {
            return; /* the count stays, and profile_complete() says so */
        }
        profile->operators = grown;
        profile->capacity = capacity;
    }
    if (index == profile->count) {
        char *name = strdup(told->name);
        if (name != NULL) {
            profile->operators[profile->count] = *told;
            profile->operators[profile->count++].name = name;
        }
    } else if (index < profile->count) {
        profile->operators[index].seconds = fmin(profile->operators[index].seconds, told->seconds);
    }
}

bool profile_complete(const struct profile *profile, const dqg_model_info *info) {
    return profile->count == (size_t)info->operators;
}

/* ---- lines ---- */

/* "linear int4" */
static void kind_text(char *text, const dqg_measure_operator *operation) {
    const char *format = operation->dtype != 0 ? storage_name(operation->dtype) : "";
    snprintf(text, LINE_NAME, "%s%s%s", operation->kind, format[0] != '\0' ? " " : "", format);
}

/* "blocks.*.attn.qkv linear int4": numbers that stand alone become stars. */
static void layer_text(char *text, const dqg_measure_operator *operation) {
    char kind[LINE_NAME];
    size_t at = 0;
    kind_text(kind, operation);
    for (const char *from = operation->name; *from != '\0' && at + 1 < LINE_NAME / 2; from++) {
        bool number = isdigit((unsigned char)*from) && (from == operation->name || from[-1] == '.');
        if (number) {
            size_t digits = strspn(from, "0123456789");
            number = from[digits] == '.';
            from += number ? digits - 1 : 0;
        }
        text[at++] = number ? '*' : *from;
    }
    snprintf(text + at, LINE_NAME - at, " (%.40s)", kind);
}

static int by_seconds(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static bool collect(const struct profile *profile, void (*text)(char *, const dqg_measure_operator *),
                    struct lines *lines) {
    *lines = (struct lines){calloc(profile->count + 1, sizeof(*lines->items)), 0};
    for (size_t i = 0; lines->items != NULL && i < profile->count; i++) {
        const dqg_measure_operator *operation = &profile->operators[i];
        char name[LINE_NAME];
        size_t at = 0;
        text(name, operation);
        while (at < lines->count && strcmp(lines->items[at].name, name) != 0) {
            at++;
        }
        if (at == lines->count) {
            memcpy(lines->items[lines->count++].name, name, sizeof(name));
        }
        lines->items[at].calls++;
        lines->items[at].seconds += operation->seconds;
        lines->items[at].operations += operation->operations;
    }
    if (lines->items != NULL) {
        qsort(lines->items, lines->count, sizeof(*lines->items), by_seconds);
    }
    return lines->items != NULL;
}

static struct line total_of(const struct profile *profile) {
    struct line total = {"all", 0, 0, 0};
    for (size_t i = 0; i < profile->count; i++) {
        total.calls++;
        total.seconds += profile->operators[i].seconds;
        total.operations += profile->operators[i].operations;
    }
    return total;
}

/* ---- for people ---- */

static void print_line(const struct profile *profile, const struct line *line, double whole) {
    printf("  %-58s %5d %10.3f %6.1f%%", line->name, (int)line->calls, 1e3 * line->seconds,
           100 * line->seconds / whole);
    if (line->operations > 0) {
        double rate = line->operations / line->seconds;
        printf(" %9.1f %6.1f%%", 1e-9 * rate, 100 * rate / profile->ceiling);
    }
    printf("\n");
}

static void print_lines(const struct profile *profile, const char *title, const struct lines *lines, size_t most,
                        const struct line *total) {
    printf("  %-58s %5s %10s %7s %9s %7s\n", title, "calls", "ms", "share", "GOP/s", "ceiling");
    for (size_t i = 0; i < lines->count && i < most; i++) {
        print_line(profile, &lines->items[i], total->seconds);
    }
}

void profile_print(const struct profile *profile, size_t most) {
    struct line total = total_of(profile);
    struct lines kinds, layers;
    if (collect(profile, kind_text, &kinds)) {
        print_lines(profile, "kind", &kinds, kinds.count, &total);
        print_line(profile, &total, total.seconds);
        free(kinds.items);
    }
    if (collect(profile, layer_text, &layers)) {
        print_lines(profile, "layer", &layers, most, &total);
        free(layers.items);
    }
}

/* ---- for programs ---- */

static void json_line(struct json *json, const struct profile *profile, const struct line *line, double whole) {
    json_open(json, NULL, '{');
    json_text(json, "name", line->name);
    json_int(json, "calls", line->calls);
    json_number(json, "seconds", line->seconds);
    json_number(json, "share", line->seconds / whole);
    json_number(json, "operations", line->operations);
    json_number(json, "rate", line->operations / line->seconds);
    json_number(json, "ceiling_share", line->operations / line->seconds / profile->ceiling);
    json_close(json, '}');
}

static void json_lines(struct json *json, const char *key, const struct profile *profile,
                       void (*text)(char *, const dqg_measure_operator *)) {
    struct line total = total_of(profile);
    struct lines lines;
    json_open(json, key, '[');
    if (collect(profile, text, &lines)) {
        for (size_t i = 0; i < lines.count; i++) {
            json_line(json, profile, &lines.items[i], total.seconds);
        }
        free(lines.items);
    }
    json_close(json, ']');
}

void profile_json(const struct profile *profile, struct json *json) {
    json_open(json, "profile", '{');
    json_lines(json, "kinds", profile, kind_text);
    json_lines(json, "layers", profile, layer_text);
    json_open(json, "operators", '[');
    for (size_t i = 0; i < profile->count; i++) {
        const dqg_measure_operator *operation = &profile->operators[i];
        json_open(json, NULL, '{');
        json_text(json, "name", operation->name);
        json_text(json, "kind", operation->kind);
        json_text(json, "format", operation->dtype != 0 ? storage_name(operation->dtype) : NULL);
        json_number(json, "seconds", operation->seconds);
        json_number(json, "operations", operation->operations);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}
