/* SPDX-License-Identifier: MIT */
/*
 * Codebooks by k-means: a k-means++ start (Arthur and Vassilvitskii, 2007) and Lloyd's iterations on a sample of a
 * tensor's weights, each row divided by the root of its mean square. The sample is bounded, the random numbers come
 * from a counter, and sums are made in order, so that the result depends on the weights alone.
 */
#include <math.h>

#include "quant/round.h"
#include "support/rng.h"
#include "tensor/half.h"

enum {
    ENTRIES = DQG_CODEBOOK_ENTRIES,
    LANES = 16,
    MOST_ROWS = 256,      /* of the sample */
    MOST_VECTORS = 256,   /* of a row */
    BLOCK_VECTORS = 1024, /* that a lane assigns at a time */
    ITERATIONS = 25
};

float dqg_row_scale(const float *x, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * x[i];
    }
    return (float)sqrt(sum / (double)n);
}

/* half_norms of the entries; the rest is never nearest. */
static void measure_entries(struct dqg_codebook *book, size_t count) {
    for (size_t j = 0; j < ENTRIES; j++) {
        float sum = 0.0f;
        for (size_t i = 0; i < book->width; i++) {
            sum += book->entries[i][j] * book->entries[i][j];
        }
        book->half_norms[j] = j < count ? 0.5f * sum : INFINITY;
    }
}

void dqg_codebook_load(struct dqg_codebook *book, size_t width, const uint16_t *entries) {
    book->width = width;
    for (size_t i = 0; i < ENTRIES * width; i++) {
        book->entries[i % width][i / width] = dqg_f16_to_f32(entries[i]);
    }
    measure_entries(book, ENTRIES);
}

/* |x - c|^2 / 2 = |x|^2 / 2 + (|c|^2 / 2 - x c): the least of the brackets, and of equal ones the first in its lane. */
uint8_t dqg_codebook_nearest(const struct dqg_codebook *book, const float *x) {
    float best[LANES];
    int32_t index[LANES] = {0};
    for (size_t l = 0; l < LANES; l++) {
        best[l] = INFINITY;
    }
    for (int32_t j = 0; j < ENTRIES; j += LANES) {
        float score[LANES];
        for (size_t l = 0; l < LANES; l++) {
            score[l] = book->half_norms[(size_t)j + l];
        }
        for (size_t i = 0; i < book->width; i++) {
            for (size_t l = 0; l < LANES; l++) {
                score[l] -= x[i] * book->entries[i][(size_t)j + l];
            }
        }
        for (size_t l = 0; l < LANES; l++) {
            index[l] = score[l] < best[l] ? j : index[l];
            best[l] = score[l] < best[l] ? score[l] : best[l];
        }
    }
    size_t lane = 0;
    for (size_t l = 1; l < LANES; l++) {
        lane = best[l] < best[lane] ? l : lane;
    }
    return (uint8_t)(index[lane] + (int32_t)lane);
}

struct training {
    struct dqg_codebook book;
    size_t entries; /* in use */
    size_t count;   /* of vectors */
    float *sample;  /* [count][width] */
    float *distance;
    uint8_t *nearest;
};

/* Rows at equal steps, vectors at equal steps of each. */
static void take_sample(struct training *training, const struct dqg_packing *packing, size_t rows, size_t vectors,
                        float *row) {
    size_t width = training->book.width;
    size_t columns = dqg_matrix_extent(&packing->size);
    size_t in_row = (columns + width - 1) / width;
    float *out = training->sample;
    for (size_t r = 0; r < rows; r++) {
        dqg_packing_row(packing, r * packing->size.rows / rows, row);
        float scale = dqg_row_scale(row, columns);
        for (size_t v = 0; v < vectors; v++, out += width) {
            for (size_t i = 0; i < width; i++) {
                out[i] = scale > 0.0f ? row[v * in_row / vectors * width + i] / scale : 0.0f;
            }
        }
    }
}

/* A random number in 0..1 for each entry. */
static double uniform(size_t entry) {
    uint32_t counter[4] = {(uint32_t)entry, 0, 0, 0};
    uint32_t key[2] = {0x6b6d6561u, 0x6e732b2bu};
    uint32_t bits[4];
    dqg_philox(counter, key, bits);
    return ((double)bits[0] + 0.5) * 0x1p-32;
}

