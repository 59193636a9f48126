/* SPDX-License-Identifier: MIT */
/* From latents to pixels for dqgen generate: the finished picture, in tiles where memory asks for it, and previews. */
#define _DEFAULT_SOURCE /* _SC_PHYS_PAGES */
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"

/* A decoder that would take more than this, and more than a third of the machine's memory, works in tiles of so many
 * latent pixels: that takes several times as long. */
static const uint64_t least_whole = 1500u * 1000u * 1000u;
enum { TILE = 64 };

static uint64_t most_whole(void) {
    long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
    uint64_t third = pages > 0 && bytes > 0 ? (uint64_t)pages * (uint64_t)bytes / 3 : 0;
    return third > least_whole ? third : least_whole;
}

int picture_decode(struct cli *cli, dqg_model *model, const dqg_tensor_view *latent, int64_t tile,
                   const dqg_image_view *image) {
    size_t pixels = (size_t)image->height * (size_t)image->width;
    float *planes = malloc(3 * pixels * sizeof(*planes));
    dqg_picture_spec spec;
    dqg_memory_info memory;
    dqg_tensor_view to = *latent;
    if (planes == NULL) {
        return cli_error(cli, EXIT_FAILED, "there is not enough memory");
    }
    DQG_INIT(&spec);
    DQG_INIT(&memory);
    to.data = planes;
    to.shape[1] = 3;
    to.shape[2] = image->height;
    to.shape[3] = image->width;
    dqg_status status = DQG_OK;
    if (tile < 0) {
        status = dqg_model_decode(cli->context, model, latent, NULL, NULL, &memory);
        tile = memory.run_bytes > most_whole() ? TILE : 0;
    }
    spec.tile = (int32_t)tile;
    if (status >= 0) {
        status = dqg_model_decode(cli->context, model, latent, &spec, &to, NULL);
    }
    for (size_t i = 0; i < 3 * pixels && status >= 0; i++) {
        size_t row = i / 3 / (size_t)image->width, column = i / 3 % (size_t)image->width;
        uint8_t *at = (uint8_t *)image->data + (int64_t)row * image->row_stride;
        at[3 * column + i % 3] = (uint8_t)(planes[i % 3 * pixels + i / 3] * 255.0f + 0.5f);
    }
    free(planes);
    return status < 0 ? cli_library_error(cli, status, "decode the picture") : EXIT_OK;
}

int picture_preview(struct cli *cli, dqg_run *run, const char *path, int32_t width, int32_t height, size_t channels) {
    struct picture picture = {0};
    dqg_image_view image;
    char message[128];
    if (!picture_create(&picture, (size_t)width, (size_t)height, channels)) {
        return cli_error(cli, EXIT_FAILED, "there is not enough memory");
    }
    DQG_INIT(&image);
    image.data = picture.pixels;
    image.width = width;
    image.height = height;
    image.channels = (int32_t)channels;
    image.dtype = DQG_DTYPE_U8;
    dqg_status status = dqg_run_read_image(run, 0, DQG_SOURCE_X0, &image);
    const char *error = status < 0 ? NULL : png_write(path, &picture, 1, message);
    picture_free(&picture);
    if (status < 0) {
        return cli_library_error(cli, status, "make a preview");
    }
    return error == NULL ? EXIT_OK : cli_error(cli, EXIT_FAILED, "cannot write '%s': %s", path, error);
}
