// Operators that a session puts in the place of BinaryConv and its neighbours, so that activations stay packed from
// layer to layer. No file holds them: runtime/plugin/fusion.py makes them of a model while it is loaded.
//
// Bits are uint32 (batch, height, width, ceil(channels / 32)), channel c in bit c % 32 of word c / 32. An optional
// input is left out by giving it no elements.

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "../kernels/binary_conv.h"
#include "geometry.h"
#include "operators.h"
#include "weight_inputs.h"

namespace edgeml {
namespace {

std::int64_t words_of(std::int64_t channels) { return (channels + 31) / 32; }

void require_shape(const Tensor& tensor, const char* name, const Shape& shape) {
  if (tensor.shape == shape) return;
  throw InvalidModel(std::string(name) + " has shape " + text_of(tensor.shape) + "; it takes " + text_of(shape));
}

// A constant input of one value a channel.
class PerChannel {
 public:
  PerChannel(const KernelInfo& info, std::size_t input, const char* name) : name_(name) {
    const auto constant = info.constant(input);
    if (!constant || constant->type != abi::kFloat) throw InvalidModel(std::string(name) + " is no float32 constant");
    const std::int64_t count = element_count(constant->shape);
    values_.assign(constant->floats(), constant->floats() + count);
  }

  // Null where it is left out.
  const float* of(std::int64_t channels) const {
    if (values_.empty()) return nullptr;
    if (static_cast<std::int64_t>(values_.size()) != channels) {
      throw InvalidModel(std::string(name_) + " has " + std::to_string(values_.size()) + " values; it takes " +
                         std::to_string(channels));
    }
    return values_.data();
  }

 private:
  const char* name_;
  std::vector<float> values_;
};

// float32 (batch, channels, height, width), or (batch, height, width, channels) with channels_last = 1, to bits.
class PackSignsKernel final : public Kernel {
 public:
  explicit PackSignsKernel(const KernelInfo& info)
      : channels_last_(info.integer("channels_last", 0) != 0), isa_(chosen_isa()) {}

  void run(const KernelContext& context) const override {
    const Tensor x = context.input(0);
    if (x.shape.size() != 4) throw InvalidModel("X has shape " + text_of(x.shape) + "; it takes 4 axes");
    const std::int64_t channels = x.shape[channels_last_ ? 3 : 1];
    const std::int64_t height = x.shape[channels_last_ ? 1 : 2];
    const std::int64_t width = x.shape[channels_last_ ? 2 : 3];
    const Tensor threshold = context.input(1);
    require_shape(threshold, "threshold", {channels});
    const Shape shape{x.shape[0], height, width, words_of(channels)};
    std::uint32_t* bits = context.word_output(0, shape);
    if (element_count(shape) == 0) return;
    pack_signs(x.floats(), x.shape[0], height * width, channels, threshold.floats(), channels_last_, bits, isa_,
               context);
  }

 private:
  bool channels_last_;
  Isa isa_;
};

// Bits in; float32 (batch, height, width, channels) and bits out, or bits alone.
class PackedBinaryConvKernel final : public Kernel {
 public:
  PackedBinaryConvKernel(const KernelInfo& info, bool sums)
      : convolution_(info, conv_geometry(info)), sums_(sums), threshold_(info, sums ? 12 : 5, "out_threshold") {
    if (!sums) return;
    steps_.reserve(6);
    for (const auto& [input, name] : kSteps) steps_.emplace_back(info, input, name);
  }

