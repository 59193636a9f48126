/* SPDX-License-Identifier: MIT */
/* Layer 5, run: the generation loop. One block of memory holds everything that changes while it goes on. */
#ifndef DQG_RUN_H
#define DQG_RUN_H

#include "model/inputs.h"
#include "run/cache.h"
#include "run/guidance.h"
#include "run/ras.h"
#include "sched/particle.h"
#include "sched/sched.h"
#include "support/rng_torch.h"
#include "tensor/view.h"

/* A scheduler as a shared handle. */
struct dqg_scheduler {
    _Atomic int32_t references;
    struct dqg_alloc alloc;
    struct dqg_sched sched;
};

/* References to shared handles; the last one frees. */
void dqg_scheduler_retain_(struct dqg_scheduler *scheduler);
void dqg_scheduler_release_(struct dqg_scheduler *scheduler);

dqg_status dqg_scheduler_make_interpolant(struct dqg_context *context, const dqg_interpolant *interpolant,
                                          struct dqg_scheduler **scheduler);

dqg_status dqg_scheduler_make(struct dqg_context *context, const struct dqg_sched_config *config,
                              struct dqg_scheduler **scheduler);
dqg_status dqg_scheduler_make_inverse(struct dqg_context *context, const struct dqg_scheduler *scheduler,
                                      struct dqg_scheduler **inverse);

/* Where random numbers come from. */
enum dqg_noise { DQG_NOISE_NATIVE, DQG_NOISE_TORCH_CPU, DQG_NOISE_TORCH_CUDA };

struct dqg_run_config {
    int32_t count;
    int64_t seed;
    const int64_t *seeds;
    int32_t seed_count;
    enum dqg_noise noise;
    const int64_t *variation_seeds;
    int32_t variation_seed_count;
    double variation_strength; /* 0..1 of the way from the noise of the seeds to that of the variation seeds */
    double offset_noise;
    int32_t time_axes;  /* first dimensions of the latent whose entries have times of their own */
    double temperature; /* of the initial noise */
    bool noise_path;    /* fresh noise is that of a Brownian path */
    const int64_t *classes;
    int32_t class_count;
    int32_t conditions; /* classes of an image; classes[condition * count + image], or one for each condition */
    const double *condition_weights;
    int32_t condition_weight_count;
    struct dqg_guidance guidance;
    struct dqg_perturbation perturbation; /* without blocks: the middle one */
    int32_t height, width;
    int32_t context_tokens; /* 0: the model's own */
    enum dqg_attention_mode attention;
    uint64_t memory_limit;
    bool bf16; /* products with float weights */
    bool entropy_scale;
    int64_t train_tokens;
    struct dqg_cache_config cache;
    struct dqg_ras_config ras;
};

/* Where a part of the latent with a time of its own stands: as struct dqg_sched_state. */
struct dqg_clock {
    int32_t step, phase, kept;
};

struct dqg_run {
    _Atomic bool cancelled; /* first: a fork copies what follows */
    struct dqg_context *context;
    struct dqg_model *model; /* NULL for a custom run */
    struct dqg_model *pipeline; /* of whose file model is a network, or model itself; NULL for a custom run */
    struct dqg_scheduler *scheduler;
    struct dqg_graph graph;            /* all copies */
    struct dqg_graph plain, perturbed; /* the conditions alone, and again perturbed; or empty: passes.c */
    struct dqg_graph sparse;           /* all copies, active tokens only; or empty */
    struct dqg_exec exec;
    struct dqg_graph_config network; /* of all, without samples, sizes, perturbation, active tokens */
    struct dqg_cache cache;          /* of graph */
    struct dqg_ras ras;

    int32_t rank;
    int64_t shape[DQG_MAX_RANK]; /* of the latent */
    size_t images;               /* shape[0] */
    size_t image_size;           /* elements of one image */
    size_t size;                 /* elements of the latent */
    size_t clock_count;          /* equal parts of the latent with times of their own; 0: one time for all of it */
    size_t conditions;           /* of each image; 0 without model */
    size_t copies;               /* samples of the network for each image: its conditions, and one without if needed */
    struct dqg_guidance guidance;
    bool keeps_momentum; /* it was made with guidance that does */
    bool balanced;       /* the shares of its conditions add up to 1 in every pixel of each image */
    bool conditioned;    /* some condition says something */

