#include "kernel.h"

#include <algorithm>
#include <atomic>
#include <exception>

namespace edgeml {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 31;
// More batches than threads, so that a thread that starts late finds less left to do.
constexpr std::size_t kBatchesPerThread = 4;

// onnxruntime tells an absent attribute from one of another type by words alone, so what it says of this one, which no
// node has, is compared with what it says of the one asked for.
const std::string kAbsent = "ai.edgeml.absent";

std::string replaced(std::string text, const std::string& old, const std::string& by) {
  for (std::size_t at = text.find(old); at != std::string::npos; at = text.find(old, at + by.size())) {
    text.replace(at, old.size(), by);
  }
  return text;
}

// Tasks with the first exception that one of them threw: none may pass through onnxruntime's threads.
struct Tasks {
  void (*task)(void* context, std::size_t i);
  void* context;
  std::atomic<bool> failed{false};
  std::exception_ptr error;

  static void run(void* tasks, std::size_t i) noexcept {
    auto& self = *static_cast<Tasks*>(tasks);
    try {
      self.task(self.context, i);
    } catch (...) {
      if (!self.failed.exchange(true)) self.error = std::current_exception();
    }
  }
};

Tensor tensor_of(const Api& api, const OrtValue* value) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  api.must(abi::kGetTensorTypeAndShape, value, &info);
  const auto release = [&api](OrtTensorTypeAndShapeInfo* held) {
    api.call<void>(abi::kReleaseTensorTypeAndShapeInfo, held);
  };
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(release)> holder(info, release);
  const OrtTensorTypeAndShapeInfo* read = info;

  Tensor tensor;
  std::size_t rank = 0;
  api.must(abi::kGetTensorElementType, read, &tensor.type);
  api.must(abi::kGetDimensionsCount, read, &rank);
  tensor.shape.resize(rank);
  api.must(abi::kGetDimensions, read, tensor.shape.data(), rank);
  void* data = nullptr;
  api.must(abi::kGetTensorMutableData, const_cast<OrtValue*>(value), &data);
  tensor.data = data;
  return tensor;
}

}  // namespace

std::string text_of(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  bool empty = false;
  bool too_many = false;
  for (const std::int64_t size : shape) {
    empty = empty || size == 0;
    too_many = too_many || __builtin_mul_overflow(count, size == 0 ? 1 : size, &count) || count > kMostElements;
  }
  if (empty) return 0;
  if (too_many) {
    throw InvalidModel("a tensor of shape " + text_of(shape) + " has more than " + std::to_string(kMostElements) +
                       " elements");
  }
  return count;
}

template <typename Read>
bool KernelInfo::is_absent(const char* name, const char* kind, bool required, const Read& read) const {
  OrtStatus* status = read(name);
  if (status == nullptr) return false;
  const std::string message = api_.take_message(status);
  OrtStatus* absent = required ? nullptr : read(kAbsent.c_str());
  if (absent != nullptr && replaced(api_.take_message(absent), kAbsent, name) == message) return true;
  throw InvalidModel(std::string("attribute ") + name + ", " + kind + ": " + message);
}

std::int64_t KernelInfo::integer(const char* name) const { return *found_integer(name, true); }

std::int64_t KernelInfo::integer(const char* name, std::int64_t otherwise) const {
  return found_integer(name, false).value_or(otherwise);
}

float KernelInfo::real(const char* name) const {
  float value = 0;
  const auto read = [&](const char* asked) {
    return api_.call<OrtStatus*>(abi::kKernelInfoGetAttributeFloat, info_, asked, &value);
  };
  is_absent(name, "a real number", true, read);
  return value;
}

std::optional<std::int64_t> KernelInfo::found_integer(const char* name, bool required) const {
  std::int64_t value = 0;
  const auto read = [&](const char* asked) {
    return api_.call<OrtStatus*>(abi::kKernelInfoGetAttributeInt64, info_, asked, &value);
  };
  if (is_absent(name, "an integer", required, read)) return std::nullopt;
  return value;
}

std::optional<std::vector<std::int64_t>> KernelInfo::found_integers(const char* name, bool required) const {
  std::size_t size = 0;
  std::int64_t* nowhere = nullptr;
  const auto read = [&](const char* asked) {
    return api_.call<OrtStatus*>(abi::kKernelInfoGetAttributeArrayInt64, info_, asked, nowhere, &size);
  };
  if (is_absent(name, "a list of integers", required, read)) return std::nullopt;
  std::vector<std::int64_t> values(size);
  if (size > 0) api_.must(abi::kKernelInfoGetAttributeArrayInt64, info_, name, values.data(), &size);
  return values;
}

std::optional<Tensor> KernelInfo::constant(std::size_t input) const {
  int is_constant = 0;
  const OrtValue* value = nullptr;
  api_.must(abi::kKernelInfoGetConstantInputTensor, info_, input, &is_constant, &value);
  if (is_constant == 0 || value == nullptr) return std::nullopt;
  return tensor_of(api_, value);
}

Tensor KernelContext::input(std::size_t index) const {
  const OrtValue* value = nullptr;
  api_.must(abi::kKernelContextGetInput, static_cast<const OrtKernelContext*>(context_), index, &value);
  if (value == nullptr) throw InvalidModel("input " + std::to_string(index) + " is absent");
  return tensor_of(api_, value);
}

void* KernelContext::output(std::size_t index, const Shape& shape) const {
  element_count(shape);
  OrtValue* value = nullptr;
  api_.must(abi::kKernelContextGetOutput, context_, index, shape.data(), shape.size(), &value);
  void* data = nullptr;
  api_.must(abi::kGetTensorMutableData, value, &data);
  return data;
}

void KernelContext::run(std::size_t tasks, void (*task)(void* context, std::size_t i), void* context) const {
  if (tasks == 0) return;
  if (tasks == 1 || threads_ == 1) {
    for (std::size_t i = 0; i < tasks; ++i) task(context, i);
    return;
  }
  Tasks all{task, context, {}, {}};
  const std::size_t batches = std::min(tasks, threads_ * kBatchesPerThread);
  api_.must(abi::kKernelContextParallelFor, static_cast<const OrtKernelContext*>(context_), &Tasks::run, tasks, batches,
            static_cast<void*>(&all));
  if (all.error) std::rethrow_exception(all.error);
}

}  // namespace edgeml
