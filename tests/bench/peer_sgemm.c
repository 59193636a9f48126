/* SPDX-License-Identifier: MIT */
/*
 * Times sgemm of a BLAS: peer_sgemm NAME THREADS < shapes. Built once with OpenBLAS, which brings its own threads
 * (-DPEER_OWN_THREADS), and once with a BLIS that has none, whose rows are then spread here with OpenMP.
 */
#include <cblas.h>

#include "peer.h"

#ifdef PEER_OWN_THREADS
void openblas_set_num_threads(int threads);
#endif

struct product {
    const float *a, *b;
    float *c;
    int m, n, k, threads;
};

static void multiply(const struct product *p, int first, int rows) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, p->n, p->k, 1.0f, p->a + (size_t)first * (size_t)p->k,
                p->k, p->b, p->k, 0.0f, p->c + (size_t)first * (size_t)p->n, p->n);
}

static void call(void *user) {
    const struct product *p = user;
#ifdef PEER_OWN_THREADS
    multiply(p, 0, p->m);
#else
#pragma omp parallel for num_threads(p->threads)
    for (int i = 0; i < p->threads; i++) {
        int first = p->m * i / p->threads, end = p->m * (i + 1) / p->threads;
        if (end > first) {
            multiply(p, first, end - first);
        }
    }
#endif
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s NAME THREADS < shapes\n", argv[0]);
        return 2;
    }
    int threads = atoi(argv[2]);
#ifdef PEER_OWN_THREADS
    openblas_set_num_threads(threads);
#endif
    struct peer_shape shape;
    while (peer_next(&shape)) {
        if (shape.kernel > 0) {
            continue; /* no convolutions in a BLAS */
        }
        float *a = peer_floats((size_t)(shape.m * shape.k)), *b = peer_floats((size_t)(shape.n * shape.k));
        float *c = peer_floats((size_t)(shape.m * shape.n));
        struct product product = {a, b, c, (int)shape.m, (int)shape.n, (int)shape.k, threads};
        peer_time(argv[1], &shape, call, &product);
        free(a);
        free(b);
        free(c);
    }
    return 0;
}
