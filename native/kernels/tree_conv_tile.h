// The inner steps of tree_conv_steps.h, written with vectors of 512 bits that the compiler splits where it must.
// Included by one file for each instruction set, compiled for it.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "tree_conv_steps.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // every function that takes such a vector is inlined
#endif

namespace edgeml {
namespace {

#define EDGEML_INLINE inline __attribute__((always_inline))

typedef std::uint64_t Plane __attribute__((vector_size(64), aligned(64), may_alias));

EDGEML_INLINE const Plane& plane(const std::uint64_t* words) { return *reinterpret_cast<const Plane*>(words); }
EDGEML_INLINE Plane& plane(std::uint64_t* words) { return *reinterpret_cast<Plane*>(words); }

// sum becomes the low bit of sum + a + b; the result is the high one.
EDGEML_INLINE Plane full_add(Plane& sum, const Plane& a, const Plane& b) {
#if defined(__AVX512F__)
  const auto s = reinterpret_cast<__m512i>(sum), p = reinterpret_cast<__m512i>(a), q = reinterpret_cast<__m512i>(b);
  sum = reinterpret_cast<Plane>(_mm512_ternarylogic_epi64(s, p, q, 0x96));
  return reinterpret_cast<Plane>(_mm512_ternarylogic_epi64(s, p, q, 0xe8));
#else
  const Plane either = sum ^ a;
  const Plane high = (sum & a) | (either & b);
  sum = either ^ b;
  return high;
#endif
}

EDGEML_INLINE Plane half_add(Plane& sum, const Plane& a) {
  const Plane high = sum & a;
  sum ^= a;
  return high;
}

// Adds kChunk planes to ones, twos and fours; the result is worth eight.
EDGEML_INLINE Plane add_chunk(const std::uint64_t* places, const std::uint32_t* list, Plane& ones, Plane& twos,
                              Plane& fours) {
  const auto at = [&](std::size_t i) -> const Plane& { return plane(places + list[i] * kPlaneWords); };
  Plane a = full_add(ones, at(0), at(1));
  Plane b = full_add(ones, at(2), at(3));
  const Plane c = full_add(twos, a, b);
  a = full_add(ones, at(4), at(5));
  b = full_add(ones, at(6), at(7));
  return full_add(fours, c, full_add(twos, a, b));
}

// Adds a plane that is worth 16 to a stack of numbers that then are `most` at most; returns the stack's height.
EDGEML_INLINE std::size_t carry_on(Plane* stack, std::size_t height, std::size_t most, const Plane& lowest) {
  Plane carry = lowest;
  const std::size_t reach = 64 - static_cast<std::size_t>(__builtin_clzll(most));
  while (height < reach) stack[height++] = Plane{};
  for (std::size_t b = 4; b < reach; ++b) carry = half_add(stack[b], carry);
  return height;
}

// How many of the list's planes are set at each position: stack[0] is the lowest bit. Returns the stack's height.
EDGEML_INLINE std::size_t count_set(const std::uint64_t* places, const std::uint32_t* list, std::size_t length,
                                    Plane* stack) {
  Plane ones{}, twos{}, fours{}, eights{};
  std::size_t height = 4, i = 0;
  for (; i + 2 * kChunk <= length; i += 2 * kChunk) {
    const Plane a = add_chunk(places, list + i, ones, twos, fours);
    const Plane b = add_chunk(places, list + i + kChunk, ones, twos, fours);
    height = carry_on(stack, height, i + 2 * kChunk, full_add(eights, a, b));
  }
  if (i < length) {
    height = carry_on(stack, height, length, half_add(eights, add_chunk(places, list + i, ones, twos, fours)));
  }
  stack[0] = ones;
  stack[1] = twos;
  stack[2] = fours;
  stack[3] = eights;
  return height;
}

void add_up(const TreeFilter* filters, std::size_t count, const std::uint32_t* lists, const std::uint64_t* places,
            std::size_t planes, std::uint64_t* sums) {
  Plane stack[kMostPlanes + 2];
  for (const TreeFilter* filter = filters; filter != filters + count; ++filter) {
    const std::size_t height = count_set(places, lists + filter->first, filter->length, stack);
    std::uint64_t* const own = sums + filter->channel * planes * kPlaneWords;
    if (filter->parent == filter->channel) {
      for (std::size_t b = 0; b < planes; ++b) plane(own + b * kPlaneWords) = b < height ? stack[b] : Plane{};
      continue;
    }
    const std::uint64_t* const parent = sums + filter->parent * planes * kPlaneWords;
    plane(own) = plane(parent);
    Plane carry{};
    std::size_t b = 1;
    for (; b < planes && b <= height; ++b) {
      Plane sum = plane(parent + b * kPlaneWords);
      carry = full_add(sum, stack[b - 1], carry);
      plane(own + b * kPlaneWords) = sum;
    }
    for (; b < planes; ++b) {
      Plane sum = plane(parent + b * kPlaneWords);
      carry = half_add(sum, carry);
      plane(own + b * kPlaneWords) = sum;
    }
  }
}

std::uint64_t sign_bits(const float* x, std::size_t count, float threshold) {
  std::uint64_t bits = 0;
  std::size_t i = 0;
#if defined(__AVX512F__)
  for (; i < count; i += 16) {
    const auto valid = static_cast<__mmask16>(count - i < 16 ? (1U << (count - i)) - 1U : 0xffffU);
    const __m512 values = _mm512_maskz_loadu_ps(valid, x + i);
    bits |= std::uint64_t{_mm512_mask_cmp_ps_mask(valid, values, _mm512_set1_ps(threshold), _CMP_LT_OQ)} << i;
  }
#else
#if defined(__AVX2__)
  for (; i + 8 <= count; i += 8) {
    const __m256 less = _mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(threshold), _CMP_LT_OQ);
    bits |= static_cast<std::uint64_t>(_mm256_movemask_ps(less)) << i;
  }
#endif
  for (; i < count; ++i) bits |= std::uint64_t{x[i] < threshold} << i;
#endif
  return bits;
}

void cut_planes(const std::uint64_t* source, const std::size_t* taps, std::size_t count, std::size_t first,
                std::uint64_t* out, std::size_t distance) {
  typedef std::uint64_t Loose __attribute__((vector_size(64), aligned(8), may_alias));
  for (std::size_t t = 0; t < count; ++t) {
    const std::uint64_t* const words = source + (first + taps[t]) / 64;
    const std::uint64_t shift = (first + taps[t]) % 64;
    const Plane low = *reinterpret_cast<const Loose*>(words), high = *reinterpret_cast<const Loose*>(words + 1);
    // In two steps, since a shift by 64 is not defined.
    const Plane cut = (low >> shift) | ((high << 1) << (63 - shift));
    plane(out + t * kPlaneWords) = cut;
    plane(out + (distance + t) * kPlaneWords) = ~cut;
  }
}

#if defined(__AVX512BW__)
void to_counts(const std::uint64_t* sum, std::size_t planes, std::int32_t excess, std::int32_t places,
               std::int16_t* counts) {
  const __m512i most = _mm512_set1_epi16(static_cast<std::int16_t>((1U << planes) - 1U));
  const __m512i start = _mm512_set1_epi16(static_cast<std::int16_t>(-excess));
  const __m512i all = _mm512_set1_epi16(static_cast<std::int16_t>(places));
  const auto store = [&](std::int16_t* out, __m256i low, __m256i high) {
    const __m512i sums = _mm512_or_si512(_mm512_cvtepu8_epi16(low), _mm512_slli_epi16(_mm512_cvtepu8_epi16(high), 8));
    const __m512i value = _mm512_and_si512(_mm512_add_epi16(sums, start), most);
    _mm512_storeu_si512(out, _mm512_sub_epi16(all, _mm512_add_epi16(value, value)));
  };
  for (std::size_t i = 0; i < kPlaneBits / 64; ++i) {
    __m512i low = _mm512_setzero_si512(), high = low, worth = _mm512_set1_epi8(1);
    for (std::size_t b = 0; b < planes && b < 8; ++b) {
      low = _mm512_mask_add_epi8(low, sum[b * kPlaneWords + i], low, worth);
      worth = _mm512_add_epi8(worth, worth);
    }
    worth = _mm512_set1_epi8(1);
    for (std::size_t b = 8; b < planes; ++b) {
      high = _mm512_mask_add_epi8(high, sum[b * kPlaneWords + i], high, worth);
      worth = _mm512_add_epi8(worth, worth);
    }
    store(counts + i * 64, _mm512_castsi512_si256(low), _mm512_castsi512_si256(high));
    store(counts + i * 64 + 32, _mm512_extracti64x4_epi64(low, 1), _mm512_extracti64x4_epi64(high, 1));
  }
}
#else
void to_counts(const std::uint64_t* sum, std::size_t planes, std::int32_t excess, std::int32_t places,
               std::int16_t* counts) {
  const std::uint32_t most = (1U << planes) - 1U;
  for (std::size_t i = 0; i < kPlaneBits / 8; ++i) {
    std::uint64_t low = 0, high = 0;  // bytes of eight numbers
    for (std::size_t b = 0; b < planes; ++b) {
      const std::uint64_t bits = sum[b * kPlaneWords + i / 8] >> (i % 8 * 8) & 0xff;
      // Bit n of a byte to bit 0 of byte n: seven bits by a product in which no two of them meet, then the eighth.
      const std::uint64_t spread =
          ((bits & 0x7f) * 0x0002040810204081ULL & 0x0001010101010101ULL) | (bits >> 7) << 56;
      (b < 8 ? low : high) |= spread << (b % 8);
    }
    for (std::size_t n = 0; n < 8; ++n) {
      const auto value = static_cast<std::uint32_t>((low >> (8 * n) & 0xff) | (high >> (8 * n) & 0xff) << 8);
      const std::uint32_t negative = (value - static_cast<std::uint32_t>(excess)) & most;
      counts[i * 8 + n] = static_cast<std::int16_t>(places - 2 * static_cast<std::int32_t>(negative));
    }
  }
}
#endif

void to_floats(const std::int16_t* counts, std::size_t length, float scale, float bias, float* y) {
#if defined(__AVX512F__)
  const __m512 factor = _mm512_set1_ps(scale), term = _mm512_set1_ps(bias);
  for (std::size_t i = 0; i < length; i += 16) {
    const auto valid = static_cast<__mmask16>(length - i < 16 ? (1U << (length - i)) - 1U : 0xffffU);
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(counts + i));
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(values)), factor);
    _mm512_mask_storeu_ps(y + i, valid, _mm512_add_ps(product, term));
  }
#else
  for (std::size_t i = 0; i < length; ++i) y[i] = scale * static_cast<float>(counts[i]) + bias;
#endif
}

}  // namespace
}  // namespace edgeml
