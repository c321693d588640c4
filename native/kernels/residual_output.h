// The output of a step of residual video: what it was for the frame before, renewed pixel by pixel.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "parallel.h"
#include "residual_steps.h"

namespace edgeml {

// `previous` and `y` are (pixels, channels) and either the same memory or apart.
struct ResidualOutput {
  const std::uint8_t* previous;
  std::uint8_t* y;
  std::uint8_t* changed;  // (pixels): becomes 1 where any channel of y differs from previous, else 0
  std::size_t channels;

  // Leaves the pixels [first, last) as they were.
  void keep(std::size_t first, std::size_t last) const {
    std::memset(changed + first, 0, last - first);
    if (previous != y) std::memcpy(y + first * channels, previous + first * channels, (last - first) * channels);
  }

  // Pixels from `first` on become `fresh`, (pixels, channels).
  void renew(const ResidualSteps& steps, std::size_t first, std::size_t pixels, const std::uint8_t* fresh) const {
    renew_part(steps, first, pixels, fresh, 0, channels, false);
  }

  // The same for `count` channels from `channel` on, of which `fresh` is (pixels, count); `also` where other channels of
  // these pixels were renewed before.
  void renew_part(const ResidualSteps& steps, std::size_t first, std::size_t pixels, const std::uint8_t* fresh,
                  std::size_t channel, std::size_t count, bool also) const {
    const std::size_t at = first * channels + channel;
    steps.renew(fresh, previous + at, y + at, pixels, count, channels, also, changed + first);
  }
};

// How many pixels one buffer of moderate size holds; at least 1.
inline std::size_t pixels_at_once(std::size_t bytes_per_pixel) {
  constexpr std::size_t kBufferBytes = 8192;
  return std::max<std::size_t>(1, kBufferBytes / bytes_per_pixel);
}

// Splits `count` items of so many bytes each into ranges worth a task of their own; calls body(first, last) on any
// thread.
template <class Body>
void in_ranges(const Parallel& parallel, std::size_t count, std::size_t item_bytes, const Body& body) {
  constexpr std::size_t kTaskBytes = 65536;
  // More tasks than threads, so that one slow thread does not hold the others up.
  const std::size_t wanted = parallel.threads() > 1 ? 3 * parallel.threads() : 1;
  const std::size_t parts = std::min({wanted, count, 1 + count * item_bytes / kTaskBytes});
  struct Task {
    const Body& body;
    std::size_t count, parts;
  } task{body, count, parts};
  parallel.run(
      parts,
      [](void* context, std::size_t i) {
        const Task& own = *static_cast<const Task*>(context);
        own.body(own.count * i / own.parts, own.count * (i + 1) / own.parts);
      },
      &task);
}

}  // namespace edgeml
