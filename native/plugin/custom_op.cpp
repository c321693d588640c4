#include "custom_op.h"

#include <climits>

namespace edgeml {
namespace {

// What onnxruntime keeps for one node.
struct Node {
  Api api;
  const char* operator_name;
  std::size_t threads;
  std::unique_ptr<Kernel> kernel;
};

}  // namespace

CustomOp::CustomOp(const Operator& description, std::size_t threads)
    : OrtCustomOp{}, description_(description), threads_(threads) {
  version = abi::kApiVersion;
  get_name = [](const OrtCustomOp* op) { return self(op).description_.name; };
  get_execution_provider_type = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the processor
  get_input_type_count = [](const OrtCustomOp* op) { return self(op).description_.inputs.size(); };
  get_input_type = [](const OrtCustomOp* op, std::size_t i) -> int { return self(op).description_.inputs[i]; };
  get_output_type_count = [](const OrtCustomOp* op) { return self(op).description_.outputs.size(); };
  get_output_type = [](const OrtCustomOp* op, std::size_t i) -> int { return self(op).description_.outputs[i]; };
  get_input_characteristic = [](const OrtCustomOp*, std::size_t) { return abi::kRequired; };
  get_output_characteristic = [](const OrtCustomOp*, std::size_t) { return abi::kRequired; };
  get_input_memory_type = [](const OrtCustomOp*, std::size_t) { return abi::kDefaultMemory; };
  get_variadic_input_min_arity = [](const OrtCustomOp*) { return 1; };
  get_variadic_input_homogeneity = [](const OrtCustomOp*) { return 1; };
  get_variadic_output_min_arity = [](const OrtCustomOp*) { return 1; };
  get_variadic_output_homogeneity = [](const OrtCustomOp*) { return 1; };
  get_start_version = [](const OrtCustomOp*) { return 1; };
  get_end_version = [](const OrtCustomOp*) { return INT_MAX; };
  create_kernel_v2 = [](const OrtCustomOp* op, const OrtApi* table, const OrtKernelInfo* info, void** kernel) {
    const Api api(table);
    const CustomOp& own = self(op);
    return api.guarded(own.description_.name, [&] {
      auto created = own.description_.create(KernelInfo(api, info, own.threads_));
      *kernel = new Node{api, own.description_.name, own.threads_, std::move(created)};
    });
  };
  kernel_compute_v2 = [](void* kernel, OrtKernelContext* context) {
    const Node& node = *static_cast<const Node*>(kernel);
    return node.api.guarded(node.operator_name,
                            [&] { node.kernel->run(KernelContext(node.api, context, node.threads)); });
  };
  kernel_destroy = [](void* kernel) { delete static_cast<Node*>(kernel); };
}

}  // namespace edgeml
