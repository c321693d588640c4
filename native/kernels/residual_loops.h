// The loops of residual_steps.h over vectors as wide as the instruction set has them.
// Included by one file for each instruction set, compiled for it.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && !defined(EDGEML_PORTABLE)
#include <arm_neon.h>
#endif

#include "residual_ints.h"
#include "residual_steps.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // every function that takes such a vector is inlined
#endif

namespace edgeml {
namespace {

#if defined(__AVX512BW__)
constexpr std::size_t kWide = 64, kMiddle = 32;
#elif defined(__AVX2__)
constexpr std::size_t kWide = 32, kMiddle = 32;
#else
constexpr std::size_t kWide = 16, kMiddle = 16;
#endif
constexpr std::size_t kNarrow = 16;

template <std::size_t Width>
struct Bytes {
  typedef std::uint8_t type __attribute__((vector_size(Width), aligned(1), may_alias));
};
template <>
struct Bytes<1> {
  using type = std::uint8_t;
};
using Wide = Bytes<kWide>::type;
using Middle = Bytes<kMiddle>::type;
using Narrow = Bytes<kNarrow>::type;

template <std::size_t Width>
EDGEML_INLINE typename Bytes<Width>::type load(const std::uint8_t* p) {
  return *reinterpret_cast<const typename Bytes<Width>::type*>(p);
}
template <std::size_t Width>
EDGEML_INLINE void store(std::uint8_t* p, typename Bytes<Width>::type values) {
  *reinterpret_cast<typename Bytes<Width>::type*>(p) = values;
}
template <std::size_t Width>
EDGEML_INLINE typename Bytes<Width>::type all(std::uint8_t value) {
  return typename Bytes<Width>::type{} + value;
}

EDGEML_INLINE std::uint8_t larger(std::uint8_t a, std::uint8_t b) { return a > b ? a : b; }
EDGEML_INLINE std::uint8_t smaller(std::uint8_t a, std::uint8_t b) { return a < b ? a : b; }
EDGEML_INLINE bool any(std::uint8_t value) { return value != 0; }
#if defined(__AVX2__)
EDGEML_INLINE Narrow larger(Narrow a, Narrow b) {
  return reinterpret_cast<Narrow>(_mm_max_epu8(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
}
EDGEML_INLINE Narrow smaller(Narrow a, Narrow b) {
  return reinterpret_cast<Narrow>(_mm_min_epu8(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
}
EDGEML_INLINE bool any(Narrow values) {
  const auto bits = reinterpret_cast<__m128i>(values);
  return _mm_testz_si128(bits, bits) == 0;
}
#elif defined(__ARM_NEON) && !defined(EDGEML_PORTABLE)
EDGEML_INLINE Narrow larger(Narrow a, Narrow b) { return vmaxq_u8(a, b); }
EDGEML_INLINE Narrow smaller(Narrow a, Narrow b) { return vminq_u8(a, b); }
EDGEML_INLINE bool any(Narrow values) { return vmaxvq_u8(values) != 0; }
#else
EDGEML_INLINE Narrow larger(Narrow a, Narrow b) { return a > b ? a : b; }
EDGEML_INLINE Narrow smaller(Narrow a, Narrow b) { return a < b ? a : b; }
EDGEML_INLINE bool any(Narrow values) {
  std::uint64_t words[2];
  __builtin_memcpy(words, &values, sizeof words);
  return (words[0] | words[1]) != 0;
}
#endif
#if defined(__AVX2__)
EDGEML_INLINE Middle larger(Middle a, Middle b) {
  return reinterpret_cast<Middle>(_mm256_max_epu8(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
EDGEML_INLINE Middle smaller(Middle a, Middle b) {
  return reinterpret_cast<Middle>(_mm256_min_epu8(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
EDGEML_INLINE bool any(Middle values) {
  const auto bits = reinterpret_cast<__m256i>(values);
  return _mm256_testz_si256(bits, bits) == 0;
}
#endif
#if defined(__AVX512BW__)
EDGEML_INLINE Wide larger(Wide a, Wide b) {
  return reinterpret_cast<Wide>(_mm512_max_epu8(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
EDGEML_INLINE Wide smaller(Wide a, Wide b) {
  return reinterpret_cast<Wide>(_mm512_min_epu8(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
EDGEML_INLINE bool any(Wide values) {
  const auto bits = reinterpret_cast<__m512i>(values);
  return _mm512_test_epi64_mask(bits, bits) != 0;
}
#endif

template <std::size_t Width>
struct Lanes {
  static constexpr std::size_t width = Width;
};

// Calls body(Lanes, i) until all of [0, count) is covered by the lanes from i on. Where count is no multiple of them
// the last vector overlaps the one before, so body must bear to see bytes twice.
template <class Body>
EDGEML_INLINE void cover(std::size_t count, const Body& body) {
  std::size_t i = 0;
  for (; i + kWide <= count; i += kWide) body(Lanes<kWide>{}, i);
  if (i == count) return;
  if (kWide > kNarrow && count >= kWide) {
    body(Lanes<kWide>{}, count - kWide);
  } else if (count >= kNarrow) {
    for (; i + kNarrow <= count; i += kNarrow) body(Lanes<kNarrow>{}, i);
    if (i < count) body(Lanes<kNarrow>{}, count - kNarrow);
  } else {
    for (; i < count; ++i) body(Lanes<1>{}, i);
  }
}

// The places of a pixel from i on that fill no vector of kWide: renewed; whether any of them differs. Nothing overlaps
// here, nor is masked: where y is previous, a load waits for the stores that it meets.
EDGEML_INLINE bool renew_rest(const std::uint8_t* fresh, const std::uint8_t* previous, std::uint8_t* y, std::size_t i,
                              std::size_t channels) {
  bool differs = false;
  const auto step = [&](auto lanes) {
    constexpr std::size_t width = decltype(lanes)::width;
    if (i + width > channels) return;
    const auto value = load<width>(fresh + i);
    differs |= any(value ^ load<width>(previous + i));
    store<width>(y + i, value);
    i += width;
  };
  if constexpr (kWide > kMiddle) step(Lanes<kMiddle>{});
  if constexpr (kWide > kNarrow) step(Lanes<kNarrow>{});
  std::uint64_t rest = 0;
  if (i + 8 <= channels) {
    std::uint64_t value, old;
    __builtin_memcpy(&value, fresh + i, 8);
    __builtin_memcpy(&old, previous + i, 8);
    __builtin_memcpy(y + i, &value, 8);
    rest = value ^ old;
    i += 8;
  }
  for (; i < channels; ++i) {
    rest |= fresh[i] ^ previous[i];
    y[i] = fresh[i];
  }
  return differs || rest != 0;
}

void renew(const std::uint8_t* fresh, const std::uint8_t* previous, std::uint8_t* y, std::size_t pixels,
           std::size_t channels, std::size_t stride, bool also, std::uint8_t* changed) {
  for (std::size_t pixel = 0; pixel < pixels; ++pixel, fresh += channels, previous += stride, y += stride) {
    typename Bytes<kWide>::type difference{};
    std::size_t i = 0;
    for (; i + kWide <= channels; i += kWide) {
      const auto value = load<kWide>(fresh + i);
      difference |= value ^ load<kWide>(previous + i);
      store<kWide>(y + i, value);
    }
    const bool rest = renew_rest(fresh, previous, y, i, channels);
    changed[pixel] = rest || any(difference) || (also && changed[pixel] != 0);
  }
}

void maxima(const WindowRun& run, std::uint8_t* y) {
  const std::uint8_t* x = run.x;
  for (std::size_t window = 0; window < run.windows; ++window, x += run.step, y += run.channels) {
    cover(run.channels, [&](auto lanes, std::size_t i) {
      constexpr std::size_t width = decltype(lanes)::width;
      auto most = load<width>(x + i);
      for (std::size_t row = 0; row < run.rows; ++row) {
        const std::uint8_t* at = x + row * run.row_stride + i;
        for (std::size_t column = 0; column < run.columns; ++column, at += run.channels) {
          most = larger(most, load<width>(at));
        }
      }
      store<width>(y + i, most);
    });
  }
}

// The means of kNarrow channels of a window.
EDGEML_INLINE void window_means(const WindowRun& run, const std::uint8_t* x, std::int32_t zero_point, std::uint8_t* y) {
  const auto count = static_cast<std::int32_t>(run.rows * run.columns);
  Ints sums = ints(-zero_point * count);
  for (std::size_t row = 0; row < run.rows; ++row) {
    const std::uint8_t* at = x + row * run.row_stride;
    for (std::size_t column = 0; column < run.columns; ++column, at += run.channels) sums = plus(sums, load_ints(at));
  }
  store_codes(scaled(sums, 1.0F / static_cast<float>(count)), zero_point, y);
}

// One channel alone.
EDGEML_INLINE std::uint8_t window_mean(const WindowRun& run, const std::uint8_t* x, std::int32_t zero_point) {
  const auto count = static_cast<std::int32_t>(run.rows * run.columns);
  std::int32_t sum = -zero_point * count;
  for (std::size_t row = 0; row < run.rows; ++row) {
    const std::uint8_t* at = x + row * run.row_stride;
    for (std::size_t column = 0; column < run.columns; ++column, at += run.channels) sum += *at;
  }
  std::uint8_t codes[kNarrow];
  store_codes(scaled(ints(sum), 1.0F / static_cast<float>(count)), zero_point, codes);
  return codes[0];
}

void means(const WindowRun& run, std::int32_t zero_point, std::uint8_t* y) {
  const std::uint8_t* x = run.x;
  for (std::size_t window = 0; window < run.windows; ++window, x += run.step, y += run.channels) {
    const auto at = [&](std::size_t i) { window_means(run, x + i, zero_point, y + i); };
    std::size_t i = 0;
    for (; i + kNarrow <= run.channels; i += kNarrow) at(i);
    if (i < run.channels && run.channels >= kNarrow) {
      at(run.channels - kNarrow);
    } else {
      for (; i < run.channels; ++i) y[i] = window_mean(run, x + i, zero_point);
    }
  }
}

void blend_rows(const std::uint8_t* a, const std::uint8_t* b, std::uint16_t a_weight, std::uint16_t b_weight,
                std::size_t count, std::uint16_t* __restrict y) {
  for (std::size_t i = 0; i < count; ++i) y[i] = static_cast<std::uint16_t>(a_weight * a[i] + b_weight * b[i]);
}

// y[i] = (left_weight * left[i] + right_weight * right[i]) / 2^Shift to nearest even, for Count places.
template <unsigned Shift, std::size_t Count>
EDGEML_INLINE void blend_few(const std::uint16_t* left, const std::uint16_t* right, std::uint16_t left_weight,
                             std::uint16_t right_weight, std::uint8_t* __restrict y) {
  constexpr std::uint16_t below_half = (1U << (Shift - 1)) - 1U;
#if defined(__AVX2__)
  if constexpr (Count > 1) {
    typedef std::uint16_t Words __attribute__((vector_size(2 * Count), aligned(2), may_alias));
    Words sum = *reinterpret_cast<const Words*>(left) * left_weight;
    sum += *reinterpret_cast<const Words*>(right) * right_weight;
    sum += (sum >> Shift & 1) + below_half;
    sum >>= Shift;
#if defined(__AVX512BW__)
    if constexpr (Count == kMiddle) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), _mm512_cvtepi16_epi8(reinterpret_cast<__m512i>(sum)));
      return;
    }
#endif
    if constexpr (Count == kNarrow) {
      const auto words = reinterpret_cast<__m256i>(sum);
      store<kNarrow>(y, reinterpret_cast<Narrow>(
                            _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1))));
    }
    return;
  }
#endif
  for (std::size_t i = 0; i < Count; ++i) {
    const auto sum = static_cast<std::uint16_t>(left_weight * left[i] + right_weight * right[i]);
    const auto odd = static_cast<std::uint16_t>(sum >> Shift & 1);
    y[i] = static_cast<std::uint8_t>(static_cast<std::uint16_t>(sum + odd + below_half) >> Shift);
  }
}

template <unsigned Shift>
EDGEML_INLINE void blend(const std::uint16_t* left, const std::uint16_t* right, std::uint16_t left_weight,
                         std::uint16_t right_weight, std::size_t count, std::uint8_t* y) {
  const auto few = [&](auto lanes, std::size_t i) {
    blend_few<Shift, decltype(lanes)::width>(left + i, right + i, left_weight, right_weight, y + i);
  };
  constexpr std::size_t kAtOnce = kWide > kNarrow ? kWide / 2 : kNarrow;
  std::size_t i = 0;
  for (; i + kAtOnce <= count; i += kAtOnce) few(Lanes<kAtOnce>{}, i);
  if (i == count) return;
  if (count < kNarrow) {
    for (; i < count; ++i) few(Lanes<1>{}, i);
    return;
  }
  if (i + kNarrow <= count) few(Lanes<kNarrow>{}, i);
  few(Lanes<kNarrow>{}, count - kNarrow);
}

template <std::size_t Factor, unsigned Shift>
EDGEML_INLINE void blend_phases(const std::uint16_t* x, std::size_t pixels, std::size_t channels, std::uint8_t* y) {
  for (std::size_t pixel = 0; pixel < pixels; ++pixel, x += channels) {
    for (std::size_t phase = 0; phase < Factor; ++phase, y += channels) {
      // The centre lies (2 * phase + 1 - Factor) / (2 * Factor) pixels right of the middle one of three.
      const bool before = 2 * phase + 1 < Factor;
      const std::size_t right = before ? 2 * phase + 1 + Factor : 2 * phase + 1 - Factor;
      const std::uint16_t* const first = before ? x : x + channels;
      blend<Shift>(first, first + channels, static_cast<std::uint16_t>(2 * Factor - right),
                   static_cast<std::uint16_t>(right), channels, y);
    }
  }
}

void blend_columns(const std::uint16_t* x, std::size_t pixels, std::size_t channels, std::size_t factor,
                   std::uint8_t* y) {
  if (factor == 2) {
    blend_phases<2, 4>(x, pixels, channels, y);
  } else {
    blend_phases<4, 6>(x, pixels, channels, y);
  }
}

void mark_tiles(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, std::size_t tile, std::uint8_t limit,
                std::uint8_t* differs) {
  for (std::size_t first = 0; first < count; first += tile, ++differs) {
    if (*differs) continue;
    bool beyond = false;
    cover(count - first < tile ? count - first : tile, [&](auto lanes, std::size_t i) {
      constexpr std::size_t width = decltype(lanes)::width;
      const auto p = load<width>(a + first + i), q = load<width>(b + first + i);
      const auto most = all<width>(limit);
      beyond |= any(larger(larger(p, q) - smaller(p, q), most) ^ most);
    });
    *differs = beyond;
  }
}

void add_squares(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, std::size_t tile,
                 std::uint64_t* sums) {
  constexpr std::size_t kFits = 65536;  // that many squares fit 32 bits
  for (std::size_t first = 0; first < count; first += tile, ++sums) {
    const std::size_t last = count - first < tile ? count : first + tile;
    for (std::size_t i = first; i < last;) {
      const std::size_t end = last - i < kFits ? last : i + kFits;
      std::uint32_t sum = 0;
      for (; i < end; ++i) {
        const int difference = a[i] - b[i];
        sum += static_cast<std::uint32_t>(difference * difference);
      }
      *sums += sum;
    }
  }
}

}  // namespace
}  // namespace edgeml
