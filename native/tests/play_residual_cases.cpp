// Plays random cases against the kernels of residual video beside convolution, and prints the first mismatch.
//
//   play_residual_cases COUNT [SEED]
//
// Expected codes come from loops over single values that share nothing with the kernels. Each case is played with the
// previous output apart and in place.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../kernels/residual_pointwise.h"
#include "../kernels/residual_pool.h"
#include "../kernels/residual_resize.h"
#include "../kernels/tile_gate.h"

namespace edgeml {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Run = std::function<void(const ResidualOutput&, const ResidualSteps&)>;

std::uint8_t code(double value) { return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0)); }

// A case under way: `fresh` and `active` hold what every output pixel would become, and which of them do.
struct Case {
  const char* name;
  std::size_t channels;
  Bytes fresh, active;
  Run run;
};

class Maker {
 public:
  explicit Maker(unsigned seed) : random_(seed) {}

  std::size_t from(int least, int most) {
    return static_cast<std::size_t>(std::uniform_int_distribution<int>(least, most)(random_));
  }
  bool chance(double share) { return std::bernoulli_distribution(share)(random_); }
  Bytes codes(std::size_t count) {
    Bytes made(count);
    for (std::uint8_t& each : made) each = static_cast<std::uint8_t>(from(0, 255));
    return made;
  }
  Bytes map(std::size_t count) {
    const double share = std::vector<double>{0, 0.02, 0.3, 0.95, 1}[from(0, 4)];
    Bytes made(count);
    for (std::uint8_t& each : made) each = static_cast<std::uint8_t>(chance(share) ? 1 : 0);
    return made;
  }

  Case make() {
    height_ = from(1, 14), width_ = from(1, 60), channels_ = chance(0.5) ? from(1, 140) : 8 * from(1, 16);
    x_ = codes(pixels() * channels_), changed_ = map(pixels());
    switch (from(0, 5)) {
      case 0: return add();
      case 1: return concat();
      case 2: return table();
      case 3: return pool();
      case 4: return resize();
      default: return gate();
    }
  }

  // A previous output that agrees with the fresh one here and there.
  Bytes previous(const Case& one) {
    Bytes made = one.fresh;
    const double share = std::vector<double>{0, 0.01, 1}[from(0, 2)];
    for (std::uint8_t& each : made) {
      if (chance(share)) each = static_cast<std::uint8_t>(from(0, 255));
    }
    return one.name == std::string("TileGate") ? gate_previous_ : made;
  }

 private:
  std::size_t pixels() const { return height_ * width_; }

