/* SPDX-License-Identifier: MIT */
/* Checks of attention_f32_f32 and attention_i8_f32 against softmax(q k^T * scale + bias) v in double precision. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

struct attention_case {
    struct dqg_attention a;
    struct buffer q, k, v, bias, packed, out, scratch;
    double *want, *norm; /* [queries][width] */
};

typedef void attention_fn(const struct dqg_attention *attention);

static int hidden(const struct dqg_attention *a, size_t query, size_t key) {
    return a->visible > 0 && key >= a->visible + query;
}

/* One query; returns the largest |q| . |k| * scale, which the error of the scores goes with. */
static double double_scores(double *p, const struct dqg_attention *a, size_t query) {
    double largest = -INFINITY, size = 0.0, sum = 0.0;
    for (size_t key = 0; key < a->keys; key++) {
        double score = 0.0, terms = 0.0;
        for (size_t w = 0; w < a->width; w++) {
            double term = (double)a->q[query * a->ld_q + w] * a->k[key * a->ld_k + w] * a->scale;
            score += term;
            terms += fabs(term);
        }
        p[key] = score + (a->bias ? a->bias[query * a->ld_bias + key] : 0.0f);
        p[key] = hidden(a, query, key) ? -INFINITY : p[key];
        largest = fmax(largest, p[key]);
        size = fmax(size, terms);
    }
    for (size_t key = 0; key < a->keys; key++) {
        p[key] = largest > -INFINITY ? exp(p[key] - largest) : 0.0;
        sum += p[key];
    }
    for (size_t key = 0; key < a->keys && sum > 0.0; key++) {
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
                sum += p[key] * a->v[key * a->ld_v + w];
                largest = fmax(largest, fabs(a->v[key * a->ld_v + w]));
            }
            c->want[query * a->width + w] = sum;
            c->norm[query * a->width + w] = largest * (1.0 + size);
        }
    }
    free(p);
}

static double largest_of(const float *x, size_t ld, size_t rows, size_t columns) {
    double largest = 0.0;
    for (size_t i = 0; i < rows * columns; i++) {
        largest = fmax(largest, fabs(x[i / columns * ld + i % columns]));
    }
    return largest;
}

/* Integers: what rounding of probabilities and values may cost, and what rounded scores may where they are large. */
static void integer_norm(struct attention_case *c, double tolerance) {
    const struct dqg_attention *a = &c->a;
    double q = largest_of(a->q, a->ld_q, a->queries, a->width), k = largest_of(a->k, a->ld_k, a->keys, a->width);
    double score = 4.0 * (double)a->width * q * k * a->scale / dqg_attention_limit(a->width);
    double norm = largest_of(a->v, a->ld_v, a->keys, a->width) * (3.0 + score / tolerance);
    for (size_t i = 0; i < a->queries * a->width; i++) {
        c->norm[i] = norm;
    }
}

/* ---- masks ---- */

enum { MASK_NONE, MASK_KEYS, MASK_QUERIES, MASK_CAUSAL, MASK_ALL, MASKS };

static void make_mask(struct attention_case *c, size_t mask) {
    struct dqg_attention *a = &c->a;
    size_t rows = mask == MASK_QUERIES ? a->queries : 1;
    c->bias = buffer_make(rows, a->keys, a->keys + 3, 4);
    float *bias = c->bias.data;
    for (size_t i = 0; i < c->bias.size / 4; i++) {
        bias[i] = mask == MASK_ALL || random_below(4) == 0 ? -INFINITY : 2.0f * random_unit();
    }
    if (mask == MASK_KEYS || mask == MASK_QUERIES || mask == MASK_ALL) {
        a->bias = bias;
        a->ld_bias = mask == MASK_QUERIES ? a->keys + 3 : 0;
    }
    a->visible = mask == MASK_CAUSAL ? 1 + random_below(a->keys) : 0;
}

/* ---- cases ---- */

static void make_case(struct attention_case *c, const struct check *check, const char *name, size_t mask) {
    struct dqg_attention *a = &c->a;
    a->ld_q = a->width + random_below(2) * 5;
    a->ld_k = a->width + random_below(2) * (2 * a->width + 3);
    a->ld_v = a->width + random_below(2) * (a->width + 1);
    a->ld_out = a->width + random_below(2) * 7;
    a->scale = random_below(4) ? 1.0f / sqrtf((float)a->width) : 4.0f;
    check_case("%s %s: queries %zu keys %zu width %zu mask %zu ld_q %zu ld_k %zu ld_v %zu ld_out %zu scale %g", name,
               check->tested->name, a->queries, a->keys, a->width, mask, a->ld_q, a->ld_k, a->ld_v, a->ld_out,
               (double)a->scale);
    c->q = buffer_make(a->queries, a->width, a->ld_q, 4);
    c->k = buffer_make(a->keys, a->width, a->ld_k, 4);
    c->v = buffer_make(a->keys, a->width, a->ld_v, 4);
    c->out = buffer_make(a->queries, a->width, a->ld_out, 4);
    c->scratch = buffer_make(1, DQG_ATTENTION_SCRATCH, 0, 4);
    c->packed = buffer_make(1, dqg_attention_packed_bytes(a->keys, a->width), 0, 1);
    c->want = malloc(a->queries * a->width * sizeof(double));
    c->norm = malloc(a->queries * a->width * sizeof(double));
    float *k = c->k.data;
    for (size_t i = 0; i < c->q.size / 4; i++) {
        ((float *)c->q.data)[i] = random_unit() * 4.0f;
    }
    fill_floats(k, c->k.size / 4);
    for (size_t i = 0; i < c->k.size / 4; i++) {
        k[i] = fabsf(k[i]) > 1e4f ? 1.0f : k[i];
    }
    fill_floats(c->v.data, c->v.size / 4);
    a->q = c->q.data;
    a->k = k;
    a->v = c->v.data;
    a->out = c->out.data;
    a->scratch = c->scratch.data;
    a->packed = c->packed.data;
    make_mask(c, mask);
    check->tested->attention_pack_f32_i8(c->packed.data, a->k, a->ld_k, a->v, a->ld_v, a->keys, a->width);
}

