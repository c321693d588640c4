// The loops of binary_conv_steps.h, written once over a vector type V. Included by one file for each instruction set.
//
// V has: lanes (32-bit values in a register), pixels (of a full tile), most_blocks, flush_every (words after which byte counters are
// emptied; 0 where counters are 32 bits wide), types Words, Counter, Ints, Floats, and the functions used below.
#pragma once

#include "binary_conv_steps.h"

namespace edgeml {
namespace {

// Everything below is one loop over tiles; a call for each tile would cost as much as a short sum.
#define EDGEML_INLINE inline __attribute__((always_inline))

template <class V>
inline constexpr int kRegisters = static_cast<int>(kBlock) / V::lanes;  // of one block of output channels

// Popcounts of B blocks at P pixels: total[p][r] holds the tile's channels r * V::lanes and up.
template <class V, int P, int B>
EDGEML_INLINE void popcounts(const Tile& tile, const std::uint32_t* offsets,
                             typename V::Ints (&total)[P][B * kRegisters<V>]) {
  constexpr int R = B * kRegisters<V>;
  const std::uint32_t* x[P];
  for (int p = 0; p < P; ++p) x[p] = tile.x + offsets[p];
  const std::uint32_t* w = tile.weights;
  const std::size_t next_block = tile.runs * tile.run_words * kBlock;
  typename V::Counter counter[P][R];
  for (int p = 0; p < P; ++p) {
    for (int r = 0; r < R; ++r) {
      counter[p][r] = V::no_counts();
      if (V::flush_every != 0) total[p][r] = V::zero();
    }
  }
  int left = V::flush_every;
  for (std::size_t run = 0; run < tile.runs; ++run) {
    const std::size_t begin = tile.run_offsets[run];
    for (std::size_t i = begin; i < begin + tile.run_words; ++i) {
      typename V::Words weights[R];
      for (int r = 0; r < R; ++r) {
        constexpr int each = kRegisters<V>;
        weights[r] = V::load_words(w + static_cast<std::size_t>(r / each) * next_block + r % each * V::lanes);
      }
      w += kBlock;
      for (int p = 0; p < P; ++p) {
        const typename V::Words word = V::broadcast_word(x[p] + i);
        for (int r = 0; r < R; ++r) counter[p][r] = V::count(counter[p][r], weights[r], word);
      }
      if (V::flush_every != 0 && --left == 0) {
        for (int p = 0; p < P; ++p) {
          for (int r = 0; r < R; ++r) {
            total[p][r] = V::flush(total[p][r], counter[p][r]);
            counter[p][r] = V::no_counts();
          }
        }
        left = V::flush_every;
      }
    }
  }
  for (int p = 0; p < P; ++p) {
    for (int r = 0; r < R; ++r) total[p][r] = V::last_flush(total[p][r], counter[p][r]);
  }
}

// The bits of B blocks at one pixel.
template <int B>
EDGEML_INLINE void store_bits(std::uint16_t* to, std::uint32_t bits) {
  for (int b = 0; b < B; ++b) to[b] = static_cast<std::uint16_t>(bits >> (b * static_cast<int>(kBlock)));
}

// Which steps of an Epilogue a loop is compiled for: a test in it costs more than the step.
enum class Kind { plain, residual, signs, residual_and_signs, any };

template <class V, int P, int B, Kind K>
EDGEML_INLINE void float_tile(const Tile& tile, const Epilogue& e, std::size_t first) {
  constexpr bool any = K == Kind::any;
  typename V::Ints total[P][B * kRegisters<V>];
  popcounts<V, P, B>(tile, tile.offsets + first, total);
  std::uint32_t bits[P] = {};
  for (int r = 0; r < B * kRegisters<V>; ++r) {
    const int at = r * V::lanes;
    const typename V::Floats scale = V::load(e.scale + at);
    const typename V::Floats bias = V::load(e.bias + at);
    for (int p = 0; p < P; ++p) {
      const std::size_t pixel = first + static_cast<std::size_t>(p);
      const std::size_t place = pixel * e.pixel_stride + static_cast<std::size_t>(at);
      typename V::Floats y = V::to_floats(V::base_minus_twice(tile.base + tile.patterns[pixel] + at, total[p][r]));
      y = V::add(V::mul(scale, y), bias);
      if (any && e.slope) y = V::prelu(y, V::load(e.slope + at));
      if (any && e.post_scale) y = V::add(V::mul(V::load(e.post_scale + at), y), V::load(e.post_bias + at));
      if (K == Kind::residual || K == Kind::residual_and_signs || (any && e.residual)) {
        y = V::add(y, V::load(e.residual + place));
      }
      if (any && e.rslope) {
        y = V::add(V::prelu(V::sub(y, V::load(e.shift_in + at)), V::load(e.rslope + at)), V::load(e.shift_out + at));
      }
      if (!any || e.y) V::store(e.y + place, y);
      if (K == Kind::signs || K == Kind::residual_and_signs || (any && e.bits)) {
        bits[p] |= V::less(y, V::load(e.threshold + at)) << at;
      }
    }
  }
  if (K == Kind::signs || K == Kind::residual_and_signs || (any && e.bits)) {
    for (int p = 0; p < P; ++p) store_bits<B>(e.bits + (first + static_cast<std::size_t>(p)) * e.bits_stride, bits[p]);
  }
}

template <class V, int P, int B>
EDGEML_INLINE void sign_tile(const Tile& tile, const SignLimits& s, std::size_t first) {
  typename V::Ints total[P][B * kRegisters<V>];
  popcounts<V, P, B>(tile, tile.offsets + first, total);
  std::uint32_t flip = s.flip[0];
  if constexpr (B > 1) flip |= static_cast<std::uint32_t>(s.flip[1]) << kBlock;
  for (int p = 0; p < P; ++p) {
    const std::size_t pixel = first + static_cast<std::size_t>(p);
    const std::int32_t* limit = s.limit + tile.patterns[pixel];
    std::uint32_t bits = flip;
    for (int r = 0; r < B * kRegisters<V>; ++r) bits ^= V::above(total[p][r], limit + r * V::lanes) << (r * V::lanes);
    store_bits<B>(s.bits + pixel * s.bits_stride, bits);
  }
}

template <class V, int B, Kind K>
struct FloatTiles {
  const Tile& tile;
  const Epilogue& epilogue;
  template <int P>
  EDGEML_INLINE void at(std::size_t first) const {
    float_tile<V, P, B, K>(tile, epilogue, first);
  }
};

template <class V, int B>
struct SignTiles {
  const Tile& tile;
  const SignLimits& limits;
  template <int P>
  EDGEML_INLINE void at(std::size_t first) const {
    sign_tile<V, P, B>(tile, limits, first);
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

template <class V, class Tiles>
void each_tile(const Tiles& tiles, std::size_t pixels) {
  std::size_t first = 0;
  for (; first + V::pixels <= pixels; first += V::pixels) tiles.template at<V::pixels>(first);
  last_tile<V::pixels - 1>(tiles, first, pixels - first);
}

template <class V, Kind K>
void to_float_of(const Tile& tile, const Epilogue& epilogue) {
  if constexpr (V::most_blocks > 1) {
    if (tile.blocks > 1) return each_tile<V>(FloatTiles<V, 2, K>{tile, epilogue}, tile.pixels);
  }
  each_tile<V>(FloatTiles<V, 1, K>{tile, epilogue}, tile.pixels);
}

template <class V>
void to_float(const Tile& tile, const Epilogue& e) {
  if (e.slope || e.post_scale || e.rslope || !e.y) return to_float_of<V, Kind::any>(tile, e);
  if (e.residual) {
    return e.bits ? to_float_of<V, Kind::residual_and_signs>(tile, e) : to_float_of<V, Kind::residual>(tile, e);
  }
  return e.bits ? to_float_of<V, Kind::signs>(tile, e) : to_float_of<V, Kind::plain>(tile, e);
}

template <class V>
void to_signs(const Tile& tile, const SignLimits& limits) {
  if constexpr (V::most_blocks > 1) {
    if (tile.blocks > 1) return each_tile<V>(SignTiles<V, 2>{tile, limits}, tile.pixels);
  }
  each_tile<V>(SignTiles<V, 1>{tile, limits}, tile.pixels);
}

template <class V>
void pack_planes(const float* x, std::size_t plane_stride, const float* threshold, std::size_t channels,
                 const std::uint32_t* offsets, std::size_t pixels, std::uint32_t* out) {
  constexpr std::size_t lanes = V::lanes;
  for (std::size_t word = 0; word * kWordBits < channels; ++word) {
    const std::size_t first = word * kWordBits;
    const std::size_t count = channels - first < kWordBits ? channels - first : kWordBits;
    const float* plane = x + first * plane_stride;
    std::size_t pixel = 0;
    for (; pixel + lanes <= pixels; pixel += lanes) {
      typename V::Words bits = V::no_bits();
      for (std::size_t c = 0; c < count; ++c) {
        bits = V::set_where_less(bits, V::load(plane + c * plane_stride + pixel), threshold[first + c], 1U << c);
      }
      std::uint32_t words[lanes];
      V::store_words(words, bits);
      for (std::size_t i = 0; i < lanes; ++i) out[offsets[pixel + i] + word] = words[i];
    }
    for (; pixel < pixels; ++pixel) {
      std::uint32_t bits = 0;
      for (std::size_t c = 0; c < count; ++c) {
        bits |= static_cast<std::uint32_t>(plane[c * plane_stride + pixel] < threshold[first + c]) << c;
      }
      out[offsets[pixel] + word] = bits;
    }
  }
}

template <class V>
void pack_pixels(const float* x, const float* threshold, std::size_t channels, std::size_t pixels, std::uint32_t* out) {
  for (std::size_t pixel = 0; pixel < pixels; ++pixel, x += channels) {
    for (std::size_t first = 0; first < channels; first += kWordBits) {
      const std::size_t count = channels - first < kWordBits ? channels - first : kWordBits;
      std::uint32_t bits = 0;
      std::size_t c = 0;
      for (; c + V::lanes <= count; c += V::lanes) {
        bits |= V::less(V::load(x + first + c), V::load(threshold + first + c)) << c;
      }
      for (; c < count; ++c) bits |= static_cast<std::uint32_t>(x[first + c] < threshold[first + c]) << c;
      *out++ = bits;
    }
  }
}

}  // namespace
}  // namespace edgeml
