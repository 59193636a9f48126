/* SPDX-License-Identifier: MIT */
/*
 * Kernel tests and benchmark: each line of kernel_list.inc with each backend that this machine can run.
 *
 *   kernels [--seed N] [--cases N] [--backend NAME] [--bench] [--list]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

struct entry {
    const char *name;
    double tolerance;
    void (*check)(const struct check *check);
    struct rate (*bench)(const struct dqg_kernels *kernels);
};

static const struct entry entries[] = {
#define DQG_KERNEL(op, tolerance) {#op, tolerance, check_##op, bench_##op},
#include "kernel/kernel_list.inc"
#undef DQG_KERNEL
};

struct arguments {
    uint64_t seed;
    size_t cases;
    const char *backend;
    int bench;
    int list;
};

static int parse(int argc, char **argv, struct arguments *arguments) {
    *arguments = (struct arguments){.seed = (uint64_t)time(NULL), .cases = 60};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--bench") == 0) {
            arguments->bench = 1;
        } else if (strcmp(argv[i], "--list") == 0) {
            arguments->list = 1;
        } else if (strcmp(argv[i], "--seed") == 0 && value) {
            arguments->seed = strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--cases") == 0 && value) {
            arguments->cases = (size_t)strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--backend") == 0 && value) {
            arguments->backend = argv[++i];
        } else {
            fprintf(stderr, "usage: %s [--seed N] [--cases N] [--backend NAME] [--bench] [--list]\n", argv[0]);
            return 0;
        }
    }
    return 1;
}

/* The table must be complete, found by its name, and be the best one where it is the first. */
static void check_selection(const struct dqg_kernels *kernels, int32_t index) {
    int known = 0;
    check_case("selection of %s", kernels->name);
    if (dqg_kernels_find(kernels->name, &known) != kernels || !known) {
        check_fail("not found by name");
    }
    if ((dqg_kernels_best() == kernels) != (index == 0)) {
        check_fail("the best backend is not the first");
    }
#define DQG_KERNEL(op, tolerance)                                                                                      \
    if (!kernels->op) {                                                                                                \
        check_fail("no " #op);                                                                                         \
    }
#include "kernel/kernel_list.inc"
#undef DQG_KERNEL
}

static void check_names(void) {
    int known = 1;
    check_case("selection of names");
    if (dqg_kernels_find("no such backend", &known) || known) {
        check_fail("an unknown name was found");
    }
    dqg_kernels_find("avx512", &known);
    if (!known) {
        check_fail("avx512 is not known");
    }
    if (dqg_kernels_at(-1) || dqg_kernels_at(100)) {
        check_fail("an index out of range gives a backend");
    }
}

static void run_backend(const struct dqg_kernels *kernels, const struct dqg_kernels *scalar,
                        const struct arguments *arguments) {
    for (size_t i = 0; i < COUNT_OF(entries); i++) {
        if (arguments->bench) {
            struct rate rate = entries[i].bench(kernels);
            printf("%-10s %-18s %9.2f G%s/s\n", kernels->name, entries[i].name, rate.giga, rate.unit);
            fflush(stdout);
        } else {
            struct check check = {kernels, scalar, entries[i].tolerance, arguments->cases};
            entries[i].check(&check);
        }
    }
    if (arguments->bench) {
        bench_codes(kernels);
    }
}

int main(int argc, char **argv) {
    struct arguments arguments;
    if (!parse(argc, argv, &arguments)) {
        return 2;
    }
    int known;
    const struct dqg_kernels *scalar = dqg_kernels_find("scalar", &known), *kernels;
    if (!scalar) {
        fprintf(stderr, "the scalar backend is missing\n");
        return 2;
    }
    if (!arguments.bench && !arguments.list) {
        printf("seed %llu\n", (unsigned long long)arguments.seed);
        fflush(stdout);
        check_names();
    }
    int ran = 0;
    for (int32_t i = 0; (kernels = dqg_kernels_at(i)) != NULL; i++) {
        if (arguments.backend && strcmp(arguments.backend, kernels->name) != 0) {
            continue;
        }
        ran++;
        if (arguments.list) {
            puts(kernels->name);
            continue;
        }
        check_seed(arguments.seed);
        if (!arguments.bench) {
            printf("backend %s\n", kernels->name);
            fflush(stdout);
            check_selection(kernels, i);
            check_alone(kernels);
        }
        run_backend(kernels, scalar, &arguments);
    }
    if (ran == 0) {
        fprintf(stderr, "this machine cannot run backend %s\n", arguments.backend);
        return 77;
    }
    return arguments.bench || arguments.list ? 0 : check_finish() != 0;
}
