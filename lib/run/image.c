/* SPDX-License-Identifier: MIT */
/* From a pixel-space sample, planes of -1..1, to an interleaved image of the host's kind. */
#include <math.h>

#include "run/run.h"

struct pixel {
    float colour[3]; /* straight */
    float alpha;
};

static float unit(float value) {
    float scaled = value * 0.5f + 0.5f;
    return scaled > 0.0f ? (scaled < 1.0f ? scaled : 1.0f) : 0.0f; /* NaN becomes 0 */
}

static struct pixel read_pixel(const float *source, size_t plane, size_t at, size_t channels, bool premultiplied) {
    struct pixel pixel = {.alpha = 1.0f};
    bool has_alpha = channels == 2 || channels == 4;
    size_t colours = channels - (has_alpha ? 1 : 0);
    for (size_t c = 0; c < 3; c++) {
        pixel.colour[c] = unit(source[(colours == 3 ? c : 0) * plane + at]);
    }
    if (has_alpha) {
        pixel.alpha = unit(source[colours * plane + at]);
    }
    for (size_t c = 0; premultiplied && c < 3; c++) {
        float straight = pixel.alpha > 0.0f ? pixel.colour[c] / pixel.alpha : 0.0f;
        pixel.colour[c] = straight < 1.0f ? straight : 1.0f;
    }
    return pixel;
}

static void store(char *at, int32_t dtype, float value) {
    if (dtype == DQG_DTYPE_U8) {
        *(uint8_t *)at = (uint8_t)(value * 255.0f + 0.5f);
    } else if (dtype == DQG_DTYPE_U16) {
        uint16_t wide = (uint16_t)(value * 65535.0f + 0.5f);
        memcpy(at, &wide, sizeof wide);
    } else {
        memcpy(at, &value, sizeof value);
    }
}

static void write_pixel(char *at, const struct pixel *pixel, const dqg_image_view *image) {
    size_t element = dqg_dtype_size(image->dtype);
    bool keeps_alpha = image->channels == 2 || image->channels == 4;
    /* Without an alpha channel the picture stands on black, which is what premultiplied colour is. */
    bool multiply = !keeps_alpha || image->alpha == DQG_ALPHA_PREMULTIPLIED;
    float factor = multiply ? pixel->alpha : 1.0f;
    float out[4];
    size_t count = 0;
    if (image->channels >= 3) {
        for (; count < 3; count++) {
            out[count] = pixel->colour[count] * factor;
        }
    } else {
        /* Rec. 709 luma of the encoded values */
        out[count++] = (0.2126f * pixel->colour[0] + 0.7152f * pixel->colour[1] + 0.0722f * pixel->colour[2]) * factor;
    }
    if (keeps_alpha) {
        out[count++] = pixel->alpha;
    }
    for (size_t i = 0; i < count; i++) {
        store(at + i * element, image->dtype, out[i]);
    }
}

void dqg_convert_image(const float *source, size_t channels, bool premultiplied, const dqg_image_view *image) {
    size_t width = (size_t)image->width;
    size_t plane = width * (size_t)image->height;
    size_t pixel_bytes = (size_t)image->channels * dqg_dtype_size(image->dtype);
    int64_t stride = image->row_stride != 0 ? image->row_stride : (int64_t)(width * pixel_bytes);
    for (int32_t y = 0; y < image->height; y++) {
        char *row = (char *)image->data + y * stride;
        for (size_t x = 0; x < width; x++) {
            struct pixel pixel = read_pixel(source, plane, (size_t)y * width + x, channels, premultiplied);
            write_pixel(row + x * pixel_bytes, &pixel, image);
        }
    }
}