/* Each entry a vector of the sample, drawn in proportion to its squared distance from the entries so far. */
static void start_entries(struct training *training) {
    size_t width = training->book.width;
    for (size_t s = 0; s < training->count; s++) {
        training->distance[s] = 1.0f;
    }
    for (size_t entry = 0; entry < training->entries; entry++) {
        double total = 0.0;
        for (size_t s = 0; s < training->count; s++) {
            total += (double)training->distance[s];
        }
        double left = uniform(entry) * total;
        size_t drawn = 0;
        while (drawn + 1 < training->count && left >= (double)training->distance[drawn]) {
            left -= (double)training->distance[drawn++];
        }
        const float *chosen = training->sample + drawn * width;
        for (size_t i = 0; i < width; i++) {
            training->book.entries[i][entry] = chosen[i];
        }
        for (size_t s = 0; s < training->count; s++) {
            float sum = 0.0f;
            for (size_t i = 0; i < width; i++) {
                float difference = training->sample[s * width + i] - chosen[i];
                sum += difference * difference;
            }
            training->distance[s] = entry == 0 || sum < training->distance[s] ? sum : training->distance[s];
        }
    }
}

static void assign_block(void *argument, size_t index, size_t lane) {
    struct training *training = argument;
    size_t end = dqg_min_size((index + 1) * BLOCK_VECTORS, training->count);
    (void)lane;
    for (size_t s = index * BLOCK_VECTORS; s < end; s++) {
        training->nearest[s] = dqg_codebook_nearest(&training->book, training->sample + s * training->book.width);
    }
}

/* Entries to the means of the vectors that are nearest to them; one that has none stays. */
static void move_entries(struct training *training) {
    size_t width = training->book.width;
    double sums[4][ENTRIES] = {{0.0}};
    size_t counts[ENTRIES] = {0};
    for (size_t s = 0; s < training->count; s++) {
        counts[training->nearest[s]]++;
        for (size_t i = 0; i < width; i++) {
            sums[i][training->nearest[s]] += (double)training->sample[s * width + i];
        }
    }
    for (size_t j = 0; j < training->entries; j++) {
        for (size_t i = 0; i < width && counts[j] > 0; i++) {
            training->book.entries[i][j] = (float)(sums[i][j] / (double)counts[j]);
        }
    }
}

static void train(struct dqg_context *context, struct training *training) {
    start_entries(training);
    for (int iteration = 0; iteration < ITERATIONS; iteration++) {
        measure_entries(&training->book, training->entries);
        dqg_parallel(context, (training->count + BLOCK_VECTORS - 1) / BLOCK_VECTORS, assign_block, training);
        move_entries(training);
    }
}

dqg_status dqg_codebook_train(struct dqg_context *context, struct dqg_packing *packing) {
    struct training *training = dqg_calloc(&context->alloc, 1, sizeof *training);
    if (training == NULL) {
        return dqg_fail_memory(context, "a codebook", sizeof *training);
    }
    size_t width = dqg_vector_width(dqg_format_find(packing->to->dtype));
    size_t rows = dqg_min_size(packing->size.rows, MOST_ROWS);
    size_t vectors = dqg_min_size((dqg_matrix_extent(&packing->size) + width - 1) / width, MOST_VECTORS);
    training->book.width = width;
    training->count = rows * vectors;
    training->entries = ENTRIES;
    while (training->entries > 1 && training->entries > training->count / 4) {
        training->entries /= 2;
    }
    size_t floats = training->count * (width + 1) + dqg_packing_width(packing);
    size_t bytes = floats * sizeof(float) + training->count;
    training->sample = dqg_malloc(&context->alloc, bytes);
    dqg_status status = DQG_OK;
    if (training->sample == NULL) {
        status = dqg_fail_memory(context, "a codebook's sample", bytes);
    } else {
        training->distance = training->sample + training->count * width;
        float *row = training->distance + training->count;
        training->nearest = (uint8_t *)(row + dqg_packing_width(packing));
        take_sample(training, packing, rows, vectors, row);
        train(context, training);
        uint16_t *out = packing->planes[DQG_PLANE_ZEROS];
        for (size_t i = 0; i < training->entries * width; i++) {
            out[i] = dqg_f32_to_f16(training->book.entries[i % width][i / width]);
        }
    }
    dqg_free(&context->alloc, training->sample, bytes);
    dqg_free(&context->alloc, training, sizeof *training);
    return status;
}
