// What an operator of the plugin is written against: tensors, a node's attributes and constants, one run's inputs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../kernels/parallel.h"
#include "api.h"

namespace edgeml {

using Shape = std::vector<std::int64_t>;

// "(1, 64, 56, 56)".
std::string text_of(const Shape& shape);

// A tensor that onnxruntime owns.
struct Tensor {
  Shape shape;
  int type = 0;  // an abi::ElementType, or one that no operator takes
  const void* data = nullptr;

  const float* floats() const { return static_cast<const float*>(data); }
  const std::uint32_t* words() const { return static_cast<const std::uint32_t*>(data); }
  const std::uint8_t* bytes() const { return static_cast<const std::uint8_t*>(data); }
};

// The product of the sizes. Throws InvalidModel beyond what a float32 tensor of 8 GiB holds.
std::int64_t element_count(const Shape& shape);

// A node while its kernel is made.
class KernelInfo {
 public:
  KernelInfo(const Api& api, const OrtKernelInfo* info, std::size_t threads)
      : api_(api), info_(info), threads_(threads) {}

  // Of an attribute that is there; throws InvalidModel where it is absent or of another type.
  std::int64_t integer(const char* name) const;
  std::int64_t integer(const char* name, std::int64_t otherwise) const;

  // Of an attribute that is there, a float32; throws InvalidModel where it is absent or of another type.
  float real(const char* name) const;

  // Of an attribute of exactly Size integers.
  template <std::size_t Size>
  std::array<std::int64_t, Size> integers(const char* name) const {
    return sized<Size>(name, found_integers(name, true));
  }
  template <std::size_t Size>
  std::array<std::int64_t, Size> integers(const char* name, const std::array<std::int64_t, Size>& otherwise) const {
    const auto found = found_integers(name, false);
    return found ? sized<Size>(name, found) : otherwise;
  }

  // The input's value where the model holds it; nothing where it is computed in each run.
  std::optional<Tensor> constant(std::size_t input) const;

  // How many threads the session has for one operator.
  std::size_t threads() const { return threads_; }

 private:
  std::optional<std::int64_t> found_integer(const char* name, bool required) const;
  std::optional<std::vector<std::int64_t>> found_integers(const char* name, bool required) const;

  // Whether an attribute that is not required is absent; throws InvalidModel for any other failure of read(name).
  template <typename Read>
  bool is_absent(const char* name, const char* kind, bool required, const Read& read) const;

  template <std::size_t Size>
  static std::array<std::int64_t, Size> sized(const char* name, const std::optional<std::vector<std::int64_t>>& found) {
    if (found->size() != Size) {
      throw InvalidModel(std::string("attribute ") + name + " has " + std::to_string(found->size()) +
                         " values; it takes " + std::to_string(Size));
    }
    std::array<std::int64_t, Size> values{};
    for (std::size_t i = 0; i < Size; ++i) values[i] = (*found)[i];
    return values;
  }

  Api api_;
  const OrtKernelInfo* info_;
  std::size_t threads_;
};

// One run of a node. As a Parallel, it runs tasks on the session's own threads.
class KernelContext final : public Parallel {
 public:
  KernelContext(const Api& api, OrtKernelContext* context, std::size_t threads)
      : api_(api), context_(context), threads_(threads) {}

  Tensor input(std::size_t index) const;

  // Memory of an output, which onnxruntime allocates; throws where there is none of that size.
  float* float_output(std::size_t index, const Shape& shape) const {
    return static_cast<float*>(output(index, shape));
  }
  std::uint32_t* word_output(std::size_t index, const Shape& shape) const {
    return static_cast<std::uint32_t*>(output(index, shape));
  }
  std::uint8_t* byte_output(std::size_t index, const Shape& shape) const {
    return static_cast<std::uint8_t*>(output(index, shape));
  }

  // Throws the first exception that a task threw, after all tasks have ended.
  void run(std::size_t tasks, void (*task)(void* context, std::size_t i), void* context) const override;
  std::size_t threads() const override { return threads_; }

 private:
  void* output(std::size_t index, const Shape& shape) const;

  Api api_;
  OrtKernelContext* context_;
  std::size_t threads_;
};

// What runs one node. Sessions run from several threads at once, so run() may not change the kernel.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void run(const KernelContext& context) const = 0;
};

// One operator of the plugin: what it is called, what it takes and gives, and how a kernel for a node is made.
struct Operator {
  const char* name;
  std::vector<abi::ElementType> inputs;
  std::vector<abi::ElementType> outputs;
  std::unique_ptr<Kernel> (*create)(const KernelInfo& info);
};

}  // namespace edgeml
