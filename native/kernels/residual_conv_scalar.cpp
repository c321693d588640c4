// The steps in portable C++, for every processor.
#include <cstring>

#include "residual_conv_tile.h"

namespace edgeml {
namespace {

struct Portable {
  static constexpr int pixels = 1;
  static constexpr int blocks = 1;
  static constexpr int depthwise_pixels = 1;
  static constexpr bool filters_innermost = true;
  static constexpr std::int32_t code_offset = 0;
  // Unsigned: sums beyond 32 bits wrap, as they do in vectors.
  struct Sums {
    std::uint32_t v[kFilters];
  };
  struct Weights {
    std::int8_t v[kQuad][kFilters];
  };
  struct Codes {
    std::uint8_t v[kQuad];
  };
  struct Taps {
    std::uint8_t v[kQuad][kFilters];
  };

  static Sums load_sums(const std::int32_t* p) {
    Sums s;
    std::memcpy(s.v, p, sizeof s.v);
    return s;
  }
  static Weights load_weights(const std::int8_t* p) {
    Weights w;
    std::memcpy(w.v, p, sizeof w.v);
    return w;
  }
  static Codes broadcast_codes(const std::uint8_t* p) {
    Codes c;
    std::memcpy(c.v, p, sizeof c.v);
    return c;
  }
  static Taps load_taps(const std::uint8_t* a, const std::uint8_t* b, const std::uint8_t* c, const std::uint8_t* d) {
    Taps t;
    const std::uint8_t* const from[kQuad] = {a, b, c, d};
    for (std::size_t k = 0; k < kQuad; ++k) std::memcpy(t.v[k], from[k], kFilters);
    return t;
  }
  static Sums add_products(Sums s, const Codes& c, const Weights& w) {
    for (std::size_t k = 0; k < kQuad; ++k) {
      for (std::size_t i = 0; i < kFilters; ++i) s.v[i] += static_cast<std::uint32_t>(c.v[k] * w.v[k][i]);
    }
    return s;
  }
  static Sums add_tap_products(Sums s, const Taps& t, const Weights& w) {
    for (std::size_t k = 0; k < kQuad; ++k) {
      for (std::size_t i = 0; i < kFilters; ++i) s.v[i] += static_cast<std::uint32_t>(t.v[k][i] * w.v[k][i]);
    }
    return s;
  }
  static void store_codes(std::uint8_t* to, std::size_t count, const Sums& s, const float* multiplier,
                          std::int32_t zero_point) {
    for (std::size_t i = 0; i < count; ++i) {
      float value = static_cast<float>(static_cast<std::int32_t>(s.v[i])) * multiplier[i];
      value = value > -1024.0F ? value : -1024.0F;  // far outside any code, so that it fits an integer
      value = value < 1024.0F ? value : 1024.0F;
      // Adding 1.5 * 2^23 leaves no place for a fraction: the sum is rounded to nearest even.
      constexpr float kNoFraction = 12582912.0F;
      const std::int32_t code = static_cast<std::int32_t>(value + kNoFraction - kNoFraction) + zero_point;
      to[i] = static_cast<std::uint8_t>(code < 0 ? 0 : code > 255 ? 255 : code);
    }
  }
};

}  // namespace

const ResidualConvSteps scalar_residual_conv_steps = residual_conv_steps<Portable>;

}  // namespace edgeml
