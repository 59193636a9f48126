#!/bin/sh
# SPDX-License-Identifier: MIT
# From a clean clone to pictures: installs what is missing, builds, quantizes the sprite checkpoint to 4 bits, verifies
# the file and generates a contact sheet. Runs from any directory and may be run again. Writes to ./build only.
#
#     sh examples/quickstart.sh
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
. examples/support/packages.sh

checkpoint=examples/models/sprites.safetensors
model=build/sprites.dqg
picture=build/sprites.png
classes=dragon,potion,weapon,wall,floor,tree,statue,water

say() { printf '\n== %s\n' "$*"; }

say "1/5 packages"
# shellcheck disable=SC2086 # a list of words
need_packages $BUILD_PACKAGES

say "2/5 build"
[ -f build/build.ninja ] || meson setup build --buildtype=release -Dtests=false
ninja -C build examples/dqgen
dqgen=build/examples/dqgen

say "3/5 quantize $checkpoint to 4 bits"
"$dqgen" quantize "$checkpoint" -o "$model"

say "4/5 verify"
"$dqgen" verify "$model"

say "5/5 generate: $classes"
"$dqgen" generate "$model" -o "$picture" --class "$classes" --count 6 --seed 1 --scale 4

cat <<END

The pictures are in $root/$picture

Go on with:
  cd $root
  $dqgen generate $model -o build/dragon.png --class dragon --seed 7 --scale 8
  $dqgen info $model
  $dqgen compare $checkpoint $model --seeds 2 --steps 10
  $dqgen bench $model --backend all
  $dqgen --help
END
