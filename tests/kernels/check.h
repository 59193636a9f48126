/* SPDX-License-Identifier: MIT */
/*
 * What the kernel tests share: random input, buffers that notice stray accesses, comparisons. It needs the C library
 * and mmap only, so that it also runs where nothing but a cross compiler and an emulator are installed.
 */
#ifndef DQG_TEST_KERNELS_CHECK_H
#define DQG_TEST_KERNELS_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "kernel/kernel.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- cases ---- */

/* Begin a case; the text names it in failures and crashes. Ends the case before. */
void check_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* End the last case; returns the number that failed. */
int check_finish(void);

/* ---- random numbers ---- */

void check_seed(uint64_t seed);
uint32_t random_bits(void);
size_t random_below(size_t n);
float random_unit(void); /* -1..1 */

/* One of a list of sizes. */
size_t random_size(const size_t *sizes, size_t count);
#define RANDOM_SIZE(sizes) random_size(sizes, COUNT_OF(sizes))

/* Floats of one kind: usual ones, of very different size, all zeros, subnormal, or equal. */
void fill_floats(float *x, size_t count);
void fill_small_ints(int8_t *x, size_t count); /* -127..127, at times only the extremes */

/* ---- halves ---- */

double half_value(uint16_t half); /* binary16 by its definition, apart from the kernels' bit operations */
uint16_t random_half(void);       /* usual scales, subnormals, anything */

/* ---- buffers ---- */

/* Ends at a page that cannot be touched and begins after bytes that are checked. The content is 0x5a. */
struct buffer {
    void *data;
    size_t size;
    unsigned char *map;
    size_t map_size;
};

/* rows of columns elements, ld apart, the last one without the gap; alignment is that of the element. */
struct buffer buffer_make(size_t rows, size_t columns, size_t ld, size_t element);
void buffer_free(struct buffer *buffer);
void buffer_reset(struct buffer *buffer); /* 0x5a again */
void buffer_copy(struct buffer *to, const struct buffer *from);

/* Fails the case unless the gaps between rows still hold 0x5a. */
void check_gaps(const struct buffer *buffer, size_t rows, size_t columns, size_t ld, size_t element);

/* ---- comparisons ---- */

/* Bit for bit; NaNs with different payload count as different. */
void check_equal(const void *got, const void *want, size_t rows, size_t columns, size_t ld, size_t element);

/* |got - want| <= tolerance * norm + 1e-36 for each element. want and norm are [rows][columns]. */
void check_close(const float *got, size_t ld, const double *want, const double *norm, size_t rows, size_t columns,
                 double tolerance);

/* activation(x) by its formula. */
double double_activation(double x, enum dqg_activation activation);

/* ---- the checks ---- */

/*
 * For each line of kernel_list.inc a function that compares a backend's kernel with the scalar one, and the scalar one
 * with a formula in double precision or plain integers.
 */
struct check {
    const struct dqg_kernels *tested;
    const struct dqg_kernels *scalar;
    double tolerance;
    size_t cases; /* random cases wanted */
};

static inline int check_is_scalar(const struct check *check) {
    return check->tested == check->scalar;
}

#define DQG_KERNEL(op, tolerance) void check_##op(const struct check *check);
#include "kernel/kernel_list.inc"
#undef DQG_KERNEL

/* Rows and elements computed alone equal those computed together, bit for bit. */
void check_alone(const struct dqg_kernels *kernels);

/* ---- the benchmark ---- */

/* The rates of decoders with each kind of code that they know. */
void bench_codes(const struct dqg_kernels *kernels);

/* For each kernel, billions of operations in a second; what counts as one is in the text. */
struct rate {
    double giga;
    const char *unit;
};

#define DQG_KERNEL(op, tolerance) struct rate bench_##op(const struct dqg_kernels *kernels);
#include "kernel/kernel_list.inc"
#undef DQG_KERNEL

#endif
