// ai.edgeml::TileGate for onnxruntime: lets through what differs enough from the frame before.

#include "../kernels/tile_gate.h"

#include "operators.h"
#include "residual_inputs.h"

namespace edgeml {
namespace {

class TileGateKernel final : public Kernel {
 public:
  explicit TileGateKernel(const KernelInfo& info) : steps_(residual_steps_of(chosen_isa())) {
    const std::int64_t rms = info.integer("rms", 0);
    if (rms != 0 && rms != 1) throw InvalidModel("rms is " + std::to_string(rms) + "; allowed are 0 and 1");
    gate_ = {info.integer("tile", 8), info.integer("threshold", 0), rms == 1};
    check(gate_);
  }

  void run(const KernelContext& context) const override {
    const Tensor x = codes_input(context, 0, "X");
    const ResidualOutput output = residual_output(context, 1, x.shape);
    const auto size = [&](std::size_t axis) { return static_cast<std::size_t>(x.shape[axis]); };
    tile_gate(gate_, x.bytes(), size(0), size(1), size(2), output, steps_, context);
  }

 private:
  TileGate gate_{};
  const ResidualSteps& steps_;
};

}  // namespace

Operator tile_gate_operator() {
  return {"TileGate",
          {abi::kUint8, abi::kUint8},
          {abi::kUint8, abi::kUint8},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> { return std::make_unique<TileGateKernel>(info); }};
}

}  // namespace edgeml
