// The steps for NEON (64-bit ARM): cnt counts the bits of each byte, counted in bytes.
#include <arm_neon.h>

#include "binary_conv_tile.h"

namespace edgeml {
namespace {

struct Neon {
  static constexpr int lanes = 4;
  static constexpr int pixels = 4;
  static constexpr std::size_t most_blocks = 1;
  static constexpr int flush_every = 31;  // each word adds at most 8 to a byte
  using Words = uint32x4_t;
  using Ints = int32x4_t;
  using Counter = uint8x16_t;
  using Floats = float32x4_t;

  static Ints zero() { return vdupq_n_s32(0); }
  static Counter no_counts() { return vdupq_n_u8(0); }
  static Words no_bits() { return vdupq_n_u32(0); }
  static Words load_words(const std::uint32_t* p) { return vld1q_u32(p); }
  static void store_words(std::uint32_t* p, Words w) { vst1q_u32(p, w); }
  static Words broadcast_word(const std::uint32_t* p) { return vld1q_dup_u32(p); }
  static Counter count(Counter c, Words a, Words b) {
    return vaddq_u8(c, vcntq_u8(vreinterpretq_u8_u32(veorq_u32(a, b))));
  }
  static Ints flush(Ints total, Counter c) {
    return vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(total), vpaddlq_u8(c)));
  }
  static Ints last_flush(Ints total, Counter c) { return flush(total, c); }
  static Ints base_minus_twice(const std::int32_t* base, Ints total) {
    return vsubq_s32(vld1q_s32(base), vshlq_n_s32(total, 1));
  }
  static unsigned lanes_set(uint32x4_t mask) {
    const uint32x4_t bit = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(mask, bit));
  }
  static unsigned above(Ints total, const std::int32_t* limit) { return lanes_set(vcgtq_s32(total, vld1q_s32(limit))); }
  static Floats to_floats(Ints a) { return vcvtq_f32_s32(a); }
  static Floats load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, Floats f) { vst1q_f32(p, f); }
  static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  static Floats sub(Floats a, Floats b) { return vsubq_f32(a, b); }
  static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats prelu(Floats a, Floats slope) { return vbslq_f32(vcltzq_f32(a), vmulq_f32(a, slope), a); }
  static unsigned less(Floats a, Floats b) { return lanes_set(vcltq_f32(a, b)); }
  static Words set_where_less(Words w, Floats x, float threshold, std::uint32_t bit) {
    return vorrq_u32(w, vandq_u32(vcltq_f32(x, vdupq_n_f32(threshold)), vdupq_n_u32(bit)));
  }
};

void to_planes(const float* rows, std::size_t row_stride, std::size_t pixels, float* y, std::size_t plane_stride,
               std::size_t channels) {
  std::size_t first = 0;
  for (; channels == kBlock && first + 4 <= pixels; first += 4) {
    for (std::size_t quarter = 0; quarter < kBlock; quarter += 4) {
      const float* from = rows + first * row_stride + quarter;
      float* to = y + quarter * plane_stride + first;
      const float32x4x2_t a = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + row_stride));
      const float32x4x2_t b = vtrnq_f32(vld1q_f32(from + 2 * row_stride), vld1q_f32(from + 3 * row_stride));
      vst1q_f32(to, vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0])));
      vst1q_f32(to + plane_stride, vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1])));
      vst1q_f32(to + 2 * plane_stride, vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0])));
      vst1q_f32(to + 3 * plane_stride, vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1])));
    }
  }
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = first; i < pixels; ++i) y[c * plane_stride + i] = rows[i * row_stride + c];
  }
}

}  // namespace

const Steps neon_steps{Neon::most_blocks, pack_planes<Neon>, pack_pixels<Neon>, to_float<Neon>, to_signs<Neon>, to_planes};

}  // namespace edgeml
