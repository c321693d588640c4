// The loops of residual_conv_steps.h, written once over a vector type V. Included by one file for each instruction set.
//
// V has: pixels and blocks of a full tile of sums, pixels of a depthwise one, types Sums and Weights (of one block),
// Codes (four codes of one pixel, for every filter of a block) and Taps (codes of four taps, each filter its own), and
// the functions used below.
#pragma once

#include "residual_conv_steps.h"

namespace edgeml {
namespace {

#define EDGEML_INLINE inline __attribute__((always_inline))

template <class V, int P, int B>
EDGEML_INLINE void store_tile(const PixelGroup& group, std::size_t first, std::size_t block,
                              const typename V::Sums (&sums)[P][B]) {
  for (int b = 0; b < B; ++b) {
    const std::size_t filter = (block + static_cast<std::size_t>(b)) * kFilters;
    const std::size_t left = group.filters - filter;
    const std::size_t count = left < kFilters ? left : kFilters;
    for (int p = 0; p < P; ++p) {
      std::uint8_t* const to = group.codes + (first + static_cast<std::size_t>(p)) * group.codes_stride + filter;
      V::store_codes(to, count, sums[p][b], group.multiplier + filter, group.zero_point);
    }
  }
}

// B blocks at P pixels: each step takes four codes of a pixel to all filters.
template <class V, int P, int B>
EDGEML_INLINE void dense_tile(const PixelGroup& group, std::size_t first, std::size_t block) {
  const std::size_t block_bytes = group.runs * group.run_words * kFilters * kQuad;
  const std::int8_t* w = group.weights + block * block_bytes;
  const std::uint8_t* x[P];
  for (int p = 0; p < P; ++p) x[p] = group.x + group.offsets[first + static_cast<std::size_t>(p)];
  typename V::Sums sums[P][B];
  for (int b = 0; b < B; ++b) {
    const std::int32_t* const bias = group.bias + (block + static_cast<std::size_t>(b)) * kFilters;
    for (int p = 0; p < P; ++p) sums[p][b] = V::load_sums(bias);
  }
  for (std::size_t run = 0; run < group.runs; ++run) {
    const std::size_t begin = group.run_offsets[run], end = begin + group.run_words * kQuad;
    for (std::size_t i = begin; i < end; i += kQuad) {
      typename V::Weights weights[B];
      for (int b = 0; b < B; ++b) weights[b] = V::load_weights(w + static_cast<std::size_t>(b) * block_bytes);
      w += kFilters * kQuad;
      for (int p = 0; p < P; ++p) {
        const typename V::Codes codes = V::broadcast_codes(x[p] + i);
        for (int b = 0; b < B; ++b) sums[p][b] = V::add_products(sums[p][b], codes, weights[b]);
      }
    }
  }
  store_tile<V, P, B>(group, first, block, sums);
}

// One block at P pixels: each step takes four taps of all channels.
template <class V, int P>
EDGEML_INLINE void depthwise_tile(const PixelGroup& group, std::size_t first, std::size_t block) {
  const std::int8_t* w = group.weights + block * group.runs * kFilters;
  const std::uint8_t* x[P];
  for (int p = 0; p < P; ++p) x[p] = group.x + group.offsets[first + static_cast<std::size_t>(p)] + block * kFilters;
  typename V::Sums sums[P][1];
  for (int p = 0; p < P; ++p) sums[p][0] = V::load_sums(group.bias + block * kFilters);
  for (std::size_t run = 0; run < group.runs; run += kQuad) {
    const std::size_t* const tap = group.run_offsets + run;
    const typename V::Weights weights = V::load_weights(w);
    w += kFilters * kQuad;
    for (int p = 0; p < P; ++p) {
      const typename V::Taps taps = V::load_taps(x[p] + tap[0], x[p] + tap[1], x[p] + tap[2], x[p] + tap[3]);
      sums[p][0] = V::add_tap_products(sums[p][0], taps, weights);
    }
  }
  store_tile<V, P, 1>(group, first, block, sums);
}

template <class V, int B>
struct DenseTiles {
  const PixelGroup& group;
  std::size_t block;
  template <int P>
  EDGEML_INLINE void at(std::size_t first) const {
    dense_tile<V, P, B>(group, first, block);
  }
};

template <class V>
struct DepthwiseTiles {
  const PixelGroup& group;
  std::size_t block;
  template <int P>
  EDGEML_INLINE void at(std::size_t first) const {
    depthwise_tile<V, P>(group, first, block);
  }
};

// One tile of what is left over by full ones, at most P pixels.
template <int P, class Tiles>
EDGEML_INLINE void last_tile(const Tiles& tiles, std::size_t first, std::size_t left) {
  if constexpr (P > 0) {
    if (left == static_cast<std::size_t>(P)) {
      tiles.template at<P>(first);
    } else {
      last_tile<P - 1>(tiles, first, left);
    }
  }
}

template <int P, class Tiles>
void each_tile(const Tiles& tiles, std::size_t pixels) {
  std::size_t first = 0;
  for (; first + P <= pixels; first += P) tiles.template at<P>(first);
  last_tile<P - 1>(tiles, first, pixels - first);
}

// The weights of a few blocks stay in the nearest cache for all pixels.
template <class V>
void convolve(const PixelGroup& group) {
  const std::size_t blocks = (group.filters + kFilters - 1) / kFilters;
  std::size_t block = 0;
  for (; block + V::blocks <= blocks; block += V::blocks) {
    each_tile<V::pixels>(DenseTiles<V, V::blocks>{group, block}, group.pixels);
  }
  for (; block < blocks; ++block) each_tile<V::pixels>(DenseTiles<V, 1>{group, block}, group.pixels);
}

template <class V>
void convolve_depthwise(const PixelGroup& group) {
  const std::size_t blocks = (group.filters + kFilters - 1) / kFilters;
  for (std::size_t block = 0; block < blocks; ++block) {
    each_tile<V::depthwise_pixels>(DepthwiseTiles<V>{group, block}, group.pixels);
  }
}

template <class V>
constexpr ResidualConvSteps residual_conv_steps{V::filters_innermost, V::code_offset, convolve<V>,
                                                convolve_depthwise<V>};

}  // namespace
}  // namespace edgeml