  Case add() {
    const Bytes x = x_, changed = changed_, b = codes(x.size()), b_changed = map(pixels());
    const Bytes table = codes(256);
    const bool with_table = chance(0.5);
    const auto number = [&] { return std::uniform_real_distribution<float>(-2, 2)(random_) * (chance(0.1) ? 1e9F : 1); };
    const auto zero = [&] { return static_cast<std::int32_t>(from(0, 255)); };
    const AddTerms terms{chance(0.3) ? 0.5F : number(), chance(0.3) ? 0.5F : number(), zero(), zero(), zero()};
    Case one{"ResidualAdd", channels_, Bytes(x.size()), Bytes(pixels()), {}};
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float left = static_cast<float>(x[i] - terms.a_zero) * terms.a_multiplier;
      const float right = static_cast<float>(b[i] - terms.b_zero) * terms.b_multiplier;
      const float sum = left + right;
      const std::uint8_t value = code(std::nearbyint(static_cast<double>(sum)) + terms.y_zero);
      one.fresh[i] = with_table ? table[value] : value;
    }
    for (std::size_t i = 0; i < pixels(); ++i) one.active[i] = changed[i] | b_changed[i];
    one.run = [=](const ResidualOutput& output, const ResidualSteps& steps) {
      residual_add({x.data(), changed.data()}, {b.data(), b_changed.data()}, terms, with_table ? table.data() : nullptr,
                   output, changed.size(), steps, Serial());
    };
    return one;
  }

  Case concat() {
    const std::size_t a_channels = channels_, b_channels = from(1, 70), all = a_channels + b_channels;
    const Bytes x = x_, changed = changed_, b = codes(pixels() * b_channels), b_changed = map(pixels());
    const Bytes table = codes(256);
    Case one{"ResidualConcat", all, Bytes(pixels() * all), Bytes(pixels()), {}};
    for (std::size_t i = 0; i < pixels(); ++i) {
      for (std::size_t c = 0; c < all; ++c) {
        one.fresh[i * all + c] =
            c < a_channels ? table[x[i * a_channels + c]] : b[i * b_channels + c - a_channels];
      }
      one.active[i] = changed[i] | b_changed[i];
    }
    one.run = [=](const ResidualOutput& output, const ResidualSteps& steps) {
      residual_concat({x.data(), changed.data()}, a_channels, {b.data(), b_changed.data()}, table.data(), nullptr,
                      output, changed.size(), steps, Serial());
    };
    return one;
  }

  Case table() {
    const Bytes x = x_, changed = changed_, values = codes(256);
    Case one{"ResidualTable", channels_, x, changed, {}};
    for (std::uint8_t& each : one.fresh) each = values[each];
    one.run = [=](const ResidualOutput& output, const ResidualSteps& steps) {
      residual_table({x.data(), changed.data()}, values.data(), output, changed.size(), steps, Serial());
    };
    return one;
  }

  Case pool() {
    const Bytes x = x_, changed = changed_;
    const auto height = static_cast<std::int64_t>(height_), width = static_cast<std::int64_t>(width_);
    PoolGeometry g{};
    bool fits = false;
    while (!fits) {
      const auto pick = [&](int least, int most) { return static_cast<std::int64_t>(from(least, most)); };
      g = {{pick(1, 4), pick(1, 4)}, {pick(1, 3), pick(1, 3)}, {pick(0, 2), pick(0, 2), pick(0, 2), pick(0, 2)},
           chance(0.5), pick(0, 255)};
      try {
        check_image(g, height, width);
        fits = true;
      } catch (const std::invalid_argument&) {
      }
    }
    Case one{"ResidualPool", channels_, {}, {}, {}};
    for (std::int64_t row = 0; row < g.out_size(0, height); ++row) {
      for (std::int64_t column = 0; column < g.out_size(1, width); ++column) {
        std::vector<int> sums(channels_), most(channels_);
        int count = 0, active = 0;
        for (std::int64_t i = row * g.strides[0] - g.pads[0], last = i + g.kernel[0]; i < last; ++i) {
          for (std::int64_t j = column * g.strides[1] - g.pads[1], end = j + g.kernel[1]; j < end; ++j) {
            if (i < 0 || j < 0 || i >= height || j >= width) continue;
            const auto pixel = static_cast<std::size_t>(i * width + j);
            ++count;
            active |= changed[pixel];
            for (std::size_t c = 0; c < channels_; ++c) {
              const int value = x[pixel * channels_ + c];
              sums[c] += value - static_cast<int>(g.zero_point);
              most[c] = std::max(most[c], value);
            }
          }
        }
        one.active.push_back(static_cast<std::uint8_t>(active));
        const float share = 1.0F / static_cast<float>(count);
        for (std::size_t c = 0; c < channels_; ++c) {
          const float mean = static_cast<float>(sums[c]) * share;
          one.fresh.push_back(code(g.average ? std::nearbyint(mean) + static_cast<float>(g.zero_point) : most[c]));
        }
      }
    }
    one.run = [=](const ResidualOutput& output, const ResidualSteps& steps) {
      residual_pool(g, x.data(), changed.data(), 1, height, width, output, steps, Serial());
    };
    return one;
  }

  Case resize() {
    const Bytes x = x_, changed = changed_;
    const bool linear = chance(0.6);
    const std::size_t height = height_, width = width_, factor = linear ? 2 * from(1, 2) : from(1, 3);
    Case one{"ResidualResize", channels_, {}, {}, {}};
    // Where output place `at` lies between two input places, and how far from the first of them.
    const auto between = [&](std::size_t at, std::size_t length) {
      const double place = (static_cast<double>(at) + 0.5) / static_cast<double>(factor) - 0.5, low = std::floor(place);
      const auto inside = [&](double value) {
        return static_cast<std::size_t>(std::clamp(value, 0.0, static_cast<double>(length - 1)));
      };
      return std::pair(std::pair(inside(low), inside(low + 1)), place - low);
    };
    for (std::size_t row = 0; row < height * factor; ++row) {
      for (std::size_t column = 0; column < width * factor; ++column) {
        const std::size_t y = row / factor, z = column / factor;
        int active = changed[y * width + z];
        for (std::size_t i = y - (y > 0); linear && i <= std::min(y + 1, height - 1); ++i) {
          for (std::size_t j = z - (z > 0); j <= std::min(z + 1, width - 1); ++j) active |= changed[i * width + j];
        }
        one.active.push_back(static_cast<std::uint8_t>(active));
        const auto [rows, down] = between(row, height);
        const auto [columns, right] = between(column, width);
        for (std::size_t c = 0; c < channels_; ++c) {
          const auto at = [&](std::size_t i, std::size_t j) {
            return static_cast<double>(x[(i * width + j) * channels_ + c]);
          };
          const double above = at(rows.first, columns.first) * (1 - right) + at(rows.first, columns.second) * right;
          const double below = at(rows.second, columns.first) * (1 - right) + at(rows.second, columns.second) * right;
          one.fresh.push_back(code(linear ? std::nearbyint(above * (1 - down) + below * down) : at(y, z)));
        }
      }
    }
    const Enlargement enlargement{static_cast<std::int64_t>(factor), linear};
    one.run = [=](const ResidualOutput& output, const ResidualSteps& steps) {
      residual_resize(enlargement, x.data(), changed.data(), 1, height, width, output, steps, Serial());
    };
    return one;
  }

  Case gate() {
    const Bytes x = x_;
    const std::size_t height = height_, width = width_, tile = from(1, 12), reach = from(0, 5);
    const TileGate asked{static_cast<std::int64_t>(tile), static_cast<std::int64_t>(from(0, 90)), chance(0.5)};
    gate_previous_ = x;
    for (std::uint8_t& each : gate_previous_) {
      if (chance(0.05)) each = code(each + static_cast<double>(from(0, static_cast<int>(2 * reach))) - reach);
    }
    Case one{"TileGate", channels_, x, Bytes(height * width), {}};
    for (std::size_t pixel = 0; pixel < height * width; ++pixel) {
      const std::size_t top = pixel / width / tile * tile, left = pixel % width / tile * tile;
      std::int64_t squares = 0, most = 0, count = 0;
      for (std::size_t i = top; i < std::min(top + tile, height); ++i) {
        for (std::size_t at = (i * width + left) * channels_; at < (i * width + std::min(left + tile, width)) * channels_;
             ++at, ++count) {
          const int difference = x[at] - gate_previous_[at];
          squares += difference * difference;
          most = std::max<std::int64_t>(most, std::abs(difference));
        }
      }
      one.active[pixel] = asked.rms ? 256 * squares > asked.threshold * asked.threshold * count
                                    : 16 * most > asked.threshold;
    }
    one.run = [=](const ResidualOutput& output, const ResidualSteps& steps) {
      tile_gate(asked, x.data(), 1, height, width, output, steps, Serial());
    };
    return one;
  }

  std::mt19937 random_;
  std::size_t height_ = 0, width_ = 0, channels_ = 0;
  Bytes x_, changed_, gate_previous_;
};

