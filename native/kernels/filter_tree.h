// Filters stored as a tree of differences, as ai.edgeml::TreeBinaryConv takes them (edgeml/ops/tree_coding.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgeml {

// The stored form. Strings of bits, the least significant bit of a byte first.
struct CodedTree {
  std::int64_t filters = 0;
  std::int64_t root_index = 0;
  std::int64_t rice_parameter = 0;
  const std::uint8_t* root = nullptr;
  std::size_t root_bytes = 0;
  const std::uint8_t* parents = nullptr;
  std::size_t parents_bytes = 0;
  const std::uint8_t* quotients = nullptr;
  std::size_t quotients_bytes = 0;
  const std::uint8_t* remainders = nullptr;
  std::size_t remainders_bytes = 0;
};

struct FilterTree {
  std::vector<std::uint8_t> weights;   // (filters, root_bytes), as BinaryConv's W
  std::vector<std::int64_t> parents;   // (filters); the root is its own
};

// Throws std::invalid_argument, with one line that names what does not fit, for anything that is not a coded tree.
FilterTree decode(const CodedTree& coded);

// The filters, each after its parent. Throws std::invalid_argument where the parents are not one tree, or one that is
// deeper than the operator's body reaches.
std::vector<std::int64_t> parents_first(const std::vector<std::int64_t>& parents);

}  // namespace edgeml
