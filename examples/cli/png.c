/* SPDX-License-Identifier: MIT */
/* Pictures as PNG through libpng's simplified interface; the only file that knows libpng. */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static bool enlarge(const struct picture *from, size_t scale, struct picture *to) {
    if (!picture_create(to, from->width * scale, from->height * scale, from->channels)) {
        return false;
    }
    size_t channels = from->channels;
    for (size_t y = 0; y < to->height; y++) {
        const uint8_t *source = from->pixels + y / scale * from->width * channels;
        uint8_t *target = to->pixels + y * to->width * channels;
        for (size_t x = 0; x < to->width; x++) {
            memcpy(target + x * channels, source + x / scale * channels, channels);
        }
    }
    return true;
}

static const char *write_pixels(const char *path, const struct picture *picture, char message[128]) {
    static const png_uint_32 formats[] = {0, PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
    png_image image = {0};
    image.version = PNG_IMAGE_VERSION;
    image.width = (png_uint_32)picture->width;
    image.height = (png_uint_32)picture->height;
    image.format = formats[picture->channels];
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        snprintf(message, 128, "%s", strerror(errno));
        return message;
    }
    bool good = png_image_write_to_stdio(&image, file, 0, picture->pixels, 0, NULL) != 0;
    if (!good) {
        snprintf(message, 128, "%s", image.message);
        png_image_free(&image);
    }
    if (fclose(file) != 0 && good) {
        snprintf(message, 128, "%s", strerror(errno));
        good = false;
    }
    if (!good) {
        remove(path);
    }
    return good ? NULL : message;
}

const char *png_write(const char *path, const struct picture *picture, size_t scale, char message[128]) {
    if (scale == 1) {
        return write_pixels(path, picture, message);
    }
    struct picture large;
    if (!enlarge(picture, scale, &large)) {
        return "the enlarged picture is too large";
    }
    const char *error = write_pixels(path, &large, message);
    picture_free(&large);
    return error;
}

const char *png_read(const char *path, struct picture *picture, char message[128]) {
    png_image image = {0};
    png_color black = {0, 0, 0};
    image.version = PNG_IMAGE_VERSION;
    *picture = (struct picture){0};
    bool good = png_image_begin_read_from_file(&image, path) != 0;
    image.format = PNG_FORMAT_RGB;
    if (good && !picture_create(picture, image.width, image.height, 3)) {
        png_image_free(&image);
        return "it is too large";
    }
    if (!good || !png_image_finish_read(&image, &black, picture->pixels, 0, NULL)) {
        snprintf(message, 128, "%s", image.message);
        png_image_free(&image);
        picture_free(picture);
        return message;
    }
    return NULL;
}
