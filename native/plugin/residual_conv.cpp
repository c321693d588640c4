// ai.edgeml::ResidualConv for onnxruntime: a convolution of 8-bit codes, computed only where its input changed.

#include "../kernels/residual_conv.h"

#include "operators.h"
#include "residual_inputs.h"

namespace edgeml {
namespace {

// What a node says beside its inputs.
struct Attributes {
  ConvGeometry geometry;  // all but what the filters tell
  ResidualSettings settings;
};

Attributes attributes_of(const KernelInfo& info) {
  Attributes found;
  found.geometry.group = info.integer("group", 1);
  found.geometry.kernel = info.integers<2>("kernel_shape");
  found.geometry.strides = info.integers<2>("strides", {1, 1});
  found.geometry.dilations = info.integers<2>("dilations", {1, 1});
  found.geometry.pads = info.integers<4>("pads", {0, 0, 0, 0});
  found.settings = {info.integer("x_zero_point"), info.integer("y_zero_point"), info.integer("tile", 8),
                    info.integer("threshold", 0)};
  return found;
}

// Inputs 2 to 5 of a node: what a layer keeps from frame to frame.
struct LayerInputs {
  Tensor weights;     // int8 (out_channels, channels / group, kernel height, kernel width)
  Tensor multiplier;  // float32 (out_channels)
  Tensor bias;        // int32 (out_channels)
  Tensor table;       // uint8 (256)
};

void expect(const char* name, const Tensor& tensor, abi::ElementType type, const char* type_name, const Shape& shape) {
  if (tensor.type != type) throw InvalidModel(std::string(name) + " is not " + type_name);
  if (tensor.shape != shape) {
    throw InvalidModel(std::string(name) + " has shape " + text_of(tensor.shape) + "; the attributes and the other " +
                       "inputs ask for " + text_of(shape));
  }
}

// Throws InvalidModel where the inputs do not fit the attributes.
std::unique_ptr<ResidualConvolution> packed_convolution(Attributes attributes, const LayerInputs& inputs) {
  const Shape& shape = inputs.weights.shape;
  if (shape.size() != 4) throw InvalidModel("W has shape " + text_of(shape) + "; it takes four axes");
  ConvGeometry& geometry = attributes.geometry;
  geometry.out_channels = shape[0];
  if (__builtin_mul_overflow(shape[1], geometry.group, &geometry.channels)) {
    throw InvalidModel("group is " + std::to_string(geometry.group) + "; it must divide the number of filters");
  }
  check(geometry);
  expect("W", inputs.weights, abi::kInt8, "int8",
         {shape[0], geometry.channels_per_group(), geometry.kernel[0], geometry.kernel[1]});
  expect("multiplier", inputs.multiplier, abi::kFloat, "float32", {shape[0]});
  expect("bias", inputs.bias, abi::kInt32, "int32", {shape[0]});
  expect("table", inputs.table, abi::kUint8, "uint8", {256});
  return ResidualConvolution::create(geometry, static_cast<const std::int8_t*>(inputs.weights.data),
                                     inputs.multiplier.floats(), static_cast<const std::int32_t*>(inputs.bias.data),
                                     inputs.table.bytes(), attributes.settings, chosen_isa());
}

class ResidualConvKernel final : public Kernel {
 public:
  explicit ResidualConvKernel(const KernelInfo& info) : attributes_(attributes_of(info)) {
    const auto weights = info.constant(2), multiplier = info.constant(3), bias = info.constant(4);
    const auto table = info.constant(5);
    if (weights && multiplier && bias && table) {
      constant_ = packed_convolution(attributes_, {*weights, *multiplier, *bias, *table});
    }
  }

  void run(const KernelContext& context) const override {
    if (constant_) return run(context, *constant_);
    run(context, *packed_convolution(attributes_,
                                     {context.input(2), context.input(3), context.input(4), context.input(5)}));
  }

 private:
  static void run(const KernelContext& context, const ResidualConvolution& convolution) {
    const ConvGeometry& geometry = convolution.geometry();
    const Tensor x = codes_input(context, 0, "X");
    if (x.shape[3] != geometry.channels) {
      throw InvalidModel("X has shape " + text_of(x.shape) + "; it takes (batch, height, width, " +
                         std::to_string(geometry.channels) + ")");
    }
    const std::uint8_t* const changed = map_input(context, 1, "changed", x);
    const Shape shape{x.shape[0], geometry.out_size(0, x.shape[1]), geometry.out_size(1, x.shape[2]),
                      geometry.out_channels};
    if (shape[1] < 1 || shape[2] < 1) {
      throw InvalidModel("X has shape " + text_of(x.shape) + ", which with its padding is smaller than the kernel");
    }
    const ResidualOutput output = residual_output(context, 6, shape);
    convolution.run({x.bytes(), changed, x.shape[0], x.shape[1], x.shape[2], output}, context);
  }

  Attributes attributes_;
  std::unique_ptr<ResidualConvolution> constant_;
};

}  // namespace

Operator residual_conv_operator() {
  return {"ResidualConv",
          {abi::kUint8, abi::kUint8, abi::kInt8, abi::kFloat, abi::kInt32, abi::kUint8, abi::kUint8},
          {abi::kUint8, abi::kUint8},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> { return std::make_unique<ResidualConvKernel>(info); }};
}

}  // namespace edgeml
