// Which parts of an output depend on pixels that changed. A pixel map is uint8 (height, width), 0 where a pixel's codes
// are those of the frame before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgeml {

// From first up to, not including, last.
struct Range {
  std::size_t first, last;
};

// A window along one axis, height or width, as ONNX's Conv has it; pad is the one before the first place.
struct WindowAxis {
  std::int64_t kernel = 1, stride = 1, dilation = 1, pad = 0;
};

// Along one axis: the places of the input that the taps of each tile of output places read, inside the image. With a
// tile of 1 these are the taps of each output place.
class TileReach {
 public:
  // in_size and out_size are at least 1, tile too; the last tile is cut off at out_size.
  TileReach(std::size_t in_size, std::size_t out_size, std::size_t tile, const WindowAxis& window);

  std::size_t tiles() const { return first_.size() - 1; }
  // Ranges of one tile, in order and apart from each other; none where all its taps fall on padding.
  const Range* begin(std::size_t tile) const { return ranges_.data() + first_[tile]; }
  const Range* end(std::size_t tile) const { return ranges_.data() + first_[tile + 1]; }

 private:
  std::vector<Range> ranges_;
  std::vector<std::size_t> first_;  // (tiles + 1)
};

// For the tiles [first, last) of tile row `row`: active[tile - first] = 1 where any of the pixels that it reads
// changed, else 0. changed: uint8 (height, width); scratch: uint8 (width), overwritten.
void mark_active(const std::uint8_t* changed, std::size_t width, const TileReach& rows, std::size_t row,
                 const TileReach& columns, std::size_t first, std::size_t last, std::uint8_t* scratch,
                 std::uint8_t* active);

}  // namespace edgeml
