/* SPDX-License-Identifier: MIT */
/*
 * Layer 0: what every other layer stands on - allocation, checked sizes, error text, log, progress, time, worker
 * pool. Only this folder and lib/io touch the operating system.
 */
#ifndef DQG_SUPPORT_H
#define DQG_SUPPORT_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "libdqgen.h"

#define DQG_ALIGNMENT 64
#define DQG_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#ifdef NDEBUG
#define DQG_ASSERT(condition) ((void)0)
#else
#include <assert.h>
#define DQG_ASSERT(condition) assert(condition)
#endif

#if defined(__GNUC__)
#define DQG_FORMAT(fmt, args) __attribute__((format(printf, fmt, args)))
#define DQG_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#else
#define DQG_FORMAT(fmt, args)
#define DQG_UNLIKELY(condition) (condition)
#endif

/* Return a failing status to the caller. */
#define DQG_TRY(expression)                                                                                            \
    do {                                                                                                               \
        dqg_status dqg_try_status = (expression);                                                                      \
        if (DQG_UNLIKELY(dqg_try_status < 0)) {                                                                        \
            return dqg_try_status;                                                                                     \
        }                                                                                                              \
    } while (0)

/* ---- sizes ---- */

/* a + b and a * b with overflow reported: false means *out is not meaningful. */
static inline bool dqg_add_size(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool dqg_mul_size(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* a rounded up to a multiple of m; the caller knows that a + m does not overflow. */
static inline size_t dqg_round_up(size_t a, size_t m) {
    return (a + m - 1) / m * m;
}

static inline size_t dqg_min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- allocation ---- */

/* The host's allocator, copied into every handle that owns memory. */
struct dqg_alloc {
    void *(*allocate)(void *user, size_t size, size_t alignment);
    void (*release)(void *user, void *ptr, size_t size);
    void *user;
};

/* Fill alloc from the host's record, or with the C library's where that is NULL. */
dqg_status dqg_alloc_init(struct dqg_alloc *alloc, const dqg_allocator *allocator);

/* size bytes aligned to DQG_ALIGNMENT, or NULL. A size of 0 gives a valid pointer to release with size 0. */
void *dqg_malloc(const struct dqg_alloc *alloc, size_t size);
void *dqg_calloc(const struct dqg_alloc *alloc, size_t count, size_t size); /* zeroed; NULL on overflow too */
void dqg_free(const struct dqg_alloc *alloc, void *ptr, size_t size);       /* size as allocated; NULL is fine */

/* Hand out an aligned piece of a block at base + *used; base NULL only counts. False on overflow. */
bool dqg_carve(size_t *used, char *base, size_t count, size_t element, void **out);
char *dqg_strdup(const struct dqg_alloc *alloc, const char *text);          /* free with strlen + 1 */
void dqg_free_text(const struct dqg_alloc *alloc, char *text);

/* A block list that is freed as a whole: names, descriptors, graphs. Zero is an empty arena. */
struct dqg_arena {
    struct dqg_arena_block *head;
    size_t total; /* bytes taken from the allocator */
};

void *dqg_arena_alloc(const struct dqg_alloc *alloc, struct dqg_arena *arena, size_t size); /* zeroed, or NULL */
char *dqg_arena_copy(const struct dqg_alloc *alloc, struct dqg_arena *arena, const char *text, size_t length);
void dqg_arena_free(const struct dqg_alloc *alloc, struct dqg_arena *arena);

/* ---- context ---- */

struct dqg_pool;
struct dqg_kernels;

/* Layer 0 keeps the context; lib/api/context.c implements its public calls. */
struct dqg_context {
    _Atomic int32_t references;
    struct dqg_alloc alloc;
    const struct dqg_kernels *kernels; /* chosen in layer 1 */
    struct dqg_pool *pool;             /* NULL until first used */
    int32_t threads;                   /* wanted; 0 = one for each CPU */
    int32_t concurrency;               /* lanes of the host's parallel function */
    int32_t runs;                      /* alive: their scratch is sized for the lanes of now */
    dqg_parallel_fn parallel;
    void *parallel_user;
    dqg_log_fn log;
    void *log_user;
    int32_t log_level;
    dqg_progress_fn progress;
    void *progress_user;
    dqg_status error_status; /* first failure since the last public call, or DQG_OK */
    char error[512];
};

void dqg_context_retain_(struct dqg_context *context);
void dqg_context_release_(struct dqg_context *context);

/* Forget the last error: each public call that may fail begins with it. */
void dqg_error_clear(struct dqg_context *context);

/*
 * Record a failure and return its status. The first cause since dqg_error_clear() is kept. Understands %s, %d, %u,
 * %lld, %llu, %zu, %g and %%. context may be NULL.
 */
dqg_status dqg_fail(struct dqg_context *context, dqg_status status, const char *format, ...) DQG_FORMAT(3, 4);

/* "out of memory: <what> needs <size> bytes" */
dqg_status dqg_fail_memory(struct dqg_context *context, const char *what, size_t size);

void dqg_log(struct dqg_context *context, int32_t level, const char *format, ...) DQG_FORMAT(3, 4);

/* ---- text ---- */

/* snprintf for the directives above; always terminates; returns the length it wanted. */
size_t dqg_format(char *buffer, size_t size, const char *format, ...) DQG_FORMAT(3, 4);
size_t dqg_vformat(char *buffer, size_t size, const char *format, va_list args);

/* Locale-free number reading of a whole text. */
bool dqg_parse_double(const char *text, size_t length, double *value);
bool dqg_parse_int64(const char *text, size_t length, int64_t *value);

/* Position of a text in "a|b|c", or -1. */
int32_t dqg_choice(const char *choices, const char *text);

/* '*' any text, '?' one character. */
bool dqg_match(const char *pattern, const char *text);

bool dqg_ends_with(const char *text, const char *end);

bool dqg_utf8_valid(const char *text, size_t length); /* without zero bytes */
size_t dqg_utf8_put(uint32_t code, char out[4]);      /* bytes written */

/* A text that grows. Zero is empty; .failed is set when memory ran out. */
struct dqg_text {
    const struct dqg_alloc *alloc;
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
};
void dqg_text_add(struct dqg_text *text, const char *format, ...) DQG_FORMAT(2, 3);
void dqg_text_add_json(struct dqg_text *text, const char *string); /* quoted and escaped */
void dqg_text_free(struct dqg_text *text);

/* ---- time and progress ---- */

int64_t dqg_now_ns(void); /* monotonic */
int64_t dqg_now_us(void);
int64_t dqg_process_ns(void); /* processor time of the process, and of the calling thread */
int64_t dqg_thread_ns(void);

/* One long piece of work that reports itself. */
struct dqg_work {
    struct dqg_context *context;
    int32_t phase;
    uint64_t done;
    uint64_t total;
    int64_t spent_us;  /* before the current stretch */
    int64_t start_us;  /* of the current stretch */
    int64_t report_us; /* when progress was last told */
};

void dqg_work_begin(struct dqg_work *work, struct dqg_context *context, int32_t phase, uint64_t total);

/* Set the amount done. Calls the host's progress function at most every few milliseconds, and at the end. Returns
 * DQG_ERROR_CANCELLED when it asks to stop. */
dqg_status dqg_work_set(struct dqg_work *work, uint64_t done, const char *name);

/* ---- workers ---- */

typedef void (*dqg_lane_fn)(void *task, size_t index, size_t lane);

/* Lanes that work at the same time: the number of scratch areas an operator needs. */
size_t dqg_concurrency(const struct dqg_context *context);

/* Start own workers now if they are wanted and not there yet. */
dqg_status dqg_parallel_prepare(struct dqg_context *context);

/*
 * fn(task, index, lane) for each index in 0..count-1. Indices are handed out one by one to whichever lane is free; two
 * calls with the same lane never overlap.
 */
void dqg_parallel(struct dqg_context *context, size_t count, dqg_lane_fn fn, void *task);

struct dqg_pool *dqg_pool_create(const struct dqg_alloc *alloc, int32_t threads);
void dqg_pool_destroy(const struct dqg_alloc *alloc, struct dqg_pool *pool);
/* fn(task, 0) here and fn(task, i) for some of 1..count-1 on workers, those that come in time: the calls share out the
 * work among themselves. */
void dqg_pool_run(struct dqg_pool *pool, int32_t count, dqg_task_fn fn, void *task);
int32_t dqg_cpu_count(void); /* CPUs this process may use */

#endif
