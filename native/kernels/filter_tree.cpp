#include "filter_tree.h"

#include <stdexcept>
#include <string>

namespace edgeml {
namespace {

constexpr std::int64_t kMostFilters = 1 << 16;
constexpr std::size_t kMostDepth = 1023;
constexpr std::int64_t kMostRice = 30;
// What the dense form of the filters may take: a few bytes can claim to be any number of equal filters.
constexpr std::size_t kMostBytes = std::size_t{1} << 30;

[[noreturn]] void refuse(const std::string& line) { throw std::invalid_argument(line); }

bool bit(const std::uint8_t* bytes, std::size_t place) { return bytes[place / 8] >> (place % 8) & 1; }

std::uint64_t field(const std::uint8_t* bytes, std::size_t index, std::size_t width) {
  std::uint64_t value = 0;
  for (std::size_t b = 0; b < width; ++b) value |= std::uint64_t{bit(bytes, index * width + b)} << b;
  return value;
}

void expect_bytes(const char* name, std::size_t found, std::size_t fields, std::size_t width) {
  const std::size_t needed = (fields * width + 7) / 8;
  if (found == needed) return;
  refuse(std::string(name) + " has " + std::to_string(found) + " bytes; " + std::to_string(fields) + " fields of " +
         std::to_string(width) + " bits take " + std::to_string(needed));
}

}  // namespace

FilterTree decode(const CodedTree& coded) {
  if (coded.filters < 2 || coded.filters > kMostFilters) {
    refuse("a tree holds 2 to 65536 filters, not " + std::to_string(coded.filters));
  }
  if (coded.root_index < 0 || coded.root_index >= coded.filters) {
    refuse("root_index is " + std::to_string(coded.root_index) + " of " + std::to_string(coded.filters) + " filters");
  }
  if (coded.rice_parameter < 1 || coded.rice_parameter > kMostRice) {
    refuse("rice_parameter is " + std::to_string(coded.rice_parameter) + "; it must be 1 to 30");
  }
  const auto filters = static_cast<std::size_t>(coded.filters), root = static_cast<std::size_t>(coded.root_index);
  const auto rice = static_cast<std::size_t>(coded.rice_parameter);
  const std::size_t others = filters - 1;
  if (coded.root_bytes > kMostBytes / filters) refuse("the filters take more than 2^30 bytes");

  std::size_t width = 1;
  while (others >> width) ++width;
  expect_bytes("parents", coded.parents_bytes, others, width);
  FilterTree tree;
  tree.parents.assign(filters, coded.root_index);
  for (std::size_t i = 0; i < others; ++i) {
    const std::uint64_t parent = field(coded.parents, i, width);
    if (parent >= filters) {
      refuse("a filter's parent is " + std::to_string(parent) + " of " + std::to_string(filters) + " filters");
    }
    tree.parents[i < root ? i : i + 1] = static_cast<std::int64_t>(parent);
  }
  const std::vector<std::int64_t> order = parents_first(tree.parents);

  std::size_t gaps = 0;
  for (std::size_t i = 0; i < coded.quotients_bytes; ++i) {
    gaps += static_cast<std::size_t>(__builtin_popcount(coded.quotients[i]));
  }
  expect_bytes("remainders", coded.remainders_bytes, gaps, rice);
  tree.weights.assign(filters * coded.root_bytes, 0);
  const std::size_t end = others * coded.root_bytes * 8;
  std::size_t place = 0, gap = 0, quotient = 0;  // place: behind the last set bit
  bool ended = false;
  for (std::size_t i = 0; i < coded.quotients_bytes * 8; ++i) {
    if (!bit(coded.quotients, i)) {
      ++quotient;
      continue;
    }
    const std::size_t step = (quotient << rice) + field(coded.remainders, gap++, rice);
    quotient = 0;
    if (ended || step > end - place) refuse("the coded differences go beyond " + std::to_string(end) + " bits");
    place += step;
    if (place == end) {
      ended = true;
      continue;
    }
    const std::size_t filter = place / 8 / coded.root_bytes;
    const std::size_t byte = place / 8 + (filter < root ? 0 : coded.root_bytes);
    tree.weights[byte] |= static_cast<std::uint8_t>(1U << (place % 8));
    ++place;
  }
  if (!ended) refuse("the coded differences end before " + std::to_string(end) + " bits");

  for (std::size_t i = 0; i < coded.root_bytes; ++i) tree.weights[root * coded.root_bytes + i] = coded.root[i];
  for (const std::int64_t filter : order) {
    if (filter == coded.root_index) continue;
    std::uint8_t* const own = tree.weights.data() + static_cast<std::size_t>(filter) * coded.root_bytes;
    const auto parent = static_cast<std::size_t>(tree.parents[static_cast<std::size_t>(filter)]);
    for (std::size_t i = 0; i < coded.root_bytes; ++i) own[i] ^= tree.weights[parent * coded.root_bytes + i];
  }
  return tree;
}

std::vector<std::int64_t> parents_first(const std::vector<std::int64_t>& parents) {
  const std::size_t filters = parents.size();
  std::vector<std::size_t> first(filters + 1, 0), children(filters), depth(filters, 0);
  std::vector<std::int64_t> order;
  for (std::size_t i = 0; i < filters; ++i) {
    if (parents[i] < 0 || static_cast<std::size_t>(parents[i]) >= filters) refuse("a filter's parent is no filter");
    if (static_cast<std::size_t>(parents[i]) == i) {
      order.push_back(static_cast<std::int64_t>(i));
    } else {
      ++first[static_cast<std::size_t>(parents[i]) + 1];
    }
  }
  if (order.size() != 1) {
    refuse("a tree has one root; " + std::to_string(order.size()) + " filters are their own parents");
  }
  for (std::size_t i = 0; i < filters; ++i) first[i + 1] += first[i];
  std::vector<std::size_t> next(first.begin(), first.end() - 1);
  for (std::size_t i = 0; i < filters; ++i) {
    const auto parent = static_cast<std::size_t>(parents[i]);
    if (parent != i) children[next[parent]++] = i;
  }
  for (std::size_t at = 0; at < order.size(); ++at) {
    const auto parent = static_cast<std::size_t>(order[at]);
    for (std::size_t i = first[parent]; i < first[parent + 1]; ++i) {
      depth[children[i]] = depth[parent] + 1;
      if (depth[children[i]] > kMostDepth) refuse("the tree is deeper than the 1023 filters that the operator reaches");
      order.push_back(static_cast<std::int64_t>(children[i]));
    }
  }
  if (order.size() != filters) {
    refuse(std::to_string(filters - order.size()) + " of " + std::to_string(filters) +
           " filters do not descend from the root");
  }
  return order;
}

}  // namespace edgeml
