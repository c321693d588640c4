// What a binary convolution works out once for each image size: where pixels lie, and which taps fall on padding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "binary_conv.h"

namespace edgeml {

// The weights of a convolution in the order the kernels read them; the same for every instruction set.
struct PackedWeights {
  std::size_t words;         // of one group of one pixel
  std::size_t blocks;        // of 16 output channels in one group
  std::size_t block_words;   // from block to block
  AlignedVector<std::uint32_t> bits;        // (group, blocks, taps, words, 16)
  std::vector<std::int32_t> negative;     // (taps, group * blocks * 16): bits set in each tap of each filter

  PackedWeights(const ConvGeometry& geometry, const std::uint8_t* weights);
  std::size_t padded_out_channels(const ConvGeometry& geometry) const;
};

struct Plan {
  std::int64_t height, width, out_height, out_width;
  std::size_t padded_height, padded_width, pixel_words;
  std::vector<std::uint32_t> in_offsets;   // (height * width): word of a pixel in the padded image
  std::vector<std::uint32_t> offsets;      // (out_height * out_width): word of a pixel's first tap
  std::vector<std::uint32_t> patterns;     // (out_height * out_width): where its row of `base` begins
  std::vector<std::uint32_t> run_offsets;  // words from a pixel's first tap to each run of consecutive words
  std::size_t run_words;
  AlignedVector<std::int32_t> base;          // (patterns, padded output channels): count = base - 2 * popcount

  // Throws std::invalid_argument where the padded image has 2^32 words or more.
  Plan(const ConvGeometry& geometry, const PackedWeights& weights, std::int64_t height, std::int64_t width);

  // Sets the padding around one image to 0 bits.
  void zero_border(const ConvGeometry& geometry, std::uint32_t* image) const;

  std::size_t image_words() const { return padded_height * padded_width * pixel_words; }
  std::size_t pixels() const { return patterns.size(); }
};

}  // namespace edgeml
