#include "binary_conv_plan.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>

#include "binary_conv_steps.h"

namespace edgeml {
namespace {

constexpr long double kTooLarge = 4294967296.0L;  // offsets are 32 bits wide

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

std::size_t parts(std::size_t whole, std::size_t part) { return (whole + part - 1) / part; }

// For each output position of one axis, which taps lie inside the image (one byte a tap).
std::vector<std::vector<bool>> taps_inside(const ConvGeometry& g, std::size_t axis, std::int64_t in, std::int64_t out) {
  std::vector<std::vector<bool>> inside(size(out), std::vector<bool>(size(g.kernel[axis])));
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t k = 0; k < g.kernel[axis]; ++k) {
      const std::int64_t at = o * g.strides[axis] + k * g.dilations[axis] - g.pads[axis];
      inside[size(o)][size(k)] = at >= 0 && at < in;
    }
  }
  return inside;
}

}  // namespace

PackedWeights::PackedWeights(const ConvGeometry& g, const std::uint8_t* weights)
    : words(parts(size(g.channels_per_group()), kWordBits)), blocks(parts(size(g.out_channels / g.group), kBlock)) {
  const std::size_t taps = size(g.kernel[0] * g.kernel[1]);
  const std::size_t channels = size(g.channels_per_group());
  const std::size_t filters = size(g.out_channels / g.group);
  block_words = taps * words * kBlock;
  bits.assign(size(g.group) * blocks * block_words, 0);
  const std::size_t padded = padded_out_channels(g);
  negative.assign(taps * padded, 0);
  for (std::size_t m = 0; m < size(g.out_channels); ++m) {
    const std::uint8_t* filter = weights + m * size(g.bytes_per_filter());
    const std::size_t group = m / filters;
    const std::size_t place = m % filters;
    const std::size_t lane = place % kBlock;
    const std::size_t column = (group * blocks + place / kBlock) * kBlock + lane;
    std::uint32_t* block = bits.data() + (group * blocks + place / kBlock) * block_words;
    std::size_t bit = 0;
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t tap = 0; tap < taps; ++tap, ++bit) {
        const std::uint32_t set = (filter[bit / 8] >> (bit % 8)) & 1U;
        block[(tap * words + c / kWordBits) * kBlock + lane] |= set << (c % kWordBits);
        negative[tap * padded + column] += static_cast<std::int32_t>(set);
      }
    }
  }
}

std::size_t PackedWeights::padded_out_channels(const ConvGeometry& g) const { return size(g.group) * blocks * kBlock; }

Plan::Plan(const ConvGeometry& g, const PackedWeights& weights, std::int64_t h, std::int64_t w)
    : height(h),
      width(w),
      out_height(g.out_size(0, h)),
      out_width(g.out_size(1, w)),
      padded_height(size(h + g.pads[0] + g.pads[2])),
      padded_width(size(w + g.pads[1] + g.pads[3])),
      pixel_words(size(g.group) * weights.words) {
  const long double total = static_cast<long double>(padded_height) * static_cast<long double>(padded_width) *
                            static_cast<long double>(pixel_words);
  if (total >= kTooLarge) {
    throw std::invalid_argument("an image of " + std::to_string(h) + " x " + std::to_string(w) + " pixels with " +
                                std::to_string(g.channels) + " channels is too large; allowed are 2^32 packed words");
  }
  in_offsets.reserve(size(h * w));
  for (std::int64_t y = 0; y < h; ++y) {
    for (std::int64_t x = 0; x < w; ++x) {
      in_offsets.push_back(
          static_cast<std::uint32_t>((size(y + g.pads[0]) * padded_width + size(x + g.pads[1])) * pixel_words));
    }
  }
  const bool taps_adjoin = g.dilations[1] == 1 && g.group == 1;
  const std::size_t taps_in_run = taps_adjoin ? size(g.kernel[1]) : 1;
  run_words = taps_in_run * weights.words;
  for (std::size_t row = 0; row < size(g.kernel[0]); ++row) {
    for (std::size_t column = 0; column < size(g.kernel[1]); column += taps_in_run) {
      run_offsets.push_back(static_cast<std::uint32_t>(
          (row * size(g.dilations[0]) * padded_width + column * size(g.dilations[1])) * pixel_words));
    }
  }

  const auto rows = taps_inside(g, 0, h, out_height);
  const auto columns = taps_inside(g, 1, w, out_width);
  const std::size_t padded = weights.padded_out_channels(g);
  std::map<std::vector<bool>, std::uint32_t> row_kinds;
  std::map<std::vector<bool>, std::uint32_t> column_kinds;
  std::vector<std::uint32_t> row_kind;
  std::vector<std::uint32_t> column_kind;
  for (const auto& row : rows) {
    row_kind.push_back(row_kinds.emplace(row, static_cast<std::uint32_t>(row_kinds.size())).first->second);
  }
  for (const auto& column : columns) {
    column_kind.push_back(column_kinds.emplace(column, static_cast<std::uint32_t>(column_kinds.size())).first->second);
  }
  if (static_cast<long double>(row_kinds.size() * column_kinds.size()) * static_cast<long double>(padded) >= kTooLarge) {
    throw std::invalid_argument("kernel_shape and pads cut this image in " + std::to_string(row_kinds.size()) + " x " +
                                std::to_string(column_kinds.size()) + " ways, which is too many; use smaller pads");
  }
  base.assign(row_kinds.size() * column_kinds.size() * padded, 0);
  const auto channels = static_cast<std::int32_t>(g.channels_per_group());
  for (const auto& [row, r] : row_kinds) {
    for (const auto& [column, c] : column_kinds) {
      std::int32_t* const to = base.data() + (r * column_kinds.size() + c) * padded;
      std::size_t tap = 0;
      for (const bool row_inside : row) {
        for (const bool column_inside : column) {
          // Padding holds 0 bits: its taps count as many differences as the filter has ones, which are taken back.
          const std::int32_t* ones = weights.negative.data() + tap * padded;
          for (std::size_t m = 0; m < padded; ++m) to[m] += row_inside && column_inside ? channels : 2 * ones[m];
          ++tap;
        }
      }
    }
  }
  offsets.reserve(size(out_height * out_width));
  patterns.reserve(size(out_height * out_width));
  for (std::size_t y = 0; y < size(out_height); ++y) {
    for (std::size_t x = 0; x < size(out_width); ++x) {
      offsets.push_back(static_cast<std::uint32_t>(
          (y * size(g.strides[0]) * padded_width + x * size(g.strides[1])) * pixel_words));
      patterns.push_back((row_kind[y] * static_cast<std::uint32_t>(column_kinds.size()) + column_kind[x]) *
                         static_cast<std::uint32_t>(padded));
    }
  }
}

void Plan::zero_border(const ConvGeometry& g, std::uint32_t* image) const {
  const std::size_t row = padded_width * pixel_words;
  const std::size_t left = size(g.pads[1]) * pixel_words;
  const std::size_t right = size(g.pads[3]) * pixel_words;
  for (std::size_t y = 0; y < padded_height; ++y, image += row) {
    if (y < size(g.pads[0]) || y >= size(g.pads[0] + height)) {
      std::fill_n(image, row, 0U);
    } else {
      std::fill_n(image, left, 0U);
      std::fill_n(image + row - right, right, 0U);
    }
  }
}

}  // namespace edgeml
