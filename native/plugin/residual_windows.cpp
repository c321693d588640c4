// ai.edgeml::ResidualPool and ResidualResize for onnxruntime: what makes an image smaller or larger.

#include "../kernels/residual_pool.h"
#include "../kernels/residual_resize.h"
#include "operators.h"
#include "residual_inputs.h"

namespace edgeml {
namespace {

bool flag(const KernelInfo& info, const char* name) {
  const std::int64_t value = info.integer(name, 0);
  if (value != 0 && value != 1) {
    throw InvalidModel(std::string(name) + " is " + std::to_string(value) + "; allowed are 0 and 1");
  }
  return value == 1;
}

class ResidualPoolKernel final : public Kernel {
 public:
  explicit ResidualPoolKernel(const KernelInfo& info)
      : geometry_{info.integers<2>("kernel_shape"), info.integers<2>("strides", {1, 1}),
                  info.integers<4>("pads", {0, 0, 0, 0}), flag(info, "average"), info.integer("zero_point")},
        steps_(residual_steps_of(chosen_isa())) {
    check(geometry_);
  }

  void run(const KernelContext& context) const override {
    const Tensor x = codes_input(context, 0, "X");
    const std::int64_t height = x.shape[1], width = x.shape[2];
    const std::uint8_t* const changed = map_input(context, 1, "changed", x);
    check_image(geometry_, height, width);
    const Shape shape{x.shape[0], geometry_.out_size(0, height), geometry_.out_size(1, width), x.shape[3]};
    const ResidualOutput output = residual_output(context, 2, shape);
    residual_pool(geometry_, x.bytes(), changed, static_cast<std::size_t>(x.shape[0]), height, width, output, steps_,
                  context);
  }

 private:
  PoolGeometry geometry_;
  const ResidualSteps& steps_;
};

class ResidualResizeKernel final : public Kernel {
 public:
  explicit ResidualResizeKernel(const KernelInfo& info)
      : enlargement_{info.integer("factor"), flag(info, "linear")}, steps_(residual_steps_of(chosen_isa())) {
    check(enlargement_);
  }

  void run(const KernelContext& context) const override {
    const Tensor x = codes_input(context, 0, "X");
    const std::uint8_t* const changed = map_input(context, 1, "changed", x);
    const std::int64_t factor = enlargement_.factor;
    const Shape shape{x.shape[0], factor * x.shape[1], factor * x.shape[2], x.shape[3]};
    const ResidualOutput output = residual_output(context, 2, shape);
    const auto size = [&](std::size_t axis) { return static_cast<std::size_t>(x.shape[axis]); };
    residual_resize(enlargement_, x.bytes(), changed, size(0), size(1), size(2), output, steps_, context);
  }

 private:
  Enlargement enlargement_;
  const ResidualSteps& steps_;
};

}  // namespace

Operator residual_pool_operator() {
  return {"ResidualPool",
          {abi::kUint8, abi::kUint8, abi::kUint8},
          {abi::kUint8, abi::kUint8},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> { return std::make_unique<ResidualPoolKernel>(info); }};
}

Operator residual_resize_operator() {
  return {"ResidualResize",
          {abi::kUint8, abi::kUint8, abi::kUint8},
          {abi::kUint8, abi::kUint8},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> {
            return std::make_unique<ResidualResizeKernel>(info);
          }};
}

}  // namespace edgeml
