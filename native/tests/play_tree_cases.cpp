// Plays random convolutions against the kernels that follow a tree of filters, and prints the first mismatch.
//
//   play_tree_cases COUNT [SEED]
//
// Expected counts come from loops over rows, columns and taps that share nothing with the kernels. Every tenth case has
// several blocks of positions; trees are random, chains among them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "../kernels/tree_conv.h"

namespace edgeml {
namespace {

struct Case {
  ConvGeometry geometry;
  std::int64_t batch, height, width;
  std::vector<std::uint8_t> weights;
  std::vector<std::int64_t> parents;
  std::vector<float> threshold, scale, bias, x;
};

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

Case random_case(std::mt19937& random, bool large) {
  const auto from = [&](int least, int most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  const auto chance = [&](double share) { return std::bernoulli_distribution(share)(random); };
  Case one;
  ConvGeometry& g = one.geometry;
  do {
    g.channels = from(1, large ? 3 : 40);
    g.out_channels = from(1, large ? 4 : 20);
    g.kernel = {from(1, 4), from(1, 4)};
    g.strides = {from(1, 3), from(1, 3)};
    g.dilations = {from(1, 2), from(1, 3)};
    g.pads = {from(0, 3), from(0, 3), from(0, 3), from(0, 3)};
    one.batch = from(1, 3);
    one.height = from(1, large ? 60 : 9);
    one.width = from(1, large ? 150 : 9);
  } while (g.out_size(0, one.height) < 1 || g.out_size(1, one.width) < 1);
  const std::size_t filters = size(g.out_channels), bytes = size(g.bytes_per_filter());
  const std::size_t bits = size(g.bits_per_filter());
  const double share = std::vector<double>{0, 0.05, 0.3, 0.5, 1}[size(from(0, 4))];
  std::vector<bool> common(bits);
  for (std::size_t i = 0; i < bits; ++i) common[i] = chance(0.5);
  one.weights.assign(filters * bytes, 0);
  for (std::size_t m = 0; m < filters; ++m) {
    for (std::size_t i = 0; i < bits; ++i) {
      if (common[i] != chance(share)) one.weights[m * bytes + i / 8] |= static_cast<std::uint8_t>(1U << (i % 8));
    }
  }
  std::vector<std::int64_t> order(filters);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  const bool chain = chance(0.3);
  one.parents.assign(filters, order[0]);
  for (std::size_t i = 1; i < filters; ++i) {
    one.parents[size(order[i])] = order[chain ? i - 1 : size(from(0, static_cast<int>(i) - 1))];
  }
  for (std::int64_t c = 0; c < g.channels; ++c) one.threshold.push_back(static_cast<float>(c % 5 - 2));
  for (std::size_t m = 0; m < filters; ++m) {
    one.scale.push_back(m % 2 ? -0.5f : 2.0f);
    one.bias.push_back(static_cast<float>(m % 7));
  }
  one.x.resize(size(one.batch * g.channels * one.height * one.width));
  for (float& value : one.x) {
    value = chance(0.02) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(from(-4, 4));
  }
  return one;
}

std::vector<float> expected(const Case& one) {
  const ConvGeometry& g = one.geometry;
  const std::int64_t out_height = g.out_size(0, one.height), out_width = g.out_size(1, one.width);
  std::vector<float> y;
  for (std::int64_t n = 0; n < one.batch; ++n) {
    for (std::int64_t m = 0; m < g.out_channels; ++m) {
      for (std::int64_t oy = 0; oy < out_height; ++oy) {
        for (std::int64_t ox = 0; ox < out_width; ++ox) {
          std::int64_t count = 0, place = 0;
          for (std::int64_t c = 0; c < g.channels; ++c) {
            for (std::int64_t ky = 0; ky < g.kernel[0]; ++ky) {
              for (std::int64_t kx = 0; kx < g.kernel[1]; ++kx, ++place) {
                const std::int64_t iy = oy * g.strides[0] + ky * g.dilations[0] - g.pads[0];
                const std::int64_t ix = ox * g.strides[1] + kx * g.dilations[1] - g.pads[1];
                if (iy < 0 || ix < 0 || iy >= one.height || ix >= one.width) continue;
                const float value = one.x[size(((n * g.channels + c) * one.height + iy) * one.width + ix)];
                const bool negative = value < one.threshold[size(c)];
                const std::uint8_t byte = one.weights[size(m * g.bytes_per_filter() + place / 8)];
                count += negative == static_cast<bool>(byte >> (place % 8) & 1) ? 1 : -1;
              }
            }
          }
          y.push_back(one.scale[size(m)] * static_cast<float>(count) + one.bias[size(m)]);
        }
      }
    }
  }
  return y;
}

int play(unsigned count, unsigned seed) {
  std::mt19937 random(seed);
  const std::vector<Isa> isas = available_isas();
  for (unsigned i = 0; i < count; ++i) {
    const Case one = random_case(random, i % 10 == 0);
    const std::vector<float> right = expected(one);
    for (const Isa isa : isas) {
      const TreeConvolution convolution(one.geometry, one.weights.data(), one.parents.data(), one.threshold.data(),
                                        one.scale.data(), one.bias.data(), isa);
      std::vector<float> y(right.size(), std::numeric_limits<float>::quiet_NaN());
      convolution.run(one.x.data(), one.batch, one.height, one.width, y.data(), Serial());
      for (std::size_t at = 0; at < y.size(); ++at) {
        if (y[at] == right[at]) continue;
        std::printf("case %u, %s: output %zu is %f, expected %f\n", i, std::string(name_of(isa)).c_str(), at,
                    static_cast<double>(y[at]), static_cast<double>(right[at]));
        return 1;
      }
    }
  }
  for (const Isa isa : isas) std::printf("%s: %u trees exact\n", std::string(name_of(isa)).c_str(), count);
  return 0;
}

}  // namespace
}  // namespace edgeml

int main(int count, char** arguments) {
  if (count < 2 || count > 3) {
    std::fprintf(stderr, "usage: play_tree_cases COUNT [SEED]\n");
    return 2;
  }
  try {
    return edgeml::play(static_cast<unsigned>(std::atoi(arguments[1])),
                        count == 3 ? static_cast<unsigned>(std::atoi(arguments[2])) : 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "play_tree_cases: %s\n", error.what());
    return 2;
  }
}
