/* SPDX-License-Identifier: MIT */
/*
 * Which points a plan visits: beta schedules, spacings, shift and the host's own lists, against tables of published
 * values, and the coordinates that each solver is given them in.
 */
#include "sched_check.h"

enum { MOST = 64 };

static struct dqg_sched sched;

static void make(const struct dqg_sched_config *config) {
    dqg_sched_free(&context.alloc, &sched);
    sched = sched_make(config);
}

static int teardown(void **state) {
    (void)state;
    dqg_sched_free(&context.alloc, &sched);
    return 0;
}

/* The value agrees with a table that gives it to six digits after the point. */
static void assert_table(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-6 * fabs(expected) + 5.1e-7)) {
        fail_msg("%.9g where the table says %.9g", value, expected);
    }
}

static void assert_relative(double value, double expected, double limit) {
    if (!(fabs(value - expected) <= limit * fabs(expected))) {
        fail_msg("%.12g where %.12g is expected", value, expected);
    }
}

/* acp[t] at seven timesteps, nine digits. */
static void test_betas(void **state) {
    (void)state;
    static const double timesteps[] = {999, 998, 749, 499, 249, 1, 0};
    static const struct {
        const char *schedule;
        double acp[7];
    } rows[] = {
        {"linear", {4.03582977e-5, 4.11819364e-5, 0.00335055044, 0.0785872429, 0.524085374, 0.999780092, 0.9999}},
        {"scaled-linear", {0.00466009851, 0.0047166989, 0.0566234916, 0.27766965, 0.675432414, 0.998296028, 0.99915}},
        {"cosine", {2.42876691e-9, 2.42876691e-6, 0.144272102, 0.49384359, 0.847012161, 0.999912576, 0.999958716}},
        {"sigmoid", {3.96818199e-5, 4.048962e-5, 0.00573219889, 0.301931057, 0.903744665, 0.999701019, 0.999850795}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = rows[i].schedule;
        config.timesteps = timesteps;
        config.timestep_count = 7;
        make(&config);
        for (int j = 0; j < 7; j++) {
            double sigma = sched.points[j].sigma;
            assert_relative(1 / (1 + sigma * sigma), rows[i].acp[j], 3e-9);
        }
    }
    /* The table of noise levels of latent diffusion. */
    struct dqg_sched_config config = analytic_config();
    config.schedule = "scaled-linear";
    config.timesteps = timesteps;
    config.timestep_count = 7;
    make(&config);
    assert_relative(sched.points[0].sigma, 14.6146412293, 1e-11);
    assert_relative(sched.points[6].sigma, 0.0291671582, 2e-9);
    config.beta_start = 1e-4; /* the caller's own betas */
    config.beta_end = 0.02;
    config.schedule = "linear";
    make(&config);
    uint64_t own = sched.identity;
    config.beta_start = config.beta_end = 0;
    make(&config);
    assert_int_equal(own, sched.identity);
}

struct list {
    int32_t steps;
    double first[3], middle[2], last[3]; /* middle: before and after the half. Four steps: first[0..2] and last[2] */
};

/* what: 0 sigma, 1 timestep */
static void check_list(const struct list *list, int what) {
    double values[MOST];
    for (int32_t i = 0; i < sched.steps; i++) {
        values[i] = what == 0 ? sched.points[i].sigma : sched.points[i].timestep;
    }
    int32_t n = list->steps;
    assert_int_equal(sched.steps, n);
    for (int i = 0; i < 3; i++) {
        assert_table(values[i], list->first[i]);
        if (n > 4) {
            assert_table(values[n - 3 + i], list->last[i]);
        }
    }
    if (n > 4) {
        assert_table(values[n / 2 - 1], list->middle[0]);
        assert_table(values[n / 2], list->middle[1]);
    } else {
        assert_table(values[3], list->last[2]);
    }
    const struct dqg_sched_point *end = &sched.points[n];
    assert_true(end->sigma == 0 && end->alpha == 1 && end->input_scale == 1 && end->timestep == 0);
}

static void test_spacings(void **state) {
    (void)state;
    static const struct {
        const char *spacing;
        int what;
        struct list lists[3];
    } rows[] = {
        {"leading",
         1,
         {{4, {751, 501, 251}, {0}, {0, 0, 1}},
          {20, {951, 901, 851}, {501, 451}, {101, 51, 1}},
          {50, {981, 961, 941}, {501, 481}, {41, 21, 1}}}},
        {"leading",
         0,
         {{4, {4.116696, 1.623692, 0.698398}, {0}, {0, 0, 0.041314}},
          {20, {11.028331, 8.390685, 6.506398}, {1.623692, 1.376179}, {0.346187, 0.228147, 0.041314}},
          {50, {13.120411, 11.676046, 10.425041}, {1.623692, 1.519217}, {0.201793, 0.141463, 0.041314}}}},
        {"trailing",
         1,
         {{4, {999, 749, 499}, {0}, {0, 0, 249}},
          {20, {999, 949, 899}, {549, 499}, {149, 99, 49}},
          {50, {999, 979, 959}, {519, 499}, {59, 39, 19}}}},
        {"trailing",
         0,
         {{4, {14.614641, 4.081729, 1.612886}, {0}, {0, 0, 0.693205}},
          {20, {14.614641, 10.904235, 8.302803}, {1.910251, 1.612886}, {0.453819, 0.341674, 0.223003}},
          {50, {14.614641, 12.966321, 11.542771}, {1.724794, 1.612886}, {0.248220, 0.196303, 0.134451}}}},
        {"linspace",
         0,
         {{4, {14.614641, 2.918307, 0.932358}, {0}, {0, 0, 0.029167}},
          {20, {14.614641, 10.746844, 8.081534}, {1.764824, 1.480582}, {0.355546, 0.232168, 0.029167}},
          {50, {14.614641, 12.936773, 11.491646}, {1.671643, 1.561659}, {0.201179, 0.139337, 0.029167}}}},
        {"normal",
         0,
         {{4, {14.614641, 2.918307, 0.932358}, {0}, {0, 0, 0.029167}},
          {20, {14.614641, 10.746802, 8.081519}, {1.764823, 1.480581}, {0.355545, 0.232164, 0.029167}},
          {50, {14.614641, 12.936720, 11.491613}, {1.671641, 1.561657}, {0.201176, 0.139327, 0.029167}}}},
        {"karras",
         0,
         {{4, {14.614641, 3.168603, 0.446918}, {0}, {0, 0, 0.029167}},
          {20, {14.614641, 11.725365, 9.340203}, {1.483211, 1.090786}, {0.077860, 0.048481, 0.029167}},
          {50, {14.614641, 13.429235, 12.327216}, {1.351965, 1.200111}, {0.043392, 0.035676, 0.029167}}}},
        {"exponential",
         0,
         {{4, {14.614641, 1.840024, 0.231664}, {0}, {0, 0, 0.029167}},
          {20, {14.614641, 10.536308, 7.596067}, {0.768937, 0.554359}, {0.056117, 0.040457, 0.029167}},
          {50, {14.614641, 12.873252, 11.339356}, {0.695650, 0.612761}, {0.037592, 0.033113, 0.029167}}}},
        {"kl-optimal",
         0,
         {{4, {14.614641, 1.597066, 0.572914}, {0}, {0, 0, 0.029167}},
          {20, {14.614641, 6.807145, 4.401473}, {1.039140, 0.889614}, {0.186359, 0.107109, 0.029167}},
          {50, {14.614641, 10.131253, 7.742051}, {0.990950, 0.933063}, {0.089532, 0.059296, 0.029167}}}},
        {"sgm-uniform",
         0,
         {{4, {14.614641, 4.086081, 1.615580}, {0}, {0, 0, 0.695150}},
          {20, {14.614641, 10.907318, 8.307172}, {1.913210, 1.615580}, {0.455736, 0.343705, 0.225452}},
          {50, {14.614641, 12.967852, 11.545419}, {1.727589, 1.615580}, {0.250532, 0.198948, 0.137919}}}},
        {"beta",
         0,
         {{4, {14.614641, 5.686591, 1.618279}, {0}, {0, 0, 0.515391}},
          {20, {14.614641, 13.515696, 11.542771}, {2.047312, 1.618279}, {0.291284, 0.199059, 0.111419}},
          {50, {14.614641, 14.351515, 13.842598}, {1.772074, 1.618279}, {0.127145, 0.093568, 0.058614}}}},
        {"simple",
         0,
         {{4, {14.614641, 4.081729, 1.612886}, {0}, {0, 0, 0.693205}},
          {20, {14.614641, 10.904235, 8.302803}, {1.910251, 1.612886}, {0.453819, 0.341674, 0.223003}},
          {50, {14.614641, 12.966321, 11.542771}, {1.724794, 1.612886}, {0.248220, 0.196303, 0.134451}}}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        for (int j = 0; j < 3; j++) {
            struct dqg_sched_config config = analytic_config();
            config.schedule = "scaled-linear";
            config.spacing = rows[i].spacing;
            config.steps_offset = strcmp(rows[i].spacing, "leading") == 0;
            config.steps = rows[i].lists[j].steps;
            make(&config);
            check_list(&rows[i].lists[j], rows[i].what);
        }
    }
}

static void test_flow(void **state) {
    (void)state;
    static const struct {
        double shift;
        struct list lists[3];
    } rows[] = {
        {1,
         {{4, {1, 0.75, 0.5}, {0}, {0, 0, 0.25}},
          {20, {1, 0.95, 0.9}, {0.55, 0.5}, {0.15, 0.1, 0.05}},
          {50, {1, 0.98, 0.96}, {0.52, 0.5}, {0.06, 0.04, 0.02}}}},
        {3,
         {{4, {1, 0.9, 0.75}, {0}, {0, 0, 0.5}},
          {20, {1, 0.982759, 0.964286}, {0.785714, 0.75}, {0.346154, 0.25, 0.136364}},
          {50, {1, 0.993243, 0.986301}, {0.764706, 0.75}, {0.160714, 0.111111, 0.057692}}}},
        {3.158192909689767, /* exp(1.15) */
         {{4, {1, 0.904531, 0.759511}, {0}, {0, 0, 0.512844}},
          {20, {1, 0.983608, 0.966014}, {0.794239, 0.759511}, {0.357875, 0.259758, 0.142529}},
          {50, {1, 0.993580, 0.986979}, {0.773826, 0.759511}, {0.167767, 0.116289, 0.060550}}}},
        {1.877610579264343, /* exp(0.63) */
         {{4, {1, 0.849235, 0.652489}, {0}, {0, 0, 0.384945}},
          {20, {1, 0.972733, 0.944129}, {0.696497, 0.652489}, {0.248879, 0.172612, 0.089934}},
          {50, {1, 0.989248, 0.978290}, {0.670411, 0.652489}, {0.107021, 0.072557, 0.036904}}}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        for (int j = 0; j < 3; j++) {
            struct dqg_sched_config config = analytic_config();
            config.shift = rows[i].shift;
            config.steps = rows[i].lists[j].steps;
            make(&config);
            check_list(&rows[i].lists[j], 0);
            for (int32_t k = 0; k <= sched.steps; k++) {
                assert_true(sched.points[k].timestep == 1000 * sched.points[k].sigma);
                assert_true(sched.points[k].alpha == 1 - sched.points[k].sigma);
                assert_true(sched.points[k].input_scale == 1);
            }
            assert_true(sched.initial_scale == 1);
        }
    }
}

/* Spacings of flows that are not evenly spaced. */
static void test_flow_spacings(void **state) {
    (void)state;
    static const struct {
        const char *spacing;
        double shift;
        struct list lists[3];
    } rows[] = {
        {"sd3",
         3,
         {{4, {1, 0.857692, 0.602151}, {0}, {0, 0, 0.008929}},
          {20, {1, 0.981875, 0.962386}, {0.770239, 0.730974}, {0.266330, 0.149787, 0.008929}},
          {50, {1, 0.993124, 0.986057}, {0.758652, 0.743436}, {0.120533, 0.066900, 0.008929}}}},
        {"linear-quadratic",
         1,
         {{4, {1, 0.9875, 0.975}, {0}, {0, 0, 0.725}},
          {20, {1, 0.9975, 0.995}, {0.9775, 0.975}, {0.492, 0.347, 0.183}},
          {50, {1, 0.999, 0.998}, {0.976, 0.975}, {0.217320, 0.147920, 0.075480}}}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows) * 3; i++) {
        struct dqg_sched_config config = analytic_config();
        config.spacing = rows[i / 3].spacing;
        config.shift = rows[i / 3].shift;
        config.steps = rows[i / 3].lists[i % 3].steps;
        make(&config);
        check_list(&rows[i / 3].lists[i % 3], 0);
    }
    /* Spacings of discrete timesteps see T of them; noise levels lie between 1 and the shifted 1/T. */
    struct dqg_sched_config config = analytic_config();
    config.shift = 3;
    config.steps = 4;
    config.spacing = "simple";
    make(&config);
    assert_relative(sched.points[1].sigma, 0.9, 1e-14);
    config.spacing = "karras";
    make(&config);
    assert_true(sched.points[0].sigma == 1);
    assert_relative(sched.points[3].sigma, 3 * 0.001 / (1 + 2 * 0.001), 1e-13);
}

/* Levels found by optimisation, and what lies between them; ten steps are the published ones. */
static void test_align_your_steps(void **state) {
    (void)state;
    static const struct {
        const char *spacing;
        double four[5], twenty[8];
    } rows[] = {
        {"ays", {14.615, 3.226936, 1.396, 0.510047, 0}, {14.615, 9.727904, 6.475, 1.622608, 1.396, 0.152, 0.066393, 0}},
        {"ays-sdxl",
         {14.615, 2.867848, 0.862, 0.298195, 0},
         {14.615, 9.606962, 6.315, 1.075548, 0.862, 0.113, 0.057245, 0}},
    };
    static const int32_t places[] = {0, 1, 2, 9, 10, 18, 19, 20};
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = "scaled-linear";
        config.spacing = rows[i].spacing;
        config.steps = 4;
        make(&config);
        for (int j = 0; j < 5; j++) {
            assert_table(sched.points[j].sigma, rows[i].four[j]);
        }
        config.steps = 20;
        make(&config);
        for (int j = 0; j < 8; j++) {
            assert_table(sched.points[places[j]].sigma, rows[i].twenty[j]);
        }
    }
}

static void test_timestep_lists(void **state) {
    (void)state;
    static const struct {
        const char *spacing;
        int32_t steps;
        double timesteps[8];
    } rows[] = {
        {"lcm", 1, {999}},
        {"lcm", 2, {999, 499}},
        {"lcm", 4, {999, 759, 499, 259}},
        {"lcm", 8, {999, 879, 759, 639, 499, 379, 259, 139}},
        {"simple", 3, {999, 666, 333}},
        {"ddim-uniform", 4, {751, 501, 251, 1}},
        {"ddim-uniform", 3, {667, 334, 1}},
    };
    for (size_t i = 0; i < DQG_COUNT_OF(rows); i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = "scaled-linear";
        config.spacing = rows[i].spacing;
        config.steps = rows[i].steps;
        make(&config);
        for (int32_t j = 0; j < rows[i].steps; j++) {
            assert_true(sched.points[j].timestep == rows[i].timesteps[j]);
        }
    }
}

/* Where the quantiles of Beta are known in closed form: a power, an arcsine law, both ends of a symmetric one. */
static void test_beta_quantile(void **state) {
    (void)state;
    for (int i = 1; i < 20; i++) {
        double p = i / 20.0;
        double sine = sin(p * 1.57079632679489661923);
        assert_relative(dqg_beta_quantile(p, 1, 1), p, 1e-12);
        assert_relative(dqg_beta_quantile(p, 3, 1), pow(p, 1 / 3.0), 1e-12);
        assert_relative(dqg_beta_quantile(p, 1, 3), 1 - pow(1 - p, 1 / 3.0), 1e-12);
        assert_relative(dqg_beta_quantile(p, 0.5, 0.5), sine * sine, 1e-12);
        assert_relative(dqg_beta_quantile(p, 0.6, 0.6), 1 - dqg_beta_quantile(1 - p, 0.6, 0.6), 1e-12);
    }
}

/* Without signal at the end: acp from the table, the last one held at 2^-24; epsilon has no meaning there. */
static void test_zero_snr(void **state) {
    (void)state;
    static const double timesteps[] = {999, 998, 749, 499, 249, 1, 0};
    static const double acp[] = {0x1p-24, 1.9678881e-7, 0.033171483, 0.24235917, 0.65418901, 0.99823345, 0.99915};
    struct dqg_sched_config config = analytic_config();
    config.schedule = "scaled-linear";
    config.prediction = "v";
    config.zero_snr = true;
    config.timesteps = timesteps;
    config.timestep_count = 7;
    make(&config);
    for (int i = 0; i < 7; i++) {
        double sigma = sched.points[i].sigma;
        assert_relative(1 / (1 + sigma * sigma), acp[i], 3e-8);
    }
    struct dqg_sched refused;
    config.prediction = "epsilon";
    assert_int_equal(dqg_sched_init(&context, &config, &refused), DQG_ERROR_UNSUPPORTED);
    assert_non_null(strstr(context.error, "zero_snr"));
}

/* shift(s), then shift(1/s), is no shift; one step; the ends of the range. */
static void test_shift(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.steps = 30;
    config.shift = 7;
    make(&config);
    for (int32_t i = 0; i < 30; i++) {
        double t = sched.points[i].sigma;
        assert_relative(t / 7 / (1 + (1.0 / 7 - 1) * t), (30 - i) / 30.0, 1e-14);
    }
    static const double extremes[] = {1e-6, 0.01, 100, 1e6};
    for (size_t i = 0; i < DQG_COUNT_OF(extremes); i++) {
        config.shift = extremes[i];
        config.steps = 1000;
        make(&config);
        assert_true(sched.points[0].sigma == 1 && sched.points[1000].sigma == 0);
        config.steps = 1;
        make(&config);
        assert_true(sched.steps == 1 && sched.points[0].sigma == 1 && sched.points[1].sigma == 0);
    }
}

static void test_sigma_to_timestep(void **state) {
    (void)state;
    static const double sigmas[] = {400,      14.614641229333, 9.102928, 5.478392, 3.168603,
                                    0.446918, 0.0291671582,    0.01,     0};
    static const double timesteps[] = {999, 999, 916.2839, 815.0447, 687.1527, 145.9381, 0, 0, 0};
    struct dqg_sched_config config = analytic_config();
    config.schedule = "scaled-linear";
    config.sigmas = sigmas;
    config.sigma_count = DQG_COUNT_OF(sigmas);
    config.steps = 77; /* the list says how many */
    make(&config);
    assert_int_equal(sched.steps, 8);
    for (int32_t i = 0; i <= 8; i++) {
        /* the table gives six digits of sigma, a little less than four of these */
        assert_true(fabs(sched.points[i].timestep - timesteps[i]) < 3e-4);
        assert_true(sched.points[i].sigma == sigmas[i]);
    }
    /* and back: every training timestep is found again */
    config.sigmas = NULL;
    config.sigma_count = 0;
    config.spacing = "trailing";
    config.steps = 1000;
    make(&config);
    double table[1001];
    for (int32_t i = 0; i <= 1000; i++) {
        table[i] = sched.points[i].sigma;
    }
    config.sigmas = table;
    config.sigma_count = 1001;
    make(&config);
    for (int32_t i = 0; i < 1000; i++) {
        assert_true(fabs(sched.points[i].timestep - (999 - i)) < 1e-9);
    }
}

/* Fractional timesteps: linear in sigma between neighbours. */
static void test_fractional_timesteps(void **state) {
    (void)state;
    static const double timesteps[] = {500, 499.25, 499, 0.5, 0};
    struct dqg_sched_config config = analytic_config();
    config.schedule = "linear";
    config.timesteps = timesteps;
    config.timestep_count = 5;
    make(&config);
    assert_int_equal(sched.steps, 5);
    const struct dqg_sched_point *p = sched.points;
    assert_relative(p[1].sigma, 0.75 * p[2].sigma + 0.25 * p[0].sigma, 1e-14);
    assert_true(p[1].timestep == 499.25);
    assert_true(p[3].sigma > p[4].sigma);
}

static void test_coordinates(void **state) {
    (void)state;
    static const char *const schedules[] = {"linear", "scaled-linear", "cosine", "sigmoid"};
    static const char *const spacings[] = {"linspace", "leading", "trailing"};
    for (size_t i = 0; i < DQG_COUNT_OF(schedules) * DQG_COUNT_OF(spacings); i++) {
        struct dqg_sched_config config = analytic_config();
        config.schedule = schedules[i % 4];
        config.spacing = spacings[i / 4];
        config.steps_offset = 1;
        config.steps = 7;
        config.solver = "heun";
        make(&config);
        struct dqg_sched_point k[8];
        memcpy(k, sched.points, sizeof(k));
        assert_relative(sched.initial_scale, i / 4 == 1 ? hypot(1, k[0].sigma) : k[0].sigma, 1e-15);
        config.solver = "ddim";
        make(&config);
        assert_relative(sched.initial_scale, 1, 1e-15);
        for (int32_t j = 0; j < 7; j++) {
            const struct dqg_sched_point *p = &sched.points[j];
            assert_relative(p->alpha * p->alpha + p->sigma * p->sigma, 1, 1e-14);
            assert_relative(p->sigma / p->alpha, k[j].sigma, 1e-13);
            assert_true(p->timestep == k[j].timestep && p->input_scale == 1 && k[j].alpha == 1);
            assert_relative(k[j].input_scale, p->alpha, 1e-14);
        }
    }
}

/*
 * Where DDIM ends: at training timestep 0 as published pipelines do, unless that was the last one visited, as then the
 * step would stand still; on a list of sigmas where the list says.
 */
static void test_ddim_end(void **state) {
    (void)state;
    static const double to_one[] = {901, 401, 1};
    static const double to_zero[] = {901, 401, 0};
    static const double sigmas[] = {10, 1, 0};
    struct dqg_sched_config config = analytic_config();
    config.solver = "ddim";
    config.schedule = "scaled-linear";
    config.timesteps = to_one;
    config.timestep_count = 3;
    make(&config);
    assert_relative(sched.points[3].alpha, sqrt(0.99915), 1e-12);
    assert_relative(sched.points[3].sigma, sqrt(1 - 0.99915), 1e-12);
    assert_true(sched.points[3].timestep == 0);
    config.timesteps = to_zero;
    make(&config);
    assert_true(sched.points[3].alpha == 1 && sched.points[3].sigma == 0);
    config.timestep_count = 0;
    config.sigmas = sigmas;
    config.sigma_count = 3;
    make(&config);
    assert_relative(sched.points[1].alpha, sqrt(0.5), 1e-15);
    assert_true(sched.points[2].alpha == 1 && sched.points[2].sigma == 0);
}

/* Steps that do not divide T: halves round to even, as NumPy's round does in published pipelines. */
static void test_trailing_rounding(void **state) {
    (void)state;
    static const double three[] = {999, 666, 332};
    static const double sixteen[] = {999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61};
    struct dqg_sched_config config = analytic_config();
    config.schedule = "linear";
    config.spacing = "trailing";
    config.steps = 3;
    make(&config);
    for (int32_t i = 0; i < 3; i++) {
        assert_true(sched.points[i].timestep == three[i]);
    }
    config.steps = 16;
    make(&config);
    for (int32_t i = 0; i < 16; i++) {
        assert_true(sched.points[i].timestep == sixteen[i]);
    }
}

/* What belongs to the spacing has no part in lists of the host, and the flow's timestep is scaled as asked. */
static void test_lists_stand_alone(void **state) {
    (void)state;
    static const double sigmas[] = {0.75, 0.5, 0};
    struct dqg_sched_config config = analytic_config();
    config.sigmas = sigmas;
    config.sigma_count = 3;
    config.shift = 3;
    config.timestep_scale = 1;
    make(&config);
    for (int32_t i = 0; i < 3; i++) {
        assert_true(sched.points[i].sigma == sigmas[i] && sched.points[i].timestep == sigmas[i]);
    }
    assert_true(sched.initial_scale == 0.75);
    config.schedule = "linear";
    config.spacing = "leading";
    make(&config);
    assert_true(sched.initial_scale == 0.75);
}

/* One step, and as many as there are training timesteps. */
static void test_step_counts(void **state) {
    (void)state;
    struct dqg_sched_config config = analytic_config();
    config.schedule = "linear";
    config.steps = 1;
    make(&config);
    assert_true(sched.points[0].timestep == 999);
    config.spacing = "trailing";
    make(&config);
    assert_true(sched.points[0].timestep == 999);
    config.spacing = "leading";
    config.steps_offset = 5;
    make(&config);
    assert_true(sched.points[0].timestep == 5);
    static const char *const spacings[] = {"linspace", "leading", "trailing", "simple", "beta"};
    for (size_t i = 0; i < DQG_COUNT_OF(spacings); i++) {
        config.spacing = spacings[i];
        config.steps_offset = 0;
        for (config.train_timesteps = 1; config.train_timesteps <= 60; config.train_timesteps++) {
            for (config.steps = 1; config.steps <= config.train_timesteps; config.steps++) {
                make(&config); /* strictly decreasing, within range: checked there */
            }
        }
        config.train_timesteps = config.steps = 1000;
        make(&config);
        for (int32_t j = 0; j < 1000; j++) {
            assert_true(sched.points[j].timestep == 999 - j);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_betas),
        cmocka_unit_test(test_spacings),
        cmocka_unit_test(test_flow),
        cmocka_unit_test(test_flow_spacings),
        cmocka_unit_test(test_align_your_steps),
        cmocka_unit_test(test_timestep_lists),
        cmocka_unit_test(test_beta_quantile),
        cmocka_unit_test(test_zero_snr),
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_sigma_to_timestep),
        cmocka_unit_test(test_fractional_timesteps),
        cmocka_unit_test(test_coordinates),
        cmocka_unit_test(test_ddim_end),
        cmocka_unit_test(test_trailing_rounding),
        cmocka_unit_test(test_lists_stand_alone),
        cmocka_unit_test(test_step_counts),
    };
    return cmocka_run_group_tests(tests, sched_setup, teardown);
}
