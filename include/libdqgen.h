/* SPDX-License-Identifier: MIT */
/*
 * libdqgen - 4-bit generative models on the CPU, step by step, inside your program.
 *
 * This header is the reference of the library. docs/api-guide.md is a guided tour.
 *
 * A first look, without error handling:
 *
 *     dqg_context *ctx;   dqg_context_create(NULL, &ctx);
 *     dqg_model   *model; dqg_model_load(ctx, "sprites.dqg", NULL, &model);
 *     dqg_run     *run;   dqg_run_create(ctx, model, NULL, NULL, &run);
 *     while (dqg_run_step(run) == DQG_OK) { }        // the host owns the loop
 *     dqg_run_read_image(run, 0, DQG_SOURCE_LATENT, &image);
 *     dqg_run_destroy(run); dqg_model_release(model); dqg_context_destroy(ctx);
 *
 * Rules that hold everywhere, stated once:
 *
 *  - Status. Every call that can fail returns a dqg_status: 0 is success, a positive value is success with news
 *    (DQG_PENDING, DQG_DONE), a negative value is a failure. After a failure dqg_context_error() says in words what
 *    was wrong, where, and what to do. Nothing in this library aborts, exits, prints, raises signals, reads environment
 *    variables or keeps process-wide state.
 *  - Outputs. On failure every output pointer is set to NULL or 0, unless its documentation says otherwise.
 *  - NULL. destroy and release calls accept NULL. Any other NULL handle or required pointer gives
 *    DQG_ERROR_ARGUMENT.
 *  - Ownership. What create or load returns is owned by the caller, who destroys or releases it. Pointers returned
 *    by getters stay owned by the handle and live as long as it does, unless stated otherwise.
 *  - Threads. A context, and the runs, options and quantizers made with it, are used by one thread at a time.
 *    Models and schedulers are immutable and may be shared freely. dqg_run_cancel() may be called from any thread.
 *  - Records. A struct that the caller fills starts with struct_size: set it to sizeof the struct and zero the rest
 *    (DQG_INIT does both). Zero is the default of every member. Later versions add members at the end only.
 *  - Text is UTF-8 and zero-terminated.
 *
 * Since: items without a "Since" line exist since 0.1.
 */
#ifndef LIBDQGEN_H
#define LIBDQGEN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) || defined(__CYGWIN__)
#define DQG_API
#elif defined(__GNUC__)
#define DQG_API __attribute__((visibility("default")))
#else
#define DQG_API
#endif

/* Version of this header. dqg_version() gives that of the library in use. */
#define DQG_VERSION_MAJOR 0
#define DQG_VERSION_MINOR 1
#define DQG_VERSION_PATCH 0

/* ------------------------------------------------------------------------------------------------------------------
 * Status
 * --------------------------------------------------------------------------------------------------------------- */

/* Result of a call: one of the DQG_* values below. Values never change their meaning. */
typedef int32_t dqg_status;

enum {
    DQG_OK = 0,      /* success */
    DQG_PENDING = 1, /* success; the time budget is used up, call again to go on */
    DQG_DONE = 2,    /* success; nothing is left to do */

    DQG_ERROR_ARGUMENT = -10,    /* NULL, wrong shape, wrong dtype, wrong struct_size */
    DQG_ERROR_RANGE = -11,       /* a number outside its documented range */
    DQG_ERROR_NAME = -12,        /* no option, class, backend or tensor of that name */
    DQG_ERROR_STATE = -13,       /* the call does not fit the state of the handle */
    DQG_ERROR_UNSUPPORTED = -14, /* valid, but not something this version can do */

    DQG_ERROR_MEMORY = -20, /* the allocator returned NULL */
    DQG_ERROR_LIMIT = -21,  /* more memory or larger sizes than the limit in force allows */

    DQG_ERROR_IO = -30,        /* the operating system or a callback failed to read or write */
    DQG_ERROR_NOT_FOUND = -31, /* no such file */

    DQG_ERROR_FORMAT = -40,    /* not a file of a known kind, or its contents contradict each other */
    DQG_ERROR_VERSION = -41,   /* written by a newer version */
    DQG_ERROR_TRUNCATED = -42, /* the file ends too early */
    DQG_ERROR_CHECKSUM = -43,  /* the bytes are not those that were written */

    DQG_ERROR_CANCELLED = -50, /* dqg_run_cancel(), or a progress callback asked to stop; every handle stays usable */

    DQG_ERROR_INTERNAL = -90 /* a bug in the library; please report it */
};

/* One short line for a status, e.g. "out of memory". Never NULL; static text. Any thread. */
DQG_API const char *dqg_status_text(dqg_status status);

/* Version of the library in use: major * 1000000 + minor * 1000 + patch. Any thread. */
DQG_API int32_t dqg_version(void);

/* Zero a record and set its size: dqg_tensor_view v; DQG_INIT(&v); */
#define DQG_INIT(record) dqg_record_init((record), (uint32_t)sizeof(*(record)))

/* What DQG_INIT expands to; for bindings. Sets size bytes at record to zero and its first 32 bits to size. A NULL
 * record or a size under 4 does nothing. */
DQG_API void dqg_record_init(void *record, uint32_t size);

/* ------------------------------------------------------------------------------------------------------------------
 * Handles
 * --------------------------------------------------------------------------------------------------------------- */

typedef struct dqg_context dqg_context;     /* allocator, workers, kernels, error text. One thread at a time. */
typedef struct dqg_model dqg_model;         /* weights and metadata. Immutable, shared, counted. */
typedef struct dqg_scheduler dqg_scheduler; /* noise schedule and solver. Immutable, shared, counted. */
typedef struct dqg_quantizer dqg_quantizer; /* checkpoint in, 4-bit file out. One thread at a time. */
typedef struct dqg_run dqg_run;             /* one generation. One thread at a time; cancel from any. */
typedef struct dqg_options dqg_options;     /* keyed settings of one kind. One thread at a time. */

/* ------------------------------------------------------------------------------------------------------------------
 * Tensors and images
 * --------------------------------------------------------------------------------------------------------------- */

/* Element types and weight storage formats. The values are those of the .dqg file format. */
enum {
    DQG_DTYPE_F32 = 1,    /* IEEE binary32 */
    DQG_DTYPE_F16 = 2,    /* IEEE binary16 */
    DQG_DTYPE_BF16 = 3,   /* upper half of a binary32 */
    DQG_DTYPE_U8 = 4,     /* images only */
    DQG_DTYPE_U16 = 5,    /* images only */
    DQG_DTYPE_INT8 = 16,  /* weights: signed 8-bit codes, one scale for each output channel */
    DQG_DTYPE_INT4 = 17,  /* weights: codes -8..7, one F16 scale for each group of inputs of an output channel */
    DQG_DTYPE_INT4Z = 18, /* weights: codes 0..15 with a zero point and an F16 scale for each group */
    DQG_DTYPE_INT2 = 19,  /* weights: as INT4, with codes -2..1 */
    DQG_DTYPE_INT2Z = 20, /* weights: as INT4Z, with codes 0..3 */
    DQG_DTYPE_INT3 = 21,  /* weights: codes -4..3 */
    DQG_DTYPE_INT3Z = 22, /* weights: codes 0..7 with zero points */
    DQG_DTYPE_INT5 = 23,  /* weights: codes -16..15 */
    DQG_DTYPE_INT5Z = 24, /* weights: codes 0..31 with zero points */
    DQG_DTYPE_INT6 = 25,  /* weights: codes -32..31 */
    DQG_DTYPE_INT6Z = 26, /* weights: codes 0..63 with zero points */
    DQG_DTYPE_E2M1 = 27,  /* weights: 4-bit floats 0 .5 1 1.5 2 3 4 6 with a sign, group scales */
    DQG_DTYPE_E1M2 = 28,  /* weights: 4-bit floats 0 .5 1 1.5 2 2.5 3 3.5 with a sign, group scales */
    DQG_DTYPE_E3M0 = 29,  /* weights: 4-bit floats 0 .25 .5 1 2 4 8 16 with a sign, group scales */
    DQG_DTYPE_NF4 = 30,   /* weights: 16 quantiles of a normal distribution, group scales */
    DQG_DTYPE_E4M3 = 31,  /* weights: 8-bit floats up to 448, one scale for each output channel */
    DQG_DTYPE_E5M2 = 32,  /* weights: 8-bit floats up to 57344, one scale for each output channel */
    DQG_DTYPE_BIN1 = 33,  /* weights: signs, group scales */
    DQG_DTYPE_BIN2 = 34,  /* weights: two bases of signs, each with group scales */
    DQG_DTYPE_VQ2 = 35,   /* weights: pairs from a codebook of 256 (4 bits a weight), a scale for each output channel */
    DQG_DTYPE_VQ4 = 36    /* weights: fours from a codebook of 256 (2 bits a weight), a scale for each output channel */
};

#define DQG_MAX_RANK 8

/*
 * A tensor in the caller's memory. Nothing is copied or kept: the memory must stay valid during the call only.
 *
 *   data     first element
 *   dtype    DQG_DTYPE_F32, DQG_DTYPE_F16 or DQG_DTYPE_BF16
 *   rank     number of dimensions, 0 to DQG_MAX_RANK
 *   shape    elements in each dimension, slowest first, e.g. (batch, channels, height, width)
 *   strides  distance in bytes between neighbours of each dimension; may be negative; all zero means contiguous
 */
typedef struct dqg_tensor_view {
    uint32_t struct_size;
    uint32_t flags; /* must be 0 */
    void *data;
    int32_t dtype;
    int32_t rank;
    int64_t shape[DQG_MAX_RANK];
    int64_t strides[DQG_MAX_RANK];
} dqg_tensor_view;

enum {
    DQG_ALPHA_STRAIGHT = 0,     /* colour is independent of alpha */
    DQG_ALPHA_PREMULTIPLIED = 1 /* colour is already multiplied by alpha */
};

/*
 * An image in the caller's memory; interleaved channels. Colour encoding: the model's own, which for the shipped model
 * and nearly all published ones is sRGB; values are passed through without a transfer function.
 *
 *   dtype       DQG_DTYPE_U8, DQG_DTYPE_U16 (native byte order) or DQG_DTYPE_F32 (0 is black, 1 is white, clamped)
 *   channels    1 grey, 2 grey and alpha, 3 RGB, 4 RGBA
 *   alpha       one of DQG_ALPHA_*; used with 2 and 4 channels. With 1 or 3 channels a transparent picture is shown on
 *               black.
 *   row_stride  bytes from a row to the next; 0 means rows without gaps; negative for bottom-up images
 */
typedef struct dqg_image_view {
    uint32_t struct_size;
    uint32_t flags; /* must be 0 */
    void *data;
    int64_t row_stride;
    int32_t width;
    int32_t height;
    int32_t channels;
    int32_t dtype;
    int32_t alpha;
    int32_t reserved; /* must be 0 */
} dqg_image_view;

/* ------------------------------------------------------------------------------------------------------------------
 * Hooks
 * --------------------------------------------------------------------------------------------------------------- */

/*
 * Memory for everything the library allocates on behalf of a context, its models and its runs. The record is copied.
 * zstd and BLIS are given memory through it too where they offer a way (zstd), and otherwise use their own.
 *
 *   allocate  at least size bytes at a multiple of alignment (a power of two, at most 64), or NULL. size is never 0.
 *   release   gives back what allocate returned; size is the one it was asked for. ptr is never NULL.
 *
 * Both may be called from worker threads and, for shared models, from any thread that releases the last reference:
 * they must be thread-safe. They must not call the library.
 */
typedef struct dqg_allocator {
    uint32_t struct_size;
    uint32_t flags; /* must be 0 */
    void *(*allocate)(void *user, size_t size, size_t alignment);
    void (*release)(void *user, void *ptr, size_t size);
    void *user;
} dqg_allocator;

enum { DQG_LOG_ERROR = 1, DQG_LOG_WARNING = 2, DQG_LOG_INFO = 3, DQG_LOG_DEBUG = 4 };

/* Receives one message without a newline. Called on the thread that uses the context. Must not call the library. */
typedef void (*dqg_log_fn)(void *user, int32_t level, const char *message);

enum {
    DQG_PHASE_LOAD = 1,
    DQG_PHASE_VERIFY = 2,
    DQG_PHASE_QUANTIZE = 3,
    DQG_PHASE_RUN = 4,
    DQG_PHASE_MEASURE = 5,
    DQG_PHASE_SEARCH = 6
};

/*
 * How far a long call has come.
 *
 *   phase         one of DQG_PHASE_*
 *   done, total   work units (bytes for load, verify and quantize; network evaluations in thousandths for run;
 *                 thousandths for measure; runs for search)
 *   elapsed_us    since the work began; time between calls of dqg_run_step() is not counted
 *   remaining_us  estimate, or -1 when nothing can be said yet
 *   name          the tensor or step being worked on; valid during the call
 */
typedef struct dqg_progress {
    uint32_t struct_size;
    int32_t phase;
    uint64_t done;
    uint64_t total;
    int64_t elapsed_us;
    int64_t remaining_us;
    const char *name;
} dqg_progress;

/*
 * Called on the thread that uses the context, at most a few hundred times a second. Return 0 to go on; anything else
 * stops the work at the next safe point with DQG_ERROR_CANCELLED and leaves every handle usable. Of the library it may
 * call dqg_run_cancel() only.
 */
typedef int32_t (*dqg_progress_fn)(void *user, const dqg_progress *progress);

/* One piece of parallel work: the function that the host's job system calls with an index. */
typedef void (*dqg_task_fn)(void *task, int32_t index);

/*
 * Runs fn(task, i) for each i in 0..count-1, in any order and on any threads, and returns when all have finished. It
 * may run them all on the calling thread. Results do not depend on how the work is spread.
 */
typedef void (*dqg_parallel_fn)(void *user, int32_t count, dqg_task_fn fn, void *task);

