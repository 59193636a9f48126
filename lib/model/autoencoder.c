/* SPDX-License-Identifier: MIT */
/*
 * Running autoencoders. The graph at the latent's size is evaluated whole, that towards the picture tile by tile. Tiles
 * overlap: each sees enough around its own part that this part comes out as without tiles, and neighbours are blended
 * along their border. Group norms need moments of the whole picture. They are estimated on the picture in the size of a
 * tile, then measured by evaluations of all tiles. Each makes those of one more norm exact, the first that were not;
 * when none changes any more, or none is left, all are known.
 */
#include <math.h>

#include "model/autoencoder.h"

enum { RAMP = 8 /* the overlap divided by it is how far the blending reaches to each side of a border */ };

/* Moments that change by less from one evaluation to the next, relative to the standard deviation, are known. */
static const double moments_known = 1e-3;

/* One axis of the tiles. */
struct axis {
    size_t size;  /* of the latent */
    size_t own;   /* of a tile, without what it shares; the last may have less */
    size_t input; /* of a tile, the same for all */
    size_t count;
    size_t ramp;
};

static struct axis make_axis(size_t size, size_t tile, size_t overlap) {
    size_t own = tile > 0 && tile < size ? tile : size;
    struct axis axis = {.size = size, .own = own, .input = dqg_min_size(own + 2 * overlap, size)};
    axis.count = (size + own - 1) / own;
    axis.ramp = dqg_min_size(overlap / RAMP, own / 2);
    return axis;
}

/* Where the part of a tile begins and ends, and where what it sees begins. */
static size_t own_begin(const struct axis *axis, size_t tile) {
    return tile * axis->own;
}
static size_t own_end(const struct axis *axis, size_t tile) {
    return dqg_min_size((tile + 1) * axis->own, axis->size);
}
static size_t input_begin(const struct axis *axis, size_t tile) {
    size_t before = (axis->input - axis->own) / 2, begin = own_begin(axis, tile);
    return dqg_min_size(begin > before ? begin - before : 0, axis->size - axis->input);
}

/* The share that a tile has in a pixel, at times the latent's size. */
static float weight_at(const struct axis *axis, size_t tile, size_t pixel, size_t times) {
    float at = (float)pixel + 0.5f, ramp = (float)(axis->ramp * times), weight = 1;
    float begin = (float)(own_begin(axis, tile) * times), end = (float)(own_end(axis, tile) * times);
    if (tile > 0) {
        weight = ramp > 0 ? (at - begin + ramp) / (2 * ramp) : at > begin;
        weight = weight < 0 ? 0 : weight > 1 ? 1 : weight;
    }
    if (tile + 1 < axis->count) {
        float leave = ramp > 0 ? (end + ramp - at) / (2 * ramp) : at < end;
        weight *= leave < 0 ? 0 : leave > 1 ? 1 : leave;
    }
    return weight;
}

struct run {
    struct dqg_context *context;
    const struct dqg_model *model;
    const struct dqg_autoencode *job;
    struct axis rows, columns;
    struct dqg_graph latent, image; /* at the latent's size; a tile towards the picture */
    size_t middle_columns;          /* of the rows that one hands on to the other */
    size_t out_columns;
    size_t norm_count, group_count; /* of the graph of tiles; no groups where there is one tile */
    struct dqg_norm_share share;
    struct dqg_work work; /* operators */
    char *block;          /* of all that follows */
    size_t block_bytes;
    float *middle;   /* [height * width][middle_columns] */
    float *tile_in;  /* of a tile: rows, or planes of a picture */
    float *tile_out; /* rows */
    double *given;
};

/* Columns of the rows that a graph results in. */
static size_t result_columns(const struct dqg_graph *graph) {
    return graph->values[graph->nodes[graph->node_count - 1].x].columns;
}

static dqg_status make_graphs(struct run *run) {
    const struct dqg_autoencode *job = run->job;
    size_t times = job->decode ? 1 : run->model->hyper.reduction; /* what the graph of tiles reads is as large */
    struct dqg_graph_config config = {.samples = 1,
                                      .height = job->height,
                                      .width = job->width,
                                      .stage = job->decode ? DQG_STAGE_DECODE_LATENT : DQG_STAGE_ENCODE_LATENT};
    DQG_TRY(dqg_model_graph(run->context, run->model, &config, &run->latent));
    config.height = run->rows.input * times;
    config.width = run->columns.input * times;
    config.stage = job->decode ? DQG_STAGE_DECODE_IMAGE : DQG_STAGE_ENCODE_IMAGE;
    DQG_TRY(dqg_model_graph(run->context, run->model, &config, &run->image));
    run->middle_columns = result_columns(job->decode ? &run->latent : &run->image);
    run->out_columns = result_columns(job->decode ? &run->image : &run->latent);
    return DQG_OK;
}

