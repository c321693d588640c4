// onnxruntime's C functions with their types, and its errors as exceptions.
#pragma once

#include <stdexcept>
#include <string>

#include "onnxruntime_abi.h"

namespace edgeml {

// A model or tensor that the plugin refuses; becomes an onnxruntime error "invalid argument".
class InvalidModel : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

class Api {
 public:
  explicit Api(const OrtApi* table) : table_(table) {}

  // Calls the function in that slot; its parameter types are those of the arguments, so write them exactly.
  template <typename Result, typename... Parameters>
  Result call(abi::Slot slot, Parameters... arguments) const {
    return reinterpret_cast<Result (*)(Parameters...)>(table_->entries[slot])(arguments...);
  }

  // Calls a function that returns a status; throws std::runtime_error with onnxruntime's message where it failed.
  template <typename... Parameters>
  void must(abi::Slot slot, Parameters... arguments) const {
    if (OrtStatus* status = call<OrtStatus*>(slot, arguments...)) throw std::runtime_error(take_message(status));
  }

  // The message of a failure, whose status is released.
  std::string take_message(OrtStatus* status) const;

  OrtStatus* failure(abi::ErrorCode code, const std::string& message) const {
    return call<OrtStatus*>(abi::kCreateStatus, static_cast<int>(code), message.c_str());
  }

  // Runs the body; what it throws becomes a status that names the operator. nullptr where all went well.
  template <typename Body>
  OrtStatus* guarded(const char* operator_name, Body body) const noexcept {
    try {
      body();
      return nullptr;
    } catch (...) {
      return current_failure(operator_name);
    }
  }

 private:
  OrtStatus* current_failure(const char* operator_name) const noexcept;

  const OrtApi* table_;
};

}  // namespace edgeml
