// Walks a pixel map in runs of pixels that are active, or are not, eight pixels at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace edgeml {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first pixel of a word is its lowest byte");

// Active where a byte is not 0.
struct OneMap {
  const std::uint8_t* changed;

  std::uint64_t word(std::size_t pixel) const {
    std::uint64_t bytes;
    std::memcpy(&bytes, changed + pixel, sizeof bytes);
    return bytes;
  }
  bool operator[](std::size_t pixel) const { return changed[pixel] != 0; }
};

// Active where either of two bytes is not 0.
struct EitherMap {
  OneMap a, b;

  std::uint64_t word(std::size_t pixel) const { return a.word(pixel) | b.word(pixel); }
  bool operator[](std::size_t pixel) const { return a[pixel] || b[pixel]; }
};

// The first pixel from `first` on that is active, or with Active false is not; `last` where there is none.
template <bool Active, class Map>
std::size_t next_pixel(const Map& map, std::size_t first, std::size_t last) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U, kHighs = 0x8080808080808080U;
  for (; first + 8 <= last; first += 8) {
    const std::uint64_t word = map.word(first);
    // Of the bytes marked as 0 the lowest always is: a borrow only comes from one below.
    const std::uint64_t found = Active ? word : (word - kOnes) & ~word & kHighs;
    if (found) return first + static_cast<std::size_t>(__builtin_ctzll(found)) / 8;
  }
  while (first < last && map[first] != Active) ++first;
  return first;
}

// Covers the pixels [first, last) in order: idle(from, to) for runs without an active pixel, active(from, to) for runs
// of nothing else, of `longest` pixels at most.
template <class Map, class ActiveRun, class IdleRun>
void each_run(const Map& map, std::size_t first, std::size_t last, std::size_t longest, const ActiveRun& active,
              const IdleRun& idle) {
  while (first < last) {
    const std::size_t begin = next_pixel<true>(map, first, last);
    if (begin > first) idle(first, begin);
    const std::size_t end = next_pixel<false>(map, begin, last);
    for (std::size_t from = begin; from < end; from += longest) active(from, end - from < longest ? end : from + longest);
    first = end;
  }
}

}  // namespace edgeml
