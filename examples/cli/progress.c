/* SPDX-License-Identifier: MIT */
/*
 * The progress bar: how much is done and how long the rest will take, on standard error, on a terminal only. Drawn at
 * most ten times a second. Fed by the library's progress callback (main.c) and by the longer commands.
 */
#include <string.h>
#include <time.h>

#include "cli.h"

enum { BAR_WIDTH = 24 };

double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_begin(struct progress *progress, const char *label) {
    bool visible = progress->visible;
    *progress = (struct progress){.visible = visible, .label = label, .span = 1, .start_s = now_s()};
}

void progress_share(struct progress *progress, double base, double span) {
    progress->base = base;
    progress->span = span;
}

/* "1:02 left", or nothing while it is too early to tell. */
static void time_left(char *text, size_t size, double seconds, double fraction) {
    text[0] = '\0';
    if (fraction > 0.01 && seconds > 0.3 && fraction < 1) {
        long left = (long)(seconds * (1 - fraction) / fraction + 0.5);
        if (left < 60) {
            snprintf(text, size, "%ld s left", left);
        } else {
            snprintf(text, size, "%ld:%02ld left", left / 60, left % 60);
        }
    }
}

void progress_draw(struct progress *progress, double fraction, const char *name) {
    double now = now_s();
    if (!progress->visible || now - progress->drawn_s < 0.1) {
        return;
    }
    progress->drawn_s = now;
    progress->drawn = true;
    double whole = progress->base + progress->span * (fraction < 0 ? 0 : fraction > 1 ? 1 : fraction);
    char bar[BAR_WIDTH + 1];
    int filled = (int)(whole * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(filled < BAR_WIDTH ? filled : BAR_WIDTH));
    bar[BAR_WIDTH] = '\0';
    char left[32];
    time_left(left, sizeof(left), now - progress->start_s, whole);
    fprintf(stderr, "\r%s [%s] %3d%%  %s  %.28s\033[K", progress->label, bar, (int)(100 * whole), left,
            name != NULL ? name : "");
    fflush(stderr);
}

void progress_end(struct progress *progress) {
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->drawn = false;
    }
}
