#include "residual_pool.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "aligned.h"
#include "pixel_runs.h"

namespace edgeml {
namespace {

constexpr std::int64_t kLargest = 32768;              // of a kernel, stride or padding
constexpr std::int64_t kLargestWindow = 1 << 23;      // pixels whose sum fits 32 bits

void require(bool holds, const char* name, std::int64_t value, const std::string& allowed) {
  if (!holds) throw std::invalid_argument(std::string(name) + " holds " + std::to_string(value) + "; " + allowed);
}

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

// Along one axis: which part of the image each window covers.
struct Axis {
  std::int64_t kernel, stride, pad, size, out_size;

  std::int64_t start(std::size_t window) const { return static_cast<std::int64_t>(window) * stride - pad; }
  std::size_t first(std::size_t window) const { return edgeml::size(std::max<std::int64_t>(start(window), 0)); }
  std::size_t last(std::size_t window) const { return edgeml::size(std::min(start(window) + kernel, size)); }
  // The windows from whole_first() up to whole_last() have no padding; none where the first is not below the last.
  std::size_t whole_first() const { return edgeml::size((pad + stride - 1) / stride); }
  std::size_t whole_last() const {
    return size + pad < kernel ? 0 : edgeml::size(std::min((size + pad - kernel) / stride + 1, out_size));
  }
};

Axis axis_of(const PoolGeometry& geometry, std::size_t axis, std::int64_t size) {
  return {geometry.kernel[axis], geometry.strides[axis], geometry.pads[axis], size, geometry.out_size(axis, size)};
}

// Output rows of one image after another.
class Pool {
 public:
  Pool(const PoolGeometry& geometry, const Axis& rows, const Axis& columns, const std::uint8_t* x,
       const std::uint8_t* changed, const ResidualOutput& output, const ResidualSteps& steps)
      : geometry_(geometry), rows_(rows), columns_(columns), x_(x), changed_(changed), output_(output), steps_(steps) {}

  // Buffers that are overwritten from row to row.
  struct Scratch {
    AlignedVector<std::uint8_t> touched, active, fresh;  // (width), (output width), (some pixels, channels)
  };
  Scratch scratch() const {
    const std::size_t channels = output_.channels;
    return {AlignedVector<std::uint8_t>(size(columns_.size)), AlignedVector<std::uint8_t>(size(columns_.out_size)),
            AlignedVector<std::uint8_t>(pixels_at_once(channels) * channels)};
  }

  void run_row(std::size_t image, std::size_t row, Scratch& scratch) const {
    const std::size_t out_width = size(columns_.out_size);
    const std::size_t start = (image * size(rows_.out_size) + row) * out_width;
    if (!mark_active(image, row, scratch)) return output_.keep(start, start + out_width);
    each_run(
        OneMap{scratch.active.data()}, 0, out_width, pixels_at_once(output_.channels),
        [&](std::size_t from, std::size_t to) {
          compute(image, row, from, to, scratch.fresh.data());
          output_.renew(steps_, start + from, to - from, scratch.fresh.data());
        },
        [&](std::size_t from, std::size_t to) { output_.keep(start + from, start + to); });
  }

 private:
  // scratch.active[i] = whether a pixel in the row's window i changed; false where none did in any of them.
  bool mark_active(std::size_t image, std::size_t row, Scratch& scratch) const {
    const std::size_t width = size(columns_.size), first = rows_.first(row), last = rows_.last(row);
    const std::uint8_t* const map = changed_ + (image * size(rows_.size) + first) * width;
    if (next_pixel<true>(OneMap{map}, 0, (last - first) * width) == (last - first) * width) return false;
    std::uint8_t* const touched = scratch.touched.data();
    std::copy_n(map, width, touched);
    for (std::size_t i = 1; i < last - first; ++i) {
      for (std::size_t column = 0; column < width; ++column) touched[column] |= map[i * width + column];
    }
    // A window is active where the next changed pixel lies in it.
    std::size_t next = 0;
    for (std::size_t window = 0; window < scratch.active.size(); ++window) {
      next = next_pixel<true>(OneMap{touched}, std::max(next, columns_.first(window)), width);
      scratch.active[window] = next < columns_.last(window);
    }
    return true;
  }

