// Arithmetic on 16 codes, for residual_loops.h: as int32, as float32, and back to codes.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace edgeml {
namespace {

#define EDGEML_INLINE inline __attribute__((always_inline))

// store_codes rounds to the nearest integer, ties to even, adds the zero point and clips to 0..255. Values beyond
// kBeyond are as good as kBeyond, and those that no int32 holds may become the least.
constexpr float kBeyond = 1e6F;

#if defined(__AVX512BW__)

using Ints = __m512i;
using Floats = __m512;

EDGEML_INLINE Ints ints(std::int32_t value) { return _mm512_set1_epi32(value); }
EDGEML_INLINE Ints load_ints(const std::uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
EDGEML_INLINE Ints plus(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
EDGEML_INLINE Floats plus(Floats a, Floats b) { return _mm512_add_ps(a, b); }
EDGEML_INLINE Floats scaled(Ints a, float factor) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(a), _mm512_set1_ps(factor));
}
EDGEML_INLINE Ints rounded(Floats a) { return _mm512_cvtps_epi32(_mm512_min_ps(a, _mm512_set1_ps(kBeyond))); }
EDGEML_INLINE void store_codes(Floats a, std::int32_t zero_point, std::uint8_t* y) {
  const __m256i words = _mm256_adds_epi16(_mm512_cvtsepi32_epi16(rounded(a)),
                                          _mm256_set1_epi16(static_cast<std::int16_t>(zero_point)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y),
                   _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

#elif defined(__AVX2__)

struct Ints {
  __m256i low, high;
};
struct Floats {
  __m256 low, high;
};

EDGEML_INLINE Ints ints(std::int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
EDGEML_INLINE Ints load_ints(const std::uint8_t* p) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(codes), _mm256_cvtepu8_epi32(_mm_srli_si128(codes, 8))};
}
EDGEML_INLINE Ints plus(Ints a, Ints b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
EDGEML_INLINE Floats plus(Floats a, Floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
EDGEML_INLINE Floats scaled(Ints a, float factor) {
  const __m256 by = _mm256_set1_ps(factor);
  return {_mm256_mul_ps(_mm256_cvtepi32_ps(a.low), by), _mm256_mul_ps(_mm256_cvtepi32_ps(a.high), by)};
}
EDGEML_INLINE void store_codes(Floats a, std::int32_t zero_point, std::uint8_t* y) {
  const __m256 most = _mm256_set1_ps(kBeyond);
  const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_min_ps(a.low, most)),
                                          _mm256_cvtps_epi32(_mm256_min_ps(a.high, most)));
  const __m256i words = _mm256_permute4x64_epi64(
      _mm256_adds_epi16(both, _mm256_set1_epi16(static_cast<std::int16_t>(zero_point))), 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y),
                   _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

#elif defined(__ARM_NEON) && !defined(EDGEML_PORTABLE)

struct Ints {
  int32x4_t v[4];
};
struct Floats {
  float32x4_t v[4];
};

EDGEML_INLINE Ints ints(std::int32_t value) {
  const int32x4_t all = vdupq_n_s32(value);
  return {{all, all, all, all}};
}
EDGEML_INLINE Ints load_ints(const std::uint8_t* p) {
  const uint8x16_t codes = vld1q_u8(p);
  const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes)));
  const int16x8_t high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(codes)));
  return {{vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)), vmovl_s16(vget_low_s16(high)),
           vmovl_s16(vget_high_s16(high))}};
}
EDGEML_INLINE Ints plus(const Ints& a, const Ints& b) {
  return {{vaddq_s32(a.v[0], b.v[0]), vaddq_s32(a.v[1], b.v[1]), vaddq_s32(a.v[2], b.v[2]), vaddq_s32(a.v[3], b.v[3])}};
}
EDGEML_INLINE Floats plus(const Floats& a, const Floats& b) {
  return {{vaddq_f32(a.v[0], b.v[0]), vaddq_f32(a.v[1], b.v[1]), vaddq_f32(a.v[2], b.v[2]), vaddq_f32(a.v[3], b.v[3])}};
}
EDGEML_INLINE Floats scaled(const Ints& a, float factor) {
  return {{vmulq_n_f32(vcvtq_f32_s32(a.v[0]), factor), vmulq_n_f32(vcvtq_f32_s32(a.v[1]), factor),
           vmulq_n_f32(vcvtq_f32_s32(a.v[2]), factor), vmulq_n_f32(vcvtq_f32_s32(a.v[3]), factor)}};
}
EDGEML_INLINE void store_codes(const Floats& a, std::int32_t zero_point, std::uint8_t* y) {
  const int16x8_t zero = vdupq_n_s16(static_cast<std::int16_t>(zero_point));
  const auto words = [&](float32x4_t low, float32x4_t high) {  // every step saturates
    const int16x4_t first = vqmovn_s32(vcvtnq_s32_f32(low)), second = vqmovn_s32(vcvtnq_s32_f32(high));
    return vqmovun_s16(vqaddq_s16(vcombine_s16(first, second), zero));
  };
  vst1q_u8(y, vcombine_u8(words(a.v[0], a.v[1]), words(a.v[2], a.v[3])));
}

#else

struct Ints {
  std::int32_t v[16];
};
struct Floats {
  float v[16];
};

EDGEML_INLINE Ints ints(std::int32_t value) {
  Ints all;
  for (std::int32_t& each : all.v) each = value;
  return all;
}
EDGEML_INLINE Ints load_ints(const std::uint8_t* p) {
  Ints a;
  for (int i = 0; i < 16; ++i) a.v[i] = p[i];
  return a;
}
EDGEML_INLINE Ints plus(Ints a, const Ints& b) {
  for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
  return a;
}
EDGEML_INLINE Floats plus(Floats a, const Floats& b) {
  for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
  return a;
}
EDGEML_INLINE Floats scaled(const Ints& a, float factor) {
  Floats f;
  for (int i = 0; i < 16; ++i) f.v[i] = static_cast<float>(a.v[i]) * factor;
  return f;
}
EDGEML_INLINE void store_codes(const Floats& a, std::int32_t zero_point, std::uint8_t* y) {
  for (int i = 0; i < 16; ++i) {
    // Beyond 512 the zero point cannot bring a code back into its range.
    const float most = a.v[i] < 512.0F ? a.v[i] : 512.0F;
    const float bounded = most > -512.0F ? most : -512.0F;
    const float shifted = bounded + 12582912.0F;  // 1.5 * 2^23: the last bit is worth 1, so the addition rounds
    std::int32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    const std::int32_t code = bits - 0x4B400000 + zero_point;
    y[i] = static_cast<std::uint8_t>(code < 0 ? 0 : code > 255 ? 255 : code);
  }
}

#endif

}  // namespace
}  // namespace edgeml
