// ai.edgeml::BinaryConv for onnxruntime: a convolution of signs, float32 in and out.

#include "../kernels/binary_conv.h"

#include "geometry.h"
#include "operators.h"
#include "weight_inputs.h"

namespace edgeml {
namespace {

class BinaryConvKernel final : public Kernel {
 public:
  explicit BinaryConvKernel(const KernelInfo& info) : convolution_(info, conv_geometry(info)) {}

  void run(const KernelContext& context) const override {
    const Tensor x = context.input(0);
    convolution_.with(context, [&](const BinaryConvolution& convolution) {
      const ConvGeometry& geometry = convolution.geometry();
      if (x.type != abi::kFloat) throw InvalidModel("X is not float32");
      if (x.shape.size() != 4 || x.shape[1] != geometry.channels || x.shape[2] < 1 || x.shape[3] < 1) {
        throw InvalidModel("X has shape " + text_of(x.shape) + "; it takes (batch, " +
                           std::to_string(geometry.channels) + ", height, width) with at least one row and column");
      }
      element_count(x.shape);
      const Shape y_shape{x.shape[0], geometry.out_channels, geometry.out_size(0, x.shape[2]),
                          geometry.out_size(1, x.shape[3])};
      if (y_shape[2] < 1 || y_shape[3] < 1) {
        throw InvalidModel("X has shape " + text_of(x.shape) + ", which with its padding is smaller than the kernel");
      }
      float* y = context.float_output(0, y_shape);
      if (x.shape[0] > 0) convolution.run(x.floats(), x.shape[0], x.shape[2], x.shape[3], y, context);
    });
  }

 private:
  NodeConvolution convolution_;
};

}  // namespace

Operator binary_conv_operator() {
  return {"BinaryConv",
          {abi::kFloat, abi::kUint8, abi::kFloat, abi::kFloat, abi::kFloat},
          {abi::kFloat},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> { return std::make_unique<BinaryConvKernel>(info); }};
}

}  // namespace edgeml
