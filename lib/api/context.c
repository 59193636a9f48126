/* SPDX-License-Identifier: MIT */
/* Public calls on contexts and records, and the checks that all public calls share. */
#include "api/api.h"
#include "kernel/kernel.h"

int32_t dqg_version(void) {
    return DQG_VERSION_MAJOR * 1000000 + DQG_VERSION_MINOR * 1000 + DQG_VERSION_PATCH;
}

const char *dqg_status_text(dqg_status status) {
    switch (status) {
    case DQG_OK:
        return "success";
    case DQG_PENDING:
        return "not finished yet";
    case DQG_DONE:
        return "finished";
    case DQG_ERROR_ARGUMENT:
        return "invalid argument";
    case DQG_ERROR_RANGE:
        return "number out of range";
    case DQG_ERROR_NAME:
        return "unknown name";
    case DQG_ERROR_STATE:
        return "call out of order";
    case DQG_ERROR_UNSUPPORTED:
        return "not supported";
    case DQG_ERROR_MEMORY:
        return "out of memory";
    case DQG_ERROR_LIMIT:
        return "limit exceeded";
    case DQG_ERROR_IO:
        return "input or output error";
    case DQG_ERROR_NOT_FOUND:
        return "file not found";
    case DQG_ERROR_FORMAT:
        return "malformed data";
    case DQG_ERROR_VERSION:
        return "written by a newer version";
    case DQG_ERROR_TRUNCATED:
        return "file ends too early";
    case DQG_ERROR_CHECKSUM:
        return "damaged data";
    case DQG_ERROR_CANCELLED:
        return "cancelled";
    case DQG_ERROR_INTERNAL:
        return "internal error";
    default:
        return "unknown status";
    }
}

void dqg_record_init(void *record, uint32_t size) {
    if (record != NULL && size >= sizeof size) {
        memset(record, 0, size);
        memcpy(record, &size, sizeof size);
    }
}

dqg_status dqg_record_return(struct dqg_context *context, void *out, const void *record, size_t size) {
    uint32_t room;
    memcpy(&room, out, sizeof room);
    if (room < 2 * sizeof room) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "the record's struct_size is %u: set it with DQG_INIT", room);
    }
    size_t copied = room < size ? room : size;
    memcpy((char *)out + sizeof room, (const char *)record + sizeof room, copied - sizeof room);
    return DQG_OK;
}

dqg_status dqg_need(struct dqg_context *context, const void *pointer, const char *name) {
    return pointer != NULL ? DQG_OK : dqg_fail(context, DQG_ERROR_ARGUMENT, "%s is NULL", name);
}

/* ---- context ---- */

dqg_status dqg_context_create(const dqg_allocator *allocator, dqg_context **context) {
    struct dqg_alloc alloc;
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    *context = NULL;
    DQG_TRY(dqg_alloc_init(&alloc, allocator));
    const struct dqg_kernels *kernels = dqg_kernels_best();
    if (kernels == NULL) {
        return DQG_ERROR_UNSUPPORTED;
    }
    struct dqg_context *made = dqg_calloc(&alloc, 1, sizeof *made);
    if (made == NULL) {
        return DQG_ERROR_MEMORY;
    }
    made->references = 1;
    made->alloc = alloc;
    made->kernels = kernels;
    *context = made;
    return DQG_OK;
}

void dqg_context_destroy(dqg_context *context) {
    dqg_context_release_(context);
}

const char *dqg_context_error(const dqg_context *context) {
    return context != NULL ? context->error : "";
}

/* Threads that were started for another setting end now. */
static void drop_pool(struct dqg_context *context) {
    dqg_pool_destroy(&context->alloc, context->pool);
    context->pool = NULL;
}

/* Runs made earlier have scratch for the lanes of their time. */
static dqg_status check_no_runs(struct dqg_context *context) {
    if (context->runs > 0) {
        return dqg_fail(context, DQG_ERROR_STATE, "threads cannot change while %d runs exist: destroy them first",
                        (int)context->runs);
    }
    return DQG_OK;
}

dqg_status dqg_context_set_threads(dqg_context *context, int32_t threads) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    if (threads < 0 || threads > 256) {
        return dqg_fail(context, DQG_ERROR_RANGE, "threads: %d is outside 0..256", (int)threads);
    }
    DQG_TRY(check_no_runs(context));
    drop_pool(context);
    context->threads = threads;
    context->parallel = NULL;
    return DQG_OK;
}

dqg_status dqg_context_set_parallel(dqg_context *context, dqg_parallel_fn parallel, void *user, int32_t concurrency) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    if (parallel != NULL && (concurrency < 1 || concurrency > 256)) {
        return dqg_fail(context, DQG_ERROR_RANGE, "concurrency: %d is outside 1..256", (int)concurrency);
    }
    DQG_TRY(check_no_runs(context));
    drop_pool(context);
    context->parallel = parallel;
    context->parallel_user = user;
    context->concurrency = concurrency;
    return DQG_OK;
}

dqg_status dqg_context_set_backend(dqg_context *context, const char *name) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    DQG_TRY(dqg_need(context, name, "name"));
    int known = 0;
    const struct dqg_kernels *kernels = strcmp(name, "auto") == 0 ? dqg_kernels_best() : dqg_kernels_find(name, &known);
    if (kernels != NULL) {
        context->kernels = kernels;
        return DQG_OK;
    }
    if (known) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "this CPU or build cannot run the backend '%s'", name);
    }
    return dqg_fail(context, DQG_ERROR_NAME, "there is no backend '%s'; dqg_backend_name() lists those of this CPU",
                    name);
}

const char *dqg_context_backend(const dqg_context *context) {
    return context != NULL ? context->kernels->name : "";
}

const char *dqg_backend_name(int32_t index) {
    const struct dqg_kernels *kernels = index >= 0 ? dqg_kernels_at(index) : NULL;
    return kernels != NULL ? kernels->name : NULL;
}

dqg_status dqg_context_set_log(dqg_context *context, dqg_log_fn log, void *user, int32_t level) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    if (log != NULL && (level < DQG_LOG_ERROR || level > DQG_LOG_DEBUG)) {
        return dqg_fail(context, DQG_ERROR_RANGE, "log level: %d is outside 1..4", (int)level);
    }
    context->log = log;
    context->log_user = user;
    context->log_level = level;
    return DQG_OK;
}

dqg_status dqg_context_set_progress(dqg_context *context, dqg_progress_fn progress, void *user) {
    if (context == NULL) {
        return DQG_ERROR_ARGUMENT;
    }
    dqg_error_clear(context);
    context->progress = progress;
    context->progress_user = user;
    return DQG_OK;
}
