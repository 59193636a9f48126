/* SPDX-License-Identifier: MIT */
/* Checks of attention_f32_f32 against softmax(q k^T * scale) v in double precision. */
#include <math.h>
#include <stdlib.h>

#include "check.h"

struct attention_case {
    struct dqg_attention a;
    struct buffer q, k, v, out, scratch;
    double *want, *norm; /* [queries][width] */
};

/* One query; returns the largest |q| . |k| * scale, which the error of the scores goes with. */
static double double_scores(double *p, const struct dqg_attention *a, size_t query) {
    double largest = -INFINITY, size = 0.0, sum = 0.0;
    for (size_t key = 0; key < a->keys; key++) {
        double score = 0.0, terms = 0.0;
        for (size_t w = 0; w < a->width; w++) {
            double term = (double)a->q[query * a->ld_q + w] * a->k[key * a->ld_kv + w] * a->scale;
            score += term;
            terms += fabs(term);
        }
        p[key] = score;
        largest = fmax(largest, score);
        size = fmax(size, terms);
    }
    for (size_t key = 0; key < a->keys; key++) {
        p[key] = exp(p[key] - largest);
        sum += p[key];
    }
    for (size_t key = 0; key < a->keys; key++) {
        p[key] /= sum;
    }
    return size;
}

static void double_attention(struct attention_case *c) {
    const struct dqg_attention *a = &c->a;
    double *p = malloc(a->keys * sizeof *p);
    for (size_t query = 0; query < a->queries; query++) {
        double size = double_scores(p, a, query);
        for (size_t w = 0; w < a->width; w++) {
            double sum = 0.0, largest = 0.0;
            for (size_t key = 0; key < a->keys; key++) {
                sum += p[key] * a->v[key * a->ld_kv + w];
                largest = fmax(largest, fabs(a->v[key * a->ld_kv + w]));
            }
            c->want[query * a->width + w] = sum;
            c->norm[query * a->width + w] = largest * (1.0 + size);
        }
    }
    free(p);
}

static void attention_case(const struct check *check, size_t queries, size_t keys, size_t width) {
    struct attention_case c = {.a = {.queries = queries, .keys = keys, .width = width}};
    struct dqg_attention *a = &c.a;
    a->ld_q = width + random_below(2) * 5;
    a->ld_kv = width + random_below(2) * (2 * width + 3);
    a->ld_out = width + random_below(2) * 7;
    a->scale = random_below(4) ? 1.0f / sqrtf((float)width) : 4.0f;
    check_case("attention_f32_f32 %s: queries %zu keys %zu width %zu ld_q %zu ld_kv %zu ld_out %zu scale %g",
               check->tested->name, queries, keys, width, a->ld_q, a->ld_kv, a->ld_out, (double)a->scale);
    c.q = buffer_make(queries, width, a->ld_q, 4);
    c.k = buffer_make(keys, width, a->ld_kv, 4);
    c.v = buffer_make(keys, width, a->ld_kv, 4);
    c.out = buffer_make(queries, width, a->ld_out, 4);
    c.scratch = buffer_make(1, DQG_ATTENTION_SCRATCH, 0, 4);
    c.want = malloc(queries * width * sizeof(double));
    c.norm = malloc(queries * width * sizeof(double));
    float *k = c.k.data;
    for (size_t i = 0; i < c.q.size / 4; i++) {
        ((float *)c.q.data)[i] = random_unit() * 4.0f;
    }
    fill_floats(k, c.k.size / 4);
    for (size_t i = 0; i < c.k.size / 4; i++) {
        k[i] = fabsf(k[i]) > 1e4f ? 1.0f : k[i];
    }
    fill_floats(c.v.data, c.v.size / 4);
    a->q = c.q.data;
    a->k = k;
    a->v = c.v.data;
    a->out = c.out.data;
    a->scratch = c.scratch.data;
    double_attention(&c);
    check->tested->attention_f32_f32(a);
    check_close(a->out, a->ld_out, c.want, c.norm, queries, width, check->tolerance);
    check_gaps(&c.out, queries, width, a->ld_out, 4);
    if (queries > 1) { /* the last query has the same bits when it is computed alone */
        struct buffer alone = buffer_make(1, width, 0, 4);
        struct dqg_attention last = *a;
        last.q += (queries - 1) * a->ld_q;
        last.queries = 1;
        last.out = alone.data;
        check->tested->attention_f32_f32(&last);
        check_equal(a->out + (queries - 1) * a->ld_out, alone.data, 1, width, 0, 4);
        buffer_free(&alone);
    }
    free(c.want);
    free(c.norm);
    struct buffer *all[] = {&c.q, &c.k, &c.v, &c.out, &c.scratch};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

void check_attention_f32_f32(const struct check *check) {
    static const size_t queries[] = {1, 2, 7, 15, 16, 17, 31, 32};
    static const size_t keys[] = {1, 2, 3, 17, 63, 64, 65, 127, 128, 129, 200};
    static const size_t widths[] = {1, 3, 8, 15, 16, 17, 32, 48, 64, 72, 80, 130, 255, 256};
    for (size_t i = 0; i < check->cases; i++) {
        attention_case(check, RANDOM_SIZE(queries), RANDOM_SIZE(keys), RANDOM_SIZE(widths));
    }
    attention_case(check, DQG_ATTENTION_QUERIES, 130, DQG_ATTENTION_WIDTH);
}
