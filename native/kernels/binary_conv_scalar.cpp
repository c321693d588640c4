// The steps in portable C++, for every processor; compilers turn the loops over lanes into what vectors there are.
#include "binary_conv_tile.h"

namespace edgeml {
namespace {

struct Portable {
  static constexpr int lanes = 16;
  static constexpr int pixels = 1;
  static constexpr std::size_t most_blocks = 1;
  static constexpr int flush_every = 0;
  struct Words {
    std::uint32_t v[lanes];
  };
  struct Ints {
    std::int32_t v[lanes];
  };
  struct Floats {
    float v[lanes];
  };
  using Counter = Ints;

  static Ints zero() { return {}; }
  static Counter no_counts() { return {}; }
  static Words no_bits() { return {}; }
  static Words load_words(const std::uint32_t* p) {
    Words w;
    for (int i = 0; i < lanes; ++i) w.v[i] = p[i];
    return w;
  }
  static void store_words(std::uint32_t* p, const Words& w) {
    for (int i = 0; i < lanes; ++i) p[i] = w.v[i];
  }
  static Words broadcast_word(const std::uint32_t* p) {
    Words w;
    for (int i = 0; i < lanes; ++i) w.v[i] = *p;
    return w;
  }
  static Counter count(Counter c, const Words& a, const Words& b) {
    for (int i = 0; i < lanes; ++i) {  // Hacker's Delight, 5-1: vectors have no popcount everywhere, shifts they have
      std::uint32_t v = a.v[i] ^ b.v[i];
      v -= (v >> 1) & 0x55555555U;
      v = (v & 0x33333333U) + ((v >> 2) & 0x33333333U);
      v = (v + (v >> 4)) & 0x0F0F0F0FU;
      v += v >> 8;
      v += v >> 16;
      c.v[i] += static_cast<std::int32_t>(v & 0x3FU);
    }
    return c;
  }
  static Ints flush(const Ints&, const Counter& c) { return c; }
  static Ints last_flush(const Ints&, const Counter& c) { return c; }
  static Ints base_minus_twice(const std::int32_t* base, Ints total) {
    for (int i = 0; i < lanes; ++i) total.v[i] = base[i] - 2 * total.v[i];
    return total;
  }
  static unsigned above(const Ints& total, const std::int32_t* limit) {
    unsigned bits = 0;
    for (int i = 0; i < lanes; ++i) bits |= static_cast<unsigned>(total.v[i] > limit[i]) << i;
    return bits;
  }
  static Floats to_floats(const Ints& a) {
    Floats f;
    for (int i = 0; i < lanes; ++i) f.v[i] = static_cast<float>(a.v[i]);
    return f;
  }
  static Floats load(const float* p) {
    Floats f;
    for (int i = 0; i < lanes; ++i) f.v[i] = p[i];
    return f;
  }
  static void store(float* p, const Floats& f) {
    for (int i = 0; i < lanes; ++i) p[i] = f.v[i];
  }
  static Floats add(Floats a, const Floats& b) {
    for (int i = 0; i < lanes; ++i) a.v[i] += b.v[i];
    return a;
  }
  static Floats sub(Floats a, const Floats& b) {
    for (int i = 0; i < lanes; ++i) a.v[i] -= b.v[i];
    return a;
  }
  static Floats mul(Floats a, const Floats& b) {
    for (int i = 0; i < lanes; ++i) a.v[i] *= b.v[i];
    return a;
  }
  static Floats prelu(Floats a, const Floats& slope) {
    for (int i = 0; i < lanes; ++i) a.v[i] = a.v[i] < 0.0F ? a.v[i] * slope.v[i] : a.v[i];
    return a;
  }
  static unsigned less(const Floats& a, const Floats& b) {
    unsigned bits = 0;
    for (int i = 0; i < lanes; ++i) bits |= static_cast<unsigned>(a.v[i] < b.v[i]) << i;
    return bits;
  }
  static Words set_where_less(Words w, const Floats& x, float threshold, std::uint32_t bit) {
    for (int i = 0; i < lanes; ++i) w.v[i] |= x.v[i] < threshold ? bit : 0U;
    return w;
  }
};

void to_planes(const float* rows, std::size_t row_stride, std::size_t pixels, float* y, std::size_t plane_stride,
               std::size_t channels) {
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < pixels; ++i) y[c * plane_stride + i] = rows[i * row_stride + c];
  }
}

}  // namespace

const Steps scalar_steps{Portable::most_blocks, pack_planes<Portable>, pack_pixels<Portable>, to_float<Portable>, to_signs<Portable>, to_planes};

}  // namespace edgeml
