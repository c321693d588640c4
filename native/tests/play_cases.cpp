// Plays recorded convolutions of signs against every kernel that this processor runs, and prints the first mismatch.
//
//   play_cases FILE
//
// FILE is what tests/native/write_cases.py writes, little-endian: the magic "edgeml binary cases 1\n", uint32 number of
// cases, and each case as
//   16 int64: batch, channels, height, width, out_channels, group, kernel (2), strides (2), dilations (2), pads (4)
//   weights: uint8 (out_channels, bytes per filter)
//   signs:   uint8 (ceil(batch * channels * height * width / 8)), bit 1 where an activation is negative
//   counts:  int32 (batch, out_channels, out_height, out_width)
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../kernels/binary_conv.h"
#include "case_file.h"

namespace edgeml {
namespace {

constexpr std::string_view kMagic = "edgeml binary cases 1\n";

struct Case {
  std::int64_t batch, height, width;
  ConvGeometry geometry;
  std::vector<std::uint8_t> weights;
  std::vector<float> threshold, scale, bias, x, expected;
};

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

// Values with the recorded signs around a threshold that differs from channel to channel: equal to it, above it and not
// a number are all positive. Scale and bias are such that no rounding takes place.
Case read_case(CaseFile& reader) {
  const auto numbers = reader.values<std::int64_t>(16);
  Case one;
  one.batch = numbers[0];
  one.height = numbers[2];
  one.width = numbers[3];
  one.geometry.channels = numbers[1];
  one.geometry.out_channels = numbers[4];
  one.geometry.group = numbers[5];
  one.geometry.kernel = {numbers[6], numbers[7]};
  one.geometry.strides = {numbers[8], numbers[9]};
  one.geometry.dilations = {numbers[10], numbers[11]};
  one.geometry.pads = {numbers[12], numbers[13], numbers[14], numbers[15]};
  const std::size_t filters = size(one.geometry.out_channels);
  one.weights = reader.values<std::uint8_t>(filters * size(one.geometry.bytes_per_filter()));

  for (std::int64_t c = 0; c < one.geometry.channels; ++c) one.threshold.push_back(static_cast<float>(c % 5 - 2));
  const std::size_t plane = size(one.height * one.width);
  one.x.resize(size(one.batch * one.geometry.channels) * plane);
  const auto signs = reader.values<std::uint8_t>((one.x.size() + 7) / 8);
  for (std::size_t i = 0; i < one.x.size(); ++i) {
    const float threshold = one.threshold[i / plane % one.threshold.size()];
    const bool negative = signs[i / 8] >> (i % 8) & 1;
    if (negative) {
      one.x[i] = std::nextafter(threshold, -std::numeric_limits<float>::infinity());
    } else {
      one.x[i] = i % 17 == 0 ? std::numeric_limits<float>::quiet_NaN() : threshold + static_cast<float>(i % 3);
    }
  }

  for (std::size_t m = 0; m < filters; ++m) {
    one.scale.push_back(m % 2 ? -0.5f : 2.0f);
    one.bias.push_back(static_cast<float>(m % 7));
  }
  const std::size_t out_plane =
      size(one.geometry.out_size(0, one.height)) * size(one.geometry.out_size(1, one.width));
  const auto counts = reader.values<std::int32_t>(size(one.batch) * filters * out_plane);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::size_t m = i / out_plane % filters;
    one.expected.push_back(one.scale[m] * static_cast<float>(counts[i]) + one.bias[m]);
  }
  return one;
}

// Nothing where all outputs are exact, else the first that is not.
std::string play(const Case& one, Isa isa, const Parallel& parallel) {
  const auto convolution = BinaryConvolution::create(one.geometry, one.weights.data(), one.threshold.data(),
                                                     one.scale.data(), one.bias.data(), isa);
  // A value that no case expects shows an output that was not written.
  std::vector<float> y(one.expected.size(), std::numeric_limits<float>::quiet_NaN());
  convolution->run(one.x.data(), one.batch, one.height, one.width, y.data(), parallel);
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] != one.expected[i]) {
      return "output " + std::to_string(i) + " is " + std::to_string(y[i]) + ", expected " +
             std::to_string(one.expected[i]);
    }
  }
  return "";
}

int play_all(const char* path) {
  CaseFile reader(path, kMagic);
  const std::uint32_t cases = reader.values<std::uint32_t>(1)[0];
  const std::vector<Isa> isas = available_isas();
  const Serial serial;
  const Backwards backwards;
  for (std::uint32_t i = 0; i < cases; ++i) {
    const Case one = read_case(reader);
    for (const Isa isa : isas) {
      const Parallel& parallel = i % 2 ? static_cast<const Parallel&>(backwards) : serial;
      const std::string mismatch = play(one, isa, parallel);
      if (!mismatch.empty()) {
        std::printf("case %u, %s: %s\n", i, std::string(name_of(isa)).c_str(), mismatch.c_str());
        return 1;
      }
    }
  }
  if (!reader.at_end()) throw std::runtime_error("the file of cases has more than its cases");
  for (const Isa isa : isas) std::printf("%s: %u cases exact\n", std::string(name_of(isa)).c_str(), cases);
  return 0;
}

}  // namespace
}  // namespace edgeml

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: play_cases FILE\n");
    return 2;
  }
  try {
    return edgeml::play_all(arguments[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "play_cases: %s\n", error.what());
    return 2;
  }
}
