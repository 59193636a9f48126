/* SPDX-License-Identifier: MIT */
/* --controlnet and --control: a picture that what is drawn follows. Used by generate. */
#include <math.h>
#include <stdlib.h>

#include "cli.h"

enum { CHANNELS = 3, TIMES = 8 /* sides of the picture to those of a latent without an autoencoder */ };

/* Floats 0..1, one channel after the other. */
static int read_picture(struct cli *cli, struct control *control) {
    struct picture picture;
    char message[128];
    const char *error = png_read(control->path, &picture, message);
    if (error != NULL) {
        return cli_error(cli, EXIT_FAILED, "cannot read '%s': %s", control->path, error);
    }
    size_t pixels = picture.width * picture.height;
    control->planes = malloc(CHANNELS * pixels * sizeof *control->planes);
    for (size_t i = 0; control->planes != NULL && i < CHANNELS * pixels; i++) {
        control->planes[i % CHANNELS * pixels + i / CHANNELS] = (float)picture.pixels[i] / 255.0f;
    }
    control->width = (int64_t)picture.width;
    control->height = (int64_t)picture.height;
    picture_free(&picture);
    return control->planes != NULL ? EXIT_OK : cli_error(cli, EXIT_FAILED, "there is not enough memory");
}

int control_open(struct cli *cli, struct control *control) {
    char *end = NULL;
    control->scale = 1;
    if (control->path == NULL) {
        return control->network == NULL && control->scale_text == NULL
                   ? EXIT_OK
                   : cli_error(cli, EXIT_USAGE, "which picture should be followed? Give '--control PICTURE.png', too");
    }
    if (control->scale_text != NULL) {
        control->scale = strtod(control->scale_text, &end);
        if (end == control->scale_text || *end != '\0' || !isfinite(control->scale)) {
            return cli_error(cli, EXIT_USAGE, "--control-scale takes a number, not '%s'", control->scale_text);
        }
    }
    return read_picture(cli, control);
}

static int attach(struct cli *cli, const struct control *control, dqg_model **model) {
    int code;
    dqg_model *joined, *network = cli_load(cli, control->network, &code);
    if (network == NULL) {
        return code;
    }
    dqg_status status = dqg_model_attach_control(cli->context, *model, network, &joined);
    dqg_model_release(network);
    if (status < 0) {
        cli_library_error(cli, status, "use the control network '%s'", control->network);
        return EXIT_FAILED;
    }
    dqg_model_release(*model);
    *model = joined;
    return EXIT_OK;
}

int control_attach(struct cli *cli, const struct control *control, dqg_model **model) {
    dqg_model_info info;
    int code = control->network != NULL ? attach(cli, control, model) : EXIT_OK;
    DQG_INIT(&info);
    dqg_model_get_info(*model, &info);
    if (code == EXIT_OK && control->path != NULL && (info.flags & DQG_MODEL_CONTROLLED) == 0) {
        code = cli_error(cli, EXIT_FAILED,
                         "the model has no control network that would follow a picture; give one with "
                         "'--controlnet FILE'");
    }
    return code;
}

int64_t control_times(const struct sampling *sampling) {
    return sampling->info.reduction > 1 ? sampling->info.reduction : TIMES;
}

int control_resolve_size(struct cli *cli, const struct control *control, const struct args *args,
                         const struct sampling *sampling, bool size_given) {
    int64_t times = control_times(sampling);
    int32_t height, width;
    if (control->path == NULL) {
        return EXIT_OK;
    }
    if (!size_given && !args_given(args, DQG_RUN_HEIGHT) && !args_given(args, DQG_RUN_WIDTH)) {
        if (control->width % times != 0 || control->height % times != 0) {
            return cli_error(cli, EXIT_FAILED, "'%s' has %lldx%lld pixels; sides must be multiples of %lld",
                             control->path, (long long)control->width, (long long)control->height, (long long)times);
        }
        dqg_options_set_int(sampling->run_options, DQG_RUN_HEIGHT, control->height / times);
        dqg_options_set_int(sampling->run_options, DQG_RUN_WIDTH, control->width / times);
    }
    sampling_size(sampling, &height, &width);
    if (control->height != height * times || control->width != width * times) {
        return cli_error(cli, EXIT_FAILED,
                         "'%s' has %lldx%lld pixels, but what is drawn has %lldx%lld; cut or resize it, or leave the "
                         "size out",
                         control->path, (long long)control->width, (long long)control->height,
                         (long long)(width * times), (long long)(height * times));
    }
    return EXIT_OK;
}

int control_give(struct cli *cli, const struct control *control, const struct sampling *sampling, dqg_run *run) {
    int32_t conditions = sampling->condition_count > 0 ? sampling->condition_count : 1;
    dqg_status status = DQG_OK;
    dqg_tensor_view view;
    dqg_inputs inputs;
    if (control->path == NULL || control->scale == 0) {
        return EXIT_OK;
    }
    DQG_INIT(&view);
    view.data = control->planes;
    view.dtype = DQG_DTYPE_F32;
    view.rank = 4;
    view.shape[0] = 1;
    view.shape[1] = CHANNELS;
    view.shape[2] = control->height;
    view.shape[3] = control->width;
    DQG_INIT(&inputs);
    inputs.control = &view;
    inputs.control_scale = control->scale;
    for (int32_t i = 0; i < conditions && status >= 0; i++) {
        status = dqg_run_set_inputs(run, -1, i, &inputs);
    }
    if (status >= 0) {
        status = dqg_run_set_inputs(run, -1, DQG_UNCONDITIONAL, &inputs);
        status = status == DQG_ERROR_STATE ? DQG_OK : status; /* without guidance there is none */
    }
    return status < 0 ? cli_library_error(cli, status, "follow '%s'", control->path) : EXIT_OK;
}

void control_free(struct control *control) {
    free(control->planes);
}