static void free_case(struct attention_case *c) {
    free(c->want);
    free(c->norm);
    struct buffer *all[] = {&c->q, &c->k, &c->v, &c->bias, &c->packed, &c->out, &c->scratch};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

/* The last query has the same bits when it is computed alone, and whatever the query before it is. */
static void check_last(struct attention_case *c, attention_fn *tested) {
    const struct dqg_attention *a = &c->a;
    size_t last = a->queries - 1;
    struct buffer alone = buffer_make(1, a->width, 0, 4);
    struct dqg_attention one = *a;
    one.q += last * a->ld_q;
    one.bias = a->bias ? a->bias + last * a->ld_bias : NULL;
    one.visible = a->visible ? a->visible + last : 0;
    one.queries = 1;
    one.out = alone.data;
    tested(&one);
    check_equal(a->out + last * a->ld_out, alone.data, 1, a->width, 0, 4);
    if (last > 0) {
        float *before = (float *)c->q.data + (last - 1) * a->ld_q;
        before[random_below(a->width)] = random_below(2) ? NAN : INFINITY;
        tested(a);
        check_equal(a->out + last * a->ld_out, alone.data, 1, a->width, 0, 4);
    }
    buffer_free(&alone);
}

static void run_case(const struct check *check, const char *name, attention_fn *tested, struct dqg_attention sizes,
                     size_t mask) {
    struct attention_case c = {.a = sizes};
    const struct dqg_attention *a = &c.a;
    make_case(&c, check, name, mask);
    double_attention(&c);
    if (tested == check->tested->attention_i8_f32) {
        integer_norm(&c, check->tolerance);
    }
    tested(a);
    check_close(a->out, a->ld_out, c.want, c.norm, a->queries, a->width, check->tolerance);
    check_gaps(&c.out, a->queries, a->width, a->ld_out, 4);
    check_last(&c, tested);
    free_case(&c);
}

static void run_cases(const struct check *check, const char *name, attention_fn *tested) {
    static const size_t queries[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 63, 64};
    static const size_t keys[] = {1, 2, 3, 5, 17, 63, 64, 65, 127, 128, 129, 200, 300};
    static const size_t widths[] = {1, 3, 8, 15, 16, 17, 32, 40, 48, 64, 72, 80, 130, 255, 256, 320, 512};
    for (size_t i = 0; i < check->cases; i++) {
        run_case(check, name, tested,
                 (struct dqg_attention){
                     .queries = RANDOM_SIZE(queries), .keys = RANDOM_SIZE(keys), .width = RANDOM_SIZE(widths)},
                 random_below(2) ? MASK_NONE : random_below(MASKS));
    }
    run_case(check, name, tested,
             (struct dqg_attention){.queries = DQG_ATTENTION_QUERIES, .keys = 130, .width = DQG_ATTENTION_WIDTH},
             MASK_NONE);
}

void check_attention_f32_f32(const struct check *check) {
    run_cases(check, "attention_f32_f32", check->tested->attention_f32_f32);
}

/* ---- error of the integer kernel ---- */

static float random_normal(void) {
    return sqrtf(-2.0f * logf(0.5f + 0.49999f * random_unit())) * cosf(3.14159265f * random_unit());
}

/* Normal q, k and v, and k with a large mean: the relative error over all results, which is to be below 1 %. */
static void check_error(const struct check *check, size_t width, size_t keys, float mean) {
    struct attention_case c = {.a = {.queries = DQG_ATTENTION_QUERIES, .keys = keys, .width = width}};
    struct dqg_attention *a = &c.a;
    make_case(&c, check, "error of attention_i8_f32", MASK_NONE);
    for (size_t i = 0; i < c.q.size / 4; i++) {
        ((float *)c.q.data)[i] = random_normal();
    }
    for (size_t i = 0; i < c.k.size / 4; i++) {
        ((float *)c.k.data)[i] = random_normal() + mean * cosf((float)(i % a->ld_k));
    }
    for (size_t i = 0; i < c.v.size / 4; i++) {
        ((float *)c.v.data)[i] = random_normal();
    }
    a->scale = 1.0f / sqrtf((float)width);
    double_attention(&c);
    check->tested->attention_pack_f32_i8(c.packed.data, a->k, a->ld_k, a->v, a->ld_v, keys, width);
    check->tested->attention_i8_f32(a);
    double error = 0.0, size = 0.0;
    for (size_t i = 0; i < a->queries * width; i++) {
        double difference = a->out[i / width * a->ld_out + i % width] - c.want[i];
        error += difference * difference;
        size += c.want[i] * c.want[i];
    }
    if (!(sqrt(error / size) < 0.01)) {
        check_fail("relative error %.3g", sqrt(error / size));
    }
    free_case(&c);
}

void check_attention_i8_f32(const struct check *check) {
    run_cases(check, "attention_i8_f32", check->tested->attention_i8_f32);
    static const size_t shapes[][2] = {{40, 4096}, {72, 256}, {64, 1101}, {128, 1024}};
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        check_error(check, shapes[i][0], shapes[i][1], 0.0f);
        check_error(check, shapes[i][0], shapes[i][1], 10.0f);
    }
}
