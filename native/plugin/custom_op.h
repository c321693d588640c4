// An Operator in the form that onnxruntime calls.
#pragma once

#include "kernel.h"

namespace edgeml {

// Registered by its address, so it must outlive every session that uses it.
class CustomOp final : public OrtCustomOp {
 public:
  // threads: how many the sessions it is registered with have for one operator.
  CustomOp(const Operator& description, std::size_t threads);
  CustomOp(const CustomOp&) = delete;
  CustomOp& operator=(const CustomOp&) = delete;

 private:
  static const CustomOp& self(const OrtCustomOp* op) { return *static_cast<const CustomOp*>(op); }

  const Operator& description_;
  std::size_t threads_;
};

}  // namespace edgeml
