// The inner steps of a convolution along a tree of filters, one table of them for each instruction set.
//
// As with binary_conv_steps.h, the files that define the tables use plain pointers only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa.h"

namespace edgeml {

inline constexpr std::size_t kPlaneBits = 512;  // output positions computed together
inline constexpr std::size_t kPlaneWords = kPlaneBits / 64;
inline constexpr std::size_t kChunk = 8;        // planes added up together
inline constexpr std::size_t kMostPlanes = 16;  // of one number

// One filter: sum = (parent's sum) + 2 * (number of set planes in its list); the root's is its list's number alone.
struct TreeFilter {
  std::uint32_t channel;
  std::uint32_t parent;  // the channel; the root's own
  std::uint32_t first;   // where its list begins
  std::uint32_t length;  // of the list, a multiple of kChunk
  std::int32_t excess;   // products that are -1 = sum - excess, modulo 2^planes
};

struct TreeSteps {
  // Bit i of the result: x[i] < threshold; count is 64 at most.
  std::uint64_t (*sign_bits)(const float* x, std::size_t count, float threshold);
  // A plane for each tap, from bit first + taps[t] of `source` on, and `distance` planes behind it its complement.
  void (*cut_planes)(const std::uint64_t* source, const std::size_t* taps, std::size_t count, std::size_t first,
                     std::uint64_t* planes, std::size_t distance);
  // The sums of all filters: sums (channels, planes, kPlaneWords).
  void (*add_up)(const TreeFilter* filters, std::size_t count, const std::uint32_t* lists, const std::uint64_t* places,
                 std::size_t planes, std::uint64_t* sums);
  // counts[i] = places - 2 * ((sum - excess) modulo 2^planes) for all kPlaneBits positions.
  void (*to_counts)(const std::uint64_t* sum, std::size_t planes, std::int32_t excess, std::int32_t places,
                    std::int16_t* counts);
  void (*to_floats)(const std::int16_t* counts, std::size_t length, float scale, float bias, float* y);
};

extern const TreeSteps scalar_tree_steps;
extern const TreeSteps neon_tree_steps;
extern const TreeSteps avx2_tree_steps;
extern const TreeSteps avx512_tree_steps;

const TreeSteps& tree_steps_of(Isa isa);

}  // namespace edgeml
