// How sums begin and become codes with NEON, with and without dot products.
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "residual_conv_steps.h"

namespace edgeml {
namespace {

// Of a block's filters, four in each.
struct NeonSums {
  int32x4_t v[4];
};

inline NeonSums load_neon_sums(const std::int32_t* p) {
  NeonSums s;
  for (int i = 0; i < 4; ++i) s.v[i] = vld1q_s32(p + 4 * i);
  return s;
}

// Eight codes before they are clipped; what lies beyond integers saturates.
inline int16x8_t neon_codes(int32x4_t low, int32x4_t high, const float* multiplier, std::int32_t zero_point) {
  const int32x4_t sums[2] = {low, high};
  int32x4_t codes[2];
  for (int i = 0; i < 2; ++i) {
    const float32x4_t value = vmulq_f32(vcvtq_f32_s32(sums[i]), vld1q_f32(multiplier + 4 * i));
    codes[i] = vqaddq_s32(vcvtnq_s32_f32(value), vdupq_n_s32(zero_point));
  }
  return vcombine_s16(vqmovn_s32(codes[0]), vqmovn_s32(codes[1]));
}

inline void store_neon_codes(std::uint8_t* to, std::size_t count, const NeonSums& s, const float* multiplier,
                             std::int32_t zero_point) {
  const uint8x16_t packed = vcombine_u8(vqmovun_s16(neon_codes(s.v[0], s.v[1], multiplier, zero_point)),
                                        vqmovun_s16(neon_codes(s.v[2], s.v[3], multiplier + 8, zero_point)));
  if (count == kFilters) {
    vst1q_u8(to, packed);
  } else {
    std::uint8_t all[kFilters];
    vst1q_u8(all, packed);
    std::memcpy(to, all, count);
  }
}

}  // namespace
}  // namespace edgeml
