/* SPDX-License-Identifier: MIT */
/* A small pipeline as diffusers writes it, of the lists of tests/golden/pipeline and the tokenizers of
 * tests/golden/text; run from the source's root. */
#ifndef TESTS_PIPELINE_FOLDER_H
#define TESTS_PIPELINE_FOLDER_H

enum {
    PIPELINE_CLIP = 1,     /* text_encoder, 64 columns, with tokenizer */
    PIPELINE_CLIP_2 = 2,   /* text_encoder_2, 128 columns, projected to 96, with tokenizer_2 */
    PIPELINE_T5 = 4,       /* text_encoder_3, 192 columns, with tokenizer_3 */
    PIPELINE_DIT = 8,      /* transformer: the tiny one of tests/golden/dit */
    PIPELINE_UNET = 16,    /* unet for CLIP, of 16 x 16 pixels */
    PIPELINE_VAE = 32,     /* vae, sides 2 */
    PIPELINE_CONTROL = 64, /* controlnet for that unet, of pictures with twice the sides */
    PIPELINE_SD = PIPELINE_CLIP | PIPELINE_UNET | PIPELINE_VAE
};

/* Fill an empty folder; 0 on success. Remove it with all that is below. */
int pipeline_folder_make(const char *folder, int parts);
void pipeline_folder_remove(const char *folder);

#endif
