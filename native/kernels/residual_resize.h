// Enlarges an image of codes by a whole factor, at those pixels whose source changed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parallel.h"
#include "residual_output.h"

namespace edgeml {

struct Enlargement {
  std::int64_t factor;  // of height and width
  bool linear;          // between the four nearest pixels, half-pixel centres and edges repeated; else pixels repeat
};

// Throws std::invalid_argument for a factor that is not from 1 to 32768, or for linear not 2 or 4.
void check(const Enlargement& enlargement);

// x: uint8 (batch, height, width, output.channels) with its pixel map, uint8 (batch, height, width).
void residual_resize(const Enlargement& enlargement, const std::uint8_t* x, const std::uint8_t* changed,
                     std::size_t batch, std::size_t height, std::size_t width, const ResidualOutput& output,
                     const ResidualSteps& steps, const Parallel& parallel);

}  // namespace edgeml