/*
 * A file as the library sees it when the host does its own reading.
 *
 *   size   length of the file in bytes
 *   read   fills buffer with size bytes from offset; returns 0 on success. Called from worker threads too, possibly
 *          several at a time. offset + size never exceeds the stated size.
 */
typedef struct dqg_reader {
    uint32_t struct_size;
    uint32_t flags; /* must be 0 */
    uint64_t size;
    int32_t (*read)(void *user, uint64_t offset, void *buffer, size_t size);
    void *user;
} dqg_reader;

/* ------------------------------------------------------------------------------------------------------------------
 * Context
 * --------------------------------------------------------------------------------------------------------------- */

/*
 * Make a context.
 *   allocator  NULL for the C library's aligned allocation; copied otherwise
 *   context    receives the handle
 * Ownership: destroy with dqg_context_destroy(). Runs, options and quantizers keep it alive until they are gone too.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY, DQG_ERROR_UNSUPPORTED (no kernels for this CPU).
 * Threads: any.
 */
DQG_API dqg_status dqg_context_create(const dqg_allocator *allocator, dqg_context **context);

/* Give up a context. Its worker threads end when the last run, options object or quantizer made with it is gone. */
DQG_API void dqg_context_destroy(dqg_context *context);

/*
 * What went wrong in the most recent failing call that used this context (directly, or through a run, options or
 * quantizer made with it): the first cause, in one or two sentences. An empty string when the most recent call
 * succeeded. Never NULL; valid until the next call that uses the context.
 */
DQG_API const char *dqg_context_error(const dqg_context *context);

/*
 * Number of threads that work on one call, the calling one included. 0 (the default) means one for each CPU the
 * process may use; range 0..256. Workers are started on first use and sleep between calls. Replaces a parallel
 * function. Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_STATE (runs made with this context exist: their
 * memory is sized for the threads of their time).
 */
DQG_API dqg_status dqg_context_set_threads(dqg_context *context, int32_t threads);

/*
 * Use the host's job system in place of own threads.
 *   parallel     NULL returns to own threads
 *   user         passed to parallel
 *   concurrency  how many tasks may run at the same time, 1..256: sizes the scratch memory
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_STATE (as above).
 */
DQG_API dqg_status dqg_context_set_parallel(dqg_context *context, dqg_parallel_fn parallel, void *user,
                                            int32_t concurrency);

/*
 * Choose the kernels: "auto" (the default: the best this CPU has), "scalar", "avx2", "avx512" (needs VNNI), "neon",
 * "neon-dot", and others that dqg_backend_name() tells. Integer results are equal on all of them; float results differ
 * in rounding. Takes effect for runs created and evaluations made later.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_NAME (unknown), DQG_ERROR_UNSUPPORTED (known, but this CPU or build lacks it).
 */
DQG_API dqg_status dqg_context_set_backend(dqg_context *context, const char *name);

/* Name of the kernels in use, e.g. "avx512". Static text; "" for NULL. */
DQG_API const char *dqg_context_backend(const dqg_context *context);

/* Name of the index-th backend that this CPU and build can run, best first; NULL past the last one. Any thread. */
DQG_API const char *dqg_backend_name(int32_t index);

/* Where messages go; NULL (the default) for nowhere. level is the most detailed DQG_LOG_* wanted. */
DQG_API dqg_status dqg_context_set_log(dqg_context *context, dqg_log_fn log, void *user, int32_t level);

/* Called during load, verify, quantize and run; NULL (the default) for none. */
DQG_API dqg_status dqg_context_set_progress(dqg_context *context, dqg_progress_fn progress, void *user);

/* ------------------------------------------------------------------------------------------------------------------
 * Options
 *
 * Settings of a model load, a scheduler, a run or a quantizer: keys with a typed value. The same table drives setters,
 * range checks, command-line names and help text; dqg_option_at() lists it.
 * --------------------------------------------------------------------------------------------------------------- */

/* What a set of options is for. */
enum {
    DQG_OPTIONS_MODEL = 1,
    DQG_OPTIONS_SCHEDULER = 2,
    DQG_OPTIONS_RUN = 3,
    DQG_OPTIONS_QUANTIZER = 4,
    DQG_OPTIONS_SEARCH = 5
};

/* Option keys. Type, range, default and meaning: see the table that dqg_option_at() returns, or docs/options.md. */
enum {
    DQG_MODEL_MEMORY_LIMIT = 100, /* int: most bytes the model may take; 0 no limit */
    DQG_MODEL_VARIANT = 101,      /* text: which published network it is, where a file does not tell */
    DQG_MODEL_COMPONENTS = 102,   /* text: "resident", all networks of the file are in memory; "on-demand", each is read
                                     from the file by the call or run that uses it, and given up afterwards */

    DQG_SCHEDULER_SOLVER = 200,          /* text: how to move from point to point */
    DQG_SCHEDULER_SCHEDULE = 201,        /* text: the noise level as a function of time */
    DQG_SCHEDULER_SPACING = 202,         /* text: which points of the schedule are visited */
    DQG_SCHEDULER_PREDICTION = 203,      /* text: what the network's output means */
    DQG_SCHEDULER_STEPS = 204,           /* int: number of solver steps */
    DQG_SCHEDULER_SHIFT = 205,           /* float: flow timestep shift */
    DQG_SCHEDULER_ETA = 206,             /* float: share of fresh noise; -1: the solver's own */
    DQG_SCHEDULER_BETA_START = 207,      /* float: first beta */
    DQG_SCHEDULER_BETA_END = 208,        /* float: last beta */
    DQG_SCHEDULER_TRAIN_TIMESTEPS = 209, /* int: discrete training timesteps T */
    DQG_SCHEDULER_STEPS_OFFSET = 210,    /* int: added to each timestep of leading spacing */
    DQG_SCHEDULER_TIMESTEP_SCALE = 211,  /* float: flow timestep fed to the network = scale * sigma */
    DQG_SCHEDULER_SIGMAS = 212,          /* floats: host-supplied noise levels of all points, decreasing */
    DQG_SCHEDULER_TIMESTEPS = 213,       /* floats: host-supplied training timesteps, decreasing */
    DQG_SCHEDULER_ZERO_SNR = 214,        /* int: 1 rescales a discrete schedule so that it ends without signal */
    DQG_SCHEDULER_TIME_POWER = 222,      /* float: spacing "time-power" is even in this root of the time */
    DQG_SCHEDULER_LML_LAMBDA = 223,      /* float: damping of the LML correction (arXiv 2505.24222), which is off unless
                                            one of the next two is above 0 */
    DQG_SCHEDULER_LML_KAPPA = 224,       /* float: share of the previous update in LML's direction, as published */
    DQG_SCHEDULER_LML_RHO = 225,         /* float: LML's strength for any size of samples, kappa |update|^2 / lambda */
    DQG_SCHEDULER_LML_FREEZE = 226,      /* float: with ddim, no LML in this share of the timesteps, the noisy ones */

    DQG_SCHEDULER_ORDER = 215,             /* int: order of a multistep solver; 0: its own */
    DQG_SCHEDULER_LOWER_ORDER_FINAL = 216, /* text: whether the last steps of a multistep solver are of lower order */
    DQG_SCHEDULER_UNCORRECTED = 240,       /* int: first steps of unipc whose results are not corrected */
    DQG_SCHEDULER_VARIANCE = 217,          /* text: variance of the fresh noise of ddpm */
    DQG_SCHEDULER_LAMBDA = 218,            /* text: the variable that DPM-Solver++ extrapolates in on flow */
    DQG_SCHEDULER_S_CHURN = 219,           /* float: noise added before each step, over all steps; 0: none */
    DQG_SCHEDULER_CHURN_RANGE = 220,       /* floats: lowest and highest sigma where s-churn acts; none: everywhere */
    DQG_SCHEDULER_S_NOISE = 221,           /* float: amplitude of the noise of s-churn */
    DQG_SCHEDULER_SIGMA_MIN = 228,       /* float: least level of a spacing of noise levels; 0: the schedule's own */
    DQG_SCHEDULER_SIGMA_MAX = 229,       /* float: largest level of a spacing of noise levels; 0: the schedule's own */
    DQG_SCHEDULER_SIGMA_DATA = 230, /* float: standard deviation of the data of an EDM network; 0: 0.5 for prediction
                                       "edm", 1 for the others, which is what SVD has */
    DQG_SCHEDULER_RHO = 231,        /* float: exponent of spacings karras (0: 7) and polyexponential (0: 1) */
    DQG_SCHEDULER_IMAGE_TOKENS =
        232, /* int: tokens of one image, from which a flow's shift follows; 0: shift as it is */
    DQG_SCHEDULER_RESOLUTION_SHIFT = 233, /* text: how it follows: "exponential" (FLUX) or "sqrt" (SD3) */
    DQG_SCHEDULER_BASE_SHIFT = 234,       /* float: logarithm of the exponential shift at 256 tokens */
    DQG_SCHEDULER_MAX_SHIFT = 235,        /* float: logarithm of the exponential shift at 4096 tokens */
    DQG_SCHEDULER_SHIFT_POWER = 236,      /* float: power of t / (1 - t) before the shift */
    DQG_SCHEDULER_SHIFT_TERMINAL = 237,   /* float: last level of a flow before 0, after stretching; 0: not stretched */
    DQG_SCHEDULER_INTERPOLATION = 238, /* text: levels at fractional timesteps, "linear" in sigma or in ln sigma, "log";
                                          empty: as the spacing's source has it */
    DQG_SCHEDULER_PFGM_DIMENSIONS = 239, /* float: D of PFGM++ (arXiv 2302.04265) for the initial noise; 0: Gaussian */

    DQG_RUN_COUNT = 300,         /* int: images in this run */
    DQG_RUN_SEED = 301,          /* int: image i starts from seed + i */
    DQG_RUN_SEEDS = 302,         /* ints: a seed for each image; overrides seed */
    DQG_RUN_CLASSES = 303,       /* ints: class of each image; one value serves all; -1 is "no class" */
    DQG_RUN_GUIDANCE = 304,      /* float: classifier-free guidance scale; 1 switches guidance off. Networks that take
                                    the scale as an input (DQG_MODEL_GUIDED) are told it, and evaluated once */
    DQG_RUN_CFG_CHANNELS = 305,  /* int: guide the first channels only and copy the rest; 0 guides all */
    DQG_RUN_HEIGHT = 306,        /* int: latent rows; 0 takes the model's own */
    DQG_RUN_WIDTH = 307,         /* int: latent columns; 0 takes the model's own */
    DQG_RUN_MEMORY_LIMIT = 308,  /* int: most bytes the run may take; 0 no limit */
    DQG_RUN_FLOAT_COMPUTE = 309, /* text: how matrices kept in F32, F16 or BF16 are multiplied: "f32", exact products;
                                   or "bf16": both factors are rounded to bfloat16 (relative error 2^-8 each), which is
                                   faster on CPUs with instructions for it (backend "avx512-bf16") */
    DQG_RUN_ATTENTION = 310, /* text: "float", or "int8": 16-bit scores, 8-bit probabilities and values, relative error
                                about 0.9 % of an attention's results; or "auto": int8 where it is faster and the model
                                has quantized matrices */
    DQG_RUN_NOISE = 311,     /* text: where noise comes from: "native", the library's own generator; "torch-cpu" or
                                "torch-cuda", the numbers that torch.randn gives there for the seed of each image */
    DQG_RUN_VARIATION_SEEDS = 312,    /* ints: seeds to which the initial noise is moved; one value serves all */
    DQG_RUN_VARIATION_STRENGTH = 313, /* float: how far, 0 to 1; 1 gives the noise of the variation seeds themselves */
    DQG_RUN_OFFSET_NOISE = 314,       /* float: the initial noise gets a normal for each image and channel times this;
                                         for networks trained with offset noise */
    DQG_RUN_NOISE_PATH = 315, /* text: fresh noise of stochastic solvers: "white", or increments of one "brownian"
                                 path for each seed, which any number of steps sees alike */
    DQG_RUN_GUIDANCE_FORM = 318, /* text: "cfg"; "apg" and "apg-unconditional", adaptive projected guidance that starts
                                    from the conditional or unconditional output; "cfg-zero", CFG-Zero* */
    DQG_RUN_GUIDANCE_LOW = 319,  /* float: noise level above which guidance works; below it the scale is 1 */
    DQG_RUN_GUIDANCE_HIGH = 320, /* float: noise level up to which it works; 0: any */
    DQG_RUN_GUIDANCE_RESCALE = 321,  /* float: share of the way back to the unguided output's standard deviation */
    DQG_RUN_APG_MOMENTUM = 322,      /* float: of the running difference; negative damps what comes again */
    DQG_RUN_APG_NORM = 323,          /* float: longest difference of x0 estimates; 0: any */
    DQG_RUN_APG_PARALLEL = 324,      /* float: what is kept of the difference along the conditional x0 estimate */
    DQG_RUN_ZERO_STEPS = 325,        /* int: first steps that take 0 for the network's output and do not evaluate it */
    DQG_RUN_THRESHOLD = 326,         /* float: dynamic thresholding of x0 at this quantile; 0 is off */
    DQG_RUN_THRESHOLD_LIMIT = 327,   /* float: largest magnitude that it clips to */
    DQG_RUN_PERTURBATION = 328,      /* text: "attention", self-attention that passes its values through; or "skip",
                                        blocks left out */
    DQG_RUN_PERTURBED_SCALE = 329,   /* float: guidance away from the perturbed network; 0 is off */
    DQG_RUN_PERTURBED_BLOCKS = 330,  /* ints: which blocks of the network, 0 up; not set: the middle one */
    DQG_RUN_PERTURBED_START = 331,   /* float: active in steps above this share of all; 0: from the first one on */
    DQG_RUN_PERTURBED_END = 332,     /* float: and below this one; 1: to the last one */
    DQG_RUN_CONDITIONS = 333,        /* int: conditions of each image, 1 to 16; classes are then those of the first
                                        condition for all images, those of the second, ...; or one for each condition */
    DQG_RUN_CONDITION_WEIGHTS = 334, /* floats: one for each condition; not set: all 1 */
    DQG_RUN_TIME_AXES = 335, /* int: how many of the latent's first dimensions have entries with times of their own:
                                (samples, frames, ...) with 2 is a time for each frame. 0: one time for the run. Runs
                                with a model: 0, or 1 for a time of each image */
    DQG_RUN_CACHE = 340,     /* text: what is left out where it changes little from step to step: "none"; "first-block",
                                "teacache": the blocks; "easycache": the network; "deepcache": a U-Net's inner part */
    DQG_RUN_CACHE_THRESHOLD = 341,  /* float: change above which all is computed; 0: always; -1: the method's own */
    DQG_RUN_CACHE_POLYNOMIAL = 342, /* floats: of teacache, at most 8, highest power first; none: x itself */
    DQG_RUN_CACHE_INTERVAL = 343,   /* int: deepcache computes all every so many steps */
    DQG_RUN_CACHE_STEPS = 344,      /* ints: the steps in which deepcache computes all; overrides the interval */
    DQG_RUN_CACHE_BRANCH = 345,     /* int: the skip connection below which deepcache caches, 0 the outermost */
    DQG_RUN_CACHE_WARMUP = 346,     /* int: steps at the beginning that compute all; 0: the method's own */
    DQG_RUN_ATTENTION_SCALE = 347,  /* int: 1 multiplies scores of self-attention by sqrt(ln N / ln T) for N image
                                       tokens, T in training: sizes other than the model's own get sharper */
    DQG_RUN_TRAIN_TOKENS = 348,     /* int: this T; 0: of the model's own size */
    DQG_RUN_RAS_RATIO = 349, /* float: share of the image's tokens that the network computes on most steps, chosen anew
                                after each (region-adaptive sampling, arXiv 2502.10389); 0: all, on every step */
    DQG_RUN_RAS_RANGE = 350, /* ints: the first and the last of these steps, counted from 0; none: 4 and the last */
    DQG_RUN_RAS_RESETS = 351, /* ints: steps between them that compute all tokens */
    DQG_RUN_RAS_METRIC = 352, /* text: tokens are ranked by their pixels' "std" between channels of the output, or by
                                 their "l2" norm */
    DQG_RUN_RAS_HIGH = 353,       /* float: how much of what is left out are tokens of the highest rank; the rest are
                                     of the lowest */
    DQG_RUN_RAS_STARVATION = 354, /* float: rank times exp(this) for each step that left the token out. Below 0 lets
                                     those left out for a high rank return, above 0 those left out for a low one */
    DQG_RUN_TEMPERATURE = 355, /* float: the initial noise is multiplied by this; below 1: less variety */
    DQG_RUN_CONTEXT_TOKENS = 356, /* int: rows of the context of a network that takes text; 0: the model's own number;
                                     with a prompt they follow from it */
    DQG_RUN_PROMPT = 357, /* text: what to draw, UTF-8; encoded by dqg_run_create() with the text encoders of the
                             model's file, as dqg_model_encode_prompts() does. Empty: the host gives a context by
                             dqg_run_set_inputs() */
    DQG_RUN_NEGATIVE_PROMPT = 358, /* text: what guidance leads away from; empty: a negative prompt that is not given */
    DQG_RUN_CLIP_SKIP = 359,       /* int: so many layers of CLIP earlier than the pipeline says */

