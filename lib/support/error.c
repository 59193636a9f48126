/* SPDX-License-Identifier: MIT */
/*
 * Error text, log and the lifetime of a context. The first failure of a public call is kept: what follows it while
 * unwinding is a consequence, not the cause.
 */
#include "support/support.h"

void dqg_context_retain_(struct dqg_context *context) {
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
}

void dqg_context_release_(struct dqg_context *context) {
    if (context == NULL || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct dqg_alloc alloc = context->alloc;
    dqg_pool_destroy(&alloc, context->pool);
    dqg_free(&alloc, context, sizeof *context);
}

void dqg_error_clear(struct dqg_context *context) {
    context->error_status = DQG_OK;
    context->error[0] = '\0';
}

dqg_status dqg_fail(struct dqg_context *context, dqg_status status, const char *format, ...) {
    if (context == NULL || context->error_status != DQG_OK) {
        return status;
    }
    context->error_status = status;
    va_list args;
    va_start(args, format);
    dqg_vformat(context->error, sizeof context->error, format, args);
    va_end(args);
    if (context->log != NULL && context->log_level >= DQG_LOG_ERROR) {
        context->log(context->log_user, DQG_LOG_ERROR, context->error);
    }
    return status;
}

dqg_status dqg_fail_memory(struct dqg_context *context, const char *what, size_t size) {
    return dqg_fail(context, DQG_ERROR_MEMORY, "out of memory: %s needs %zu bytes", what, size);
}

void dqg_log(struct dqg_context *context, int32_t level, const char *format, ...) {
    if (context->log == NULL || context->log_level < level) {
        return;
    }
    char message[512];
    va_list args;
    va_start(args, format);
    dqg_vformat(message, sizeof message, format, args);
    va_end(args);
    context->log(context->log_user, level, message);
}
