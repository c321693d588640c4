// Times convolutions of 8-bit codes whose input changed in some tiles, by the kernel that this processor chooses.
//
//   residual_conv ROUNDS
// prints one line for each round and contender: LAYER PERCENT WHERE MICROSECONDS. PERCENT of the output's tiles, 8x8
// and spread at random, are active; WHERE is "in-place" where the new output takes the memory of the previous one, else
// "apart". Finding the active tiles is part of the time. One thread.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../kernels/residual_conv.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Layer {
  const char* name;
  std::int64_t channels, filters, group, kernel, stride, height, width;
};

constexpr Layer kLayers[] = {
    {"3x3-64-64-128x256", 64, 64, 1, 3, 1, 128, 256},
    {"3x3-3-32-stride2-256x512", 3, 32, 1, 3, 2, 256, 512},
    {"1x1-64-128-64x128", 64, 128, 1, 1, 1, 64, 128},
    {"depthwise-3x3-64-128x256", 64, 64, 64, 3, 1, 128, 256},
    {"3x3-256-256-32x64", 256, 256, 1, 3, 1, 32, 64},
};
constexpr int kPercents[] = {100, 50, 25, 10, 5, 0};
constexpr std::int64_t kTile = 8;

// Ones in the middle of each active tile, where no other tile's taps reach.
std::vector<std::uint8_t> spread(const Layer& layer, int percent, std::mt19937& random) {
  std::vector<std::uint8_t> map(static_cast<std::size_t>(layer.height * layer.width), 0);
  std::vector<std::size_t> centres;
  const std::int64_t step = kTile * layer.stride;
  for (std::int64_t y = step / 2; y < layer.height; y += step) {
    for (std::int64_t x = step / 2; x < layer.width; x += step) {
      centres.push_back(static_cast<std::size_t>(y * layer.width + x));
    }
  }
  std::shuffle(centres.begin(), centres.end(), random);
  const std::size_t active = centres.size() * static_cast<std::size_t>(percent) / 100;
  for (std::size_t i = 0; i < active; ++i) map[centres[i]] = 1;
  return map;
}

void time_layer(const Layer& layer, int rounds, std::mt19937& random) {
  const auto codes = [&](std::int64_t count) {
    std::vector<std::uint8_t> values(static_cast<std::size_t>(count));
    for (auto& value : values) value = static_cast<std::uint8_t>(random());
    return values;
  };
  edgeml::ConvGeometry geometry;
  geometry.channels = layer.channels;
  geometry.out_channels = layer.filters;
  geometry.group = layer.group;
  geometry.kernel = {layer.kernel, layer.kernel};
  geometry.strides = {layer.stride, layer.stride};
  geometry.pads = {layer.kernel / 2, layer.kernel / 2, layer.kernel / 2, layer.kernel / 2};
  const auto filters = static_cast<std::size_t>(layer.filters);
  std::vector<std::int8_t> weights(filters * static_cast<std::size_t>(geometry.bits_per_filter()));
  for (auto& weight : weights) weight = static_cast<std::int8_t>(random());
  const std::vector<float> multiplier(filters, 0.001F);
  const std::vector<std::int32_t> bias(filters, 0);
  std::vector<std::uint8_t> table(256);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::uint8_t>(i);
  const auto convolution =
      edgeml::ResidualConvolution::create(geometry, weights.data(), multiplier.data(), bias.data(), table.data(),
                                          {128, 128, kTile, 0}, edgeml::chosen_isa());
  const auto x = codes(layer.height * layer.width * layer.channels);
  const std::int64_t pixels = geometry.out_size(0, layer.height) * geometry.out_size(1, layer.width);
  auto previous = codes(pixels * layer.filters);
  auto y = previous;
  std::vector<std::uint8_t> changed(static_cast<std::size_t>(pixels));
  std::vector<std::vector<std::uint8_t>> maps;
  for (const int percent : kPercents) maps.push_back(spread(layer, percent, random));
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < maps.size(); ++i) {
      for (const bool in_place : {true, false}) {
        const edgeml::ResidualFrame frame{
            x.data(), maps[i].data(), 1, layer.height, layer.width,
            {in_place ? y.data() : previous.data(), y.data(), changed.data(), filters}};
        const auto start = Clock::now();
        convolution->run(frame, edgeml::Serial());
        const double microseconds = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
        std::printf("%s %d %s %.1f\n", layer.name, kPercents[i], in_place ? "in-place" : "apart", microseconds);
      }
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 0;
  if (rounds < 1) {
    std::fprintf(stderr, "usage: residual_conv ROUNDS\n");
    return 2;
  }
  std::mt19937 random(1);
  for (const Layer& layer : kLayers) time_layer(layer, rounds, random);
  return 0;
}