    DQG_QUANTIZER_BITS = 400,          /* int: 2 to 6, 8 or 16 bits for matrices that no rule names */
    DQG_QUANTIZER_GROUP = 401,         /* int: inputs that share a group scale: 32, 64 or 128 */
    DQG_QUANTIZER_ZERO_POINT = 402,    /* int: 1 gives groups of 2 to 6 bits a zero point */
    DQG_QUANTIZER_SEARCH = 403,        /* int: points of the clipping grid searched for each group */
    DQG_QUANTIZER_LEVEL = 404,         /* int: zstd level */
    DQG_QUANTIZER_DEFAULT_RULES = 405, /* int: 1 applies the family's own rules after the caller's */
    DQG_QUANTIZER_FORMAT = 406,        /* text: storage format of matrices that no rule names: "nf4", "int3z", ...; goes
                                          before bits and zero points. Empty, the default: as these say */

    DQG_SEARCH_METHOD = 500,          /* text: how particles are chosen */
    DQG_SEARCH_BUDGET = 501,          /* int: network evaluations in all, never exceeded */
    DQG_SEARCH_STEPS = 502,           /* int: levels from noise to sample */
    DQG_SEARCH_INTERPOLANT = 503,     /* text: the path that particles follow: "linear", the flow's own, or "vp" */
    DQG_SEARCH_DIFFUSION = 504,       /* text: shape of the fresh noise over the path */
    DQG_SEARCH_DIFFUSION_SCALE = 505, /* float: times the shape; 0 follows the ODE */
    DQG_SEARCH_FINISH = 506,          /* int: ODE steps from the particle found to the sample; 1: its x0 estimate */
    DQG_SEARCH_CHAINS = 507,          /* int: rbf: independent chains, which share the budget */
    DQG_SEARCH_CANDIDATES = 508,      /* int: rbf: starts that a chain chooses from */
    DQG_SEARCH_BLOCK = 509,           /* int: code, sop: levels between two choices */
    DQG_SEARCH_BACK = 510,            /* int: sop: levels of noise added before each rollout */
    DQG_SEARCH_THRESHOLD = 511,       /* float: smc: effective share of particles at which they are resampled */
    DQG_SEARCH_TEMPERATURE = 512      /* float: smc: weights are exp(reward / temperature) */
};

enum { DQG_TYPE_INT = 1, DQG_TYPE_FLOAT = 2, DQG_TYPE_TEXT = 3, DQG_TYPE_INTS = 4, DQG_TYPE_FLOATS = 5 };

/* One row of the option table. All pointers are static text. */
typedef struct dqg_option_info {
    uint32_t struct_size;
    int32_t key;
    int32_t kind;        /* DQG_OPTIONS_* */
    int32_t type;        /* DQG_TYPE_* */
    const char *name;    /* command-line name, e.g. "guidance" */
    const char *choices; /* allowed texts separated by '|', or NULL: of texts any is allowed */
    const char *help;    /* one line */
    double minimum;      /* of numbers, and of array members */
    double maximum;
    double default_value;     /* of numbers */
    const char *default_text; /* of texts, or NULL */
} dqg_option_info;

/* Copy the index-th row (0 up) of the options of one kind. DQG_ERROR_RANGE past the last. Any thread. */
DQG_API dqg_status dqg_option_at(int32_t kind, int32_t index, dqg_option_info *info);

/*
 * Make a set of options with default values.
 *   kind     DQG_OPTIONS_*
 *   options  receives the handle; destroy with dqg_options_destroy()
 * Whatever options are passed to copies what it needs, so they may be changed or destroyed at once after.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (kind), DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_options_create(dqg_context *context, int32_t kind, dqg_options **options);
DQG_API void dqg_options_destroy(dqg_options *options);

/*
 * Set one option. Arrays are copied; count 0 returns an array to "not set".
 * Errors: DQG_ERROR_NAME (key of another kind or type), DQG_ERROR_RANGE (the message states the range),
 * DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY. On failure the option keeps its value.
 */
DQG_API dqg_status dqg_options_set_int(dqg_options *options, int32_t key, int64_t value);
DQG_API dqg_status dqg_options_set_float(dqg_options *options, int32_t key, double value);
DQG_API dqg_status dqg_options_set_text(dqg_options *options, int32_t key, const char *value);
DQG_API dqg_status dqg_options_set_ints(dqg_options *options, int32_t key, const int64_t *values, int32_t count);
DQG_API dqg_status dqg_options_set_floats(dqg_options *options, int32_t key, const double *values, int32_t count);

/*
 * Set an option from text, as a command line does: dqg_options_parse(o, "guidance", "3.5"). Array members are separated
 * by commas. Errors as above, and DQG_ERROR_ARGUMENT where the text is not a number.
 */
DQG_API dqg_status dqg_options_parse(dqg_options *options, const char *name, const char *value);

/* Read one option back. The text is owned by the options and valid until the option is set again. */
DQG_API dqg_status dqg_options_get_int(const dqg_options *options, int32_t key, int64_t *value);
DQG_API dqg_status dqg_options_get_float(const dqg_options *options, int32_t key, double *value);
DQG_API dqg_status dqg_options_get_text(const dqg_options *options, int32_t key, const char **value);

/* ------------------------------------------------------------------------------------------------------------------
 * Model
 * --------------------------------------------------------------------------------------------------------------- */

/*
 * Load a model: a .dqg file, a checkpoint of another program (safetensors, GGUF, PyTorch, NumPy), the .index.json of a
 * sharded one, or a folder as diffusers writes it (docs/checkpoints.md). Every checksum of a .dqg file is verified and
 * every size checked before it is used. Float checkpoints load too and run on the float path; weights in blocks are
 * seen as F16. Nothing in a checkpoint is executed.
 *   path     with components "on-demand" the file stays where it is, unchanged, as long as the model exists: calls and
 *            runs that use a network read it, and fail with DQG_ERROR_STATE where it is another file by then
 *   options  DQG_OPTIONS_MODEL or NULL
 *   model    receives the handle with one reference; dqg_model_release() gives it up
 * Errors: DQG_ERROR_NOT_FOUND, DQG_ERROR_IO, DQG_ERROR_FORMAT, DQG_ERROR_VERSION, DQG_ERROR_TRUNCATED,
 * DQG_ERROR_CHECKSUM (the message names the tensor), DQG_ERROR_UNSUPPORTED (a family or dtype this version lacks),
 * DQG_ERROR_LIMIT, DQG_ERROR_MEMORY, DQG_ERROR_CANCELLED (progress callback).
 */
DQG_API dqg_status dqg_model_load(dqg_context *context, const char *path, const dqg_options *options,
                                  dqg_model **model);

/* The same from memory. The bytes are not needed after the call. Not for sharded checkpoints and folders, and not with
 * components "on-demand": DQG_ERROR_UNSUPPORTED. */
DQG_API dqg_status dqg_model_load_memory(dqg_context *context, const void *data, size_t size,
                                         const dqg_options *options, dqg_model **model);

/* The same through the host's own reading. The reader is not used after the call. Not for sharded checkpoints, and not
 * with components "on-demand": DQG_ERROR_UNSUPPORTED. */
DQG_API dqg_status dqg_model_load_reader(dqg_context *context, const dqg_reader *reader, const dqg_options *options,
                                         dqg_model **model);

/* Add or give up a reference. The last one frees the model. Any thread. */
DQG_API void dqg_model_retain(dqg_model *model);
DQG_API void dqg_model_release(dqg_model *model);

/*
 * What a model is.
 *
 *   family       e.g. "dit"; static text
 *   parameters   number of weights, fixed tables not counted
 *   weight_bytes memory taken by the weights
 *   channels, height, width   its own latent (for a pixel-space model: image) size
 *   classes      number of class labels, the null label not counted; 0 for none
 *   patch_size   height and width of a run must be multiples of it
 *   layers       blocks of the network
 *   operators    operators of one evaluation: the finest grain of dqg_run_advance() and of the tap
 *   reduction    sides of a picture to those of its latent, of the autoencoder that the model is or its file holds; 0:
 *                there is none
 *   context_columns, context_tokens  of the text it is conditioned on: columns of a row, rows in published use; or 0
 *   pooled_columns  of the pooled row it takes; or 0
 *   sizes           numbers that say sizes; or 0
 *   extra_channels  of x, behind the latent's
 *   flags           DQG_MODEL_GUIDED: takes the guidance scale as an input. DQG_MODEL_MASKED: a mask of its context.
 *                   DQG_MODEL_CONTROLLED: a picture, for its control network
 */
typedef struct dqg_model_info {
    uint32_t struct_size;
    int32_t channels;
    int32_t height;
    int32_t width;
    int32_t classes;
    int32_t patch_size;
    int32_t layers;
    int32_t operators;
    uint64_t parameters;
    uint64_t weight_bytes;
    const char *family;
    int32_t reduction;
    int32_t reserved;
    uint32_t flags;
    int32_t context_columns;
    int32_t context_tokens;
    int32_t pooled_columns;
    int32_t sizes;
    int32_t extra_channels;
} dqg_model_info;

/* Flags of dqg_model_info. */
enum { DQG_MODEL_GUIDED = 1, DQG_MODEL_MASKED = 2, DQG_MODEL_CONTROLLED = 4 };

/* Fill info; its struct_size must be set. Errors: DQG_ERROR_ARGUMENT. Any thread. */
DQG_API dqg_status dqg_model_get_info(const dqg_model *model, dqg_model_info *info);

/* Name of class index (0 up), or NULL where there is none. Find a name: its index, or -1. Any thread. */
DQG_API const char *dqg_model_class_name(const dqg_model *model, int32_t index);
DQG_API int32_t dqg_model_class_find(const dqg_model *model, const char *name);

/* The index-th metadata entry; DQG_ERROR_RANGE past the last. Look one up: NULL where there is none. Any thread. */
DQG_API dqg_status dqg_model_metadata_at(const dqg_model *model, int32_t index, const char **key, const char **value);
DQG_API const char *dqg_model_metadata(const dqg_model *model, const char *key);

/* One tensor of a model or file. Pointers live as long as the model. */
typedef struct dqg_tensor_info {
    uint32_t struct_size;
    int32_t dtype; /* DQG_DTYPE_* it is stored in */
    int32_t group; /* inputs that share a scale; 0 where that has no meaning */
    int32_t rank;
    int64_t shape[DQG_MAX_RANK];
    uint64_t memory_bytes; /* in memory */
    uint64_t stored_bytes; /* in the file, compressed */
    const char *name;
} dqg_tensor_info;

