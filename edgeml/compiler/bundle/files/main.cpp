// Runs the compiled model beside this directory and prints its outputs; copy from here into your own program.
//
//   ./run_model [--batch N] [--runs N] [--save DIRECTORY] [INPUT.bin ...]
//
// An INPUT.bin holds the raw values of one input, in the order of model.h; without any, inputs are random numbers.
// --save writes each output as raw values to DIRECTORY/NAME.bin.

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model.h"

namespace ffi = tvm::ffi;

// Inputs begin at a multiple of 64 bytes: compiled code loads whole vectors from them.
struct Aligned {
  void AllocData(DLTensor* tensor) {
    const size_t bytes = (ffi::GetDataSize(*tensor) + 63) / 64 * 64;
    tensor->data = std::aligned_alloc(64, std::max<size_t>(bytes, 64));
    if (tensor->data == nullptr) throw std::bad_alloc();
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

// A compiled library with the virtual machine that runs it. One run at a time.
class Model {
 public:
  explicit Model(const std::string& path)
      : machine_(ffi::Module::LoadFromFile(path)
                     ->GetFunction("vm_load_executable")
                     .value()()
                     .cast<ffi::Module>()) {
    // Device type, index and kind of memory: the processor with pooled memory, as the device and as the host.
    machine_->GetFunction("vm_initialization").value()(kDLCPU, 0, 2, kDLCPU, 0, 2);
    main_ = machine_->GetFunction("main").value();
  }

  std::vector<ffi::Tensor> Run(const std::vector<ffi::Tensor>& inputs) const {
    std::vector<ffi::AnyView> arguments(inputs.begin(), inputs.end());
    ffi::Any result;
    main_.CallPacked(arguments.data(), static_cast<int>(arguments.size()), &result);
    if (auto one = result.as<ffi::Tensor>()) return {*one};
    auto many = result.cast<ffi::Array<ffi::Tensor>>();
    return {many.begin(), many.end()};
  }

 private:
  ffi::Module machine_;
  ffi::Function main_;
};

static ffi::Tensor MakeInput(const model::Value& value, int64_t batch, const std::string& file, std::mt19937& random) {
  std::vector<int64_t> shape(value.shape);
  for (int64_t& axis : shape) axis = axis < 0 ? batch : axis;
  const DLDataType type{value.code, value.bits, 1};
  auto tensor = ffi::Tensor::FromNDAlloc(Aligned(), ffi::ShapeView(shape.data(), shape.size()), type, {kDLCPU, 0});
  const size_t bytes = ffi::GetDataSize(tensor.numel(), type);
  char* data = static_cast<char*>(tensor.data_ptr());
  if (!file.empty()) {
    std::ifstream stream(file, std::ios::binary | std::ios::ate);
    if (!stream) throw std::runtime_error("cannot read " + file);
    if (static_cast<size_t>(stream.tellg()) != bytes) {
      throw std::runtime_error(file + " has " + std::to_string(stream.tellg()) + " bytes; input " + value.name +
                               " takes " + std::to_string(bytes));
    }
    stream.seekg(0).read(data, static_cast<std::streamsize>(bytes));
  } else if (value.code == kDLFloat && value.bits == 32) {
    std::normal_distribution<float> normal;
    std::generate_n(reinterpret_cast<float*>(data), tensor.numel(), [&] { return normal(random); });
  } else {
    std::memset(data, 0, bytes);
  }
  return tensor;
}

static void Print(const model::Value& value, const ffi::Tensor& tensor) {
  std::cout << value.name << " (";
  for (int axis = 0; axis < tensor.ndim(); ++axis) std::cout << (axis ? ", " : "") << tensor.size(axis);
  std::cout << ")";
  if (value.code == kDLFloat && value.bits == 32) {
    const float* data = static_cast<const float*>(tensor.data_ptr());
    for (int64_t i = 0; i < std::min<int64_t>(tensor.numel(), 5); ++i) std::cout << (i ? " " : ": ") << data[i];
    if (tensor.numel() > 5) std::cout << " ...";
  }
  std::cout << "\n";
}

static void Save(const std::filesystem::path& directory, const model::Value& value, const ffi::Tensor& tensor) {
  std::filesystem::create_directories(directory);
  std::string name = value.name;
  std::replace(name.begin(), name.end(), '/', '_');  // ONNX names may hold slashes
  std::ofstream stream(directory / (name + ".bin"), std::ios::binary);
  stream.write(static_cast<const char*>(tensor.data_ptr()),
               static_cast<std::streamsize>(ffi::GetDataSize(tensor.numel(), tensor.dtype())));
  if (!stream) throw std::runtime_error("cannot write into " + directory.string());
}

static int64_t Count(const std::string& option, const char* text) {
  char* end = nullptr;
  const long long value = text == nullptr ? 0 : std::strtoll(text, &end, 10);
  if (text == nullptr || *end != '\0' || value < 1) throw std::runtime_error(option + " takes a whole number from 1 on");
  return value;
}

static int Main(int argc, char** argv) {
  int64_t batch = 1, runs = 1;
  std::string save;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--batch") {
      batch = Count(argument, argv[++i]);
    } else if (argument == "--runs") {
      runs = Count(argument, argv[++i]);
    } else if (argument == "--save" && i + 1 < argc) {
      save = argv[++i];
    } else if (argument.rfind("--", 0) == 0) {
      throw std::runtime_error("usage: run_model [--batch N] [--runs N] [--save DIRECTORY] [INPUT.bin ...]");
    } else {
      files.push_back(argument);
    }
  }
  if (!files.empty() && files.size() != model::inputs.size()) {
    throw std::runtime_error("the model has " + std::to_string(model::inputs.size()) + " inputs; " +
                             std::to_string(files.size()) + " files were given");
  }

  // Read by TVM when it starts its threads: as many as this process may use unless the user says otherwise, bound to no
  // core, asleep soon after a run.
  setenv("TVM_NUM_THREADS", std::to_string(std::max(1u, std::thread::hardware_concurrency())).c_str(), 0);
  setenv("TVM_BIND_THREADS", "0", 0);
  setenv("TVM_THREAD_POOL_SPIN_COUNT", "2000", 0);

  const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const Model net((here.parent_path() / model::file).string());
  std::mt19937 random(0);
  std::vector<ffi::Tensor> inputs;
  for (size_t i = 0; i < model::inputs.size(); ++i) {
    inputs.push_back(MakeInput(model::inputs[i], batch, files.empty() ? "" : files[i], random));
  }

  auto outputs = net.Run(inputs);
  if (outputs.size() != model::outputs.size()) throw std::runtime_error("model.h does not fit the library");
  for (size_t i = 0; i < outputs.size(); ++i) {
    Print(model::outputs[i], outputs[i]);
    if (!save.empty()) Save(save, model::outputs[i], outputs[i]);
  }

  std::vector<double> times;
  for (int64_t i = 1; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    outputs = net.Run(inputs);
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  if (!times.empty()) {
    std::sort(times.begin(), times.end());
    std::cout << "latency: median " << times[times.size() / 2] << " ms, p90 " << times[times.size() * 9 / 10]
              << " ms over " << times.size() << " runs after the first\n";
  }
  return 0;
}

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "run_model: " << error.what() << "\n";
    return 1;
  }
}
