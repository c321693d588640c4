// Sums of codes and functions of single codes, the loops of residual_steps.h that each instruction set does its own way.
// Included after residual_loops.h by one file for each instruction set.
#pragma once

#include "residual_loops.h"

namespace edgeml {
namespace {

EDGEML_INLINE Floats sums(const std::uint8_t* a, const std::uint8_t* b, const AddTerms& terms) {
  return plus(scaled(plus(load_ints(a), ints(-terms.a_zero)), terms.a_multiplier),
              scaled(plus(load_ints(b), ints(-terms.b_zero)), terms.b_multiplier));
}

void add(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddTerms& terms, std::uint8_t* y) {
  const AddTerms own = terms;
  std::size_t i = 0;
#if defined(__AVX512BW__)
  const __m512i zero = _mm512_set1_epi16(static_cast<std::int16_t>(own.y_zero));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto words = [&](std::size_t at) {
    return _mm512_packs_epi32(rounded(sums(a + at, b + at, own)), rounded(sums(a + at + 16, b + at + 16, own)));
  };
  for (; i + 64 <= count; i += 64) {
    const __m512i codes =
        _mm512_packus_epi16(_mm512_adds_epi16(words(i), zero), _mm512_adds_epi16(words(i + 32), zero));
    _mm512_storeu_si512(y + i, _mm512_permutexvar_epi32(order, codes));
  }
#endif
  for (; i + kNarrow <= count; i += kNarrow) store_codes(sums(a + i, b + i, own), own.y_zero, y + i);
  if (i == count) return;
  std::uint8_t left[kNarrow] = {}, right[kNarrow] = {}, codes[kNarrow];
  __builtin_memcpy(left, a + i, count - i);
  __builtin_memcpy(right, b + i, count - i);
  store_codes(sums(left, right, own), own.y_zero, codes);
  __builtin_memcpy(y + i, codes, count - i);
}

#if defined(__AVX2__)

#if defined(__AVX512BW__)
EDGEML_INLINE Wide in_each_lane(const std::uint8_t* p) {
  return reinterpret_cast<Wide>(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
EDGEML_INLINE Wide picked(Wide table, Wide index) {
  return reinterpret_cast<Wide>(
      _mm512_shuffle_epi8(reinterpret_cast<__m512i>(table), reinterpret_cast<__m512i>(index)));
}
EDGEML_INLINE Wide minus_16(Wide x) {
  return reinterpret_cast<Wide>(_mm512_subs_epi8(reinterpret_cast<__m512i>(x), _mm512_set1_epi8(16)));
}
#else
EDGEML_INLINE Wide in_each_lane(const std::uint8_t* p) {
  return reinterpret_cast<Wide>(
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
EDGEML_INLINE Wide picked(Wide table, Wide index) {
  return reinterpret_cast<Wide>(
      _mm256_shuffle_epi8(reinterpret_cast<__m256i>(table), reinterpret_cast<__m256i>(index)));
}
EDGEML_INLINE Wide minus_16(Wide x) {
  return reinterpret_cast<Wide>(_mm256_subs_epi8(reinterpret_cast<__m256i>(x), _mm256_set1_epi8(16)));
}
#endif

// A shuffle picks by the low four bits of an index and gives 0 where its high bit is set. So part i of either half of
// the table holds what turns part i - 1 into it, and an index that falls by 16 from part to part takes those up to its
// own and none after.
void look_up(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  std::size_t i = 0;
  if (count >= 4 * kWide) {
    Wide parts[16];
    for (std::size_t part = 0; part < 16; ++part) {
      parts[part] = in_each_lane(table + 16 * part);
      if (part % 8 != 0) parts[part] ^= in_each_lane(table + 16 * (part - 1));
    }
    for (; i + kWide <= count; i += kWide) {
      Wide low = load<kWide>(x + i), high = low ^ std::uint8_t{128}, found{};
#pragma GCC unroll 8
      for (std::size_t part = 0; part < 8; ++part) {
        found ^= picked(parts[part], low) ^ picked(parts[part + 8], high);
        low = minus_16(low);
        high = minus_16(high);
      }
      store<kWide>(y + i, found);
    }
  }
  for (; i < count; ++i) y[i] = table[x[i]];
}

#elif defined(__ARM_NEON) && !defined(EDGEML_PORTABLE)

void look_up(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  std::size_t i = 0;
  if (count >= 64) {
    const uint8x16x4_t first = vld1q_u8_x4(table), second = vld1q_u8_x4(table + 64);
    const uint8x16x4_t third = vld1q_u8_x4(table + 128), fourth = vld1q_u8_x4(table + 192);
    const uint8x16_t step = vdupq_n_u8(64);
    for (; i + 16 <= count; i += 16) {  // an index beyond a part of the table leaves what was found before
      uint8x16_t index = vld1q_u8(x + i);
      uint8x16_t found = vqtbl4q_u8(first, index);
      found = vqtbx4q_u8(found, second, index = vsubq_u8(index, step));
      found = vqtbx4q_u8(found, third, index = vsubq_u8(index, step));
      found = vqtbx4q_u8(found, fourth, vsubq_u8(index, step));
      vst1q_u8(y + i, found);
    }
  }
  for (; i < count; ++i) y[i] = table[x[i]];
}

#else

void look_up(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  for (std::size_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

#endif

}  // namespace
}  // namespace edgeml