int play(unsigned count, unsigned seed) {
  std::vector<std::pair<std::string, const ResidualSteps*>> kernels;
  for (const Isa isa : available_isas()) kernels.emplace_back(name_of(isa), &residual_steps_of(isa));
#ifdef EDGEML_HAS_AVX512
  if (&residual_steps_of(available_isas().back()) == &avx512_vbmi_residual_steps) {
    kernels.emplace_back("avx512 without vbmi", &avx512_residual_steps);
  }
#endif
  Maker maker(seed);
  for (unsigned i = 0; i < count; ++i) {
    const Case one = maker.make();
    const Bytes previous = maker.previous(one);
    Bytes right = previous, right_changed(one.active.size(), 0);
    for (std::size_t at = 0; at < right.size(); ++at) {
      if (!one.active[at / one.channels]) continue;
      if (right[at] != one.fresh[at]) right_changed[at / one.channels] = 1;
      right[at] = one.fresh[at];
    }
    for (const auto& [kernel, steps] : kernels) {
      for (const bool in_place : {false, true}) {
        Bytes y = in_place ? previous : Bytes(previous.size(), 99), changed(one.active.size(), 99);
        one.run({in_place ? y.data() : previous.data(), y.data(), changed.data(), one.channels}, *steps);
        if (y == right && changed == right_changed) continue;
        std::printf("case %u, %s, %s, %s: another %s than expected\n", i, one.name, kernel.c_str(),
                    in_place ? "in place" : "apart", y == right ? "pixel map" : "output");
        return 1;
      }
    }
  }
  for (const auto& kernel : kernels) std::printf("%s: %u residual cases exact\n", kernel.first.c_str(), count);
  return 0;
}

}  // namespace
}  // namespace edgeml

int main(int count, char** arguments) {
  if (count < 2 || count > 3) {
    std::fprintf(stderr, "usage: play_residual_cases COUNT [SEED]\n");
    return 2;
  }
  try {
    return edgeml::play(static_cast<unsigned>(std::atoi(arguments[1])),
                        count == 3 ? static_cast<unsigned>(std::atoi(arguments[2])) : 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "play_residual_cases: %s\n", error.what());
    return 2;
  }
}
