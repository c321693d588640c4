#include "tile_gate.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "aligned.h"

namespace edgeml {
namespace {

constexpr std::int64_t kLargestTile = 32768;
constexpr std::int64_t kLargestDifference = 255;

// One row of tiles: `rows` rows of pixels.
class TileRow {
 public:
  TileRow(const TileGate& gate, std::size_t width, std::size_t channels, const ResidualSteps& steps)
      // No two codes differ by more, so beyond it nothing passes; squares and counts then fit 64 bits.
      : threshold_(static_cast<std::uint64_t>(std::min(gate.threshold, 16 * kLargestDifference))),
        rms_(gate.rms),
        tile_(static_cast<std::size_t>(gate.tile)),
        width_(width),
        channels_(channels),
        steps_(steps),
        active_((width + tile_ - 1) / tile_),
        squares_(gate.rms ? active_.size() : 0) {}

  // Decides which of the tiles of `rows` rows of pixels pass.
  void compare(const std::uint8_t* x, const std::uint8_t* previous, std::size_t rows) {
    const std::size_t row_bytes = width_ * channels_, tile_bytes = tile_ * channels_;
    if (!rms_) {
      // 16 * difference > threshold for integers.
      const auto limit = static_cast<std::uint8_t>(threshold_ / 16);
      std::fill(active_.begin(), active_.end(), std::uint8_t{0});
      for (std::size_t row = 0; row < rows; ++row) {
        steps_.mark_tiles(x + row * row_bytes, previous + row * row_bytes, row_bytes, tile_bytes, limit,
                          active_.data());
      }
      return;
    }
    std::fill(squares_.begin(), squares_.end(), std::uint64_t{0});
    for (std::size_t row = 0; row < rows; ++row) {
      steps_.add_squares(x + row * row_bytes, previous + row * row_bytes, row_bytes, tile_bytes, squares_.data());
    }
    for (std::size_t t = 0; t < active_.size(); ++t) {
      const std::uint64_t count = rows * (column(t + 1) - column(t)) * channels_;
      active_[t] = 256 * squares_[t] > threshold_ * threshold_ * count;
    }
  }

  // Calls pass(first, last) or hold(first, last) for runs of columns whose tiles do or do not.
  template <class Pass, class Hold>
  void each_run(const Pass& pass, const Hold& hold) const {
    for (std::size_t t = 0; t < active_.size();) {
      std::size_t end = t + 1;
      while (end < active_.size() && active_[end] == active_[t]) ++end;
      if (active_[t]) {
        pass(column(t), column(end));
      } else {
        hold(column(t), column(end));
      }
      t = end;
    }
  }

 private:
  std::size_t column(std::size_t tile) const { return std::min(tile * tile_, width_); }

  std::uint64_t threshold_;
  bool rms_;
  std::size_t tile_, width_, channels_;
  const ResidualSteps& steps_;
  AlignedVector<std::uint8_t> active_;
  AlignedVector<std::uint64_t> squares_;
};

}  // namespace

void check(const TileGate& gate) {
  if (gate.tile < 1 || gate.tile > kLargestTile) {
    throw std::invalid_argument("tile is " + std::to_string(gate.tile) + "; allowed are 1 to " +
                                std::to_string(kLargestTile));
  }
  if (gate.threshold < 0) {
    throw std::invalid_argument("threshold is " + std::to_string(gate.threshold) + "; allowed are 0 and more");
  }
}

void tile_gate(const TileGate& gate, const std::uint8_t* x, std::size_t batch, std::size_t height, std::size_t width,
               const ResidualOutput& output, const ResidualSteps& steps, const Parallel& parallel) {
  const auto tile = static_cast<std::size_t>(gate.tile);
  const std::size_t tile_rows = (height + tile - 1) / tile, row_bytes = width * output.channels;
  in_ranges(parallel, batch * tile_rows, tile * row_bytes, [&](std::size_t first, std::size_t last) {
    TileRow tiles(gate, width, output.channels, steps);
    for (std::size_t item = first; item < last; ++item) {
      const std::size_t top = item % tile_rows * tile, rows = std::min(tile, height - top);
      const std::size_t start = item / tile_rows * height + top;  // in rows of pixels
      tiles.compare(x + start * row_bytes, output.previous + start * row_bytes, rows);
      for (std::size_t row = start; row < start + rows; ++row) {
        const std::uint8_t* const fresh = x + row * row_bytes;
        tiles.each_run(
            [&](std::size_t from, std::size_t to) {
              output.renew(steps, row * width + from, to - from, fresh + from * output.channels);
            },
            [&](std::size_t from, std::size_t to) { output.keep(row * width + from, row * width + to); });
      }
    }
  });
}

}  // namespace edgeml
