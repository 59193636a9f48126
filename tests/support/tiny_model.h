/* SPDX-License-Identifier: MIT */
/*
 * A tiny class-conditional DiT with random weights, as a safetensors file with the facebook tensor names: what tests
 * load when any model will do. Equal arguments give equal bytes.
 */
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include <stddef.h>

/*
 * Make the file in memory (malloc) or on disk.
 *   hidden       width, a multiple of heads and of 4
 *   patch, size  size (height and width of the latent) is a multiple of patch
 *   classes      named "class0", "class1", ...; the null class comes on top
 *   learn_sigma  1 doubles the output channels
 * tiny_dit_build() returns NULL, tiny_dit_write() a non-zero value when memory or the disk fails.
 */
unsigned char *tiny_dit_build(int hidden, int depth, int heads, int patch, int channels, int size, int classes,
                              int learn_sigma, unsigned seed, size_t *bytes);
int tiny_dit_write(const char *path, int hidden, int depth, int heads, int patch, int channels, int size, int classes,
                   int learn_sigma, unsigned seed);

/* The sizes most tests use: 64 wide, 2 blocks, 4 heads, patch 2, 4 channels, 8 x 8, 5 classes. About 0.7 MB. */
int tiny_dit_write_default(const char *path);

/*
 * A fresh directory for a test's files; every file in it (no folders) goes with tiny_dir_remove(). tiny_path() writes
 * "<directory>/<name>" to buffer and returns buffer.
 */
int tiny_dir_make(char *directory, size_t size);
void tiny_dir_remove(const char *directory);
char *tiny_path(char *buffer, size_t size, const char *directory, const char *name);

#endif