    /* In block. Sizes in elements: size unless stated. */
    void *block;
    size_t block_bytes;
    float *latent, *x0, *output, *scratch;
    float *net_in;     /* (copies * images, channels + extra channels, height, width) */
    float *net_out;    /* (copies, of a perturbed network the conditions) * size * (out_channels / channels) */
    double *timesteps; /* copies * images */
    struct dqg_given given; /* copies * images: conditions[images], then without */
    double *weights;   /* conditions * images */
    uint8_t *masked;   /* conditions * images: has a mask */
    float *masks;      /* conditions * images * (height * width) */
    float *momentum;   /* running difference of guidance; NULL where the guidance it was made with has none */
    uint64_t *seeds;   /* images */
    struct dqg_torch_rng *generators; /* dqg_run_generators() */
    int32_t *node_us;                 /* [dqg_run_node_count()] the time each took last */
    struct dqg_clock *clocks;         /* clock_count; the solver's history comes after them, last */

    enum dqg_noise noise;
    bool offset_noise; /* the second draw is of offsets */
    bool noise_path;   /* fresh noise from Brownian motion, which is no draw */
    uint64_t draws;    /* of normals until now, those of all images together being one */

    struct dqg_search *search; /* or NULL: search.h */
    float *offset;             /* [size] added to what the network sees, or NULL */
    double temperature;
    struct dqg_sched_state state; /* with clocks: of the one with the most steps to do; the largest phase */
    int32_t evaluations;
    bool evaluating; /* an evaluation is under way, or requested */
    struct dqg_work work;
};

/* What a run of this configuration allocates, without allocating it. */
dqg_status dqg_run_memory(struct dqg_context *context, struct dqg_model *model, struct dqg_scheduler *scheduler,
                          const struct dqg_run_config *config, uint64_t *bytes);

dqg_status dqg_run_make(struct dqg_context *context, struct dqg_model *model, struct dqg_scheduler *scheduler,
                        const struct dqg_run_config *config, struct dqg_run **run);
dqg_status dqg_run_make_custom(struct dqg_context *context, struct dqg_scheduler *scheduler, const int64_t *shape,
                               int32_t rank, const struct dqg_run_config *config, struct dqg_run **run);
void dqg_run_free(struct dqg_run *run);

/* Set every pointer into the block, or with block NULL only find its size; false on overflow. Then take it. */
bool dqg_run_lay_out(struct dqg_run *run);
dqg_status dqg_run_allocate(struct dqg_run *run);

/* A second run that goes on from where this one stands. An evaluation under way is done again. */
dqg_status dqg_run_fork_(struct dqg_run *run, struct dqg_run **copy);

/* Go on with another plan from its point index, or DQG_NEAREST_POINT. A run that fails to is as it was. */
dqg_status dqg_run_use_scheduler(struct dqg_run *run, struct dqg_scheduler *scheduler, int32_t index);

/* ras_make.c: plan region-adaptive sampling, after the passes and the step cache; may a plan have it? And how many of
 * net_out are kept for tokens left out. */
dqg_status dqg_run_set_ras(struct dqg_run *run, const struct dqg_ras_config *config);
dqg_status dqg_run_check_ras(const struct dqg_run *run, const struct dqg_sched *sched);
size_t dqg_run_kept_outputs(const struct dqg_run *run);

/* Fails where nobody says what a learned variance is. */
dqg_status dqg_run_check_variance(const struct dqg_run *run, const struct dqg_sched *sched);

/* The next piece of work: DQG_PENDING, DQG_OK after a step, DQG_DONE after the last. budget_us < 0: no limit. */
dqg_status dqg_run_work(struct dqg_run *run, int64_t budget_us);

/* Before each evaluation: raise the latent where churn does. */
dqg_status dqg_run_begin(struct dqg_run *run);

/* Scaled network input of the next evaluation for one copy of the latent; and what to do with its output. */
void dqg_run_scale_input(const struct dqg_run *run, float *out);
dqg_status dqg_run_feed(struct dqg_run *run);

/* ---- clock.c: parts with times of their own; a run without is a single part ---- */

dqg_status dqg_run_set_clocks(struct dqg_run *run, int32_t time_axes);
/* Fails where parts cannot have the fresh noise that this plan wants. */
dqg_status dqg_run_check_clocks(const struct dqg_run *run, const struct dqg_sched *sched);
size_t dqg_run_parts(const struct dqg_run *run);
struct dqg_clock dqg_run_clock(const struct dqg_run *run, size_t part);
/* Place a part without history, momentum, cache. dqg_run_settle() after the last one. */
void dqg_run_place(struct dqg_run *run, size_t part, int32_t step);
void dqg_run_settle(struct dqg_run *run);
/* The point that a part of the network's input belongs to, and the part whose is told where there is room for one. */
struct dqg_sched_point dqg_run_point(const struct dqg_run *run, size_t part);
size_t dqg_run_rear(const struct dqg_run *run);
dqg_status dqg_run_feed_clocks(struct dqg_run *run);

