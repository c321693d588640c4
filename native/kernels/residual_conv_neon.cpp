// The steps for NEON, with what every 64-bit ARM has: codes and weights are widened to 16 bits, products added in 32.
#include <arm_neon.h>

#include <cstring>

#include "residual_conv_neon_store.h"
#include "residual_conv_tile.h"

namespace edgeml {
namespace {

struct Neon {
  static constexpr int pixels = 4;
  static constexpr int blocks = 1;
  static constexpr int depthwise_pixels = 4;
  static constexpr bool filters_innermost = true;
  static constexpr std::int32_t code_offset = 0;
  using Sums = NeonSums;
  struct Weights {
    int16x8_t v[kQuad][2];
  };
  using Codes = int16x4_t;
  struct Taps {
    int16x8_t v[kQuad][2];
  };

  static Sums load_sums(const std::int32_t* p) { return load_neon_sums(p); }
  static Weights load_weights(const std::int8_t* p) {
    Weights w;
    for (std::size_t k = 0; k < kQuad; ++k) {
      const int8x16_t all = vld1q_s8(p + k * kFilters);
      w.v[k][0] = vmovl_s8(vget_low_s8(all));
      w.v[k][1] = vmovl_high_s8(all);
    }
    return w;
  }
  static Codes broadcast_codes(const std::uint8_t* p) {
    std::uint32_t word;
    std::memcpy(&word, p, sizeof word);
    return vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vcreate_u8(word))));
  }
  static Taps load_taps(const std::uint8_t* a, const std::uint8_t* b, const std::uint8_t* c, const std::uint8_t* d) {
    const std::uint8_t* const from[kQuad] = {a, b, c, d};
    Taps t;
    for (std::size_t k = 0; k < kQuad; ++k) {
      const uint8x16_t all = vld1q_u8(from[k]);
      t.v[k][0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(all)));
      t.v[k][1] = vreinterpretq_s16_u16(vmovl_high_u8(all));
    }
    return t;
  }
  template <int K>
  static Sums add_lane(Sums s, Codes c, const Weights& w) {
    s.v[0] = vmlal_lane_s16(s.v[0], vget_low_s16(w.v[K][0]), c, K);
    s.v[1] = vmlal_high_lane_s16(s.v[1], w.v[K][0], c, K);
    s.v[2] = vmlal_lane_s16(s.v[2], vget_low_s16(w.v[K][1]), c, K);
    s.v[3] = vmlal_high_lane_s16(s.v[3], w.v[K][1], c, K);
    return s;
  }
  static Sums add_products(Sums s, Codes c, const Weights& w) {
    return add_lane<3>(add_lane<2>(add_lane<1>(add_lane<0>(s, c, w), c, w), c, w), c, w);
  }
  static Sums add_tap_products(Sums s, const Taps& t, const Weights& w) {
    for (std::size_t k = 0; k < kQuad; ++k) {
      for (int half = 0; half < 2; ++half) {
        s.v[2 * half] = vmlal_s16(s.v[2 * half], vget_low_s16(t.v[k][half]), vget_low_s16(w.v[k][half]));
        s.v[2 * half + 1] = vmlal_high_s16(s.v[2 * half + 1], t.v[k][half], w.v[k][half]);
      }
    }
    return s;
  }
  static void store_codes(std::uint8_t* to, std::size_t count, const Sums& s, const float* multiplier,
                          std::int32_t zero_point) {
    store_neon_codes(to, count, s, multiplier, zero_point);
  }
};

}  // namespace

const ResidualConvSteps neon_residual_conv_steps = residual_conv_steps<Neon>;

}  // namespace edgeml
