#include "weight_inputs.h"

#include "../kernels/isa.h"

namespace edgeml {
namespace {

void expect(const char* name, const Tensor& tensor, abi::ElementType type, const Shape& shape) {
  const char* type_name = type == abi::kFloat ? "float32" : "uint8";
  if (tensor.type != type) throw InvalidModel(std::string(name) + " is not " + type_name);
  if (tensor.shape != shape) {
    throw InvalidModel(std::string(name) + " has shape " + text_of(tensor.shape) + "; the attributes and the other " +
                       "inputs ask for " + text_of(shape));
  }
}

}  // namespace

std::unique_ptr<BinaryConvolution> packed_convolution(ConvGeometry geometry, const WeightInputs& inputs) {
  const Shape& shape = inputs.weights.shape;
  if (shape.size() != 2) throw InvalidModel("W has shape " + text_of(shape) + "; it takes two axes");
  geometry.out_channels = shape[0];
  check(geometry);
  expect("W", inputs.weights, abi::kUint8, {geometry.out_channels, geometry.bytes_per_filter()});
  expect("threshold", inputs.threshold, abi::kFloat, {geometry.channels});
  expect("scale", inputs.scale, abi::kFloat, {geometry.out_channels});
  expect("bias", inputs.bias, abi::kFloat, {geometry.out_channels});
  return BinaryConvolution::create(geometry, inputs.weights.bytes(), inputs.threshold.floats(), inputs.scale.floats(),
                                   inputs.bias.floats(), chosen_isa());
}

NodeConvolution::NodeConvolution(const KernelInfo& info, const ConvGeometry& geometry) : geometry_(geometry) {
  const auto weights = info.constant(1);
  const auto threshold = info.constant(2);
  const auto scale = info.constant(3);
  const auto bias = info.constant(4);
  if (weights && threshold && scale && bias) {
    constant_ = packed_convolution(geometry, {*weights, *threshold, *scale, *bias});
  }
}

}  // namespace edgeml