  void run(const KernelContext& context) const override {
    const Tensor x = context.input(0);
    convolution_.with(context, [&](const BinaryConvolution& convolution) {
      const ConvGeometry& geometry = convolution.geometry();
      if (geometry.group != 1 || geometry.out_channels % 16 != 0) {
        throw InvalidModel("group is " + std::to_string(geometry.group) + " and the number of filters " +
                           std::to_string(geometry.out_channels) + "; packed, allowed are 1 and multiples of 16");
      }
      if (x.shape.size() != 4 || x.shape[1] < 1 || x.shape[2] < 1 || x.shape[3] != words_of(geometry.channels)) {
        throw InvalidModel("X has shape " + text_of(x.shape) + "; it takes (batch, height, width, " +
                           std::to_string(words_of(geometry.channels)) + ")");
      }
      const std::int64_t channels = geometry.out_channels;
      const Shape image{x.shape[0], geometry.out_size(0, x.shape[1]), geometry.out_size(1, x.shape[2]), channels};
      if (image[1] < 1 || image[2] < 1) {
        throw InvalidModel("X has shape " + text_of(x.shape) + ", which with its padding is smaller than the kernel");
      }
      PackedLayer layer;
      if (sums_) {
        const Tensor residual = context.input(kResidual);
        if (element_count(residual.shape) != 0) {
          require_shape(residual, "residual", image);
          layer.residual = residual.floats();
        }
        const std::array<const float**, 6> places{&layer.slope,    &layer.post_scale,     &layer.post_bias,
                                                  &layer.shift_in, &layer.residual_slope, &layer.shift_out};
        for (std::size_t i = 0; i < places.size(); ++i) *places[i] = steps_[i].of(channels);
        if ((layer.post_scale == nullptr) != (layer.post_bias == nullptr) ||
            (layer.shift_in == nullptr) != (layer.residual_slope == nullptr) ||
            (layer.shift_in == nullptr) != (layer.shift_out == nullptr)) {
          throw InvalidModel("post_scale and post_bias come together, and so do shift_in, residual_slope and shift_out");
        }
        layer.y = context.float_output(0, image);
      }
      layer.threshold = threshold_.of(channels);
      if (layer.threshold) {
        layer.bits = context.word_output(sums_ ? 1 : 0, {image[0], image[1], image[2], words_of(channels)});
      } else if (sums_) {
        context.word_output(1, {0});
      } else {
        throw InvalidModel("out_threshold has no elements");
      }
      convolution.run_packed(x.words(), x.shape[0], x.shape[1], x.shape[2], layer, context);
    });
  }

 private:
  static constexpr std::size_t kResidual = 8;
  static constexpr std::array<std::pair<std::size_t, const char*>, 6> kSteps{{{5, "slope"},
                                                                             {6, "post_scale"},
                                                                             {7, "post_bias"},
                                                                             {9, "shift_in"},
                                                                             {10, "residual_slope"},
                                                                             {11, "shift_out"}}};

  NodeConvolution convolution_;
  bool sums_;
  PerChannel threshold_;
  std::vector<PerChannel> steps_;
};

// A pooling window without padding, as ONNX's MaxPool and AveragePool have it.
struct Window {
  std::array<std::int64_t, 2> kernel;
  std::array<std::int64_t, 2> strides;

  explicit Window(const KernelInfo& info)
      : kernel(info.integers<2>("kernel_shape")), strides(info.integers<2>("strides", {1, 1})) {
    for (const std::int64_t value : {kernel[0], kernel[1], strides[0], strides[1]}) {
      if (value < 1 || value > 32768) {
        throw InvalidModel("kernel_shape and strides hold " + std::to_string(value) + "; allowed are 1 to 32768");
      }
    }
  }

  // (batch, out_height, out_width, last) of x (batch, height, width, last).
  Shape out_shape(const Shape& x) const {
    if (x.size() != 4 || x[1] < kernel[0] || x[2] < kernel[1]) {
      throw InvalidModel("X has shape " + text_of(x) + ", which is no image as large as the window");
    }
    return {x[0], (x[1] - kernel[0]) / strides[0] + 1, (x[2] - kernel[1]) / strides[1] + 1, x[3]};
  }

