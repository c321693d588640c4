// The inputs beside X that all binary operators share, checked and packed for this processor.
#pragma once

#include <memory>

#include "../kernels/binary_conv.h"
#include "kernel.h"

namespace edgeml {

// Inputs 1 to 4 of a node.
struct WeightInputs {
  Tensor weights;    // uint8 (out_channels, bytes_per_filter)
  Tensor threshold;  // float32 (channels)
  Tensor scale;      // float32 (out_channels)
  Tensor bias;       // float32 (out_channels)
};

// Throws InvalidModel where an input does not fit the geometry, whose out_channels is taken from the weights.
std::unique_ptr<BinaryConvolution> packed_convolution(ConvGeometry geometry, const WeightInputs& inputs);

// A node's convolution: packed once where the model holds its weights, in each run where they are computed.
class NodeConvolution {
 public:
  NodeConvolution(const KernelInfo& info, const ConvGeometry& geometry);

  // Calls use(convolution) with the one for this run.
  template <typename Use>
  void with(const KernelContext& context, Use use) const {
    if (constant_) {
      use(*constant_);
    } else {
      use(*packed_convolution(geometry_, {context.input(1), context.input(2), context.input(3), context.input(4)}));
    }
  }

 private:
  ConvGeometry geometry_;
  std::unique_ptr<BinaryConvolution> constant_;
};

}  // namespace edgeml
