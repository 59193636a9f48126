/* SPDX-License-Identifier: MIT */
/* make_pipeline FOLDER PARTS: a small pipeline for tests of the command line; PARTS as in pipeline_folder.h. */
#include <stdlib.h>

#include "pipeline_folder.h"

int main(int argc, char **argv) {
    return argc != 3 || pipeline_folder_make(argv[1], atoi(argv[2])) != 0;
}
