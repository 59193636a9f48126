/* SPDX-License-Identifier: MIT */
/*
 * Which backends this build has and this CPU can run: the table made from backend_list.inc. Contexts choose here once,
 * when they are created or when the host names a backend.
 */
#include <string.h>

#include "kernel/cpu.h"
#include "kernel/kernel.h"

/* Set to 1 by the build for each backend that is part of it. */
#ifndef DQG_HAVE_AVX512
#define DQG_HAVE_AVX512 0
#endif
#ifndef DQG_HAVE_AVX2
#define DQG_HAVE_AVX2 0
#endif
#ifndef DQG_HAVE_NEON
#define DQG_HAVE_NEON 0
#endif
#ifndef DQG_HAVE_SCALAR
#define DQG_HAVE_SCALAR 0
#endif

#define DQG_BACKEND(name, function, needs, have) const struct dqg_kernels *function(void);
#include "kernel/backend_list.inc"
#undef DQG_BACKEND

struct backend {
    const char *name;
    const struct dqg_kernels *(*get)(void); /* NULL where the build lacks it */
    uint32_t needs;
};

static const struct backend backends[] = {
#define DQG_BACKEND(name, function, needs, have) {name, have ? function : NULL, needs},
#include "kernel/backend_list.inc"
#undef DQG_BACKEND
};

enum { BACKENDS = sizeof backends / sizeof backends[0] };

static const struct dqg_kernels *usable(const struct backend *backend, uint32_t features) {
    if (!backend->get || (backend->needs & features) != backend->needs) {
        return NULL;
    }
    return backend->get();
}

const struct dqg_kernels *dqg_kernels_at(int32_t index) {
    uint32_t features = dqg_cpu_features();
    for (int i = 0; i < BACKENDS && index >= 0; i++) {
        const struct dqg_kernels *kernels = usable(&backends[i], features);
        if (kernels && index-- == 0) {
            return kernels;
        }
    }
    return NULL;
}

const struct dqg_kernels *dqg_kernels_best(void) {
    return dqg_kernels_at(0);
}

const struct dqg_kernels *dqg_kernels_find(const char *name, int *known) {
    *known = 0;
    for (int i = 0; i < BACKENDS; i++) {
        if (strcmp(backends[i].name, name) == 0) {
            *known = 1;
            return usable(&backends[i], dqg_cpu_features());
        }
    }
    return NULL;
}
