#include "residual_conv_plan.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "residual_conv_steps.h"

namespace edgeml {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 31;

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

std::size_t parts(std::size_t whole, std::size_t part) { return (whole + part - 1) / part; }

WindowAxis axis_of(const ConvGeometry& g, std::size_t axis) {
  return {g.kernel[axis], g.strides[axis], g.dilations[axis], g.pads[axis]};
}

}  // namespace

PackedFilters::PackedFilters(const ConvGeometry& g, const std::int8_t* given, const float* given_multiplier,
                             const std::int32_t* given_bias, std::int64_t zero, bool filters_innermost)
    : depthwise(g.channels_per_group() == 1 && g.out_channels == g.group),
      rows(g.group == 1 && g.dilations[1] == 1),
      groups(depthwise ? 1 : size(g.group)),
      group_bytes(size(g.channels_per_group())),
      filters(size(g.out_channels) / groups),
      blocks(parts(filters, kFilters)) {
  const std::size_t taps = size(g.kernel[0] * g.kernel[1]), channels = size(g.channels_per_group());
  const std::size_t columns = size(g.kernel[1]);
  std::size_t quads;
  if (depthwise) {
    rows = false;
    quads = parts(taps, kQuad);
    runs = quads * kQuad;
    run_words = 0;
    overread = blocks * kFilters - filters;
  } else {
    const std::size_t run_bytes = rows ? columns * channels : channels;
    runs = rows ? size(g.kernel[0]) : taps;
    run_words = parts(run_bytes, kQuad);
    quads = runs * run_words;
    overread = run_words * kQuad - run_bytes;
  }
  const std::size_t block_bytes = quads * kFilters * kQuad;
  if (block_bytes > kMostBytes / (groups * blocks)) {
    throw std::invalid_argument("the filters, " + std::to_string(g.out_channels) + " of " +
                                std::to_string(g.bits_per_filter()) + " weights, take more than 2 GiB when packed");
  }
  weights.resize(groups * blocks * block_bytes, 0);
  bias.resize(groups * blocks * kFilters, 0);
  multiplier.resize(groups * blocks * kFilters, 0.0F);
  for (std::size_t m = 0; m < size(g.out_channels); ++m) {
    const std::size_t block = m / filters * blocks + m % filters / kFilters, lane = m % filters % kFilters;
    std::int8_t* const to = weights.data() + block * block_bytes;
    // Wraps beyond 32 bits, as sums do.
    std::uint32_t sum = 0;
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t tap = 0; tap < taps; ++tap) {
        const std::int8_t weight = given[(m * channels + c) * taps + tap];
        sum += static_cast<std::uint32_t>(weight);
        std::size_t quad = tap / kQuad, place = tap % kQuad;
        if (!depthwise) {
          const std::size_t at = rows ? tap % columns * channels + c : c;
          quad = (rows ? tap / columns : tap) * run_words + at / kQuad;
          place = at % kQuad;
        }
        to[quad * kFilters * kQuad + (filters_innermost ? place * kFilters + lane : lane * kQuad + place)] = weight;
      }
    }
    bias[block * kFilters + lane] =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(given_bias[m]) - static_cast<std::uint32_t>(zero) * sum);
    multiplier[block * kFilters + lane] = given_multiplier[m];
  }
}

void PackedFilters::place_runs(const ConvGeometry& g, std::size_t down, std::size_t right,
                               std::size_t* offsets) const {
  const std::size_t columns = rows ? 1 : size(g.kernel[1]), taps = size(g.kernel[0]) * columns;
  for (std::size_t run = 0; run < runs; ++run) {
    // Beyond the last tap lie depthwise weights of 0, which may meet any codes.
    offsets[run] = run < taps ? run / columns * down + run % columns * right : 0;
  }
}

ResidualPlan::ResidualPlan(const ConvGeometry& g, const PackedFilters& filters, std::int64_t given_tile,
                           std::int64_t in_height, std::int64_t in_width)
    : height(in_height),
      width(in_width),
      out_height(size(g.out_size(0, in_height))),
      out_width(size(g.out_size(1, in_width))),
      tile(std::min(size(given_tile), std::max(out_height, out_width))),
      rows(size(in_height), out_height, tile, axis_of(g, 0)),
      columns(size(in_width), out_width, tile, axis_of(g, 1)),
      run_offsets(filters.runs) {
  const std::size_t pixel = size(g.channels);
  filters.place_runs(g, size(g.dilations[0] * width) * pixel, size(g.dilations[1]) * pixel, run_offsets.data());
}

}  // namespace edgeml