  // Calls visit(y_pixel, x_pixel, first_of_window) for every pixel of every window; pixels are of `last` values.
  template <class Value, class Out, class Visit>
  void each(const Shape& x, const Shape& y, const Value* from, Out* to, const Visit& visit) const {
    for (std::int64_t n = 0; n < y[0]; ++n) {
      for (std::int64_t row = 0; row < y[1]; ++row) {
        for (std::int64_t column = 0; column < y[2]; ++column, to += y[3]) {
          for (std::int64_t i = 0; i < kernel[0]; ++i) {
            for (std::int64_t j = 0; j < kernel[1]; ++j) {
              const std::int64_t pixel = (n * x[1] + row * strides[0] + i) * x[2] + column * strides[1] + j;
              visit(to, from + pixel * x[3], i == 0 && j == 0);
            }
          }
        }
      }
    }
  }
};

// A largest value is negative where all are: the window's bits are joined by "and".
class PackedMaxPoolKernel final : public Kernel {
 public:
  explicit PackedMaxPoolKernel(const KernelInfo& info) : window_(info) {}

  void run(const KernelContext& context) const override {
    const Tensor x = context.input(0);
    const Shape shape = window_.out_shape(x.shape);
    std::uint32_t* bits = context.word_output(0, shape);
    const std::int64_t words = shape[3];
    window_.each(x.shape, shape, x.words(), bits, [words](std::uint32_t* to, const std::uint32_t* from, bool first) {
      for (std::int64_t i = 0; i < words; ++i) to[i] = first ? from[i] : to[i] & from[i];
    });
  }

 private:
  Window window_;
};

// The mean of each window of float32 (batch, height, width, channels).
class AveragePoolChannelsLastKernel final : public Kernel {
 public:
  explicit AveragePoolChannelsLastKernel(const KernelInfo& info) : window_(info) {}

  void run(const KernelContext& context) const override {
    const Tensor x = context.input(0);
    const Shape shape = window_.out_shape(x.shape);
    float* y = context.float_output(0, shape);
    const std::int64_t channels = shape[3];
    window_.each(x.shape, shape, x.floats(), y, [channels](float* to, const float* from, bool first) {
      if (first) {
        std::copy_n(from, channels, to);
      } else {
        for (std::int64_t i = 0; i < channels; ++i) to[i] += from[i];
      }
    });
    const auto count = static_cast<float>(window_.kernel[0] * window_.kernel[1]);
    const std::int64_t values = element_count(shape);
    for (std::int64_t i = 0; i < values; ++i) y[i] /= count;
  }

 private:
  Window window_;
};

}  // namespace

Operator pack_signs_operator() {
  return {"PackSigns", {abi::kFloat, abi::kFloat}, {abi::kUint32}, [](const KernelInfo& info) -> std::unique_ptr<Kernel> {
            return std::make_unique<PackSignsKernel>(info);
          }};
}

Operator packed_binary_conv_operator() {
  return {"PackedBinaryConv",
          {abi::kUint32, abi::kUint8, abi::kFloat, abi::kFloat, abi::kFloat, abi::kFloat},
          {abi::kUint32},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> {
            return std::make_unique<PackedBinaryConvKernel>(info, false);
          }};
}

Operator packed_binary_conv_sum_operator() {
  std::vector<abi::ElementType> inputs{abi::kUint32, abi::kUint8};
  inputs.insert(inputs.end(), 11, abi::kFloat);
  return {"PackedBinaryConvSum", std::move(inputs), {abi::kFloat, abi::kUint32},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> {
            return std::make_unique<PackedBinaryConvKernel>(info, true);
          }};
}

Operator packed_max_pool_operator() {
  return {"PackedMaxPool", {abi::kUint32}, {abi::kUint32}, [](const KernelInfo& info) -> std::unique_ptr<Kernel> {
            return std::make_unique<PackedMaxPoolKernel>(info);
          }};
}

Operator average_pool_channels_last_operator() {
  return {"AveragePoolChannelsLast", {abi::kFloat}, {abi::kFloat},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> {
            return std::make_unique<AveragePoolChannelsLastKernel>(info);
          }};
}

}  // namespace edgeml
