// What a convolution of 8-bit codes works out before its first frame: its filters in the order that the inner steps
// read them, and what follows from an image's size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "binary_conv.h"
#include "pixel_map.h"

namespace edgeml {

// The filters of all groups, and how one pixel's codes fall into runs; see PixelGroup in residual_conv_steps.h.
struct PackedFilters {
  bool depthwise;           // every channel its own filter: all groups are computed as one
  bool rows;                // a run is a whole row of taps, which lie side by side
  std::size_t groups;       // computed apart from each other
  std::size_t group_bytes;  // from a group's codes in a pixel to those of the next
  std::size_t filters;      // of one group
  std::size_t blocks;       // of kFilters filters in one group
  std::size_t runs, run_words;
  std::size_t overread;     // bytes that the last run of a pixel reads beyond its last tap
  AlignedVector<std::int8_t> weights;    // (groups, blocks, quads, kFilters, kQuad), or the last two swapped
  AlignedVector<std::int32_t> bias;      // (groups, blocks * kFilters), less zero times the filter's sum
  AlignedVector<float> multiplier;       // (groups, blocks * kFilters)

  // zero: the code that stands for 0 once the steps have taken their offset off.
  // Throws std::invalid_argument where the filters take more than 2 GiB.
  PackedFilters(const ConvGeometry& geometry, const std::int8_t* weights, const float* multiplier,
                const std::int32_t* bias, std::int64_t zero, bool filters_innermost);

  std::size_t group_weights() const { return weights.size() / groups; }

  // Where runs begin, (runs) bytes from a pixel's first tap, when the taps of a column lie `down` and those of a row
  // `right` bytes apart.
  void place_runs(const ConvGeometry& geometry, std::size_t down, std::size_t right, std::size_t* offsets) const;
};

// For one image size.
struct ResidualPlan {
  std::int64_t height, width;
  std::size_t out_height, out_width;
  std::size_t tile;                      // cut off at the output's size
  TileReach rows, columns;               // what tiles read
  std::vector<std::size_t> run_offsets;  // in the image

  ResidualPlan(const ConvGeometry& geometry, const PackedFilters& filters, std::int64_t tile, std::int64_t height,
               std::int64_t width);
};

}  // namespace edgeml
