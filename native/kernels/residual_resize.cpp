#include "residual_resize.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "aligned.h"
#include "pixel_runs.h"

namespace edgeml {
namespace {

constexpr std::int64_t kLargestFactor = 32768;

struct Image {
  const std::uint8_t* x;
  const std::uint8_t* changed;
  std::size_t height, width, channels;

  const std::uint8_t* row(std::size_t at) const { return x + at * width * channels; }
};

// The pixel itself, `factor` times to the right; all of its output rows are alike.
class Repeat {
 public:
  Repeat(const Image& image, std::size_t factor, const ResidualSteps&)
      : image_(image), factor_(factor), longest_(pixels_at_once(factor * image.channels)),
        fresh_(longest_ * factor * image.channels) {}

  std::size_t longest() const { return longest_; }

  // The map of the pixels of an input row whose output pixels are active.
  OneMap active(std::size_t row) { return {image_.changed + row * image_.width}; }

  // Before fresh() for the pixels [from, to) of that row.
  void prepare(std::size_t row, std::size_t from, std::size_t to) {
    std::uint8_t* out = fresh_.data();
    for (std::size_t pixel = from; pixel < to; ++pixel) {
      const std::uint8_t* const codes = image_.row(row) + pixel * image_.channels;
      for (std::size_t i = 0; i < factor_; ++i, out += image_.channels) std::memcpy(out, codes, image_.channels);
    }
  }

  // Output row `phase` of those of the input row: (to - from, factor, channels).
  const std::uint8_t* fresh(std::size_t, std::size_t, std::size_t, std::size_t) const { return fresh_.data(); }

 private:
  const Image& image_;
  std::size_t factor_, longest_;
  AlignedVector<std::uint8_t> fresh_;
};

// Between the four nearest pixels, first along columns and then along rows, in integers.
class Interpolate {
 public:
  Interpolate(const Image& image, std::size_t factor, const ResidualSteps& steps)
      : image_(image), factor_(factor), steps_(steps), longest_(pixels_at_once(factor * image.channels)),
        around_(image.width), active_(image.width), blended_((longest_ + 2) * image.channels),
        fresh_(longest_ * factor * image.channels) {}

  std::size_t longest() const { return longest_; }

  // Those with a changed pixel among the nine around them.
  OneMap active(std::size_t row) {
    const std::size_t width = image_.width, top = above(row), end = below(row) + 1;
    const std::uint8_t* const map = image_.changed + top * width;
    if (next_pixel<true>(OneMap{map}, 0, (end - top) * width) == (end - top) * width) {
      std::fill(active_.begin(), active_.end(), std::uint8_t{0});
      return {active_.data()};
    }
    std::copy_n(map, width, around_.data());
    for (std::size_t i = 1; i < end - top; ++i) {
      for (std::size_t column = 0; column < width; ++column) around_[column] |= map[i * width + column];
    }
    active_ = around_;
    for (std::size_t column = 1; column < width; ++column) active_[column] |= around_[column - 1];
    for (std::size_t column = 1; column < width; ++column) active_[column - 1] |= around_[column];
    return {active_.data()};
  }

  void prepare(std::size_t, std::size_t, std::size_t) const {}

  const std::uint8_t* fresh(std::size_t row, std::size_t phase, std::size_t from, std::size_t to) {
    // The centre lies (2 * phase + 1 - factor) / (2 * factor) rows below the middle one of three.
    const bool before = 2 * phase + 1 < factor_;
    const std::size_t lower_weight = before ? 2 * phase + 1 + factor_ : 2 * phase + 1 - factor_;
    const auto b_weight = static_cast<std::uint16_t>(lower_weight);
    const auto a_weight = static_cast<std::uint16_t>(2 * factor_ - lower_weight);
    const std::uint8_t* const a = image_.row(before ? above(row) : row);
    const std::uint8_t* const b = image_.row(before ? row : below(row));
    const std::size_t channels = image_.channels, left = from - (from > 0), right = to + (to < image_.width);
    const auto blend = [&](std::size_t first, std::size_t pixels, std::uint16_t* out) {
      steps_.blend_rows(a + first * channels, b + first * channels, a_weight, b_weight, pixels * channels, out);
    };
    // One pixel more at either end, repeated where the image ends.
    blend(left, right - left, blended_.data() + (left == from ? channels : 0));
    if (left == from) blend(from, 1, blended_.data());
    if (right == to) blend(to - 1, 1, blended_.data() + (to - from + 1) * channels);
    steps_.blend_columns(blended_.data(), to - from, channels, factor_, fresh_.data());
    return fresh_.data();
  }

 private:
  // The neighbours of a row, counted through all images; where its image ends, the row itself.
  std::size_t above(std::size_t row) const { return row % image_.height ? row - 1 : row; }
  std::size_t below(std::size_t row) const { return (row + 1) % image_.height ? row + 1 : row; }

  const Image& image_;
  std::size_t factor_;
  const ResidualSteps& steps_;
  std::size_t longest_;
  AlignedVector<std::uint8_t> around_, active_;
  AlignedVector<std::uint16_t> blended_;
  AlignedVector<std::uint8_t> fresh_;
};

template <class Method>
void enlarge(const Image& image, std::size_t factor, std::size_t batch, const ResidualOutput& output,
             const ResidualSteps& steps, const Parallel& parallel) {
  const std::size_t out_width = image.width * factor;
  in_ranges(parallel, batch * image.height, factor * out_width * image.channels,
            [&](std::size_t first, std::size_t last) {
              Method method(image, factor, steps);
              for (std::size_t row = first; row < last; ++row) {
                const auto each_phase = [&](std::size_t from, const auto& body) {
                  for (std::size_t phase = 0; phase < factor; ++phase) {
                    body(phase, (row * factor + phase) * out_width + from * factor);
                  }
                };
                each_run(
                    method.active(row), 0, image.width, method.longest(),
                    [&](std::size_t from, std::size_t to) {
                      method.prepare(row, from, to);
                      each_phase(from, [&](std::size_t phase, std::size_t start) {
                        output.renew(steps, start, (to - from) * factor, method.fresh(row, phase, from, to));
                      });
                    },
                    [&](std::size_t from, std::size_t to) {
                      each_phase(from, [&](std::size_t, std::size_t start) {
                        output.keep(start, start + (to - from) * factor);
                      });
                    });
              }
            });
}

}  // namespace

void check(const Enlargement& enlargement) {
  const std::int64_t factor = enlargement.factor;
  if (enlargement.linear ? factor != 2 && factor != 4 : factor < 1 || factor > kLargestFactor) {
    throw std::invalid_argument("factor is " + std::to_string(factor) + "; allowed are 1 to " +
                                std::to_string(kLargestFactor) + ", with linear 2 and 4");
  }
}

void residual_resize(const Enlargement& enlargement, const std::uint8_t* x, const std::uint8_t* changed,
                     std::size_t batch, std::size_t height, std::size_t width, const ResidualOutput& output,
                     const ResidualSteps& steps, const Parallel& parallel) {
  const Image image{x, changed, height, width, output.channels};
  const auto factor = static_cast<std::size_t>(enlargement.factor);
  if (enlargement.linear) {
    enlarge<Interpolate>(image, factor, batch, output, steps, parallel);
  } else {
    enlarge<Repeat>(image, factor, batch, output, steps, parallel);
  }
}

}  // namespace edgeml
