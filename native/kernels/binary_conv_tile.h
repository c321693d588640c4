// The loops of binary_conv_steps.h, written once over a vector type V. Included by one file for each instruction set.
//
// V has: lanes (32-bit values in a register), pixels (of a full tile), flush_every (words after which byte counters are
// emptied; 0 where counters are 32 bits wide), types Words, Counter, Ints, Floats, and the functions used below.
#pragma once

#include "binary_conv_steps.h"

namespace edgeml {
namespace {

// Everything below is one loop over tiles; a call for each tile would cost as much as a short sum.
#define EDGEML_INLINE inline __attribute__((always_inline))

template <class V>
inline constexpr int kRegisters = static_cast<int>(kBlock) / V::lanes;  // of one block of output channels

// Popcounts of one block at P pixels: total[p][r] holds lanes r * V::lanes and up.
template <class V, int P>
EDGEML_INLINE void popcounts(const Tile& tile, const std::uint32_t* offsets, typename V::Ints (&total)[P][kRegisters<V>]) {
  constexpr int R = kRegisters<V>;
  const std::uint32_t* x[P];
  for (int p = 0; p < P; ++p) x[p] = tile.x + offsets[p];
  const std::uint32_t* w = tile.weights;
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
      for (int r = 0; r < R; ++r) weights[r] = V::load_words(w + r * V::lanes);
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

// Which steps of an Epilogue a loop is compiled for: a test in it costs more than the step.
enum class Kind { plain, residual, signs, residual_and_signs, any };

template <class V, int P, Kind K>
EDGEML_INLINE void float_tile(const Tile& tile, const Epilogue& e, std::size_t first) {
  constexpr bool any = K == Kind::any;
  typename V::Ints total[P][kRegisters<V>];
  popcounts<V, P>(tile, tile.offsets + first, total);
  unsigned bits[P] = {};
  for (int r = 0; r < kRegisters<V>; ++r) {
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
    for (int p = 0; p < P; ++p) {
      e.bits[(first + static_cast<std::size_t>(p)) * e.bits_stride] = static_cast<std::uint16_t>(bits[p]);
    }
  }
}

template <class V, int P>
EDGEML_INLINE void sign_tile(const Tile& tile, const SignLimits& s, std::size_t first) {
  typename V::Ints total[P][kRegisters<V>];
  popcounts<V, P>(tile, tile.offsets + first, total);
  for (int p = 0; p < P; ++p) {
    const std::size_t pixel = first + static_cast<std::size_t>(p);
    const std::int32_t* limit = s.limit + tile.patterns[pixel];
    unsigned bits = 0;
    for (int r = 0; r < kRegisters<V>; ++r) bits |= V::above(total[p][r], limit + r * V::lanes) << (r * V::lanes);
    s.bits[pixel * s.bits_stride] = static_cast<std::uint16_t>(bits ^ s.flip);
  }
}

// Full tiles of V::pixels, then one tile of what is left.
template <class V, int P, class Do>
EDGEML_INLINE void last_tile(std::size_t left, Do&& run) {
  if constexpr (P > 0) {
    if (left == static_cast<std::size_t>(P)) {
      run.template operator()<P>();
    } else {
      last_tile<V, P - 1>(left, run);
    }
  }
}

template <class V, Kind K>
struct FloatAt {
  const Tile& tile;
  const Epilogue& epilogue;
  std::size_t first;
  template <int P>
  EDGEML_INLINE void operator()() const {
    float_tile<V, P, K>(tile, epilogue, first);
  }
};

template <class V>
struct SignAt {
  const Tile& tile;
  const SignLimits& limits;
  std::size_t first;
  template <int P>
  EDGEML_INLINE void operator()() const {
    sign_tile<V, P>(tile, limits, first);
  }
};

template <class V, Kind K>
void to_float(const Tile& tile, const Epilogue& epilogue) {
  std::size_t first = 0;
  for (; first + V::pixels <= tile.pixels; first += V::pixels) float_tile<V, V::pixels, K>(tile, epilogue, first);
  last_tile<V, V::pixels - 1>(tile.pixels - first, FloatAt<V, K>{tile, epilogue, first});
}

template <class V>
void to_float(const Tile& tile, const Epilogue& e) {
  if (e.slope || e.post_scale || e.rslope || !e.y) return to_float<V, Kind::any>(tile, e);
  if (e.residual) {
    return e.bits ? to_float<V, Kind::residual_and_signs>(tile, e) : to_float<V, Kind::residual>(tile, e);
  }
  return e.bits ? to_float<V, Kind::signs>(tile, e) : to_float<V, Kind::plain>(tile, e);
}

template <class V>
void to_signs(const Tile& tile, const SignLimits& limits) {
  std::size_t first = 0;
  for (; first + V::pixels <= tile.pixels; first += V::pixels) sign_tile<V, V::pixels>(tile, limits, first);
  last_tile<V, V::pixels - 1>(tile.pixels - first, SignAt<V>{tile, limits, first});
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
