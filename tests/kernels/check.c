/* SPDX-License-Identifier: MIT */
/* Cases, random input, guarded buffers and comparisons for the kernel tests. */
#define _GNU_SOURCE /* MAP_ANONYMOUS, sysconf */
#include "check.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILLER = 0x5a, FRONT = 64 /* bytes watched before a buffer */ };

static char case_text[256];
static int passed, failed, case_failures;

static void on_crash(int signal_number) {
    static const char text[] = "crashed in: ";
    if (write(2, text, sizeof text - 1) < 0 || write(2, case_text, strlen(case_text)) < 0 || write(2, "\n", 1) < 0) {
        _exit(3);
    }
    _exit(128 + signal_number);
}

static void end_case(void) {
    if (case_text[0]) {
        passed += case_failures == 0;
        failed += case_failures != 0;
    }
    case_failures = 0;
}

void check_case(const char *format, ...) {
    end_case();
    if (!case_text[0]) {
        signal(SIGSEGV, on_crash);
        signal(SIGBUS, on_crash);
        signal(SIGILL, on_crash);
        signal(SIGFPE, on_crash);
    }
    va_list args;
    va_start(args, format);
    vsnprintf(case_text, sizeof case_text, format, args);
    va_end(args);
}

void check_fail(const char *format, ...) {
    if (case_failures++ == 0 && failed < 20) {
        fprintf(stderr, "failed: %s: ", case_text);
        va_list args;
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
    }
}

int check_finish(void) {
    end_case();
    case_text[0] = '\0';
    printf("%d passed, %d failed\n", passed, failed);
    return failed;
}

/* ---- random numbers (splitmix64) ---- */

static uint64_t random_state;

void check_seed(uint64_t seed) {
    random_state = seed;
}

uint32_t random_bits(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 16);
}

size_t random_below(size_t n) {
    return random_bits() % n;
}

float random_unit(void) {
    return (float)(int32_t)random_bits() * 0x1p-31f;
}

size_t random_size(const size_t *sizes, size_t count) {
    return sizes[random_below(count)];
}

void fill_floats(float *x, size_t count) {
    size_t kind = random_below(10);
    float constant = random_unit();
    for (size_t i = 0; i < count; i++) {
        float v = random_unit();
        switch (kind) {
        case 0:
            v = 0.0f;
            break;
        case 1:
            v *= 1e-39f;
            break;
        case 2:
            v = constant;
            break;
        case 3:
            v = ldexpf(v, (int)random_below(60) - 30);
            break;
        case 4:
            v = random_below(4) ? v : 0.0f;
            break;
        default:
            break;
        }
        x[i] = v;
    }
}

void fill_small_ints(int8_t *x, size_t count) {
    size_t kind = random_below(8);
    for (size_t i = 0; i < count; i++) {
        int v = (int)random_below(255) - 127;
        switch (kind) {
        case 0:
            v = 127;
            break;
        case 1:
            v = -127;
            break;
        case 2:
            v = v < 0 ? -127 : 127;
            break;
        default:
            break;
        }
        x[i] = (int8_t)v;
    }
}

/* ---- halves ---- */

double half_value(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent == 0    ? ldexp(fraction, -24)
                   : exponent == 31 ? (fraction ? NAN : INFINITY)
                                    : ldexp(fraction + 1024, exponent - 25);
    return half >> 15 ? -value : value;
}

uint16_t random_half(void) {
    switch (random_below(8)) {
    case 0:
        return (uint16_t)random_bits(); /* anything, NaN too */
    case 1:
        return (uint16_t)random_below(1024);
    default:
        return (uint16_t)(0x2000 + random_below(0x1800)); /* about 0.008 to 1 */
    }
}

/* ---- buffers ---- */

struct buffer buffer_make(size_t rows, size_t columns, size_t ld, size_t element) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct buffer b = {.size = ((rows - 1) * ld + columns) * element};
    b.map_size = (FRONT + b.size + page - 1) / page * page + page;
    void *map = mmap(NULL, b.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect((char *)map + b.map_size - page, page, PROT_NONE) != 0) {
        fprintf(stderr, "no memory for %zu bytes\n", b.size);
        exit(2);
    }
    b.map = map;
    b.data = b.map + b.map_size - page - b.size;
    memset(b.map, FILLER, b.map_size - page);
    return b;
}

void buffer_free(struct buffer *buffer) {
    for (unsigned char *p = buffer->map; p < (unsigned char *)buffer->data; p++) {
        if (*p != FILLER) {
            check_fail("wrote %td bytes before a buffer", (unsigned char *)buffer->data - p);
            break;
        }
    }
    munmap(buffer->map, buffer->map_size);
}

void buffer_reset(struct buffer *buffer) {
    memset(buffer->data, FILLER, buffer->size);
}

void buffer_copy(struct buffer *to, const struct buffer *from) {
    memcpy(to->data, from->data, to->size);
}

void check_gaps(const struct buffer *buffer, size_t rows, size_t columns, size_t ld, size_t element) {
    for (size_t m = 0; m + 1 < rows; m++) {
        const unsigned char *gap = (const unsigned char *)buffer->data + (m * ld + columns) * element;
        for (size_t i = 0; i < (ld - columns) * element; i++) {
            if (gap[i] != FILLER) {
                check_fail("wrote past the end of row %zu, byte %zu", m, i);
                return;
            }
        }
    }
}

/* ---- comparisons ---- */

void check_equal(const void *got, const void *want, size_t rows, size_t columns, size_t ld, size_t element) {
    for (size_t m = 0; m < rows; m++) {
        for (size_t n = 0; n < columns; n++) {
            size_t at = (m * ld + n) * element;
            if (memcmp((const char *)got + at, (const char *)want + at, element) != 0) {
                int32_t a = 0, b = 0;
                memcpy(&a, (const char *)got + at, element);
                memcpy(&b, (const char *)want + at, element);
                check_fail("row %zu column %zu: bits 0x%x, expected 0x%x", m, n, (unsigned)a, (unsigned)b);
                return;
            }
        }
    }
}

void check_close(const float *got, size_t ld, const double *want, const double *norm, size_t rows, size_t columns,
                 double tolerance) {
    for (size_t m = 0; m < rows; m++) {
        for (size_t n = 0; n < columns; n++) {
            double a = got[m * ld + n], b = want[m * columns + n], limit = tolerance * norm[m * columns + n] + 1e-36;
            if ((isnan(b) && isnan(a)) || a == b) {
                continue;
            }
            if (!(fabs(a - b) <= limit)) {
                check_fail("row %zu column %zu: %.9g, expected %.9g, difference %.3g above %.3g", m, n, a, b,
                           fabs(a - b), limit);
                return;
            }
        }
    }
}

double double_activation(double x, enum dqg_activation activation) {
    const double slope = 2.0 * sqrt(2.0 / acos(-1.0));
    double u = x;
    switch (activation) {
    case DQG_ACT_NONE:
        return x;
    case DQG_ACT_RELU:
        return isnan(x) ? x : fmax(x, 0.0);
    case DQG_ACT_GELU_ERF:
        return 0.5 * x * erfc(-x / sqrt(2.0)); /* NaN for -infinity, as all that follow */
    case DQG_ACT_GELU_TANH:
        u = slope * (x + 0.044715 * x * x * x);
        break;
    case DQG_ACT_GELU_QUICK:
        u = 1.702 * x;
        break;
    default:
        break;
    }
    return u < -700.0 && !isinf(x) ? 0.0 : x / (1.0 + exp(-u));
}