/* The index-th tensor; DQG_ERROR_RANGE past the last. Any thread. */
DQG_API dqg_status dqg_model_tensor_at(const dqg_model *model, int32_t index, dqg_tensor_info *info);

/*
 * Decode one tensor to floats.
 *   view  rank and shape of the tensor, any float dtype and strides
 * Errors: DQG_ERROR_NAME, DQG_ERROR_ARGUMENT (shape or dtype), DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_model_read_tensor(dqg_context *context, const dqg_model *model, const char *name,
                                         const dqg_tensor_view *view);

/*
 * Called after each operator of an evaluation with its result, on the calling thread. Return 0 to go on; anything else
 * stops with DQG_ERROR_CANCELLED. The view is F32, (rows, columns) or the network's output, read-only, and valid during
 * the call. name is that of the weights, e.g. "blocks.0.attn.qkv". A product's result includes the activation, gate and
 * residual that were fused into it. Values that exist as int8 only are not shown.
 */
typedef int32_t (*dqg_tap_fn)(void *user, const char *name, const dqg_tensor_view *output);

/*
 * Evaluate the network once, without a scheduler.
 *   x          (n, channels, height, width)
 *   timesteps  n numbers as the network takes them (for the shipped model 1000 * t)
 *   labels     n class indices; -1 is the null class
 *   tap        NULL for none; user is passed to it
 *   output     same shape as x, or with learned-sigma networks also twice its channels to receive both halves
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_MEMORY, DQG_ERROR_CANCELLED.
 */
DQG_API dqg_status dqg_model_evaluate(dqg_context *context, const dqg_model *model, const dqg_tensor_view *x,
                                      const double *timesteps, const int32_t *labels, dqg_tap_fn tap, void *user,
                                      const dqg_tensor_view *output);

/*
 * What a network is told of its samples beside x and the time. dqg_model_get_info() says what a model takes; an input
 * that it takes must be given, others must be left out.
 *
 *   flags     0
 *   labels    (samples) class indices; -1 is the null class, as is NULL for all
 *   guidance  (samples) the guidance scale, of networks that take it as an input (FLUX.1 dev: 3.5)
 *   sizes     (samples, sizes) numbers. SDXL: original height and width, top and left of the crop, target height and
 *             width. Its refiner: height, width, top, left, aesthetic score. PixArt of 1024 pixels: height, width,
 *             height / width
 *   context   (samples, tokens, context columns): rows of text encoders, any number of tokens
 *   mask      (samples, tokens): 0 hides a row of the context, others count, at least one of a sample. NULL: all count
 *   pooled    (samples, pooled columns): of a text encoder
 *   extra     (samples, extra channels, height, width), seen behind the latent's channels. Inpainting: mask, latent of
 *             the masked picture; instruct-pix2pix: latent of the picture; depth: the depth map
 *   control   (samples, 3, 8 height, 8 width), values 0..1: the picture that a control network follows, of models that
 *             have one (DQG_MODEL_CONTROLLED). NULL: without it
 *   control_scale  what the control network adds is multiplied by this; 0: by 1
 *
 * Since 0.1.
 */
typedef struct dqg_inputs {
    uint32_t struct_size;
    uint32_t flags;
    const int32_t *labels;
    const double *guidance;
    const double *sizes;
    const dqg_tensor_view *context;
    const dqg_tensor_view *mask;
    const dqg_tensor_view *pooled;
    const dqg_tensor_view *extra;
    const dqg_tensor_view *control;
    double control_scale;
} dqg_inputs;

/*
 * Evaluate the network once, without a scheduler: dqg_model_evaluate() for networks that take more than a class.
 *   inputs  of n samples; NULL: none
 * All else, and errors, as dqg_model_evaluate(). Since 0.1.
 */
DQG_API dqg_status dqg_model_denoise(dqg_context *context, const dqg_model *model, const dqg_tensor_view *x,
                                     const double *timesteps, const dqg_inputs *inputs, dqg_tap_fn tap, void *user,
                                     const dqg_tensor_view *output);

/*
 * A model with a control network (ControlNet, Zhang et al. 2023, arXiv 2302.05543): a handle of its own that borrows
 * all of model and keeps both alive. Everything that takes a model takes it; dqg_inputs has the picture. Files that
 * hold both networks need no such call.
 *   model    a U-Net of Stable Diffusion, other networks of its file included; its own control network is left out
 *   control  loaded from a file of its own; in memory, or like the model with DQG_MODEL_COMPONENTS "on-demand"
 *   joined   receives the handle with one reference; dqg_model_release() gives it up
 * Errors: DQG_ERROR_ARGUMENT (not a control network, of another kind of U-Net, or on demand for a model in memory),
 * DQG_ERROR_FORMAT (shapes that do not fit the U-Net's), DQG_ERROR_UNSUPPORTED (no U-Net), DQG_ERROR_MEMORY. Since 0.1.
 */
DQG_API dqg_status dqg_model_attach_control(dqg_context *context, dqg_model *model, dqg_model *control,
                                            dqg_model **joined);

/*
 * A text encoder: a CLIP or T5 network, in a file of its own or beside others.
 *
 *   layers      of the network
 *   columns     of a row of its output
 *   tokens      most tokens of a prompt; 0 for any number (T5)
 *   vocabulary  token ids are 0..vocabulary - 1
 *   projection  columns of the projected pooled row; 0 where there is no projection
 *   flags       0
 *   parameters  number of weights
 *   family      "clip" or "t5"; static text
 *   role        its name in the model, e.g. "clip", "clip_2", "t5": first come, first numbered. Lives with the model.
 *
 * Since 0.1.
 */
typedef struct dqg_text_info {
    uint32_t struct_size;
    uint32_t flags;
    int32_t layers;
    int32_t columns;
    int32_t tokens;
    int32_t vocabulary;
    int32_t projection;
    int32_t reserved;
    uint64_t parameters;
    const char *family;
    const char *role;
} dqg_text_info;

/* The index-th text encoder of a model, 0 up. Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE past the last. Any thread. */
DQG_API dqg_status dqg_model_text_at(const dqg_model *model, int32_t index, dqg_text_info *info);

/* Flags of dqg_adaptation. */
enum {
    DQG_ADAPT_MERGE = 1,  /* add updates to float weights, in copies of them; quantized weights are refused */
    DQG_ADAPT_PARTIAL = 2 /* leave out what is for networks or layers that the model does not have, with a warning */
};

/*
 * A file that changes a model: low-rank updates of its weights (LoRA, LoCon), or new tokens (textual inversion). Seen
 * from its contents; docs/lora.md lists the names that are understood.
 *
 *   flags  DQG_ADAPT_*
 *   path   of the file; or NULL, then
 *   data   its size bytes, which are not needed after the call
 *   scale  what the updates are multiplied by, besides alpha / rank of the file; -1e6..1e6. 0 leaves the weights as
 *          they are, to the bit. New tokens have no scale.
 *   name   what new tokens are called in prompts; NULL: as the file says, else the file's name without its ending
 *
 * Since 0.1.
 */
typedef struct dqg_adaptation {
    uint32_t struct_size;
    uint32_t flags;
    const char *path;
    const void *data;
    uint64_t size;
    double scale;
    const char *name;
} dqg_adaptation;

/*
 * A model that carries these adapters and no others: a handle of its own that borrows the weights of model, which it
 * keeps alive. Everything that takes a model takes it. Weights stay as they are, quantized ones too: updates run beside
 * them as two thin products, in float, whose memory is that of the file's tensors. To change scales or files between
 * runs, adapt again; files (with the same path) that model carries already are not read again.
 *   model        adapted before or not
 *   adaptations  count records, struct_size apart; NULL where count is 0
 *   count        0..64
 *   adapted      receives the handle with one reference; dqg_model_release() gives it up
 * Errors: DQG_ERROR_ARGUMENT (a record without a file; new tokens without a name), DQG_ERROR_RANGE (a scale that is not
 * finite, count), those of reading a file as in dqg_model_load(), DQG_ERROR_FORMAT (nothing in this model, or shapes
 * that do not fit it; the message says which), DQG_ERROR_UNSUPPORTED (DoRA, LoHa, LoKr, IA3 and other kinds; merging
 * into quantized weights), DQG_ERROR_STATE (merging into a network that is read on demand), DQG_ERROR_LIMIT,
 * DQG_ERROR_MEMORY. (arXiv 2106.09685, 2208.01618.) Since 0.1.
 */
DQG_API dqg_status dqg_model_adapt(dqg_context *context, dqg_model *model, const dqg_adaptation *adaptations,
                                   int32_t count, dqg_model **adapted);

/*
 * New tokens of a text encoder of an adapted model: ids first..first + count - 1 stand for name in a prompt.
 *   role  the encoder, as dqg_text_info calls it
 * Pointers live as long as the model. Since 0.1.
 */
typedef struct dqg_token_info {
    uint32_t struct_size;
    uint32_t flags;
    int32_t first;
    int32_t count;
    const char *name;
    const char *role;
} dqg_token_info;

/* The index-th of all encoders, 0 up. Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE past the last. Any thread. Since 0.1.
 */
DQG_API dqg_status dqg_model_token_at(const dqg_model *model, int32_t index, dqg_token_info *info);

/*
 * A network of a model's file.
 *
 *   flags         DQG_COMPONENT_TOKENIZER: a text encoder with its tokenizer
 *   parameters    number of weights
 *   weight_bytes  memory taken by them while they are in memory
 *   family        "unet", "clip", "vae", ...; static text
 *   role          its name in the file: "denoiser", "clip", "clip_2", "t5", "vae", ... Lives with the model.
 *
 * Since 0.1.
 */
typedef struct dqg_component_info {
    uint32_t struct_size;
    uint32_t flags;
    uint64_t parameters;
    uint64_t weight_bytes;
    const char *family;
    const char *role;
} dqg_component_info;

enum { DQG_COMPONENT_TOKENIZER = 1 };

/* The index-th network, 0 up; the first is the one that dqg_model_info tells of. Errors: DQG_ERROR_ARGUMENT,
 * DQG_ERROR_RANGE past the last. Any thread. Since 0.1. */
DQG_API dqg_status dqg_model_component_at(const dqg_model *model, int32_t index, dqg_component_info *info);

/* Flags of dqg_text_settings. */
enum {
    DQG_TEXT_NO_NORM = 1,      /* rows as the layer gives them, without the network's final norm */
    DQG_TEXT_NO_PROJECTION = 2 /* the pooled row is not projected, though the network could */
};

/*
 * What is wanted of a text encoder. Zeros: rows of the last layer after the final norm; the pooled row projected where
 * the network has a projection.
 *
 *   flags      DQG_TEXT_*
 *   skip       0..layers: rows are the output of so many layers before the last ("clip skip" less 1)
 *   end_token  CLIP: the id whose first place in a prompt is the pooled row's; 0: 49407, or the last id of a smaller
 *              vocabulary
 *   role       which text encoder, as dqg_text_info calls it; NULL: the first
 *
 * How published models use them (docs/checkpoints.md has them as code):
 *
 *   SD 1.5     clip: last layer, final norm
 *   SD 2.1     clip (OpenCLIP-H): skip 1, final norm; files with 23 layers have left the last one out: skip 0
 *   SDXL       clip, clip_2: skip 1, DQG_TEXT_NO_NORM, side by side; pooled row of clip_2, projected
 *   SD3        as SDXL, then t5; pooled rows of both side by side, that of clip with DQG_TEXT_NO_PROJECTION
 *   FLUX       t5: all defaults; pooled row of clip with DQG_TEXT_NO_PROJECTION
 *
 * Since 0.1.
 */
typedef struct dqg_text_settings {
    uint32_t struct_size;
    uint32_t flags;
    int32_t skip;
    int32_t end_token;
    const char *role;
} dqg_text_settings;

/*
 * Run a text encoder on prompts of the same number of tokens (shorter ones padded).
 *   ids       (prompts, tokens), row-major: with their begin, end and padding tokens
 *   prompts   1..4096
 *   tokens    1.. the most that the network takes, 65536 for T5
 *   lengths   prompts numbers, 1..tokens: how many tokens of each prompt count, its end token included. T5 hides those
 *             that follow, as an attention mask does; CLIP takes the last that counts as the pooled row. NULL: all
 *             count, and CLIP takes the first end token, or the last token where a prompt has none.
 *   settings  NULL: all defaults
 *   rows      (prompts, tokens, columns) floats, or NULL
 *   pooled    (prompts, projection or columns) floats, or NULL; CLIP only. Not both may be NULL.
 * Memory is that of one evaluation, for the time of the call; T5 takes heads * tokens^2 floats of it for positions.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (ids, lengths, tokens, skip), DQG_ERROR_NAME (no such role),
 * DQG_ERROR_UNSUPPORTED (no text encoder; a pooled row of T5), DQG_ERROR_LIMIT, DQG_ERROR_MEMORY. Since 0.1.
 * (CLIP: arXiv 2103.00020; T5: arXiv 1910.10683, the gated unit 2002.05202.)
 */
DQG_API dqg_status dqg_model_encode_tokens(dqg_context *context, const dqg_model *model, const int32_t *ids,
                                           int32_t prompts, int32_t tokens, const int32_t *lengths,
                                           const dqg_text_settings *settings, const dqg_tensor_view *rows,
                                           const dqg_tensor_view *pooled);

/* Flags of dqg_prompt_settings. */
enum {
    DQG_PROMPT_PLAIN = 1,    /* brackets and BREAK are text like any other */
    DQG_PROMPT_ONE_CHUNK = 2 /* what does not fit the first chunk is cut off */
};

