// Plays recorded frames of ResidualConv against every kernel that this processor runs, and prints the first mismatch.
//
//   play_residual_conv_cases FILE
//
// FILE is what tests/native/write_residual_cases.py writes, little-endian: the magic "edgeml residual cases 1\n",
// uint32 number of cases, and each case as
//   20 int64: batch, height, width, channels, out_channels, group, kernel (2), strides (2), dilations (2), pads (4),
//             x_zero_point, y_zero_point, tile, threshold
//   weights: int8 (out_channels, channels / group, kernel height, kernel width)
//   multiplier: float32 (out_channels); bias: int32 (out_channels); table: uint8 (256)
//   x: uint8 (batch, height, width, channels); changed: uint8 (batch, height, width)
//   previous, y: uint8 (batch, out_height, out_width, out_channels); changed_out: uint8 (batch, out_height, out_width)
// Each is played with memory of its own for y and in place of previous, with one task after the other and backwards.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../kernels/residual_conv.h"
#include "case_file.h"

namespace edgeml {
namespace {

constexpr std::string_view kMagic = "edgeml residual cases 1\n";

using Bytes = std::vector<std::uint8_t>;

struct Case {
  std::int64_t batch, height, width;
  ConvGeometry geometry;
  ResidualSettings settings;
  std::vector<std::int8_t> weights;
  std::vector<float> multiplier;
  std::vector<std::int32_t> bias;
  Bytes table, x, changed, previous, y, changed_out;
};

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

Case read_case(CaseFile& reader) {
  const auto numbers = reader.values<std::int64_t>(20);
  Case one;
  one.batch = numbers[0];
  one.height = numbers[1];
  one.width = numbers[2];
  one.geometry.channels = numbers[3];
  one.geometry.out_channels = numbers[4];
  one.geometry.group = numbers[5];
  one.geometry.kernel = {numbers[6], numbers[7]};
  one.geometry.strides = {numbers[8], numbers[9]};
  one.geometry.dilations = {numbers[10], numbers[11]};
  one.geometry.pads = {numbers[12], numbers[13], numbers[14], numbers[15]};
  one.settings = {numbers[16], numbers[17], numbers[18], numbers[19]};
  const std::size_t filters = size(one.geometry.out_channels), pixels = size(one.batch * one.height * one.width);
  one.weights = reader.values<std::int8_t>(filters * size(one.geometry.bits_per_filter()));
  one.multiplier = reader.values<float>(filters);
  one.bias = reader.values<std::int32_t>(filters);
  one.table = reader.values<std::uint8_t>(256);
  one.x = reader.values<std::uint8_t>(pixels * size(one.geometry.channels));
  one.changed = reader.values<std::uint8_t>(pixels);
  const std::size_t outputs =
      size(one.batch * one.geometry.out_size(0, one.height) * one.geometry.out_size(1, one.width));
  one.previous = reader.values<std::uint8_t>(outputs * filters);
  one.y = reader.values<std::uint8_t>(outputs * filters);
  one.changed_out = reader.values<std::uint8_t>(outputs);
  return one;
}

// Nothing where both are alike, else the first place that differs.
std::string mismatch(const char* name, const Bytes& found, const Bytes& expected) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] != expected[i]) {
      return std::string(name) + " " + std::to_string(i) + " is " + std::to_string(found[i]) + ", expected " +
             std::to_string(expected[i]);
    }
  }
  return "";
}

std::string play(const Case& one, Isa isa, bool in_place, const Parallel& parallel) {
  const auto convolution =
      ResidualConvolution::create(one.geometry, one.weights.data(), one.multiplier.data(), one.bias.data(),
                                  one.table.data(), one.settings, isa);
  // Values that no case expects show an output that was not written.
  Bytes y(one.y.size()), changed_out(one.changed_out.size(), 2);
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = in_place ? one.previous[i] : static_cast<std::uint8_t>(one.y[i] ^ 0x55);
  }
  ResidualFrame frame{one.x.data(), one.changed.data(), one.batch, one.height, one.width, {}};
  frame.output.previous = in_place ? y.data() : one.previous.data();
  frame.output.y = y.data();
  frame.output.changed = changed_out.data();
  frame.output.channels = size(one.geometry.out_channels);
  convolution->run(frame, parallel);
  const std::string wrong = mismatch("output", y, one.y);
  return wrong.empty() ? mismatch("changed pixel", changed_out, one.changed_out) : wrong;
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
      for (const bool in_place : {false, true}) {
        const Parallel& parallel = (i % 2 == 0) == in_place ? static_cast<const Parallel&>(backwards) : serial;
        const std::string wrong = play(one, isa, in_place, parallel);
        if (wrong.empty()) continue;
        std::printf("case %u, %s%s: %s\n", i, std::string(name_of(isa)).c_str(), in_place ? ", in place" : "",
                    wrong.c_str());
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
    std::fprintf(stderr, "usage: play_residual_conv_cases FILE\n");
    return 2;
  }
  try {
    return edgeml::play_all(arguments[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "play_residual_conv_cases: %s\n", error.what());
    return 2;
  }
}
