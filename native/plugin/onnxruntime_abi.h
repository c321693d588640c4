// The few parts of onnxruntime's public C interface that the plugin uses, as facts of its binary layout.
//
// onnxruntime hands its functions to a plugin as one table of pointers whose order never changes: later versions only
// add entries. A Slot is a position in that table, and the comment beside it says since which version it is there. The
// layout of OrtCustomOp is the one of version 17. Every slot and every callback is exercised by tests/runtime.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct OrtStatus;
struct OrtValue;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtTensorTypeAndShapeInfo;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtShapeInferContext;

// The table of functions; its entries are read through edgeml::Api.
struct OrtApi {
  void (*entries[1])();
};

struct OrtApiBase {
  const OrtApi* (*get_api)(std::uint32_t version);
  const char* (*get_version_string)();
};

struct OrtCustomOp {
  std::uint32_t version;
  void* (*create_kernel)(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info);
  const char* (*get_name)(const OrtCustomOp* op);
  const char* (*get_execution_provider_type)(const OrtCustomOp* op);
  int (*get_input_type)(const OrtCustomOp* op, std::size_t index);
  std::size_t (*get_input_type_count)(const OrtCustomOp* op);
  int (*get_output_type)(const OrtCustomOp* op, std::size_t index);
  std::size_t (*get_output_type_count)(const OrtCustomOp* op);
  void (*kernel_compute)(void* kernel, OrtKernelContext* context);
  void (*kernel_destroy)(void* kernel);
  int (*get_input_characteristic)(const OrtCustomOp* op, std::size_t index);
  int (*get_output_characteristic)(const OrtCustomOp* op, std::size_t index);
  int (*get_input_memory_type)(const OrtCustomOp* op, std::size_t index);
  int (*get_variadic_input_min_arity)(const OrtCustomOp* op);
  int (*get_variadic_input_homogeneity)(const OrtCustomOp* op);
  int (*get_variadic_output_min_arity)(const OrtCustomOp* op);
  int (*get_variadic_output_homogeneity)(const OrtCustomOp* op);
  OrtStatus* (*create_kernel_v2)(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info, void** kernel);
  OrtStatus* (*kernel_compute_v2)(void* kernel, OrtKernelContext* context);
  OrtStatus* (*infer_output_shape)(const OrtCustomOp* op, OrtShapeInferContext* context);
  int (*get_start_version)(const OrtCustomOp* op);
  int (*get_end_version)(const OrtCustomOp* op);
};

}  // extern "C"

namespace edgeml::abi {

constexpr std::uint32_t kApiVersion = 17;  // that of onnxruntime 1.17

enum Slot : std::size_t {
  kCreateStatus = 0,  // up to 101: since version 1
  kGetErrorMessage = 2,
  kCreateCustomOpDomain = 26,
  kCustomOpDomainAdd = 27,
  kAddCustomOpDomain = 28,
  kGetTensorMutableData = 51,
  kGetTensorElementType = 60,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kGetTensorTypeAndShape = 65,
  kKernelInfoGetAttributeFloat = 85,
  kKernelInfoGetAttributeInt64 = 86,
  kKernelContextGetInput = 90,
  kKernelContextGetOutput = 91,
  kReleaseStatus = 93,
  kReleaseTensorTypeAndShapeInfo = 99,
  kKernelInfoGetAttributeArrayInt64 = 163,  // 8
  kHasSessionConfigEntry = 237,             // 14
  kGetSessionConfigEntry = 238,             // 14
  kKernelInfoGetConstantInputTensor = 249,  // 15
  kKernelContextParallelFor = 274,          // 17
};

// Of OrtErrorCode.
enum ErrorCode : int { kFail = 1, kInvalidArgument = 2, kRuntimeException = 6 };

// Of ONNX's TensorProto.DataType, which onnxruntime's element types agree with for these.
enum ElementType : int { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kUint32 = 12 };

// Of OrtCustomOpInputOutputCharacteristic and OrtMemType.
constexpr int kRequired = 0;
constexpr int kDefaultMemory = 0;

}  // namespace edgeml::abi