/*
 * How prompts are read. Zeros are the defaults: docs/text.md has the grammar of weights, and long prompts go on in
 * further chunks.
 *
 *   flags   DQG_PROMPT_*
 *   skip    rows of CLIP are the output of so many layers earlier than the pipeline says ("clip skip" less 1)
 *   chunks  at least so many chunks of CLIP's tokens, up to 1024: rows of other prompts of the same run have them too
 *   role    of dqg_model_tokenize(): which text encoder, as dqg_text_info calls it; NULL: the first
 *
 * Since 0.1.
 */
typedef struct dqg_prompt_settings {
    uint32_t struct_size;
    uint32_t flags;
    int32_t skip;
    int32_t chunks;
    const char *role;
} dqg_prompt_settings;

/*
 * What prompts become.
 *
 *   flags    DQG_PROMPT_MASKED, DQG_PROMPT_CUT
 *   tokens   rows of the context
 *   columns  of the context
 *   pooled   columns of the pooled row; 0 where the denoiser takes none
 *   chunks   of CLIP's tokens, those of the longest prompt
 *   bytes    the most that dqg_model_encode_prompts() allocates at a time: an evaluation, and where networks are read
 *            when they are used (DQG_MODEL_COMPONENTS) the largest text encoder
 *
 * Since 0.1.
 */
typedef struct dqg_prompt_info {
    uint32_t struct_size;
    uint32_t flags;
    int32_t tokens;
    int32_t columns;
    int32_t pooled;
    int32_t chunks;
    uint64_t bytes;
} dqg_prompt_info;

/* Flags of dqg_prompt_info. */
enum {
    DQG_PROMPT_MASKED = 1, /* the denoiser takes a mask of the context */
    DQG_PROMPT_CUT = 2     /* some prompt did not fit and loses its end */
};

/*
 * What these prompts become, before memory is made for it: all sizes, and words where the model cannot be given a
 * prompt. Arguments and errors are those of dqg_model_encode_prompts(). Since 0.1.
 */
DQG_API dqg_status dqg_model_prompt_info(dqg_context *context, const dqg_model *model, const char *const *prompts,
                                         int32_t count, const dqg_prompt_settings *settings, dqg_prompt_info *info);

/*
 * From prompts to what the denoiser takes, by all text encoders that it needs; how their outputs are put together is
 * told by the model's metadata "pipeline.context" and "pipeline.pooled" (docs/pipelines.md). All prompts get the rows
 * of the longest. Give a prompt and its negative prompt in one call.
 *   prompts   count texts; NULL is a negative prompt that is not given: zeros where the pipeline has it so (SDXL), else
 *             the empty text. Broken UTF-8 counts as U+FFFD
 *   count     1..4096
 *   settings  NULL: all defaults
 *   rows      (count, tokens, columns) floats, or NULL
 *   mask      (count, tokens): 1 counts, 0 hidden; or NULL
 *   pooled    (count, pooled) floats, or NULL; must be NULL where the denoiser takes none
 * Memory is that of dqg_prompt_info and of copies of the outputs. Calls progress (DQG_PHASE_LOAD) where text encoders
 * are read.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_UNSUPPORTED (no prompt, text encoder or tokenizer),
 * DQG_ERROR_FORMAT (metadata), DQG_ERROR_LIMIT, DQG_ERROR_MEMORY, and of reading those of dqg_model_load(). Any threads
 * with contexts of their own. Since 0.1.
 */
DQG_API dqg_status dqg_model_encode_prompts(dqg_context *context, const dqg_model *model, const char *const *prompts,
                                            int32_t count, const dqg_prompt_settings *settings,
                                            const dqg_tensor_view *rows, const dqg_tensor_view *mask,
                                            const dqg_tensor_view *pooled);

/*
 * The tokens of a text, without begin, end and padding: to count them while somebody types (a chunk of CLIP has room
 * for 75), or to run an encoder by dqg_model_encode_tokens().
 *   text      UTF-8, at most 256 KiB
 *   settings  flags and role; NULL: all defaults
 *   ids       receives the first capacity of them, or NULL
 *   weights   receives their weights, 1 where no bracket is around; or NULL
 *   count     receives how many there are
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_NAME (role), DQG_ERROR_UNSUPPORTED (no tokenizer),
 * DQG_ERROR_LIMIT, DQG_ERROR_MEMORY. Since 0.1.
 */
DQG_API dqg_status dqg_model_tokenize(dqg_context *context, const dqg_model *model, const char *text,
                                      const dqg_prompt_settings *settings, int32_t *ids, float *weights,
                                      int32_t capacity, int32_t *count);

/*
 * Which features of images are wanted.
 *
 *   index  point of the scheduler at whose noise level the network sees the images, 0..steps - 1
 *   block  whose result the features are, 1..; the network's own blocks, counted from its input
 *   pool   side of the grid of cells that the result is averaged in, 1..the lesser side of the block's own grid
 *   seed   of the noise, the same for all images
 */
typedef struct dqg_feature_spec {
    uint32_t struct_size;
    int32_t index;
    int32_t block;
    int32_t pool;
    int64_t seed;
} dqg_feature_spec;

/*
 * Features of images for classification: noise them, evaluate the network without class up to a block, and pool. No
 * later operator runs. (Diffusion Models Beat GANs on Image Classification, arXiv 2307.08702.)
 *   images  (n, channels, height, width), in the range that the network was trained on
 *   tap     NULL, or called as by dqg_model_evaluate(); user is passed to it
 *   output  (n, count) floats, in order of (columns, pool, pool); NULL only asks for count
 *   count   NULL, or receives the features of an image: pool^2 times the block's columns
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_UNSUPPORTED (the block's result is not an image),
 * DQG_ERROR_MEMORY, DQG_ERROR_CANCELLED.
 */
DQG_API dqg_status dqg_model_features(dqg_context *context, const dqg_model *model, const dqg_scheduler *scheduler,
                                      const dqg_tensor_view *images, const dqg_feature_spec *spec, dqg_tap_fn tap,
                                      void *user, const dqg_tensor_view *output, int64_t *count);

/*
 * Memory that a run would take on top of the model, known before any is allocated.
 *
 *   run_bytes     everything dqg_run_create() allocates for these options, exact to a few percent; a denoiser that is
 *                 read on demand included
 *   model_bytes   the loaded model
 */
typedef struct dqg_memory_info {
    uint32_t struct_size;
    uint32_t flags;
    uint64_t run_bytes;
    uint64_t model_bytes;
} dqg_memory_info;

/* options: DQG_OPTIONS_RUN or NULL; scheduler may be NULL for the model's own. Errors as dqg_run_create(). */
DQG_API dqg_status dqg_model_memory(dqg_context *context, const dqg_model *model, const dqg_scheduler *scheduler,
                                    const dqg_options *options, dqg_memory_info *info);

/*
 * How an autoencoder is used. Zeros are the defaults.
 *
 *   flags    DQG_PICTURE_SAMPLE
 *   scale    of the diffusion model's latents, which are (z - shift) * scale of the autoencoder's z. 0: scale and shift
 *            as the file's metadata scaling_factor and shift_factor say, or the configuration of a folder; else 1 and 0
 *            for TAESD, which works on latents as they are; else those of the denoiser in the same file; else 0.18215
 *            and 0, Stable Diffusion's, for models of 4 channels: an autoencoder of SDXL on its own looks the same
 *   shift    SDXL has scale 0.13025 and shift 0, SD3 1.5305 and 0.0609, FLUX 0.3611 and 0.1159
 *   seed     with DQG_PICTURE_SAMPLE: of picture 0; picture i has seed + i
 *   tile     side of a tile in latent pixels; 0: the picture is made in one piece
 *   overlap  latent pixels that a tile sees beyond its own on each side, up to 64; 0: 8
 */
typedef struct dqg_picture_spec {
    uint32_t struct_size;
    uint32_t flags;
    double scale;
    double shift;
    int64_t seed;
    int32_t tile;
    int32_t overlap;
} dqg_picture_spec;

enum {
    DQG_PICTURE_SAMPLE = 1 /* encoding draws from the distribution that the encoder gives, else takes its mean */
};

/*
 * Pictures of latents, and latents of pictures, by the autoencoder (KL-VAE or TAESD) that the model is or that its file
 * holds beside the denoiser. A side of a picture is that of its latent times a power of two, 8 for most models.
 *
 * Tiles bound the memory. What is at the latent's size (attention, too) is computed for the whole picture, neighbours
 * are blended along their borders, and group norms take moments of the whole picture, so that tiles do not show. These
 * moments are measured by evaluations of all tiles beforehand, until they stand still: at least one, at most as many as
 * there are norms (19 in the decoder of Stable Diffusion). TAESD needs none.
 *   latents  (n, channels, height, width), channels as dqg_model_get_info() says
 *   pictures (n, 3, height, width) of red, green, blue, 0 is black and 1 is white; decoding clamps
 *   spec     NULL for the defaults
 *   memory   NULL, or receives what the call takes beside the model (run_bytes, exact) and the model. Where the output
 *            is NULL only that is done, and the input's data may be NULL
 * Calls progress (DQG_PHASE_RUN) for each picture.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (sizes, spec), DQG_ERROR_UNSUPPORTED (a model without autoencoder, or
 * without this half of it), DQG_ERROR_LIMIT, DQG_ERROR_MEMORY, DQG_ERROR_CANCELLED.
 */
DQG_API dqg_status dqg_model_decode(dqg_context *context, const dqg_model *model, const dqg_tensor_view *latents,
                                    const dqg_picture_spec *spec, const dqg_tensor_view *pictures,
                                    dqg_memory_info *memory);
DQG_API dqg_status dqg_model_encode(dqg_context *context, const dqg_model *model, const dqg_tensor_view *pictures,
                                    const dqg_picture_spec *spec, const dqg_tensor_view *latents,
                                    dqg_memory_info *memory);

/*
 * Memory of each phase between a prompt and its picture, the most at any time, beside what the model takes always.
 *
 *   model_bytes    the model as it is loaded
 *   encode_bytes   dqg_model_encode_prompts() of two prompts of one chunk; 0 where the model cannot be given prompts
 *   denoise_bytes  a run
 *   decode_bytes   dqg_model_decode() of one picture; 0 where the model has no autoencoder or its latent is a picture
 *   peak_bytes     of all: model_bytes and the largest of the others, where a phase gives up its memory before the next
 *                  one begins: the latent is read from the run, which is destroyed before decoding
 *
 * With components "on-demand" a phase has its networks, too. Exact to a few percent where these are read from a .dqg
 * file; others may need up to twice their largest tensor more while they are read.
 *
 * Since 0.1.
 */
typedef struct dqg_phase_memory {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    uint64_t model_bytes;
    uint64_t encode_bytes;
    uint64_t denoise_bytes;
    uint64_t decode_bytes;
    uint64_t peak_bytes;
} dqg_phase_memory;

/*
 * Say so before anything is allocated.
 *   scheduler  NULL for the model's own
 *   options    DQG_OPTIONS_RUN or NULL
 *   spec       of decoding; NULL for the defaults
 * Errors: as dqg_run_create() and dqg_model_decode(). Since 0.1.
 */
DQG_API dqg_status dqg_model_phase_memory(dqg_context *context, const dqg_model *model, const dqg_scheduler *scheduler,
                                          const dqg_options *options, const dqg_picture_spec *spec,
                                          dqg_phase_memory *memory);

/*
 * Check what dqg_model_load() takes from end to end without loading it. Errors as dqg_model_load(): the message names
 * the tensor that is damaged, or says that the header or index is.
 */
DQG_API dqg_status dqg_file_verify(dqg_context *context, const char *path);
DQG_API dqg_status dqg_file_verify_reader(dqg_context *context, const dqg_reader *reader);

/* ------------------------------------------------------------------------------------------------------------------
 * Scheduler = schedule x spacing x prediction x solver
 * --------------------------------------------------------------------------------------------------------------- */

/* Paths from noise to a sample, as flags: rectified flow; variance-preserving; EDM, variance-exploding with any noise
 * level. */
enum { DQG_PATH_FLOW = 1, DQG_PATH_VP = 2, DQG_PATH_EDM = 4 };

/*
 * A piece that schedulers are put together from. All pointers are static text.
 *
 *   key          the option that chooses it: DQG_SCHEDULER_SOLVER, _SCHEDULE, _SPACING or _PREDICTION
 *   name         the option's value
 *   doc          one line: what it is and where it comes from
 *   paths        DQG_PATH_*: where it has a meaning; of a schedule: the path that it is
 *   noise_paths  DQG_PATH_*: where a solver can draw fresh noise, by itself or with eta
 *   evaluations  of the network in a step of a solver, at most
 *   buffers      of the latent's size that a run keeps for a solver
 */
typedef struct dqg_piece_info {
    uint32_t struct_size;
    int32_t key;
    const char *name;
    const char *doc;
    uint32_t paths;
    uint32_t noise_paths;
    int32_t evaluations;
    int32_t buffers;
} dqg_piece_info;

/*
 * The index-th piece that an option chooses from, counted from 0. Pieces that fit the same path fit together, with few
 * exceptions that dqg_scheduler_create() explains.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_NAME (an option that chooses no piece), DQG_ERROR_RANGE (no more pieces). Any
 * thread. Since 0.1.
 */
DQG_API dqg_status dqg_scheduler_piece_at(int32_t key, int32_t index, dqg_piece_info *info);

/*
 * Make a scheduler from options (DQG_OPTIONS_SCHEDULER; NULL for rectified flow, Euler, 30 steps).
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_NAME, DQG_ERROR_RANGE (more steps than timesteps, lists out of order),
 * DQG_ERROR_UNSUPPORTED (pieces that do not fit together), DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_scheduler_create(dqg_context *context, const dqg_options *options, dqg_scheduler **scheduler);

/* ---- stochastic interpolants: between any two distributions ---- */