/* Norms of the graph of tiles, and the most groups of one of them. */
static size_t count_groups(struct run *run) {
    size_t most = 0;
    for (int32_t i = 0; i < run->image.node_count; i++) {
        const struct dqg_node *node = &run->image.nodes[i];
        if (node->kind == DQG_NODE_GROUP_NORM) {
            run->norm_count++;
            run->group_count += node->heads;
            most = node->heads > most ? node->heads : most;
        }
    }
    if (run->rows.count * run->columns.count == 1) {
        run->group_count = most = 0;
    }
    return most;
}

/* Set every array into the block; NULL only measures it. False on overflow. */
static bool lay_out(struct run *run, size_t most_groups) {
    const struct dqg_hyper *hyper = &run->model->hyper;
    bool decode = run->job->decode;
    size_t used = 0, tile = run->rows.input * run->columns.input, enlarged = tile * hyper->reduction * hyper->reduction;
    size_t in = decode ? tile : enlarged, in_columns = decode ? run->middle_columns : hyper->out_channels;
    size_t out = decode ? enlarged : tile, out_columns = decode ? run->out_columns : run->middle_columns;
    size_t pixels = run->job->height * run->job->width;
    bool fits = dqg_carve(&used, run->block, pixels, run->middle_columns * sizeof(float), (void **)&run->middle) &&
                dqg_carve(&used, run->block, in, in_columns * sizeof(float), (void **)&run->tile_in) &&
                dqg_carve(&used, run->block, out, out_columns * sizeof(float), (void **)&run->tile_out) &&
                dqg_carve(&used, run->block, run->group_count, 2 * sizeof(double), (void **)&run->given) &&
                dqg_carve(&used, run->block, run->group_count, 3 * sizeof(double), (void **)&run->share.sums) &&
                dqg_carve(&used, run->block, most_groups * hyper->reduction * run->rows.input, 2 * sizeof(float),
                          (void **)&run->share.work);
    run->block_bytes = used;
    return fits;
}

/* Graphs, and how much the rest takes; with a block also the rest. */
static dqg_status prepare(struct run *run, bool allocate) {
    const struct dqg_autoencode *job = run->job;
    run->rows = make_axis(job->height, job->tile, job->overlap);
    run->columns = make_axis(job->width, job->tile, job->overlap);
    DQG_TRY(make_graphs(run));
    size_t most_groups = count_groups(run);
    if (!lay_out(run, most_groups)) {
        return dqg_fail(run->context, DQG_ERROR_LIMIT, "a picture of this size does not fit the address space");
    }
    if (allocate) {
        run->block = dqg_calloc(&run->context->alloc, 1, run->block_bytes);
        if (run->block == NULL) {
            return dqg_fail_memory(run->context, "the picture", run->block_bytes);
        }
        lay_out(run, most_groups);
    }
    return DQG_OK;
}

/* A graph from its beginning to its end; the host may stop it between operators. */
static dqg_status evaluate(struct run *run, struct dqg_exec *exec, const struct dqg_exec_io *io) {
    for (dqg_status status = DQG_PENDING; status == DQG_PENDING;) {
        const char *name = exec->graph->nodes[exec->next].name;
        status = dqg_exec_next(exec, io);
        DQG_TRY(status);
        DQG_TRY(dqg_work_set(&run->work, run->work.done + 1, name));
    }
    return DQG_OK;
}

static dqg_status run_latent(struct run *run, const float *in, float *out) {
    struct dqg_exec exec = {0};
    const struct dqg_exec_io io = {.x = in, .context = in, .out = out};
    dqg_status status = dqg_exec_init(run->context, &run->latent, &exec);
    if (status >= 0) {
        status = evaluate(run, &exec, &io);
    }
    dqg_exec_free(&exec);
    return status;
}

/* ---- tiles ---- */

