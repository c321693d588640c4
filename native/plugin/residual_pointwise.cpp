// ai.edgeml::ResidualAdd, ResidualConcat and ResidualTable for onnxruntime: what changes a pixel by itself.

#include "../kernels/residual_pointwise.h"

#include "operators.h"
#include "residual_inputs.h"

namespace edgeml {
namespace {

class ResidualAddKernel final : public Kernel {
 public:
  explicit ResidualAddKernel(const KernelInfo& info)
      : terms_{info.real("a_multiplier"), info.real("b_multiplier"), code(info, "a_zero_point"),
               code(info, "b_zero_point"), code(info, "y_zero_point")},
        steps_(residual_steps_of(chosen_isa())) {
    check(terms_);
  }

  void run(const KernelContext& context) const override {
    const Tensor a = codes_input(context, 0, "A"), b = context.input(2);
    expect_bytes("B", b, a.shape);
    const std::uint8_t* const a_changed = map_input(context, 1, "changed_a", a);
    const std::uint8_t* const b_changed = map_input(context, 3, "changed_b", b);
    const std::uint8_t* const table = table_input(context, 4, "table");
    const ResidualOutput output = residual_output(context, 5, a.shape);
    residual_add({a.bytes(), a_changed}, {b.bytes(), b_changed}, terms_, table, output, pixel_count(a.shape), steps_,
                 context);
  }

 private:
  static std::int32_t code(const KernelInfo& info, const char* name) {
    const std::int64_t value = info.integer(name);
    if (value < 0 || value > 255) {
      throw InvalidModel(std::string(name) + " is " + std::to_string(value) + "; allowed are 0 to 255");
    }
    return static_cast<std::int32_t>(value);
  }

  AddTerms terms_;
  const ResidualSteps& steps_;
};

class ResidualConcatKernel final : public Kernel {
 public:
  explicit ResidualConcatKernel(const KernelInfo&) : steps_(residual_steps_of(chosen_isa())) {}

  void run(const KernelContext& context) const override {
    const Tensor a = codes_input(context, 0, "A"), b = codes_input(context, 2, "B");
    Shape shape = a.shape;
    shape[3] = b.shape[3];
    expect_bytes("B", b, shape);
    shape[3] += a.shape[3];
    const std::uint8_t* const a_changed = map_input(context, 1, "changed_a", a);
    const std::uint8_t* const b_changed = map_input(context, 3, "changed_b", b);
    const std::uint8_t* const a_table = table_input(context, 4, "table_a");
    const std::uint8_t* const b_table = table_input(context, 5, "table_b");
    const ResidualOutput output = residual_output(context, 6, shape);
    residual_concat({a.bytes(), a_changed}, static_cast<std::size_t>(a.shape[3]), {b.bytes(), b_changed}, a_table,
                    b_table, output, pixel_count(shape), steps_, context);
  }

 private:
  const ResidualSteps& steps_;
};

class ResidualTableKernel final : public Kernel {
 public:
  explicit ResidualTableKernel(const KernelInfo&) : steps_(residual_steps_of(chosen_isa())) {}

  void run(const KernelContext& context) const override {
    const Tensor x = codes_input(context, 0, "X");
    const std::uint8_t* const changed = map_input(context, 1, "changed", x);
    const std::uint8_t* const table = table_input(context, 2, "table");
    const ResidualOutput output = residual_output(context, 3, x.shape);
    residual_table({x.bytes(), changed}, table, output, pixel_count(x.shape), steps_, context);
  }

 private:
  const ResidualSteps& steps_;
};

template <class Made>
std::unique_ptr<Kernel> make(const KernelInfo& info) {
  return std::make_unique<Made>(info);
}

}  // namespace

Operator residual_add_operator() {
  return {"ResidualAdd", std::vector<abi::ElementType>(6, abi::kUint8), {abi::kUint8, abi::kUint8},
          make<ResidualAddKernel>};
}

Operator residual_concat_operator() {
  return {"ResidualConcat", std::vector<abi::ElementType>(7, abi::kUint8), {abi::kUint8, abi::kUint8},
          make<ResidualConcatKernel>};
}

Operator residual_table_operator() {
  return {"ResidualTable", std::vector<abi::ElementType>(4, abi::kUint8), {abi::kUint8, abi::kUint8},
          make<ResidualTableKernel>};
}

}  // namespace edgeml