/* a(t) and b(t) of x_t = a x0 + b x1 + gamma z, t from 0 to 1. One-sided: x0 is standard normal and there is no z. */
enum {
    DQG_INTERPOLATE_LINEAR = 0,        /* 1 - t and t */
    DQG_INTERPOLATE_TRIG = 1,          /* sqrt(1 - gamma^2) times cos(pi t / 2) and sin(pi t / 2) */
    DQG_INTERPOLATE_ENCODE_DECODE = 2, /* cos(pi t)^2 and 0 to t = 1/2, then 0 and cos(pi t)^2 */
    DQG_INTERPOLATE_MIRROR = 3,        /* 0 and 1: to and from the same sample */
    DQG_INTERPOLATE_ONE_SIDED_LINEAR = 4, /* rectified flow, with t = 1 - sigma */
    DQG_INTERPOLATE_ONE_SIDED_TRIG = 5
};

enum {
    DQG_GAMMA_ZERO = 0,
    DQG_GAMMA_BROWNIAN = 1,     /* sqrt(gamma_scale t (1 - t)) */
    DQG_GAMMA_BSQUARED = 2,     /* t (1 - t) */
    DQG_GAMMA_SINE_SQUARED = 3, /* sin(pi t)^2 */
    DQG_GAMMA_SIGMOID = 4       /* a bump of two logistic curves of steepness 10 */
};

enum { DQG_INTEGRATE_EULER = 0, DQG_INTEGRATE_HEUN = 1 };
enum { DQG_DRIFT_B = 0, DQG_DRIFT_V = 1 };   /* E[dx_t/dt | x], or E[a' x0 + b' x1 | x]; one-sided: E[b' x1 | x] */
enum { DQG_SCORE_S = 0, DQG_SCORE_ETA = 1 }; /* grad ln density, or E[z | x]; one-sided: E[x0 | x] */

/*
 * A stochastic interpolant (Albergo, Boffi and Vanden-Eijnden 2023, arXiv 2303.08797) and how it is sampled.
 *
 *   path, gamma     DQG_PATH_*, DQG_GAMMA_*; one-sided paths need DQG_GAMMA_ZERO, a mirror another
 *   gamma_scale     of DQG_GAMMA_BROWNIAN, up to 100; 0: 1
 *   diffusion       eps >= 0, up to 1000: fresh noise of amplitude sqrt(2 eps dt); the law at each time is the same for
 *                   all. 0: an ordinary differential equation
 *   backward        1 goes from t = 1 to 0, from the end distribution to the start
 *   integrator      DQG_INTEGRATE_*; with diffusion they are Euler-Maruyama and stochastic Heun
 *   drift, score    what the host submits; the score is needed with diffusion or DQG_DRIFT_V
 *   steps           at least 1
 *   timestep_scale  the network is given this times t; 0: 1
 *   times           steps + 1 numbers within 0..1 in the direction of the path, or NULL: even ones over all of it, 1e-4
 *                   away from an end where the score is needed and infinite. Copied.
 */
typedef struct dqg_interpolant {
    uint32_t struct_size;
    uint32_t flags; /* must be 0 */
    int32_t path;
    int32_t gamma;
    double gamma_scale;
    double diffusion;
    int32_t backward;
    int32_t integrator;
    int32_t drift;
    int32_t score;
    int32_t steps;
    int32_t reserved; /* must be 0 */
    double timestep_scale;
    const double *times;
} dqg_interpolant;

/*
 * Make a scheduler for runs with the host's own networks. Its points have alpha b(t), sigma a(t) and timestep t times
 * timestep_scale; runs begin with standard normal noise, or with data that dqg_run_write() puts there.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_UNSUPPORTED (what does not fit together), DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_scheduler_create_interpolant(dqg_context *context, const dqg_interpolant *interpolant,
                                                    dqg_scheduler **scheduler);

/* Coefficients of a path at one time, and their rates; gamma_product is gamma times its rate, finite even so. */
typedef struct dqg_interpolant_point {
    uint32_t struct_size;
    uint32_t flags;
    double start; /* a */
    double end;   /* b */
    double gamma;
    double start_rate;
    double end_rate;
    double gamma_product;
} dqg_interpolant_point;

/*
 * The path's coefficients at a time in 0..1: to make x_t from data. Only path, gamma and gamma_scale count.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_UNSUPPORTED. Any thread that uses the context.
 */
DQG_API dqg_status dqg_scheduler_interpolant_at(dqg_context *context, const dqg_interpolant *interpolant, double time,
                                                dqg_interpolant_point *point);

/* Add or give up a reference. Any thread. */
DQG_API void dqg_scheduler_retain(dqg_scheduler *scheduler);
DQG_API void dqg_scheduler_release(dqg_scheduler *scheduler);

/*
 * Scheduler options (DQG_OPTIONS_SCHEDULER) set to what the model's metadata say that it is sampled with: change the
 * number of steps, say, and pass them to dqg_scheduler_create(). Destroy with dqg_options_destroy().
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_model_scheduler_options(dqg_context *context, const dqg_model *model, dqg_options **options);

/* Number of steps: one less than the number of points. 0 for NULL. Any thread. */
DQG_API int32_t dqg_scheduler_steps(const dqg_scheduler *scheduler);

/*
 * A point of the schedule: x = alpha * x0 + sigma * noise.
 *
 *   timestep     what the network is given
 *   input_scale  what x is multiplied by before the network sees it
 */
typedef struct dqg_point {
    uint32_t struct_size;
    uint32_t flags;
    double alpha;
    double sigma;
    double timestep;
    double input_scale;
} dqg_point;

/* The index-th point, 0..steps. Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE. Any thread. */
DQG_API dqg_status dqg_scheduler_point(const dqg_scheduler *scheduler, int32_t index, dqg_point *point);

/*
 * How a step of a multistep solver of slopes (lms, deis, deis-t, ipndm, plms) weighs what it knows once it has its
 * history: x' = x + sum of weights[j] times the slope dx/dsigma of j steps before, in the solver's coordinates. On VP
 * schedules the slope is eps and x' = x0 + sigma' eps, so that the coefficients of samples that keep their variance are
 * weights[j] / sqrt(1 + sigma'^2); their sum is then DDIM's coefficient. All 0 for a step to sigma 0.
 *   step     0..steps - 1
 *   weights  receives count numbers; those past the solver's order are 0
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_UNSUPPORTED (another solver). Any thread.
 * Source: Zhang and Chen 2022, arXiv 2204.13902, equation 15.
 */
DQG_API dqg_status dqg_scheduler_weights(const dqg_scheduler *scheduler, int32_t step, double *weights, int32_t count);

/*
 * out = alpha * x0 + sigma * noise at point index. Contiguous or strided views of equal shape; out may be x0 or noise.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE.
 */
DQG_API dqg_status dqg_scheduler_add_noise(dqg_context *context, const dqg_scheduler *scheduler, int32_t index,
                                           const dqg_tensor_view *x0, const dqg_tensor_view *noise,
                                           const dqg_tensor_view *out);

/*
 * out = input_scale * x at point index: what the network is given, for hosts that own the whole loop. out may be x.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_scheduler_scale_input(dqg_context *context, const dqg_scheduler *scheduler, int32_t index,
                                             const dqg_tensor_view *x, const dqg_tensor_view *out);

/*
 * Make the inverse of a scheduler: the same points in the other order, from the clean sample to the noise it would be
 * made from (DDIM inversion, arXiv 2010.02502; inversion of rectified flows). A run made with it is given the sample by
 * dqg_run_write() and stepped as any other. Its first-order error falls with the number of steps.
 *   inverse  receives a scheduler with one reference
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_UNSUPPORTED (solvers other than euler, heun and ddim; eta above 0; a prediction
 * that does not tell the noise at the last point), DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_scheduler_invert(dqg_context *context, const dqg_scheduler *scheduler, dqg_scheduler **inverse);

/*
 * Fill a view with the noise that a run on this scheduler with these seeds begins from, option noise being "native" and
 * before it is scaled: standard normals, or those of PFGM++. To start from a picture, pass it to
 * dqg_scheduler_add_noise().
 *   seeds  one for each sample; there are shape[0] of them
 *   noise  [shape[0], ...] of at least one dimension
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY. Thread-safe for different contexts.
 */
DQG_API dqg_status dqg_scheduler_draw_noise(dqg_context *context, const dqg_scheduler *scheduler, const int64_t *seeds,
                                            int32_t seed_count, const dqg_tensor_view *noise);

/* ------------------------------------------------------------------------------------------------------------------
 * Run
 * --------------------------------------------------------------------------------------------------------------- */

/*
 * Start a generation with a model.
 *   scheduler  NULL for what the model was trained with
 *   options    DQG_OPTIONS_RUN or NULL
 *   run        receives the handle; destroy with dqg_run_destroy()
 * All memory is allocated here; stepping allocates none. The run keeps the context, model and scheduler alive.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (class, size), DQG_ERROR_LIMIT, DQG_ERROR_MEMORY,
 * DQG_ERROR_UNSUPPORTED.
 */
DQG_API dqg_status dqg_run_create(dqg_context *context, dqg_model *model, dqg_scheduler *scheduler,
                                  const dqg_options *options, dqg_run **run);

/*
 * Start a run without a model: the host evaluates its own network through dqg_run_request() and dqg_run_submit().
 *   shape, rank  shape of the latent, rank 1..DQG_MAX_RANK; the first dimension counts samples, one seed each
 *   options      DQG_OPTIONS_RUN or NULL; seeds and noise matter here
 * Errors as above.
 */
DQG_API dqg_status dqg_run_create_custom(dqg_context *context, dqg_scheduler *scheduler, const int64_t *shape,
                                         int32_t rank, const dqg_options *options, dqg_run **run);

DQG_API void dqg_run_destroy(dqg_run *run);

/*
 * Do one solver step (one or two network evaluations).
 * Returns DQG_OK when the step is finished and more are left, DQG_DONE when it was the last or none was left.
 * Errors: DQG_ERROR_CANCELLED (call again to go on where it stopped), DQG_ERROR_STATE (a run without a model).
 */
DQG_API dqg_status dqg_run_step(dqg_run *run);

/*
 * Work for about budget_us microseconds, then return DQG_PENDING, inside a network evaluation too; at least one
 * operator is done in each call. Returns DQG_OK as soon as a step is finished, DQG_DONE as soon as the last one is.
 * A budget_us of 0 does one operator; a negative one gives DQG_ERROR_RANGE. The result is the same for any budgets.
 */
DQG_API dqg_status dqg_run_advance(dqg_run *run, int64_t budget_us);

/*
 * Ask the call that is at work on this run, or the next one, to return DQG_ERROR_CANCELLED between two operators. One
 * request stops one call; the run can then go on, be read, or be destroyed. Any thread, as long as the run exists.
 */
DQG_API void dqg_run_cancel(dqg_run *run);

/*
 * Where a run stands.
 *
 *   step, steps            finished steps, and all of them
 *   evaluations            network evaluations finished
 *   operator_index         operators finished in the evaluation under way; operators: in each evaluation (0 without
 *                          a model)
 *   sigma, timestep        of the current point
 *   computed, skipped      evaluations of one sample of the network's batch (with guidance, an image has two) that a
 *                          step cache had computed, or left out but for the indicator; 0 without DQG_RUN_CACHE
 */
typedef struct dqg_run_info {
    uint32_t struct_size;
    int32_t step;
    int32_t steps;
    int32_t evaluations;
    int32_t operator_index;
    int32_t operators;
    double sigma;
    double timestep;
    int64_t computed;
    int64_t skipped;
} dqg_run_info;

DQG_API dqg_status dqg_run_get_info(const dqg_run *run, dqg_run_info *info);

/* Which picture of a run. */
enum {
    DQG_SOURCE_LATENT = 0, /* the sample as it stands */
    DQG_SOURCE_X0 = 1      /* the estimate of the finished sample after the most recent evaluation */
};

/*
 * Copy the latent or the x0 estimate to the view: (count, channels, height, width), or the custom run's shape. Before
 * the first evaluation the estimate is the latent itself. Errors: DQG_ERROR_ARGUMENT.
 */
DQG_API dqg_status dqg_run_read(dqg_run *run, int32_t source, const dqg_tensor_view *view);

/*
 * Replace the latent: inpainting, image-to-image, edits between steps. A network evaluation or half step under way
 * starts again from the new latent. Errors: DQG_ERROR_ARGUMENT.
 */
DQG_API dqg_status dqg_run_write(dqg_run *run, const dqg_tensor_view *view);

/*
 * Jump to point index of the schedule, 0..steps, and forget the solver's history: start from a noised picture.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE.
 */
DQG_API dqg_status dqg_run_seek(dqg_run *run, int32_t index);

/*
 * Times of their own (DQG_RUN_TIME_AXES): how many the run has, 1 without. Each belongs to an equal part of the latent,
 * in the order of the latent's elements. 0 for NULL.
 */
DQG_API int32_t dqg_run_times(const dqg_run *run);

/*
 * Place each part of the latent at a point of the schedule, 0..steps. A part that stands there already goes on
 * undisturbed; others are placed as by dqg_run_seek(). A part at the last point is held: the network sees it, nothing
 * changes it. dqg_run_step() and dqg_run_submit() take one step with all parts that are not held; dqg_run_info and
 * dqg_request tell of the one with the most steps to do.
 *   count  dqg_run_times()
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE. A failing call places none.
 */
DQG_API dqg_status dqg_run_set_steps(dqg_run *run, const int32_t *steps, int32_t count);

/*
 * Where each part stands: finished steps, and the timestep and sigma that the network's next evaluation sees. Any of
 * steps, timesteps and sigmas may be NULL.
 *   count  dqg_run_times()
 * Errors: DQG_ERROR_ARGUMENT.
 */
DQG_API dqg_status dqg_run_get_times(const dqg_run *run, int32_t *steps, double *timesteps, double *sigmas,
                                     int32_t count);

