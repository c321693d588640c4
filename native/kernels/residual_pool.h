// The maximum or the mean of windows of codes, at those pixels whose window changed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "parallel.h"
#include "residual_output.h"

namespace edgeml {

struct PoolGeometry {
  std::array<std::int64_t, 2> kernel;
  std::array<std::int64_t, 2> strides{1, 1};
  std::array<std::int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right; pixels outside the image do not count
  bool average = false;
  std::int64_t zero_point = 0;  // of the input and the output

  // Height (axis 0) or width (axis 1) of the output; below 1 where the window does not fit.
  std::int64_t out_size(std::size_t axis, std::int64_t size) const;
};

// Throws std::invalid_argument where a value is out of its range.
void check(const PoolGeometry& geometry);

// Throws std::invalid_argument where a window lies outside an image of this size, or none fits.
void check_image(const PoolGeometry& geometry, std::int64_t height, std::int64_t width);

// x: uint8 (batch, height, width, output.channels) with its pixel map, uint8 (batch, height, width); both have passed
// their check.
void residual_pool(const PoolGeometry& geometry, const std::uint8_t* x, const std::uint8_t* changed, std::size_t batch,
                   std::int64_t height, std::int64_t width, const ResidualOutput& output, const ResidualSteps& steps,
                   const Parallel& parallel);

}  // namespace edgeml