/* What a tile reads: rows of the middle, or planes of the picture. */
static void gather(const struct run *run, size_t row, size_t column) {
    size_t times = run->job->decode ? 1 : run->model->hyper.reduction;
    size_t planes = run->job->decode ? 1 : run->model->hyper.out_channels;
    size_t pixel = run->job->decode ? run->middle_columns : 1; /* floats side by side */
    const float *from = run->job->decode ? run->middle : run->job->in;
    size_t height = run->rows.input * times, width = run->columns.input * times;
    size_t full = run->columns.size * times, plane = run->rows.size * times * full;
    for (size_t p = 0; p < planes; p++) {
        for (size_t y = 0; y < height; y++) {
            memcpy(run->tile_in + (p * height + y) * width * pixel,
                   from + (p * plane + (row * times + y) * full + column * times) * pixel,
                   width * pixel * sizeof(float));
        }
    }
}

/* The whole in the size of a tile, by the nearest pixel. */
static void sample_whole(const struct run *run) {
    size_t times = run->job->decode ? 1 : run->model->hyper.reduction;
    size_t planes = run->job->decode ? 1 : run->model->hyper.out_channels;
    size_t pixel = run->job->decode ? run->middle_columns : 1;
    const float *from = run->job->decode ? run->middle : run->job->in;
    size_t height = run->rows.input * times, width = run->columns.input * times;
    size_t full_height = run->rows.size * times, full_width = run->columns.size * times;
    for (size_t i = 0; i < planes * height * width; i++) {
        size_t y = i / width % height, x = i % width, plane = i / width / height;
        size_t row = (2 * y + 1) * full_height / (2 * height), column = (2 * x + 1) * full_width / (2 * width);
        memcpy(run->tile_in + i * pixel, from + ((plane * full_height + row) * full_width + column) * pixel,
               pixel * sizeof(float));
    }
}

/* Add a tile to the whole, by its share of each pixel. */
static void scatter(const struct run *run, size_t i, size_t j) {
    const struct axis *rows = &run->rows, *columns = &run->columns;
    size_t times = run->job->decode ? run->model->hyper.reduction : 1;
    size_t count = run->job->decode ? run->out_columns : run->middle_columns;
    float *to = run->job->decode ? run->job->out : run->middle;
    size_t top = input_begin(rows, i) * times, left = input_begin(columns, j) * times;
    for (size_t y = 0; y < rows->input * times; y++) {
        float share = weight_at(rows, i, top + y, times);
        for (size_t x = 0; share > 0 && x < columns->input * times; x++) {
            float weight = share * weight_at(columns, j, left + x, times);
            const float *from = run->tile_out + (y * columns->input * times + x) * count;
            float *out = to + ((top + y) * columns->size * times + left + x) * count;
            for (size_t c = 0; weight > 0 && c < count; c++) {
                out[c] += weight * from[c];
            }
        }
    }
}

/* What the graph of tiles makes of tile_in, whose own part this is, in pixels of the latent. */
static dqg_status run_input(struct run *run, struct dqg_exec *exec, size_t first_row, size_t first_column, size_t rows,
                            size_t columns) {
    size_t times = run->job->decode ? 1 : run->model->hyper.reduction;
    struct dqg_norm_share *share = &run->share;
    share->next = 0;
    share->height = run->rows.input * times;
    share->width = run->columns.input * times;
    share->first_row = first_row * times;
    share->first_column = first_column * times;
    share->rows = rows * times;
    share->columns = columns * times;
    const struct dqg_exec_io io = {.x = run->tile_in, .context = run->tile_in, .out = run->tile_out};
    return evaluate(run, exec, &io);
}

static dqg_status run_tile(struct run *run, struct dqg_exec *exec, size_t i, size_t j) {
    const struct axis *rows = &run->rows, *columns = &run->columns;
    size_t top = input_begin(rows, i), left = input_begin(columns, j);
    gather(run, top, left);
    return run_input(run, exec, own_begin(rows, i) - top, own_begin(columns, j) - left,
                     own_end(rows, i) - own_begin(rows, i), own_end(columns, j) - own_begin(columns, j));
}

/* What norms are given from now on. Returns how much that changed. */
static double use_sums(struct run *run) {
    double *sums = run->share.sums, largest = 0;
    for (size_t g = 0; g < run->group_count; g++) {
        double *given = run->given + 2 * g, mean = sums[3 * g + 1], variance = sums[3 * g + 2] / sums[3 * g];
        double unit = variance > 0 ? variance : 1;
        largest = fmax(largest, fmax(fabs(mean - given[0]) / sqrt(unit), fabs(variance - given[1]) / unit));
        given[0] = mean;
        given[1] = variance;
    }
    memset(sums, 0, run->group_count * 3 * sizeof(double));
    run->share.given = run->given;
    return largest;
}