/*
 * Start at point index from the Gaussian that noised data have there, alpha mean + sqrt(sigma^2 + alpha^2 variance) z,
 * with the noise z of this run (Analytic-Init, arXiv 2406.15735). To be called before anything else moved the run; what
 * dqg_run_set_steps() has placed at the end stays as it is.
 *   mean      of the data, shape of one sample: that of the latent without its first dimension; NULL is 0
 *   variance  of the data, 0 or more: the mean of those of all elements
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (index, variance), DQG_ERROR_STATE (the run has begun).
 */
DQG_API dqg_status dqg_run_start(dqg_run *run, int32_t index, const dqg_tensor_view *mean, double variance);

/*
 * What dqg_run_start() needs to know of data: the mean of samples over their first dimension, and the mean over all
 * elements of the variance along it.
 *   samples   (n, ...), n at least 1
 *   mean      receives it; the shape of one sample
 *   variance  receives it
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_run_fit_start(dqg_context *context, const dqg_tensor_view *samples, const dqg_tensor_view *mean,
                                     double *variance);

/* The first point of a plan that is not noisier than the sample is (not cleaner, for inverse plans). */
enum { DQG_NEAREST_POINT = -1 };

/*
 * Go on with another scheduler, between steps. The sample keeps its noise level sigma / alpha and is brought to the
 * coordinates of the new point; to a point of another level it moves along the straight line through the latest
 * estimate. The solver's history is forgotten, what is finished stays finished. May allocate, where the new solver
 * keeps another number of buffers; the run holds the new scheduler and gives up the old one.
 *   index  where to go on: a point of the new scheduler, or DQG_NEAREST_POINT
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (index), DQG_ERROR_STATE (inside a step, finished, or a move to another
 * level before any step), DQG_ERROR_UNSUPPORTED, DQG_ERROR_MEMORY. A failing call leaves the run as it was.
 */
DQG_API dqg_status dqg_run_set_scheduler(dqg_run *run, dqg_scheduler *scheduler, int32_t index);

/*
 * Make a second run that stands where this one does, in the same context, with the same model and scheduler, and goes
 * on from there on its own, bit for bit; inside a step too. An evaluation under way is done again by the copy.
 *   copy  receives the handle; destroy with dqg_run_destroy()
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_run_fork(dqg_run *run, dqg_run **copy);

/*
 * Convert one image to the view. Of a pixel-space model: image.width and image.height must be the run's. Of others the
 * autoencoder in the model's file decodes it, as dqg_model_decode() does, with memory for the time of the call: width
 * and height are those of the run times dqg_model_info's reduction. Latents of more than 128 x 128 are decoded in tiles
 * of 64. An estimate (DQG_SOURCE_X0) is decoded by a TAESD where the file has one.
 *   index   0..count-1
 *   source  DQG_SOURCE_*
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_UNSUPPORTED (the latent is not a picture, and there is no
 * autoencoder), and those of dqg_model_decode().
 */
DQG_API dqg_status dqg_run_read_image(dqg_run *run, int32_t index, int32_t source, const dqg_image_view *image);

/*
 * Change guidance between steps, or within one: a scale that varies, guidance that ends early. All of a run's guidance
 * becomes what the options say, those not set their defaults: DQG_RUN_GUIDANCE, DQG_RUN_CFG_CHANNELS,
 * DQG_RUN_ZERO_STEPS, and the options of forms, interval, rescaling, thresholding and of when and how much the
 * perturbed network counts. Other options are not read; which blocks are perturbed, and how, stays. An evaluation under
 * way starts again; finished ones, also of a step's first half, keep what they were guided by.
 *   options  DQG_OPTIONS_RUN or NULL
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_STATE (a run without a model, or one made without what the
 * change needs: an unconditional or a perturbed evaluation, momentum). On failure nothing is changed.
 */
DQG_API dqg_status dqg_run_set_guidance(dqg_run *run, const dqg_options *options);

/* What of a condition counts. */
enum {
    DQG_CONDITION_CLASS = 1,  /* label */
    DQG_CONDITION_WEIGHT = 2, /* weight */
    DQG_CONDITION_MASK = 4    /* mask */
};

/*
 * One condition of an image.
 *
 *   flags   DQG_CONDITION_*: which members are taken; the others keep their value
 *   label   class index; -1 is no class
 *   weight  -100..100
 *   mask    (height, width) of the latent, 0 to 1: where the condition holds; copied. NULL: everywhere. Where the masks
 *           of an image add up to more than 1 each is divided by their sum. Conditions without one do not count there.
 */
typedef struct dqg_condition {
    uint32_t struct_size;
    uint32_t flags;
    int32_t label;
    int32_t reserved; /* must be 0 */
    double weight;
    const dqg_tensor_view *mask;
} dqg_condition;

/*
 * Change a condition: regional prompts, or a class that comes and goes. The network's answers c_i to an image's
 * conditions are made one, c = u + sum of weight_i mask_i (c_i - u), and guided as that of a single one. An evaluation
 * under way starts again.
 *   image  0..count-1, or -1 for all images
 *   index  0..DQG_RUN_CONDITIONS - 1
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_STATE (a run without a model, or one made without an
 * unconditional evaluation, which a weight other than 1 and a mask need). On failure nothing is changed.
 * Source: arXiv 2206.01714.
 */
DQG_API dqg_status dqg_run_set_condition(dqg_run *run, int32_t image, int32_t index, const dqg_condition *condition);

/* Index of what the unconditional evaluation is given: of the negative prompt. */
enum { DQG_UNCONDITIONAL = -1 };

/*
 * Say what else a condition is: context, mask, pooled row, sizes, extra channels, control picture and scale of networks
 * that take them. Members of inputs are those of one image (samples is 1), copied; those left NULL (a scale: 0) keep
 * their value, and guidance must be NULL. A context has DQG_RUN_CONTEXT_TOKENS rows. A new run has contexts, pooled
 * rows and extra channels of zeros, sizes of a picture as large as its own, not cropped, and no control picture. Such a
 * picture counts for the condition that it is given to: give it to the unconditional as well. What is given here is
 * part of the run's saved state. An evaluation under way starts again.
 *   image  0..count-1, or -1 for all images
 *   index  0..DQG_RUN_CONDITIONS - 1, or DQG_UNCONDITIONAL
 * Errors: DQG_ERROR_ARGUMENT (also for what the network does not take), DQG_ERROR_RANGE, DQG_ERROR_STATE (a run without
 * a model, or without an unconditional evaluation). On failure nothing is changed. Since 0.1.
 */
DQG_API dqg_status dqg_run_set_inputs(dqg_run *run, int32_t image, int32_t index, const dqg_inputs *inputs);

/*
 * What a host with its own network wants to be mixed. All views have one shape, (samples, ...), rank 1..DQG_MAX_RANK.
 *
 *   step, steps    which step it is, 0..steps-1
 *   sigma          noise level that DQG_RUN_GUIDANCE_LOW and DQG_RUN_GUIDANCE_HIGH are compared with
 *   conditional    the network's output with a condition
 *   unconditional  without one; may be NULL where the scale is 1, as it is outside the interval
 *   perturbed      of the perturbed network; may be NULL in steps where it has no part
 *   momentum       in and out, zeros before the first step: the running difference of the forms "apg" and
 *                  "apg-unconditional"; may be NULL for others, or with DQG_RUN_APG_MOMENTUM 0
 */
typedef struct dqg_guidance_terms {
    uint32_t struct_size;
    uint32_t flags; /* must be 0 */
    int32_t step;
    int32_t steps;
    double sigma;
    const dqg_tensor_view *conditional;
    const dqg_tensor_view *unconditional;
    const dqg_tensor_view *perturbed;
    const dqg_tensor_view *momentum;
} dqg_guidance_terms;

/*
 * Guidance as a run does it, on the host's arrays: all forms, rescaling, thresholding. Adaptive projected guidance and
 * thresholding take the arrays for x0 estimates (a run converts them); the other forms do for any kind of output.
 *   options  DQG_OPTIONS_RUN or NULL
 *   output   receives the result; may be one of the inputs
 * Allocates memory for the time of the call.
 * Errors: DQG_ERROR_ARGUMENT (shapes, or NULL where the options need a view), DQG_ERROR_RANGE, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_guidance_combine(dqg_context *context, const dqg_options *options,
                                        const dqg_guidance_terms *terms, const dqg_tensor_view *output);

/*
 * What a run without a model needs next.
 *
 *   timestep, sigma   of the point to evaluate
 */
typedef struct dqg_request {
    uint32_t struct_size;
    uint32_t flags;
    double timestep;
    double sigma;
} dqg_request;

/*
 * Ask what to evaluate. input receives the scaled latent that the network must see. Returns DQG_OK, or DQG_DONE when
 * the run is finished (input is then left alone). Asking again gives the same answer.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_STATE (a run with a model).
 */
DQG_API dqg_status dqg_run_request(dqg_run *run, dqg_request *request, const dqg_tensor_view *input);

/*
 * Hand in the network's output for the last request. Returns DQG_PENDING when the step needs one more evaluation,
 * DQG_OK when a step is finished, DQG_DONE when the last one is.
 *   output  of the latent's shape; with the scheduler's variance "learned" of twice the size in its second dimension,
 *           what the network says of the variance being behind
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_STATE (no request was made, or a run with a model).
 */
DQG_API dqg_status dqg_run_submit(dqg_run *run, const dqg_tensor_view *output);

/*
 * The same for a scheduler of dqg_scheduler_create_interpolant(), which asks for a drift and, with diffusion or
 * DQG_DRIFT_V, a score at the requested sample and time.
 *   drift, score  views of the latent's shape, of two tensors or parts of one; score may be NULL where none is needed
 * Errors: as dqg_run_submit().
 */
DQG_API dqg_status dqg_run_submit_fields(dqg_run *run, const dqg_tensor_view *drift, const dqg_tensor_view *score);

/*
 * Save and restore. The state holds the latent, the solver's history, the position and the random streams, checked by
 * a hash; a run made with the same model, scheduler and options continues from it bit for bit. An evaluation under
 * way is not part of it and is done again. size: receives the number of bytes that dqg_run_save() writes.
 * Errors: DQG_ERROR_ARGUMENT (size too small), DQG_ERROR_FORMAT, DQG_ERROR_CHECKSUM, DQG_ERROR_STATE (another shape,
 * schedule or noise). A failing restore leaves the run as it was.
 */
DQG_API dqg_status dqg_run_state_size(const dqg_run *run, size_t *size);
DQG_API dqg_status dqg_run_save(dqg_run *run, void *state, size_t size);
DQG_API dqg_status dqg_run_restore(dqg_run *run, const void *state, size_t size);

/* ------------------------------------------------------------------------------------------------------------------
 * Runs that search, change their size, or start from a chosen noise. docs/schedulers.md explains the methods.
 * --------------------------------------------------------------------------------------------------------------- */

/*
 * Judges an estimate of the finished sample.
 *   x0      F32, of the run's shape, read-only and valid during the call
 *   reward  receives a number, the higher the better; NaN is the worst
 * Called on the thread that drives the run, which it must not use; other handles it may. Return 0 to go on; anything
 * else stops with DQG_ERROR_CANCELLED, and the evaluation is made again by the next call.
 */
typedef int32_t (*dqg_reward_fn)(void *user, const dqg_tensor_view *x0, double *reward);

/*
 * Have a fresh run search for a sample of high reward (Kim et al. 2025, arXiv 2503.19385). It is driven as before, by
 * dqg_run_step() or dqg_run_advance(), or by dqg_run_request() and dqg_run_submit(); a step is one network evaluation
 * of the whole latent, followed where the method asks for it by a call of reward. When it is done the latent is the
 * sample. The run's first noise is the first start, all other noise comes from its generators. The search is part of
 * a saved state, which a run with the same search restores.
 *   options  DQG_OPTIONS_SEARCH or NULL
 *   reward   NULL with method "sde" only; user is passed to it
 * Memory: eight times the latent, with method "smc" also four times the latent for each particle.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (the budget is too small for the method), DQG_ERROR_STATE (a run that has
 * begun; later, dqg_run_write() or dqg_run_seek() on a run that searches), DQG_ERROR_UNSUPPORTED (the scheduler is not
 * that of a flow; guidance with momentum, zero steps or a part of the steps), DQG_ERROR_LIMIT, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_run_search(dqg_run *run, const dqg_options *options, dqg_reward_fn reward, void *user);

/*
 * How a search goes.
 *
 *   evaluations  made so far
 *   reward       of the particle found; before the end the highest one seen
 *   time         1 noise to 0 sample: level of the particle found; before the end of that which is evaluated next
 */
typedef struct dqg_search_info {
    uint32_t struct_size;
    int32_t evaluations;
    double reward;
    double time;
} dqg_search_info;

/* Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_STATE (a run that does not search). */
DQG_API dqg_status dqg_run_get_search(const dqg_run *run, dqg_search_info *info);

/*
 * A search for the start noise that serves all inputs of a conditional model best (Li et al. 2023, arXiv 2305.15357).
 *
 *   candidates  seeds to try: first_seed, first_seed + 1, ...
 *   pairs       inputs with known results to try each on
 *   prepare     sets the condition of a pair; NULL where evaluate does
 *   evaluate    the host's network, for runs without a model only (else NULL): output receives its answer to input
 *   metric      distance of a result, F32 of the run's shape, from what is known: 0 or more; NaN is the worst
 *   user        passed to all three
 * Callbacks return 0 to go on; anything else stops the search with DQG_ERROR_CANCELLED. prepare may use those calls on
 * the run that set conditions; the other two must not use the run.
 */
typedef struct dqg_boundary {
    uint32_t struct_size;
    uint32_t flags; /* must be 0 */
    int32_t candidates;
    int32_t pairs;
    int64_t first_seed;
    int32_t (*prepare)(void *user, int32_t pair);
    int32_t (*evaluate)(void *user, int32_t pair, const dqg_request *request, const dqg_tensor_view *input,
                        const dqg_tensor_view *output);
    int32_t (*metric)(void *user, int32_t pair, const dqg_tensor_view *result, double *score);
    void *user;
} dqg_boundary;