/* ---- start.c ---- */

/* Turn the noise that a run begins with into a * mean + sqrt(s^2 + a^2 variance) noise at point index; mean, of one
 * image, may be NULL. */
dqg_status dqg_run_start_from(struct dqg_run *run, int32_t index, const float *mean, double variance);

/* Mean of count samples of n values, and the mean of the variances of each value. */
void dqg_fit_gaussian(const float *samples, size_t count, size_t n, float *mean, double *variance);

/* ---- passes.c ---- */

/* Plan the networks of an evaluation, after dqg_run_set_conditions(). */
dqg_status dqg_run_plan_passes(struct dqg_run *run, const struct dqg_run_config *config);

/* Plan the one of active tokens, after dqg_ras_init(). */
dqg_status dqg_run_plan_sparse(struct dqg_run *run);

/* Plan the same but for that one for a copy of the run, of the copy's shape; exchange the networks of two runs. */
void dqg_run_swap_passes(struct dqg_run *a, struct dqg_run *b);
dqg_status dqg_run_copy_passes(const struct dqg_run *run, struct dqg_run *copy);

/* What they take with their graphs; false on overflow. */
bool dqg_run_passes_bytes(const struct dqg_run *run, size_t *bytes);
dqg_status dqg_run_init_passes(struct dqg_run *run);
void dqg_run_free_passes(struct dqg_run *run);

/* Begin an evaluation; go to its next network, or false after the last one. */
void dqg_run_first_pass(struct dqg_run *run);
bool dqg_run_next_pass(struct dqg_run *run);

/* Is that of all copies among them, in the evaluation under way or the next one? */
bool dqg_run_asks_all_copies(const struct dqg_run *run);

/* Where the network under way writes, and the time its next operator took last. */
float *dqg_run_pass_output(const struct dqg_run *run);
int32_t *dqg_run_node_us(const struct dqg_run *run);

/* Operators of all networks; of the evaluation under way or the next one; finished ones of that. */
int32_t dqg_run_node_count(const struct dqg_run *run);
int32_t dqg_run_operators(const struct dqg_run *run);
int32_t dqg_run_operators_done(const struct dqg_run *run);

/* ---- combine.c ---- */

/* Is any image's output taken from the network, and not 0? */
bool dqg_run_asks_network(const struct dqg_run *run);

/* Has the unconditional, the perturbed network a part in the evaluation under way or the next one? */
bool dqg_run_asks_unconditional(const struct dqg_run *run);
bool dqg_run_asks_perturbed(const struct dqg_run *run);

/* The scale of guidance of an image in this evaluation: 1 outside its interval. */
double dqg_run_guidance_scale(const struct dqg_run *run, size_t image);

/* From the outputs of all passes to run->output. */
void dqg_run_combine(struct dqg_run *run);

/* ---- conditions.c ---- */

/* Check the configuration's classes and weights, and take what the layout depends on; later, fill in the arrays. */
dqg_status dqg_run_set_conditions(struct dqg_run *run, const struct dqg_run_config *config);
void dqg_run_fill_conditions(struct dqg_run *run, const struct dqg_run_config *config);

/* Of a run that gets another shape: let other hold what it has now; then take it, masks stretched by nearest pixels. */
void dqg_run_share_conditions(const struct dqg_run *run, struct dqg_run *other);
void dqg_run_take_conditions(struct dqg_run *run, const struct dqg_run *other);

/* What part each condition has in a pixel of an image; returns the sum, where 1 is exact. */
double dqg_run_condition_shares(const struct dqg_run *run, size_t image, size_t pixel, double *shares);

/* The conditions' outputs of an image as one: out [image_size]. unconditional may be NULL where shares add up to 1. */
void dqg_run_compose(const struct dqg_run *run, size_t image, const float *outputs, const float *unconditional,
                     float *out);

/* Changes between steps; an evaluation under way starts again. image < 0: all; the index has been checked. */
dqg_status dqg_run_check_guidance(const struct dqg_run *run, const struct dqg_guidance *guidance);
dqg_status dqg_run_change_guidance(struct dqg_run *run, const struct dqg_guidance *guidance);
/* After changes of conditions: find out again what is known of all of them together. */
void dqg_run_summarize(struct dqg_run *run);

/* The same for what else a condition says, or with index DQG_UNCONDITIONAL the unconditional. */
dqg_status dqg_run_change_inputs(struct dqg_run *run, int32_t image, int32_t index, const dqg_inputs *inputs);
dqg_status dqg_run_change_condition(struct dqg_run *run, int32_t image, int32_t index, const dqg_condition *condition);