/* All tiles once; the last pass adds them up, those before it take moments. */
static dqg_status run_pass(struct run *run, struct dqg_exec *exec, bool last) {
    for (size_t i = 0; i < run->rows.count; i++) {
        for (size_t j = 0; j < run->columns.count; j++) {
            DQG_TRY(run_tile(run, exec, i, j));
            if (last) {
                scatter(run, i, j);
            }
        }
    }
    return DQG_OK;
}

/* Moments of the whole picture: estimated on one in the size of a tile, then measured. */
static dqg_status measure(struct run *run, struct dqg_exec *exec) {
    exec->share = &run->share;
    sample_whole(run);
    DQG_TRY(run_input(run, exec, 0, 0, run->rows.input, run->columns.input));
    use_sums(run);
    uint64_t end =
        run->work.done + run->norm_count * run->rows.count * run->columns.count * (uint64_t)run->image.node_count;
    double change = 1;
    for (size_t pass = 0; pass < run->norm_count && change > moments_known; pass++) {
        DQG_TRY(run_pass(run, exec, false));
        change = use_sums(run);
    }
    run->share.sums = NULL;
    return dqg_work_set(&run->work, end, "tiles");
}

static dqg_status run_tiles(struct run *run) {
    struct dqg_exec exec = {0};
    size_t enlarged = run->model->hyper.reduction * run->model->hyper.reduction;
    size_t pixels = run->job->height * run->job->width;
    if (run->job->decode) {
        memset(run->job->out, 0, pixels * enlarged * run->out_columns * sizeof(float));
    } else {
        memset(run->middle, 0, pixels * run->middle_columns * sizeof(float));
    }
    dqg_status status = dqg_exec_init(run->context, &run->image, &exec);
    if (status >= 0 && run->group_count > 0) {
        status = measure(run, &exec);
    }
    if (status >= 0) {
        status = run_pass(run, &exec, true);
    }
    dqg_exec_free(&exec);
    return status;
}

static void free_run(struct run *run) {
    dqg_free(&run->context->alloc, run->block, run->block_bytes);
    dqg_graph_free(&run->latent);
    dqg_graph_free(&run->image);
}

dqg_status dqg_autoencode(struct dqg_context *context, const struct dqg_model *model,
                          const struct dqg_autoencode *job) {
    struct run run = {.context = context, .model = model, .job = job};
    dqg_status status = prepare(&run, true);
    size_t tiles = run.rows.count * run.columns.count;
    size_t evaluations = run.group_count > 0 ? (run.norm_count + 1) * tiles + 1 : tiles;
    dqg_work_begin(&run.work, context, DQG_PHASE_RUN,
                   (uint64_t)run.latent.node_count + evaluations * (uint64_t)run.image.node_count);
    if (status >= 0 && job->decode) {
        status = run_latent(&run, job->in, run.middle);
    }
    if (status >= 0) {
        status = run_tiles(&run);
    }
    if (status >= 0 && !job->decode) {
        status = run_latent(&run, run.middle, job->out);
    }
    free_run(&run);
    return status;
}

dqg_status dqg_autoencode_bytes(struct dqg_context *context, const struct dqg_model *model,
                                const struct dqg_autoencode *job, uint64_t *bytes) {
    struct run run = {.context = context, .model = model, .job = job};
    size_t latent, image;
    *bytes = 0;
    dqg_status status = prepare(&run, false);
    if (status >= 0 &&
        (!dqg_exec_bytes(context, &run.latent, &latent) || !dqg_exec_bytes(context, &run.image, &image))) {
        status = dqg_fail(context, DQG_ERROR_LIMIT, "a picture of this size does not fit the address space");
    }
    if (status >= 0) { /* the two are not there at the same time */
        *bytes = (uint64_t)run.block_bytes + run.latent.arena.total + run.image.arena.total +
                 (latent > image ? latent : image);
    }
    free_run(&run);
    return status;
}

dqg_status dqg_autoencoder_columns(struct dqg_context *context, const struct dqg_model *model, size_t *columns) {
    struct dqg_graph_config config = {.samples = 1, .height = 1, .width = 1, .stage = DQG_STAGE_ENCODE_LATENT};
    struct dqg_graph graph;
    DQG_TRY(dqg_model_graph(context, model, &config, &graph));
    *columns = result_columns(&graph);
    dqg_graph_free(&graph);
    return DQG_OK;
}
