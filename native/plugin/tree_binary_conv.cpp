// ai.edgeml::TreeBinaryConv for onnxruntime: BinaryConv whose filters come as a tree of differences.
//
// Counts can be reused along the tree, which does fewer operations than the dense kernel and not always less work. So
// the first run on images of a size measures both; EDGEML_TREE_KERNEL=dense or tree decides without measuring.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "../kernels/filter_tree.h"
#include "../kernels/tree_conv.h"
#include "geometry.h"
#include "operators.h"
#include "weight_inputs.h"

namespace edgeml {
namespace {

constexpr int kTrials = 5;

// Inputs 1 to 4 of a node.
struct TreeInputs {
  Tensor root, parents, quotients, remainders;
};

std::size_t bytes_of(const char* name, const Tensor& tensor) {
  if (tensor.type != abi::kUint8) throw InvalidModel(std::string(name) + " is not uint8");
  if (tensor.shape.size() != 1) {
    throw InvalidModel(std::string(name) + " has shape " + text_of(tensor.shape) + "; it takes one axis");
  }
  return static_cast<std::size_t>(tensor.shape[0]);
}

// What the filters need that is no tensor of the tree.
struct TreeForm {
  ConvGeometry geometry;
  std::int64_t root_index, rice_parameter;
};

FilterTree decoded(const TreeForm& form, const TreeInputs& inputs, const Tensor& scale) {
  if (scale.shape.size() != 1) throw InvalidModel("scale has shape " + text_of(scale.shape) + "; it takes one axis");
  CodedTree coded;
  coded.filters = scale.shape[0];
  coded.root_index = form.root_index;
  coded.rice_parameter = form.rice_parameter;
  coded.root = inputs.root.bytes();
  coded.root_bytes = bytes_of("root", inputs.root);
  coded.parents = inputs.parents.bytes();
  coded.parents_bytes = bytes_of("parents", inputs.parents);
  coded.quotients = inputs.quotients.bytes();
  coded.quotients_bytes = bytes_of("quotients", inputs.quotients);
  coded.remainders = inputs.remainders.bytes();
  coded.remainders_bytes = bytes_of("remainders", inputs.remainders);
  return decode(coded);
}

// Both kernels of one layer, and which of them is the faster for an image size.
class TreeLayer {
 public:
  TreeLayer(const TreeForm& form, const TreeInputs& inputs, const Tensor& threshold, const Tensor& scale,
            const Tensor& bias) {
    const FilterTree tree = decoded(form, inputs, scale);
    Tensor weights;
    weights.shape = {scale.shape[0], inputs.root.shape[0]};
    weights.type = abi::kUint8;
    weights.data = tree.weights.data();
    dense_ = packed_convolution(form.geometry, {weights, threshold, scale, bias});
    const char* const wish = std::getenv("EDGEML_TREE_KERNEL");
    const std::string_view wished = wish ? wish : "";
    if (wished == "dense" || !TreeConvolution::takes(dense_->geometry())) return;
    tree_ = std::make_unique<TreeConvolution>(dense_->geometry(), tree.weights.data(), tree.parents.data(),
                                              threshold.floats(), scale.floats(), bias.floats(), chosen_isa());
    always_ = wished == "tree";
  }

  const ConvGeometry& geometry() const { return dense_->geometry(); }

  void run(const float* x, std::int64_t batch, std::int64_t height, std::int64_t width, float* y,
           const Parallel& parallel) const {
    if (tree_ && (always_ || tree_is_faster(x, height, width, y, parallel))) {
      tree_->run(x, batch, height, width, y, parallel);
    } else {
      dense_->run(x, batch, height, width, y, parallel);
    }
  }

 private:
  // Measured on the first image, in turns, by the least of several times; both write what is then computed again.
  bool tree_is_faster(const float* x, std::int64_t height, std::int64_t width, float* y,
                      const Parallel& parallel) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = faster_.find({height, width});
    if (known != faster_.end()) return known->second;
    using Clock = std::chrono::steady_clock;
    Clock::duration least[2] = {Clock::duration::max(), Clock::duration::max()};
    for (int trial = 0; trial < 2 * kTrials; ++trial) {
      const Clock::time_point start = Clock::now();
      if (trial % 2) {
        tree_->run(x, 1, height, width, y, parallel);
      } else {
        dense_->run(x, 1, height, width, y, parallel);
      }
      least[trial % 2] = std::min(least[trial % 2], Clock::now() - start);
    }
    // Images of many sizes would each be measured; beyond some the usual answer is taken.
    if (faster_.size() >= 64) return false;
    return faster_[{height, width}] = least[1] < least[0];
  }

  std::unique_ptr<BinaryConvolution> dense_;
  std::unique_ptr<TreeConvolution> tree_;
  bool always_ = false;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<std::int64_t, std::int64_t>, bool> faster_;
};

class TreeBinaryConvKernel final : public Kernel {
 public:
  explicit TreeBinaryConvKernel(const KernelInfo& info)
      : form_{conv_geometry(info), info.integer("root_index"), info.integer("rice_parameter")} {
    std::vector<Tensor> constants;
    for (std::size_t input = 1; input < 8; ++input) {
      const auto found = info.constant(input);
      if (!found) return;
      constants.push_back(*found);
    }
    layer_ = layer_of(constants);
  }

  void run(const KernelContext& context) const override {
    if (layer_) return run(context, *layer_);
    std::vector<Tensor> inputs;
    for (std::size_t input = 1; input < 8; ++input) inputs.push_back(context.input(input));
    run(context, *layer_of(inputs));
  }

 private:
  std::unique_ptr<TreeLayer> layer_of(const std::vector<Tensor>& inputs) const {
    return std::make_unique<TreeLayer>(form_, TreeInputs{inputs[0], inputs[1], inputs[2], inputs[3]}, inputs[4],
                                       inputs[5], inputs[6]);
  }

  static void run(const KernelContext& context, const TreeLayer& layer) {
    const Tensor x = context.input(0);
    const ConvGeometry& geometry = layer.geometry();
    if (x.type != abi::kFloat) throw InvalidModel("X is not float32");
    if (x.shape.size() != 4 || x.shape[1] != geometry.channels || x.shape[2] < 1 || x.shape[3] < 1) {
      throw InvalidModel("X has shape " + text_of(x.shape) + "; it takes (batch, " + std::to_string(geometry.channels) +
                         ", height, width) with at least one row and column");
    }
    element_count(x.shape);
    const Shape y_shape{x.shape[0], geometry.out_channels, geometry.out_size(0, x.shape[2]),
                        geometry.out_size(1, x.shape[3])};
    if (y_shape[2] < 1 || y_shape[3] < 1) {
      throw InvalidModel("X has shape " + text_of(x.shape) + ", which with its padding is smaller than the kernel");
    }
    float* const y = context.float_output(0, y_shape);
    if (x.shape[0] > 0) layer.run(x.floats(), x.shape[0], x.shape[2], x.shape[3], y, context);
  }

  TreeForm form_;
  std::unique_ptr<TreeLayer> layer_;
};

}  // namespace

Operator tree_binary_conv_operator() {
  return {"TreeBinaryConv",
          {abi::kFloat, abi::kUint8, abi::kUint8, abi::kUint8, abi::kUint8, abi::kFloat, abi::kFloat, abi::kFloat},
          {abi::kFloat},
          [](const KernelInfo& info) -> std::unique_ptr<Kernel> {
            return std::make_unique<TreeBinaryConvKernel>(info);
          }};
}

}  // namespace edgeml
