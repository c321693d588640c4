// ai.edgeml::BinaryDense for onnxruntime: a product of signs with a matrix of signs, which is a 1x1 convolution.

#include "../kernels/binary_conv.h"
#include "operators.h"
#include "weight_inputs.h"

namespace edgeml {
namespace {

ConvGeometry geometry_of(const KernelInfo& info) {
  ConvGeometry geometry;
  geometry.channels = info.integer("features");
  return geometry;
}

class BinaryDenseKernel final : public Kernel {
 public:
  explicit BinaryDenseKernel(const KernelInfo& info) : convolution_(info, geometry_of(info)) {}

  void run(const KernelContext& context) const override {
    const Tensor x = context.input(0);
    convolution_.with(context, [&](const BinaryConvolution& convolution) {
      const ConvGeometry& geometry = convolution.geometry();
      if (x.type != abi::kFloat) throw InvalidModel("X is not float32");
      if (x.shape.empty() || x.shape.back() != geometry.channels) {
        throw InvalidModel("X has shape " + text_of(x.shape) + "; its last axis takes " +
                           std::to_string(geometry.channels) + " features");
      }
      const std::int64_t rows = element_count(x.shape) / geometry.channels;
      Shape y_shape = x.shape;
      y_shape.back() = geometry.out_channels;
      float* y = context.float_output(0, y_shape);
      if (rows > 0) convolution.run(x.floats(), rows, 1, 1, y, context);
    });
  }

 private:
  NodeConvolution convolution_;
};

}  // namespace

Operator binary_dense_operator() {
  return {"BinaryDense",
          {abi::kFloat, abi::kUint8, abi::kFloat, abi::kFloat, abi::kFloat},
          {abi::kFloat},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> { return std::make_unique<BinaryDenseKernel>(info); }};
}

}  // namespace edgeml