  // Fresh codes of the windows [from, to) of a row.
  void compute(std::size_t image, std::size_t row, std::size_t from, std::size_t to, std::uint8_t* fresh) const {
    const std::size_t channels = output_.channels, row_stride = size(columns_.size) * channels;
    const std::size_t top = rows_.first(row);
    const std::uint8_t* const x = x_ + (image * size(rows_.size) + top) * row_stride;
    const std::size_t whole_first = columns_.whole_first(), whole_last = columns_.whole_last();
    while (from < to) {
      const bool whole = from >= whole_first && from < whole_last;
      const std::size_t end = whole ? std::min(to, whole_last) : from + 1;
      const std::size_t left = columns_.first(from);
      const WindowRun run{x + left * channels,
                          row_stride,
                          size(columns_.stride) * channels,
                          rows_.last(row) - top,
                          columns_.last(from) - left,
                          end - from,
                          channels};
      if (geometry_.average) {
        steps_.means(run, static_cast<std::int32_t>(geometry_.zero_point), fresh);
      } else {
        steps_.maxima(run, fresh);
      }
      fresh += (end - from) * channels;
      from = end;
    }
  }

  const PoolGeometry& geometry_;
  Axis rows_, columns_;
  const std::uint8_t* x_;
  const std::uint8_t* changed_;
  const ResidualOutput& output_;
  const ResidualSteps& steps_;
};

}  // namespace

std::int64_t PoolGeometry::out_size(std::size_t axis, std::int64_t size) const {
  const std::int64_t beyond = size + pads[axis] + pads[axis + 2] - kernel[axis];
  return beyond < 0 ? 0 : beyond / strides[axis] + 1;
}

void check(const PoolGeometry& geometry) {
  const std::string sizes = "allowed are 1 to " + std::to_string(kLargest);
  for (const std::int64_t value : geometry.kernel) {
    require(value >= 1 && value <= kLargest, "kernel_shape", value, sizes);
  }
  for (const std::int64_t value : geometry.strides) require(value >= 1 && value <= kLargest, "strides", value, sizes);
  for (const std::int64_t value : geometry.pads) {
    require(value >= 0 && value <= kLargest, "pads", value, "allowed are 0 to " + std::to_string(kLargest));
  }
  const std::int64_t window = geometry.kernel[0] * geometry.kernel[1];
  if (window > kLargestWindow) {
    throw std::invalid_argument("kernel_shape is a window of " + std::to_string(window) + " pixels; allowed are " +
                                std::to_string(kLargestWindow));
  }
  if (geometry.zero_point < 0 || geometry.zero_point > 255) {
    throw std::invalid_argument("zero_point is " + std::to_string(geometry.zero_point) + "; allowed are 0 to 255");
  }
}

void check_image(const PoolGeometry& geometry, std::int64_t height, std::int64_t width) {
  for (const std::size_t axis : {0, 1}) {
    const std::int64_t length = axis ? width : height, windows = geometry.out_size(axis, length);
    if (windows < 1) {
      throw std::invalid_argument("an image of " + std::to_string(height) + " x " + std::to_string(width) +
                                  " pixels with its padding is smaller than the kernel");
    }
    if (geometry.pads[axis] >= geometry.kernel[axis] ||
        (windows - 1) * geometry.strides[axis] - geometry.pads[axis] >= length) {
      throw std::invalid_argument("a window lies outside the image of " + std::to_string(height) + " x " +
                                  std::to_string(width) + " pixels");
    }
  }
}

void residual_pool(const PoolGeometry& geometry, const std::uint8_t* x, const std::uint8_t* changed, std::size_t batch,
                   std::int64_t height, std::int64_t width, const ResidualOutput& output, const ResidualSteps& steps,
                   const Parallel& parallel) {
  const Axis rows = axis_of(geometry, 0, height), columns = axis_of(geometry, 1, width);
  const Pool pool(geometry, rows, columns, x, changed, output, steps);
  const std::size_t out_rows = size(rows.out_size);
  in_ranges(parallel, batch * out_rows, size(columns.out_size) * output.channels,
            [&](std::size_t first, std::size_t last) {
              Pool::Scratch scratch = pool.scratch();
              for (std::size_t row = first; row < last; ++row) pool.run_row(row / out_rows, row % out_rows, scratch);
            });
}

}  // namespace edgeml
