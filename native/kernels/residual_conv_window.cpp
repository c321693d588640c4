#include "residual_conv_window.h"

#include <algorithm>
#include <cstring>

#include "residual_conv_steps.h"

namespace edgeml {
namespace {

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

// Pixels of the input `down` and `right` apart, some of them perhaps beyond the image.
struct Grid {
  std::int64_t top, left, height, width, down, right;
};

// Pixels beside each other, from column grid.left on. to: (grid.width, channels).
void copy_row(const WindowSource& source, const Grid& grid, const std::uint8_t* row, std::uint8_t* to) {
  const std::size_t channels = size(source.geometry.channels);
  const std::int64_t before = std::clamp<std::int64_t>(-grid.left, 0, grid.width);
  const std::int64_t end = std::clamp<std::int64_t>(source.plan.width - grid.left, before, grid.width);
  std::memset(to, source.padding, size(before) * channels);
  if (end > before) {
    std::memcpy(to + size(before) * channels, row + size(grid.left + before) * channels, size(end - before) * channels);
  }
  std::memset(to + size(end) * channels, source.padding, size(grid.width - end) * channels);
}

// to: (grid.height, grid.width, channels).
void copy_grid(const WindowSource& source, const Grid& grid, std::uint8_t* to) {
  const std::size_t channels = size(source.geometry.channels), row_bytes = size(source.plan.width) * channels;
  const std::uint8_t* const image = source.x + source.n * size(source.plan.height) * row_bytes;
  for (std::int64_t i = 0; i < grid.height; ++i, to += size(grid.width) * channels) {
    const std::int64_t y = grid.top + i * grid.down;
    if (y < 0 || y >= source.plan.height) {
      std::memset(to, source.padding, size(grid.width) * channels);
      continue;
    }
    const std::uint8_t* const row = image + size(y) * row_bytes;
    if (grid.right == 1) {
      copy_row(source, grid, row, to);
      continue;
    }
    for (std::int64_t j = 0; j < grid.width; ++j) {
      copy_row(source, {y, grid.left + j * grid.right, 1, 1, 1, 1}, row, to + size(j) * channels);
    }
  }
}

// down, right: bytes from a pixel's first tap to that of the one below and of the one beside it.
void place_pixels(const Rectangle& piece, std::size_t down, std::size_t right, std::size_t* offsets) {
  for (std::size_t row = 0; row < piece.height(); ++row) {
    for (std::size_t column = 0; column < piece.width(); ++column) *offsets++ = row * down + column * right;
  }
}

}  // namespace

Window place_window(const WindowSource& source, const Rectangle& piece, WindowScratch& scratch) {
  const ConvGeometry& g = source.geometry;
  const ResidualPlan& plan = source.plan;
  const std::size_t channels = size(g.channels);
  const auto taps_of = [&](std::size_t axis, const Range& range) {
    return static_cast<std::int64_t>(range.last - range.first - 1) * g.strides[axis] +
           (g.kernel[axis] - 1) * g.dilations[axis] + 1;
  };
  const Grid grid{static_cast<std::int64_t>(piece.rows.first) * g.strides[0] - g.pads[0],
                  static_cast<std::int64_t>(piece.columns.first) * g.strides[1] - g.pads[1],
                  taps_of(0, piece.rows),
                  taps_of(1, piece.columns),
                  1,
                  1};
  std::size_t* const offsets = room(scratch.offsets, piece.pixels());
  const std::int64_t first_row = static_cast<std::int64_t>(source.n) * plan.height + grid.top;
  const std::int64_t last = (first_row + grid.height - 1) * plan.width + grid.left + grid.width;  // pixels up to there
  const std::int64_t all = source.batch * plan.height * plan.width;
  if (grid.top >= 0 && grid.left >= 0 && grid.top + grid.height <= plan.height &&
      grid.left + grid.width <= plan.width && source.filters.overread <= size(all - last) * channels) {
    place_pixels(piece, size(g.strides[0] * plan.width) * channels, size(g.strides[1]) * channels, offsets);
    return {source.x + size(first_row * plan.width + grid.left) * channels, offsets, plan.run_offsets.data()};
  }
  std::size_t* const run_offsets = room(scratch.run_offsets, source.filters.runs);
  const std::size_t taps = size(g.kernel[0] * g.kernel[1]), row_bytes = size(grid.width) * channels;
  if (size(grid.height) * size(grid.width) <= piece.pixels() * taps) {
    std::uint8_t* const codes = room(scratch.codes, size(grid.height) * row_bytes + source.filters.overread);
    copy_grid(source, grid, codes);
    place_pixels(piece, size(g.strides[0]) * row_bytes, size(g.strides[1]) * channels, offsets);
    source.filters.place_runs(g, size(g.dilations[0]) * row_bytes, size(g.dilations[1]) * channels, run_offsets);
    return {codes, offsets, run_offsets};
  }
  // Taps are far apart: each pixel has its own side by side.
  const std::size_t pixel_bytes = taps * channels;
  std::uint8_t* const codes = room(scratch.codes, piece.pixels() * pixel_bytes + source.filters.overread);
  place_pixels(piece, piece.width() * pixel_bytes, pixel_bytes, offsets);
  for (std::size_t pixel = 0; pixel < piece.pixels(); ++pixel) {
    const auto row = static_cast<std::int64_t>(pixel / piece.width());
    const auto column = static_cast<std::int64_t>(pixel % piece.width());
    copy_grid(source,
              {grid.top + row * g.strides[0], grid.left + column * g.strides[1], g.kernel[0], g.kernel[1],
               g.dilations[0], g.dilations[1]},
              codes + offsets[pixel]);
  }
  source.filters.place_runs(g, size(g.kernel[1]) * channels, channels, run_offsets);
  return {codes, offsets, run_offsets};
}

}  // namespace edgeml
