/* SPDX-License-Identifier: MIT */
/*
 * Pictures in memory and contact sheets: tiles in rows with one transparent pixel between them (black where the model
 * knows no transparency). Tiles are filled in place by dqg_run_read_image() through a view with the sheet's row stride.
 */
#include <stdlib.h>

#include "cli.h"

/* PNG readers commonly refuse more. */
enum { PICTURE_SIDE = 65535 };

bool picture_create(struct picture *picture, size_t width, size_t height, size_t channels) {
    *picture = (struct picture){.width = width, .height = height, .channels = channels};
    if (width == 0 || height == 0 || width > PICTURE_SIDE || height > PICTURE_SIDE) {
        return false;
    }
    picture->pixels = calloc(width * height, channels);
    return picture->pixels != NULL;
}

void picture_free(struct picture *picture) {
    free(picture->pixels);
    picture->pixels = NULL;
}

bool sheet_create(struct sheet *sheet, size_t count, size_t columns, size_t tile_width, size_t tile_height,
                  size_t channels) {
    size_t rows = (count + columns - 1) / columns;
    *sheet = (struct sheet){.columns = columns, .tile_width = tile_width, .tile_height = tile_height};
    if (rows > PICTURE_SIDE || columns > PICTURE_SIDE) {
        return false;
    }
    return picture_create(&sheet->picture, columns * (tile_width + 1) - 1, rows * (tile_height + 1) - 1, channels);
}

dqg_image_view sheet_tile(struct sheet *sheet, size_t index) {
    const struct picture *picture = &sheet->picture;
    size_t x = index % sheet->columns * (sheet->tile_width + 1);
    size_t y = index / sheet->columns * (sheet->tile_height + 1);
    dqg_image_view view;
    DQG_INIT(&view);
    view.data = picture->pixels + (y * picture->width + x) * picture->channels;
    view.row_stride = (int64_t)(picture->width * picture->channels);
    view.width = (int32_t)sheet->tile_width;
    view.height = (int32_t)sheet->tile_height;
    view.channels = (int32_t)picture->channels;
    view.dtype = DQG_DTYPE_U8;
    view.alpha = DQG_ALPHA_STRAIGHT;
    return view;
}
