#include "pixel_map.h"

#include <algorithm>
#include <cstring>

namespace edgeml {
namespace {

bool any(const std::uint8_t* values, std::size_t count) {
  std::uint64_t found = 0;
  std::size_t i = 0;
  for (; i + sizeof found <= count; i += sizeof found) {
    std::uint64_t word;
    std::memcpy(&word, values + i, sizeof word);
    found |= word;
  }
  for (; i < count; ++i) found |= values[i];
  return found != 0;
}

}  // namespace

TileReach::TileReach(std::size_t in_size, std::size_t out_size, std::size_t tile, const WindowAxis& window) {
  const auto in = static_cast<std::int64_t>(in_size), out = static_cast<std::int64_t>(out_size);
  const std::int64_t step = std::min<std::int64_t>(static_cast<std::int64_t>(tile), out);
  const auto inside = [&](std::int64_t place) { return std::clamp<std::int64_t>(place, 0, in); };
  std::vector<bool> read(in_size, false);
  const auto mark = [&](std::int64_t from, std::int64_t to) {
    std::fill(read.begin() + inside(from), read.begin() + inside(to), true);
  };
  first_.push_back(0);
  for (std::int64_t begin = 0; begin < out; begin += step) {
    const std::int64_t outputs = std::min(step, out - begin), start = begin * window.stride - window.pad;
    const std::int64_t end = start + (outputs - 1) * window.stride + (window.kernel - 1) * window.dilation + 1;
    std::fill(read.begin() + inside(start), read.begin() + inside(end), false);
    if (window.dilation == 1) {
      for (std::int64_t o = 0; o < outputs; ++o) {
        mark(start + o * window.stride, start + o * window.stride + window.kernel);
      }
    } else if (window.stride == 1) {
      for (std::int64_t k = 0; k < window.kernel; ++k) {
        mark(start + k * window.dilation, start + k * window.dilation + outputs);
      }
    } else {
      for (std::int64_t o = 0; o < outputs; ++o) {
        for (std::int64_t k = 0; k < window.kernel; ++k) {
          const std::int64_t place = start + o * window.stride + k * window.dilation;
          mark(place, place + 1);
        }
      }
    }
    for (auto at = static_cast<std::size_t>(inside(start)); at < static_cast<std::size_t>(inside(end)); ++at) {
      if (!read[at]) continue;
      if (ranges_.size() > first_.back() && ranges_.back().last == at) {
        ranges_.back().last = at + 1;
      } else {
        ranges_.push_back({at, at + 1});
      }
    }
    first_.push_back(ranges_.size());
  }
}

void mark_active(const std::uint8_t* changed, std::size_t width, const TileReach& rows, std::size_t row,
                 const TileReach& columns, std::size_t first, std::size_t last, std::uint8_t* scratch,
                 std::uint8_t* active) {
  std::memset(active, 0, last - first);
  // The columns that these tiles read, of all rows that they read at once.
  std::size_t left = width, right = 0;
  for (const Range* range = columns.begin(first); range != columns.end(last - 1); ++range) {
    left = std::min(left, range->first);
    right = std::max(right, range->last);
  }
  if (left >= right || rows.begin(row) == rows.end(row)) return;
  std::memset(scratch + left, 0, right - left);
  for (const Range* range = rows.begin(row); range != rows.end(row); ++range) {
    for (std::size_t y = range->first; y < range->last; ++y) {
      const std::uint8_t* const line = changed + y * width;
      for (std::size_t x = left; x < right; ++x) scratch[x] |= line[x];
    }
  }
  if (!any(scratch + left, right - left)) return;
  for (std::size_t tile = first; tile < last; ++tile) {
    for (const Range* range = columns.begin(tile); range != columns.end(tile); ++range) {
      if (any(scratch + range->first, range->last - range->first)) {
        active[tile - first] = 1;
        break;
      }
    }
  }
}

}  // namespace edgeml