/*
 * What was found.
 *
 *   stopped      candidates given up before the last pair, their sum being above the best
 *   seed         the best: DQG_RUN_SEEDS of later runs of this shape
 *   score        its mean over all pairs
 *   evaluations  of the network in all
 */
typedef struct dqg_boundary_result {
    uint32_t struct_size;
    int32_t stopped;
    int64_t seed;
    double score;
    int64_t evaluations;
} dqg_boundary_result;

/*
 * Try every candidate on the pairs, with one seed for all images of the run, and leave the run at its start with the
 * best noise. Equal arguments give equal results. A long call: progress is told in runs (DQG_PHASE_SEARCH) beside that
 * of each run, and dqg_run_cancel() stops it. The run may have been used before.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (counts; a negative score), DQG_ERROR_STATE (a run that searches),
 * DQG_ERROR_UNSUPPORTED (offset noise), DQG_ERROR_CANCELLED.
 */
DQG_API dqg_status dqg_run_find_noise(dqg_run *run, const dqg_boundary *boundary, dqg_boundary_result *result);

/*
 * Go on with a latent of another height and width (its last two dimensions) and another scheduler: the finished latent,
 * or before the end the x0 estimate, is resampled (Lanczos-3), mixed with fresh noise at the point where the last
 * floor(strength * steps) steps of the scheduler begin, and the run stands there. The solver's history and what was set
 * for the old size (offset) are forgotten. Seeds are replaced by others derived from them. Views have the new shape
 * from now on. Bottleneck Sampling (arXiv 2503.18940).
 *   scheduler  NULL for the present one
 *   strength   above 0, to 1, which starts from noise alone
 * Memory: for the moment of the change that of both sizes; afterwards that of the new one, which dqg_model_memory()
 * tells beforehand. A state saved at one size is restored by a run of that size and scheduler.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (a strength that keeps no step, a size the model cannot do),
 * DQG_ERROR_STATE (a run that searches), DQG_ERROR_LIMIT, DQG_ERROR_MEMORY. A failing call leaves the run as it was.
 */
DQG_API dqg_status dqg_run_resize(dqg_run *run, int32_t height, int32_t width, dqg_scheduler *scheduler,
                                  double strength);

/*
 * Add a picture to what the network sees: input = scaled latent + offset. The latent stays the sample without it. Form
 * 2 of DiffuseVAE (arXiv 2201.00308), whose network was trained on alpha x0 + offset + sigma eps.
 *   offset  of the run's shape; NULL for none. Copied. Not part of a saved state: set it again after restoring
 * A network evaluation or half step under way starts again. Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_run_set_offset(dqg_run *run, const dqg_tensor_view *offset);

/* ------------------------------------------------------------------------------------------------------------------
 * Quantizer
 * --------------------------------------------------------------------------------------------------------------- */

/* Make a quantizer from options (DQG_OPTIONS_QUANTIZER or NULL). Destroy with dqg_quantizer_destroy(). */
DQG_API dqg_status dqg_quantizer_create(dqg_context *context, const dqg_options *options, dqg_quantizer **quantizer);
DQG_API void dqg_quantizer_destroy(dqg_quantizer *quantizer);

/*
 * Say how the matrices whose names match a pattern are stored. '*' stands for any text, '?' for one character. The
 * first rule that matches wins; the caller's rules come before the family's own.
 *   format  "f32", "f16", "bf16", "int8", "int4", "int4z", or with a group size: "int4:64", "int4z:128"
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_NAME (format), DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_quantizer_add_rule(dqg_quantizer *quantizer, const char *pattern, const char *format);

/*
 * Add a metadata entry to the files written from now on (provenance, licence); replaces one of the same key.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_quantizer_set_metadata(dqg_quantizer *quantizer, const char *key, const char *value);

/*
 * Pack a tokenizer into the files written from now on, for text encoders whose checkpoint brings none, as single files
 * of Stable Diffusion do. Read by dqg_quantizer_run().
 *   role  of the text encoder: "clip", "clip_2", "t5"; NULL: all encoders of its kind that have none
 *   path  vocab.json with merges.txt beside it, tokenizer.json, spiece.model, or a folder with them
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_MEMORY; of dqg_quantizer_run(): DQG_ERROR_NOT_FOUND, DQG_ERROR_FORMAT,
 * DQG_ERROR_UNSUPPORTED (neither CLIP's nor T5's), DQG_ERROR_NAME (no such text encoder). Since 0.1.
 */
DQG_API dqg_status dqg_quantizer_add_tokenizer(dqg_quantizer *quantizer, const char *role, const char *path);

/*
 * Quantize a checkpoint (as dqg_model_load() takes them; float only) to a .dqg file. Tensors stream through: memory
 * is bounded by the largest tensor. The output is written to a temporary file beside its final place and renamed when
 * complete; on failure no file is left and an older output is untouched.
 *
 * Method: round to nearest with a scale for each group that minimises the squared error over a clipping grid.
 *
 * Errors: those of dqg_model_load(), DQG_ERROR_IO (writing), DQG_ERROR_RANGE (a weight is not finite; the message
 * names the tensor), DQG_ERROR_CANCELLED.
 */
DQG_API dqg_status dqg_quantizer_run(dqg_quantizer *quantizer, const char *input_path, const char *output_path);

enum { DQG_REPORT_TEXT = 0, DQG_REPORT_JSON = 1 };

/*
 * The report of the last run, a line for each tensor: name, shape, format, bits for each weight, relative error
 * ||W - Q(W)|| / ||W||, size in the file. The text is owned by the quantizer, valid until its next call.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_STATE (nothing was quantized yet), DQG_ERROR_MEMORY.
 */
DQG_API dqg_status dqg_quantizer_report(dqg_quantizer *quantizer, int32_t format, const char **text);

/* ------------------------------------------------------------------------------------------------------------------
 * Experimental: measuring
 *
 * How fast operators are on this machine, beside the most that the machine can do; for benchmarks such as dqgen bench.
 * --------------------------------------------------------------------------------------------------------------- */

/* What is marked with it, and its records and constants, may change or go in any version (docs/abi.md). */
#define DQG_EXPERIMENTAL

/* What to measure. The members of the spec that count are in brackets. */
enum {
    DQG_MEASURE_CEILING_I8 = 1,  /* multiply-adds of int8 as the kernels in use do them, on registers alone */
    DQG_MEASURE_CEILING_F32 = 2, /* the same for floats */
    DQG_MEASURE_BANDWIDTH = 3,   /* reading memory_bytes of memory */
    DQG_MEASURE_LINEAR = 4,      /* rows times a matrix of weights [rows, outputs, inputs, dtype, group] */
    DQG_MEASURE_DECODE = 5,      /* weights to int8 [outputs, inputs, dtype, group] */
    DQG_MEASURE_NORM = 6,        /* layer norm, modulation, to int8 [rows, inputs] */
    DQG_MEASURE_QUANTIZE = 7,    /* floats to int8 [rows, inputs] */
    /* [samples, heads, rows: queries, keys (0: as many as queries), inputs: width of a head, dtype] */
    DQG_MEASURE_ATTENTION = 8,
    /* A convolution with zero padding, conversion of its input to int8 included. height, width and depth are those of
     * the result; the input is stride times as large, or half with DQG_MEASURE_UPSAMPLE
     * [samples, height, width (0, 0: rows), depth, outputs, inputs: channels, kernel, stride, dtype, group] */
    DQG_MEASURE_CONV = 9,
    DQG_MEASURE_RMS_NORM = 10,    /* with learned weights, to int8 [rows, inputs] */
    DQG_MEASURE_GROUP_NORM = 11,  /* 32 groups, learned weights, SiLU [samples, rows: pixels, inputs: channels] */
    DQG_MEASURE_CEILING_BF16 = 12 /* as DQG_MEASURE_CEILING_F32, of products of bfloat16 */
};

enum {
    /* Weights come from memory and not from a cache: calls take copies of them in turn, memory_bytes together. Always
     * so for products of up to 16 rows, which are bound by reading weights. */
    DQG_MEASURE_COLD = 1,
    /* Products with weights kept as floats round both factors to bfloat16: DQG_RUN_FLOAT_COMPUTE "bf16". */
    DQG_MEASURE_BF16 = 2,
    /* The input of a convolution is doubled in height and width first, by the nearest pixel. */
    DQG_MEASURE_UPSAMPLE = 4
};

/*
 * One measurement, on random data. Sizes that do not count for it are ignored.
 *
 *   flags         DQG_MEASURE_COLD, DQG_MEASURE_BF16, DQG_MEASURE_UPSAMPLE
 *   operation     DQG_MEASURE_*
 *   dtype, group  of weights; 0, 0 is DQG_DTYPE_INT4 with groups of 64. Attention: DQG_DTYPE_INT8 for the integer
 *                 kernels, DQG_DTYPE_F32 for the float ones, 0 for what a quantized network uses
 *   repeats       times to take at least, 0..500; 0 is 7. Calls shorter than half a millisecond are repeated for each
 *   seconds       time to spend at least, 0..60; 0 is 0.25
 *   memory_bytes  more than the caches hold; 0 is 512 MiB
 *   samples       0 is 1
 *   depth         0 is 1; more: a volume, whose window has a depth too
 *   kernel        of a window, an odd number; 0 is 3
 *   stride        of height and width; 0 is 1
 */
typedef struct dqg_measure_spec {
    uint32_t struct_size;
    uint32_t flags;
    int32_t operation;
    int32_t dtype;
    int32_t group;
    int32_t repeats;
    double seconds;
    uint64_t memory_bytes;
    int64_t samples;
    int64_t rows;
    int64_t outputs;
    int64_t inputs;
    int64_t heads;
    int64_t height;
    int64_t width;
    int64_t keys;
    int64_t depth;
    int64_t kernel;
    int64_t stride;
} dqg_measure_spec;

/*
 * What came out.
 *
 *   times       how many were taken
 *   seconds_*   of one call, by the clock
 *   operations  of one call: two for each multiply-add of products, attention and ceilings (4 queries keys width for
 *               each head); elements for decode, norms and quantize; bytes for bandwidth
 *   bytes       that one call has to move at least: weights as stored, inputs, results
 *   ceiling     operations a second on registers alone, the best of several runs between the calls, all threads at
 *               once, by their processor time, with the instructions that the product in question uses; 0: none
 *   error       relative error of the result: of linear and conv against float products of the exactly decoded
 *               weights with the unrounded input; of attention in integers against that in floats; -1 where it is
 *               not measured
 *   processor_seconds  processor time of the process in one call, all threads together, the mean: on a machine that
 *               others use too, this divided by the threads is nearer to the truth than the clock
 */
typedef struct dqg_measure_result {
    uint32_t struct_size;
    int32_t times;
    double seconds_min;
    double seconds_median;
    double seconds_max;
    double operations;
    double bytes;
    double ceiling;
    double error;
    double processor_seconds;
} dqg_measure_result;

/*
 * Measure one operation with the context's threads and kernels. Calls the progress function (DQG_PHASE_MEASURE) between
 * the times it takes.
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE (sizes), DQG_ERROR_UNSUPPORTED, DQG_ERROR_LIMIT (more than 6 GB),
 * DQG_ERROR_MEMORY, DQG_ERROR_CANCELLED.
 */
DQG_API DQG_EXPERIMENTAL dqg_status dqg_measure(dqg_context *context, const dqg_measure_spec *spec,
                                                dqg_measure_result *result);

/*
 * A model with random weights, to measure a network without a file.
 *   tensors  name, dtype, group, rank and shape of each; the records lie struct_size apart
 *   model    receives the handle with one reference; dqg_model_release() gives it up
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_UNSUPPORTED (names of no known network), DQG_ERROR_FORMAT (tensors that do not
 * make a whole one), DQG_ERROR_LIMIT, DQG_ERROR_MEMORY, DQG_ERROR_CANCELLED (progress callback, DQG_PHASE_LOAD).
 */
DQG_API DQG_EXPERIMENTAL dqg_status dqg_measure_model(dqg_context *context, const dqg_tensor_info *tensors,
                                                      int32_t count, dqg_model **model);

/*
 * One operator of one evaluation.
 *
 *   evaluation, index  which evaluation, and which of its operators
 *   dtype              of the weights; 0 without
 *   kind               "linear", "attention", "norm", "quantize", ...; static text
 *   name               as a tap sees it; valid during the call
 *   operations         multiplications and additions of products, convolutions and attention; 0 of the rest
 */
typedef struct dqg_measure_operator {
    uint32_t struct_size;
    int32_t evaluation;
    int32_t index;
    int32_t dtype;
    const char *kind;
    const char *name;
    double seconds;
    double operations;
} dqg_measure_operator;

/* Receives a record that is valid during the call. Must not call the library. */
typedef void (*dqg_measure_fn)(void *user, const dqg_measure_operator *record);

/*
 * Measure evaluations of a network on random input, in memory taken beforehand, as a run does them. The result's
 * ceiling is that of int8, its operations those of all operators, its bytes those of the weights.
 *   spec    [samples, height, width (0: the model's own), repeats, seconds]; NULL for one sample and the defaults
 *   fn      NULL, or a function that is told the time of each operator; user is passed to it
 *   result  as of dqg_measure()
 * Errors: DQG_ERROR_ARGUMENT, DQG_ERROR_RANGE, DQG_ERROR_LIMIT, DQG_ERROR_MEMORY, DQG_ERROR_CANCELLED.
 */
DQG_API DQG_EXPERIMENTAL dqg_status dqg_measure_network(dqg_context *context, const dqg_model *model,
                                                        const dqg_measure_spec *spec, dqg_measure_fn fn, void *user,
                                                        dqg_measure_result *result);

#ifdef __cplusplus
}
#endif

#endif /* LIBDQGEN_H */
