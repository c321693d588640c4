// Where the codes lie that some output pixels of a convolution read: in the image, or where its border is near in a
// copy with padding around.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "residual_conv_plan.h"

namespace edgeml {

// Output pixels of one image.
struct Rectangle {
  Range rows, columns;

  std::size_t height() const { return rows.last - rows.first; }
  std::size_t width() const { return columns.last - columns.first; }
  std::size_t pixels() const { return height() * width(); }
};

// One image of a batch.
struct WindowSource {
  const ConvGeometry& geometry;
  const PackedFilters& filters;
  const ResidualPlan& plan;
  const std::uint8_t* x;  // (batch, height, width, channels)
  std::int64_t batch;
  std::size_t n;
  std::uint8_t padding;   // the code beyond the image
};

// As in PixelGroup, of the first group.
struct Window {
  const std::uint8_t* x;
  const std::size_t* offsets;      // (pixels of the rectangle)
  const std::size_t* run_offsets;  // (runs)
};

// Memory that windows lie in, kept from one to the next.
struct WindowScratch {
  AlignedVector<std::uint8_t> codes;
  std::vector<std::size_t> offsets, run_offsets;
};

// The values that a vector has room for, at least so many; what was in it may be lost.
template <class Vector>
typename Vector::value_type* room(Vector& kept, std::size_t count) {
  if (kept.size() < count) kept.resize(count);
  return kept.data();
}

// Valid until the next call with the same scratch, and as long as source.x.
Window place_window(const WindowSource& source, const Rectangle& piece, WindowScratch& scratch);

}  // namespace edgeml