/* Their part of a saved state; check comes before read. */
size_t dqg_run_conditions_bytes(const struct dqg_run *run);
void dqg_run_conditions_write(const struct dqg_run *run, char *out);
dqg_status dqg_run_conditions_check(const struct dqg_run *run, const char *in);
void dqg_run_conditions_read(struct dqg_run *run, const char *in);

/* ---- noise.c ---- */

/* Check the configuration's noise, and take what the layout depends on. After the run's shape is known. */
dqg_status dqg_run_set_noise(struct dqg_run *run, const struct dqg_run_config *config);

/* Generators with a state: one for each image, or none. */
size_t dqg_run_generators(const struct dqg_run *run);

/* Other seeds, derived from those the run has. */
void dqg_run_next_seeds(struct dqg_run *run);

/* Back to the start, every image with this seed; not for runs with offset noise or variations. */
void dqg_run_reseed(struct dqg_run *run, int64_t seed);

/* Seeds, generators and the latent, not scaled yet. */
void dqg_run_first_noise(struct dqg_run *run, const struct dqg_run_config *config);

/* Normals for the latent, whatever the noise path; index as in struct dqg_draw. */
void dqg_run_white_noise(struct dqg_run *run, int32_t index, float *buffer);

/* A dqg_noise_fn; user is the run. */
void dqg_run_fresh_noise(void *user, const struct dqg_draw *request, float *buffer, size_t n);

/* Go where the generators stand after so many draws from the run's seeds. */
void dqg_run_replay_noise(struct dqg_run *run, uint64_t draws);

/* Drop an evaluation or half step under way. */
void dqg_run_restart_step(struct dqg_run *run);

size_t dqg_run_state_bytes(const struct dqg_run *run);
void dqg_run_state_write(const struct dqg_run *run, void *state);
dqg_status dqg_run_state_read(struct dqg_run *run, const void *state, size_t size);

/* ---- reward_search.c ---- */

extern const char dqg_search_names[]; /* search_methods.c */

struct dqg_search_config {
    const char *method;
    int32_t budget, steps, chains, candidates, block, back, finish;
    double threshold, temperature, diffusion_scale;
    enum dqg_particle_path interpolant;
    enum dqg_diffusion diffusion;
};

dqg_status dqg_search_begin(struct dqg_run *run, const struct dqg_search_config *config, dqg_reward_fn reward,
                            void *user);
dqg_status dqg_search_feed(struct dqg_run *run); /* in place of the solver's */
/* Fails where guidance follows the steps of a path, which a search has none of. */
dqg_status dqg_search_check_guidance(const struct dqg_run *run, const struct dqg_guidance *guidance);
void dqg_search_tell(const struct dqg_run *run, dqg_search_info *info);

/* ---- boundary.c, resize.c, lanczos.c ---- */

dqg_status dqg_boundary_search(struct dqg_run *run, const dqg_boundary *boundary, dqg_boundary_result *result);
dqg_status dqg_run_change_size(struct dqg_run *run, int32_t height, int32_t width, struct dqg_scheduler *scheduler,
                               double strength);

/* First noise to what the run starts from. create.c */
void dqg_run_scale_start(struct dqg_run *run);

/* Give the run a latent of another shape, of the same rank and number of samples, and another scheduler. Labels and
 * seeds stay; all else in its block is zero. On failure the run is as it was. create.c */
dqg_status dqg_run_reshape(struct dqg_run *run, const int64_t *shape, struct dqg_scheduler *scheduler);
void dqg_run_drop_offset(struct dqg_run *run);

/* Planes of height x width resampled, each on its own. */
dqg_status dqg_lanczos(struct dqg_context *context, float *out, size_t out_height, size_t out_width, const float *in,
                       size_t height, size_t width, size_t planes);

/* Fails where the run searches: it alone says what is evaluated. */
dqg_status dqg_search_refuse(const struct dqg_run *run);

/* These do nothing for a run without a search. */
void dqg_search_free(struct dqg_run *run);
size_t dqg_search_state_bytes(const struct dqg_run *run);
void dqg_search_state_write(const struct dqg_run *run, void *state);
bool dqg_search_state_fits(const struct dqg_run *run, const void *state);
void dqg_search_state_read(struct dqg_run *run, const void *state);

/* Convert planes of -1..1, (channels, height, width); the view has been checked. */
void dqg_convert_image(const float *source, size_t channels, bool premultiplied, const dqg_image_view *image);

/* The latent or the estimate; fails where source is none of DQG_SOURCE_*. lib/api/run.c */
dqg_status dqg_run_pick(const struct dqg_run *run, int32_t source, const float **from);

#endif
