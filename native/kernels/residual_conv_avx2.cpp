// The steps for AVX2. Products of bytes would be added in 16 bits with saturation, so codes and weights are widened
// first; a block's sums are four registers of two halves a filter, added at last.
#include <immintrin.h>

#include <cstring>

#include "residual_conv_tile.h"

namespace edgeml {
namespace {

struct Avx2 {
  static constexpr int pixels = 2;
  static constexpr int blocks = 1;
  static constexpr int depthwise_pixels = 2;
  static constexpr bool filters_innermost = false;
  static constexpr std::int32_t code_offset = 0;
  struct Sums {
    __m256i v[4];  // filters 4 * i and up, sums of two products side by side
  };
  using Weights = const std::int8_t*;  // widened where they are used, or they would not fit the registers
  using Codes = __m256i;
  struct Taps {
    __m256i v[4];
  };

  static __m128i sixteen(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  static Sums load_sums(const std::int32_t* p) {
    Sums s;
    for (int i = 0; i < 4; ++i) s.v[i] = _mm256_cvtepu32_epi64(sixteen(p + 4 * i));
    return s;
  }
  static Weights load_weights(const std::int8_t* p) { return p; }
  static Codes broadcast_codes(const std::uint8_t* p) {
    int word;
    std::memcpy(&word, p, sizeof word);
    return _mm256_cvtepu8_epi16(_mm_set1_epi32(word));
  }
  static Taps load_taps(const std::uint8_t* a, const std::uint8_t* b, const std::uint8_t* c, const std::uint8_t* d) {
    const __m128i ab = _mm_unpacklo_epi8(sixteen(a), sixteen(b)), cd = _mm_unpacklo_epi8(sixteen(c), sixteen(d));
    const __m128i high_ab = _mm_unpackhi_epi8(sixteen(a), sixteen(b));
    const __m128i high_cd = _mm_unpackhi_epi8(sixteen(c), sixteen(d));
    Taps t;
    t.v[0] = _mm256_cvtepu8_epi16(_mm_unpacklo_epi16(ab, cd));
    t.v[1] = _mm256_cvtepu8_epi16(_mm_unpackhi_epi16(ab, cd));
    t.v[2] = _mm256_cvtepu8_epi16(_mm_unpacklo_epi16(high_ab, high_cd));
    t.v[3] = _mm256_cvtepu8_epi16(_mm_unpackhi_epi16(high_ab, high_cd));
    return t;
  }
  static __m256i widened(Weights w, int i) { return _mm256_cvtepi8_epi16(sixteen(w + 16 * i)); }
  static Sums add_products(Sums s, Codes c, Weights w) {
    for (int i = 0; i < 4; ++i) s.v[i] = _mm256_add_epi32(s.v[i], _mm256_madd_epi16(c, widened(w, i)));
    return s;
  }
  static Sums add_tap_products(Sums s, const Taps& t, Weights w) {
    for (int i = 0; i < 4; ++i) s.v[i] = _mm256_add_epi32(s.v[i], _mm256_madd_epi16(t.v[i], widened(w, i)));
    return s;
  }
  // Eight codes as integers from 0 to 255 or beyond.
  static __m256i codes_of(__m256i low, __m256i high, const float* multiplier, std::int32_t zero_point) {
    const __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(multiplier));
    // Far outside any code, so that it fits an integer; what lies below becomes the least integer by itself.
    value = _mm256_min_ps(value, _mm256_set1_ps(1024.0F));
    return _mm256_add_epi32(_mm256_cvtps_epi32(value), _mm256_set1_epi32(zero_point));
  }
  static void store_codes(std::uint8_t* to, std::size_t count, const Sums& s, const float* multiplier,
                          std::int32_t zero_point) {
    const __m256i low = codes_of(s.v[0], s.v[1], multiplier, zero_point);
    const __m256i high = codes_of(s.v[2], s.v[3], multiplier + 8, zero_point);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
    const __m128i packed = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (count == kFilters) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
    } else {
      std::uint8_t all[kFilters];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(all), packed);
      std::memcpy(to, all, count);
    }
  }
};

}  // namespace

const ResidualConvSteps avx2_residual_conv_steps = residual_conv_steps<Avx2>;

}  // namespace edgeml
