#include "residual_inputs.h"

namespace edgeml {

Tensor codes_input(const KernelContext& context, std::size_t input, const char* name) {
  Tensor codes = context.input(input);
  if (codes.type != abi::kUint8) throw InvalidModel(std::string(name) + " is not uint8");
  const Shape& shape = codes.shape;
  if (shape.size() != 4 || shape[1] < 1 || shape[2] < 1 || shape[3] < 1) {
    throw InvalidModel(std::string(name) + " has shape " + text_of(shape) +
                       "; it takes (batch, height, width, channels) with at least one row, column and channel");
  }
  // Without a batch no memory bounds the other sizes.
  element_count({shape[1], shape[2], shape[3]});
  element_count(shape);
  return codes;
}

void expect_bytes(const char* name, const Tensor& tensor, const Shape& shape) {
  if (tensor.type != abi::kUint8) throw InvalidModel(std::string(name) + " is not uint8");
  if (tensor.shape != shape) {
    throw InvalidModel(std::string(name) + " has shape " + text_of(tensor.shape) + "; the attributes and the other " +
                       "inputs ask for " + text_of(shape));
  }
}

const std::uint8_t* map_input(const KernelContext& context, std::size_t input, const char* name, const Tensor& codes) {
  const Tensor map = context.input(input);
  expect_bytes(name, map, {codes.shape[0], codes.shape[1], codes.shape[2]});
  return map.bytes();
}

const std::uint8_t* table_input(const KernelContext& context, std::size_t input, const char* name) {
  const Tensor table = context.input(input);
  expect_bytes(name, table, {256});
  return table_or_null(table.bytes());
}

ResidualOutput residual_output(const KernelContext& context, std::size_t input, const Shape& shape) {
  const Tensor previous = context.input(input);
  expect_bytes("previous", previous, shape);
  std::uint8_t* const y = context.byte_output(0, shape);
  std::uint8_t* const changed = context.byte_output(1, {shape[0], shape[1], shape[2]});
  return {previous.bytes(), y, changed, static_cast<std::size_t>(shape[3])};
}

std::size_t pixel_count(const Shape& shape) {
  return static_cast<std::size_t>(element_count({shape.begin(), shape.end() - 1}));
}

}  // namespace edgeml
