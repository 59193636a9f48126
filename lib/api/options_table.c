/* SPDX-License-Identifier: MIT */
/* The option table: one row drives setter, range check, command line, help text and docs/options.md. */
#include "api/api.h"
#include "model/graph.h"
#include "run/cache.h"
#include "run/run.h"
#include "sched/sched.h"
#include "tensor/format.h"

#define INT(key, kind, name, low, high, value, help)                                                                   \
    { DQG_##kind##_##key, DQG_OPTIONS_##kind, DQG_TYPE_INT, name, NULL, help, low, high, value, NULL }
#define FLOAT(key, kind, name, low, high, value, help)                                                                 \
    { DQG_##kind##_##key, DQG_OPTIONS_##kind, DQG_TYPE_FLOAT, name, NULL, help, low, high, value, NULL }
#define TEXT(key, kind, name, choices, value, help)                                                                    \
    { DQG_##kind##_##key, DQG_OPTIONS_##kind, DQG_TYPE_TEXT, name, choices, help, 0, 0, 0, value }
#define INTS(key, kind, name, low, high, help)                                                                         \
    { DQG_##kind##_##key, DQG_OPTIONS_##kind, DQG_TYPE_INTS, name, NULL, help, low, high, 0, NULL }
#define FLOATS(key, kind, name, low, high, help)                                                                       \
    { DQG_##kind##_##key, DQG_OPTIONS_##kind, DQG_TYPE_FLOATS, name, NULL, help, low, high, 0, NULL }

/* The widest range of whole numbers that a double holds exactly: limits are doubles. */
#define EXACT 9007199254740992.0

const struct dqg_option_row dqg_option_rows[] = {
    INT(MEMORY_LIMIT, MODEL, "memory-limit", 0, EXACT, 0, "most bytes the weights may take; 0 is no limit"),

    TEXT(SOLVER, SCHEDULER, "solver", dqg_solver_names, "euler", "how to move from point to point"),
    TEXT(SCHEDULE, SCHEDULER, "schedule", dqg_schedule_names, "flow", "noise level as a function of time"),
    TEXT(SPACING, SCHEDULER, "spacing", dqg_spacing_names, "",
         "which points of the schedule are visited; empty: karras for edm, linspace for the others"),
    TEXT(PREDICTION, SCHEDULER, "prediction", dqg_prediction_names, "",
         "what the network's output means; empty: flow for flow, edm for edm, epsilon for the others"),
    INT(STEPS, SCHEDULER, "steps", 1, 10000, 30, "solver steps"),
    FLOAT(SHIFT, SCHEDULER, "shift", 0.01, 100, 1, "flow timestep shift: above 1 spends more steps on high noise"),
    FLOAT(ETA, SCHEDULER, "eta", -1, 1, -1, "share of fresh noise in each step; -1: what the solver's name stands for"),
    FLOAT(BETA_START, SCHEDULER, "beta-start", 0, 0.999, 0, "first beta; 0: the schedule's own"),
    FLOAT(BETA_END, SCHEDULER, "beta-end", 0, 0.999, 0, "last beta; 0: the schedule's own"),
    INT(ZERO_SNR, SCHEDULER, "zero-snr", 0, 1, 0, "1 rescales a discrete schedule to end without signal; v or x0 only"),
    INT(TRAIN_TIMESTEPS, SCHEDULER, "train-timesteps", 1, 100000, 1000, "discrete training timesteps"),
    INT(STEPS_OFFSET, SCHEDULER, "steps-offset", 0, 1000, 0, "added to each timestep of leading spacing"),
    FLOAT(TIMESTEP_SCALE, SCHEDULER, "timestep-scale", 1e-3, 1e6, 1000,
          "flow timestep for the network = scale * sigma"),
    FLOATS(SIGMAS, SCHEDULER, "sigmas", 0, 1e6,
           "noise levels of the points, decreasing; the last one is where the sample ends"),
    FLOAT(TIME_POWER, SCHEDULER, "time-power", 0.1, 20, 2, "spacing time-power is even in this root of the time"),
    FLOAT(LML_LAMBDA, SCHEDULER, "lml-lambda", 1e-9, 1e6, 0.001, "damping of the LML correction"),
    FLOAT(LML_KAPPA, SCHEDULER, "lml-kappa", 0, 1, 0, "share of the previous update in LML's direction; 0: no LML"),
    FLOAT(LML_RHO, SCHEDULER, "lml-rho", 0, 100, 0, "strength of LML in place of lml-kappa, 0.01 to 0.3; 0: no LML"),
    FLOAT(LML_FREEZE, SCHEDULER, "lml-freeze", 0, 1, 0, "share of the timesteps, the noisy ones, without LML; ddim"),
    FLOATS(TIMESTEPS, SCHEDULER, "timesteps", 0, 1e5, "training timesteps of the points, decreasing"),
    INT(ORDER, SCHEDULER, "order", 0, 4, 0, "order of a multistep solver; 0: its own"),
    TEXT(LOWER_ORDER_FINAL, SCHEDULER, "lower-order-final", dqg_lower_order_names, "auto",
         "end a multistep solver with steps of lower order; auto: as each solver was published"),
    TEXT(VARIANCE, SCHEDULER, "variance", dqg_variance_names, "small",
         "variance of ddpm's fresh noise: beta of the posterior, or of the step"),
    TEXT(LAMBDA, SCHEDULER, "lambda", dqg_lambda_names, "log-snr",
         "what DPM-Solver++ extrapolates in on flow: ln(alpha / sigma) or -ln sigma"),
    FLOAT(S_CHURN, SCHEDULER, "s-churn", 0, 1e6, 0,
          "noise that euler, heun, midpoint and dpm2 add before their steps, over all steps"),
    FLOATS(CHURN_RANGE, SCHEDULER, "churn-range", 0, 1e12, "lowest and highest sigma where s-churn acts"),
    FLOAT(S_NOISE, SCHEDULER, "s-noise", 0, 2, 1, "amplitude of the noise of s-churn"),
    FLOAT(SIGMA_MIN, SCHEDULER, "sigma-min", 0, 1e6, 0,
          "least level of a spacing of noise levels; 0: the schedule's own, 0.002 of edm"),
    FLOAT(SIGMA_MAX, SCHEDULER, "sigma-max", 0, 1e6, 0,
          "largest level of a spacing of noise levels; 0: the schedule's own, 80 of edm"),
    FLOAT(SIGMA_DATA, SCHEDULER, "sigma-data", 0, 1000, 0,
          "deviation of the data an edm network was made for; 0: 0.5 for prediction edm, 1 for the others"),
    FLOAT(RHO, SCHEDULER, "rho", 0, 100, 0, "exponent of spacing karras (0: 7) and polyexponential (0: 1)"),
    INT(IMAGE_TOKENS, SCHEDULER, "image-tokens", 0, 1 << 24, 0,
        "tokens of one image, from which the flow's shift follows; 0: shift as it is"),
    TEXT(RESOLUTION_SHIFT, SCHEDULER, "resolution-shift", "exponential|sqrt", "exponential",
         "shift of image-tokens: exp of a line through base-shift and max-shift, or shift * sqrt(tokens / 4096)"),
    FLOAT(BASE_SHIFT, SCHEDULER, "base-shift", -10, 10, 0.5, "logarithm of the exponential shift at 256 tokens"),
    FLOAT(MAX_SHIFT, SCHEDULER, "max-shift", -10, 10, 1.15, "logarithm of the exponential shift at 4096 tokens"),
    FLOAT(SHIFT_POWER, SCHEDULER, "shift-power", 0.1, 10, 1,
          "power of t / (1 - t) before a flow's shift; deviation of spacing logit-normal"),
    FLOAT(SHIFT_TERMINAL, SCHEDULER, "shift-terminal", 0, 0.999, 0,
          "stretch a flow's sigmas so that the last one before 0 is this; 0 leaves them"),
    TEXT(INTERPOLATION, SCHEDULER, "interpolation", "linear|log", "",
         "of noise levels at fractional timesteps: in sigma or ln sigma; empty: the spacing's own"),
    FLOAT(PFGM_DIMENSIONS, SCHEDULER, "pfgm-dimensions", 0, 1e9, 0,
          "D of a PFGM++ network, edm schedule: its initial noise; 0 is Gaussian, the limit of large D"),

    INT(COUNT, RUN, "count", 1, 4096, 1, "images in this run"),
    INT(SEED, RUN, "seed", -EXACT, EXACT, 0, "image i starts from the noise of seed + i"),
    INTS(SEEDS, RUN, "seeds", -EXACT, EXACT, "a seed for each image; overrides seed"),
    TEXT(NOISE, RUN, "noise", "native|torch-cpu|torch-cuda", "native",
         "where noise comes from: own generator, or that of torch.randn on a CPU or GPU with the same seed"),
    INTS(VARIATION_SEEDS, RUN, "variation-seeds", -EXACT, EXACT,
         "seeds that variation-strength moves the initial noise to; one value serves all"),
    FLOAT(VARIATION_STRENGTH, RUN, "variation-strength", 0, 1, 0, "share of the way to the noise of variation-seeds"),
    FLOAT(OFFSET_NOISE, RUN, "offset-noise", 0, 1, 0,
          "initial noise gets one more normal for each image and channel, times this"),
    INT(TIME_AXES, RUN, "time-axes", 0, DQG_MAX_RANK, 0,
        "first dimensions of the latent whose entries have times of their own; 0: one time for the run"),
    FLOAT(TEMPERATURE, RUN, "temperature", 0, 100, 1, "initial noise is multiplied by this"),
    TEXT(NOISE_PATH, RUN, "noise-path", "white|brownian", "white",
         "fresh noise of stochastic solvers: independent, or of one Brownian path whatever the number of steps"),
    INTS(CLASSES, RUN, "classes", -1, 1e6, "class of each image; one value serves all; -1 is no class"),
    FLOAT(GUIDANCE, RUN, "guidance", -100, 100, 1, "classifier-free guidance scale; 1 is off"),
    INT(CFG_CHANNELS, RUN, "cfg-channels", 0, 4096, 0, "guide the first channels only; 0 guides all"),
    INT(HEIGHT, RUN, "height", 0, 65536, 0, "latent rows; 0: the model's own"),
    INT(WIDTH, RUN, "width", 0, 65536, 0, "latent columns; 0: the model's own"),
    TEXT(ATTENTION, RUN, "attention", dqg_attention_names, "auto",
         "numbers in attention; auto: int8 where it is faster and weights are quantized"),
    INT(MEMORY_LIMIT, RUN, "run-memory-limit", 0, EXACT, 0, "most bytes the run may take; 0 is no limit"),
    TEXT(FLOAT_COMPUTE, RUN, "float-compute", "f32|bf16", "f32", "numbers that matrices kept as floats compute with"),

    TEXT(CACHE, RUN, "cache", dqg_cache_names, "none", "leave parts of evaluations out where they change little"),
    FLOAT(CACHE_THRESHOLD, RUN, "cache-threshold", -1, 1e6, -1,
          "change above which everything is computed; 0: always; -1: the method's own"),
    FLOATS(CACHE_POLYNOMIAL, RUN, "cache-polynomial", -1e9, 1e9,
           "teacache: change of outputs for that of inputs, highest power first; none: the same"),
    INT(CACHE_INTERVAL, RUN, "cache-interval", 1, 10000, 3, "deepcache: every so many steps compute everything"),
    INTS(CACHE_STEPS, RUN, "cache-steps", 0, 10000,
         "deepcache: the steps that compute everything; overrides cache-interval"),
    INT(CACHE_BRANCH, RUN, "cache-branch", 0, 1000, 0, "deepcache: the skip connection below which is cached"),
    INT(CACHE_WARMUP, RUN, "cache-warmup", 0, 10000, 0,
        "steps at the beginning that compute everything; 0: the method's own"),
    INT(ATTENTION_SCALE, RUN, "attention-scale", 0, 1, 0,
        "1 keeps the entropy of self-attention at sizes other than in training"),
    INT(TRAIN_TOKENS, RUN, "train-tokens", 0, 1e9, 0, "image tokens in training; 0: the model's own"),

    INT(BITS, QUANTIZER, "bits", 2, 16, 4, "bits of matrices that no rule names: 2 to 6, 8 or 16"),
    INT(GROUP, QUANTIZER, "group", 32, 128, 32, "inputs that share a group scale: 32, 64 or 128"),
    INT(ZERO_POINT, QUANTIZER, "zero-point", 0, 1, 0, "1 gives each group of 2 to 6 bits a zero point"),
    INT(SEARCH, QUANTIZER, "search", 1, 1000, 32, "clipping thresholds tried for each group; 1: none but the maximum"),
    INT(LEVEL, QUANTIZER, "level", 1, 19, 9, "zstd level of the file"),
    INT(DEFAULT_RULES, QUANTIZER, "default-rules", 0, 1, 1, "1 applies the family's own rules after the caller's"),
    TEXT(FORMAT, QUANTIZER, "format", dqg_format_names, "",
         "storage format of matrices that no rule names; empty: integers as bits and zero-point say"),

    TEXT(METHOD, SEARCH, "method", dqg_search_names, "rbf", "how particles are chosen"),
    INT(BUDGET, SEARCH, "budget", 1, 100000, 500, "network evaluations in all"),
    INT(STEPS, SEARCH, "steps", 2, 10000, 10, "levels from noise to sample"),
    TEXT(INTERPOLANT, SEARCH, "interpolant", dqg_interpolant_names, "vp", "the path that particles follow"),
    TEXT(DIFFUSION, SEARCH, "diffusion", dqg_diffusion_names, "square", "shape of the fresh noise over the path"),
    FLOAT(DIFFUSION_SCALE, SEARCH, "diffusion-scale", 0, 100, 3, "times the shape; 0 follows the ODE"),
    INT(FINISH, SEARCH, "finish", 1, 10000, 1, "ODE steps from the particle found to the sample; 1: its x0 estimate"),
    INT(CHAINS, SEARCH, "chains", 1, 10000, 2, "rbf: independent chains, which share the budget"),
    INT(CANDIDATES, SEARCH, "candidates", 1, 100000, 25, "rbf: starts that a chain chooses from"),
    INT(BLOCK, SEARCH, "block", 1, 10000, 2, "code, sop: levels between two choices"),
    INT(BACK, SEARCH, "back", 1, 10000, 1, "sop: levels of noise added before each rollout"),
    FLOAT(THRESHOLD, SEARCH, "threshold", 0, 1, 1, "smc: effective share of particles at which they are resampled"),
    FLOAT(TEMPERATURE, SEARCH, "reward-temperature", 1e-6, 1e6, 1, "smc: weights are exp(reward / this)"),
};

const int32_t dqg_option_row_count = (int32_t)DQG_COUNT_OF(dqg_option_rows);
