// The steps for AVX-512 with VNNI and VBMI: one register holds the 16 sums of a block, and one instruction adds four
// products of a code and a weight to each.
#include <immintrin.h>

#include <cstring>

#include "residual_conv_tile.h"

namespace edgeml {
namespace {

struct Avx512 {
  static constexpr int pixels = 8;
  static constexpr int blocks = 2;
  static constexpr int depthwise_pixels = 4;
  static constexpr bool filters_innermost = false;
  static constexpr std::int32_t code_offset = 0;
  using Sums = __m512i;
  using Weights = __m512i;
  using Codes = __m512i;
  using Taps = __m512i;

  static Sums load_sums(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static Weights load_weights(const std::int8_t* p) { return _mm512_loadu_si512(p); }
  static Codes broadcast_codes(const std::uint8_t* p) {
    int word;
    std::memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
  }
  static __m128i sixteen(const std::uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static Taps load_taps(const std::uint8_t* a, const std::uint8_t* b, const std::uint8_t* c, const std::uint8_t* d) {
    __m512i rows = _mm512_castsi128_si512(sixteen(a));
    rows = _mm512_inserti32x4(rows, sixteen(b), 1);
    rows = _mm512_inserti32x4(rows, sixteen(c), 2);
    rows = _mm512_inserti32x4(rows, sixteen(d), 3);
    // Byte 4 * channel + tap comes from 16 * tap + channel.
    const __m512i first = _mm512_set1_epi32(0x30201000);
    const __m512i channel = _mm512_mullo_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(0x01010101));
    return _mm512_permutexvar_epi8(_mm512_add_epi32(first, channel), rows);
  }
  static Sums add_products(Sums s, Codes c, Weights w) { return _mm512_dpbusd_epi32(s, c, w); }
  static Sums add_tap_products(Sums s, Taps t, Weights w) { return _mm512_dpbusd_epi32(s, t, w); }
  static void store_codes(std::uint8_t* to, std::size_t count, Sums s, const float* multiplier,
                          std::int32_t zero_point) {
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(s), _mm512_loadu_ps(multiplier));
    // Far outside any code, so that it fits an integer; what lies below becomes the least integer by itself.
    value = _mm512_min_ps(value, _mm512_set1_ps(1024.0F));
    __m512i code = _mm512_add_epi32(_mm512_cvtps_epi32(value), _mm512_set1_epi32(zero_point));
    code = _mm512_max_epi32(code, _mm512_setzero_si512());
    const __m128i packed = _mm512_cvtusepi32_epi8(code);
    if (count == kFilters) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
    } else {
      _mm_mask_storeu_epi8(to, static_cast<__mmask16>((1U << count) - 1U), packed);
    }
  }
};

}  // namespace

const ResidualConvSteps avx512_residual_conv_steps = residual_conv_steps<Avx512>;

}  // namespace edgeml
