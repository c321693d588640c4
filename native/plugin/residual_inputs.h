// What the operators of residual video take and give alike: codes, pixel maps, tables and the previous output.
#pragma once

#include "../kernels/residual_output.h"
#include "../kernels/residual_pointwise.h"
#include "kernel.h"

namespace edgeml {

// An input of codes, uint8 (batch, height, width, channels), all but the batch at least 1. Throws InvalidModel for any
// other tensor.
Tensor codes_input(const KernelContext& context, std::size_t input, const char* name);

// Throws InvalidModel where the tensor is not uint8 of this shape.
void expect_bytes(const char* name, const Tensor& tensor, const Shape& shape);

// The pixel map of such codes, uint8 (batch, height, width).
const std::uint8_t* map_input(const KernelContext& context, std::size_t input, const char* name, const Tensor& codes);

// An input uint8 (256); null where each code stays as it is.
const std::uint8_t* table_input(const KernelContext& context, std::size_t input, const char* name);

// The outputs Y, of this shape, and its pixel map; `input` is the one that holds the previous Y.
ResidualOutput residual_output(const KernelContext& context, std::size_t input, const Shape& shape);

// The product of all sizes but the last.
std::size_t pixel_count(const Shape& shape);

}  // namespace edgeml
