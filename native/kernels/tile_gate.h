// Lets those tiles of a frame through that differ enough from what was let through before.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parallel.h"
#include "residual_output.h"

namespace edgeml {

// Tiles are squares of pixels from the top left, cut off at the right and at the bottom.
struct TileGate {
  std::int64_t tile;       // height and width in pixels
  std::int64_t threshold;  // in sixteenths of a code: a tile that differs by more passes
  bool rms;                // compares the root of the mean square of the differences, else the greatest one
};

// Throws std::invalid_argument where the tile is not from 1 to 32768 or the threshold below 0.
void check(const TileGate& gate);

// x: uint8 (batch, height, width, output.channels), none of them 0 but the batch.
void tile_gate(const TileGate& gate, const std::uint8_t* x, std::size_t batch, std::size_t height, std::size_t width,
               const ResidualOutput& output, const ResidualSteps& steps, const Parallel& parallel);

}  // namespace edgeml
