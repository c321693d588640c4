// Convolution of signs whose filters form a tree: each is computed from its parent and the places where they differ
// (Vo et al., "MST-compression", ICCV 2023).
//
// With m_j the number of products that are -1 for filter j, and D the places where its filter differs from that of its
// parent i, m_j = m_i + 2 S - |D|, where S counts the places of D at which the input differs from filter j. It does so
// for 512 output positions at once: a place is a plane of 512 bits, a number is a stack of such planes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "binary_conv.h"
#include "tree_conv_steps.h"

namespace edgeml {

// Immutable but for what it remembers of the last image size: any number of threads may run it at once.
class TreeConvolution {
 public:
  // Whether the kernel takes such a layer: one group, and filters whose counts fit 16 bits.
  static bool takes(const ConvGeometry& geometry);

  // weights, threshold, scale and bias as BinaryConvolution::create takes them; parents: (out_channels), the root its
  // own. Throws std::invalid_argument where the geometry is none that it takes or the parents are no tree.
  TreeConvolution(const ConvGeometry& geometry, const std::uint8_t* weights, const std::int64_t* parents,
                  const float* threshold, const float* scale, const float* bias, Isa isa);

  // As BinaryConvolution::run. Throws std::invalid_argument for an image of 2^31 positions or more.
  void run(const float* x, std::int64_t batch, std::int64_t height, std::int64_t width, float* y,
           const Parallel& parallel) const;

 private:
  struct Plan;

  std::shared_ptr<const Plan> plan(std::int64_t height, std::int64_t width) const;

  ConvGeometry geometry_;
  const TreeSteps& steps_;
  std::size_t taps_, places_, planes_;       // places: bits of a filter; planes: of a number up to `places`
  std::vector<std::uint32_t> lists_;         // planes to add up, filter after filter, each list filled up to kChunk
  std::vector<TreeFilter> filters_;          // parents before their children
  std::vector<std::int32_t> tap_sums_;       // (out_channels, taps): sum of the weights of a tap
  std::vector<float> threshold_, scale_, bias_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Plan> last_;
};

}  // namespace edgeml
