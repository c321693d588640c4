// The steps for NEON with dot products of bytes (ARMv8.2), which take signed codes: 128 is taken off each.
#include <arm_neon.h>

#include <cstring>

#include "residual_conv_neon_store.h"
#include "residual_conv_tile.h"

namespace edgeml {
namespace {

struct NeonDotprod {
  static constexpr int pixels = 4;
  static constexpr int blocks = 1;
  static constexpr int depthwise_pixels = 4;
  static constexpr bool filters_innermost = false;
  static constexpr std::int32_t code_offset = 128;
  using Sums = NeonSums;
  struct Weights {
    int8x16_t v[4];
  };
  using Codes = int8x16_t;
  struct Taps {
    int8x16_t v[4];
  };

  static Sums load_sums(const std::int32_t* p) { return load_neon_sums(p); }
  static Weights load_weights(const std::int8_t* p) {
    Weights w;
    for (int i = 0; i < 4; ++i) w.v[i] = vld1q_s8(p + 16 * i);
    return w;
  }
  static int8x16_t signed_codes(uint8x16_t codes) {
    return vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(0x80)));
  }
  static Codes broadcast_codes(const std::uint8_t* p) {
    std::uint32_t word;
    std::memcpy(&word, p, sizeof word);
    return signed_codes(vreinterpretq_u8_u32(vdupq_n_u32(word)));
  }
  static Taps load_taps(const std::uint8_t* a, const std::uint8_t* b, const std::uint8_t* c, const std::uint8_t* d) {
    const uint8x16x2_t ab = vzipq_u8(vld1q_u8(a), vld1q_u8(b)), cd = vzipq_u8(vld1q_u8(c), vld1q_u8(d));
    Taps t;
    for (int half = 0; half < 2; ++half) {
      const uint16x8x2_t all = vzipq_u16(vreinterpretq_u16_u8(ab.val[half]), vreinterpretq_u16_u8(cd.val[half]));
      for (int i = 0; i < 2; ++i) t.v[2 * half + i] = signed_codes(vreinterpretq_u8_u16(all.val[i]));
    }
    return t;
  }
  static Sums add_products(Sums s, Codes c, const Weights& w) {
    for (int i = 0; i < 4; ++i) s.v[i] = vdotq_s32(s.v[i], w.v[i], c);
    return s;
  }
  static Sums add_tap_products(Sums s, const Taps& t, const Weights& w) {
    for (int i = 0; i < 4; ++i) s.v[i] = vdotq_s32(s.v[i], w.v[i], t.v[i]);
    return s;
  }
  static void store_codes(std::uint8_t* to, std::size_t count, const Sums& s, const float* multiplier,
                          std::int32_t zero_point) {
    store_neon_codes(to, count, s, multiplier, zero_point);
  }
};

}  // namespace

const ResidualConvSteps neon_dotprod_residual_conv_steps = residual_conv_steps<NeonDotprod>;

}  // namespace edgeml
