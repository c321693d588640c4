// Steps of residual video in which an output pixel depends on the same pixel of the inputs alone.
//
// All tensors are uint8, channels last; pixels are those of all images of the batch. A table is uint8 (256), or null
// where each code stays as it is. Pixels whose map is 0 keep their previous codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parallel.h"
#include "residual_output.h"

namespace edgeml {

// Codes (pixels, channels) with their pixel map.
struct PixelCodes {
  const std::uint8_t* codes;
  const std::uint8_t* changed;  // (pixels)
};

// The table, or null where it is the identity.
const std::uint8_t* table_or_null(const std::uint8_t* table);

// Throws std::invalid_argument where a multiplier is not finite or so large that float32 could overflow, or a zero
// point is no code.
void check(const AddTerms& terms);

void residual_add(const PixelCodes& a, const PixelCodes& b, const AddTerms& terms, const std::uint8_t* table,
                  const ResidualOutput& output, std::size_t pixels, const ResidualSteps& steps,
                  const Parallel& parallel);

// `a` has the first a_channels channels of the output, `b` the others; at least one each.
void residual_concat(const PixelCodes& a, std::size_t a_channels, const PixelCodes& b, const std::uint8_t* a_table,
                     const std::uint8_t* b_table, const ResidualOutput& output, std::size_t pixels,
                     const ResidualSteps& steps, const Parallel& parallel);

void residual_table(const PixelCodes& x, const std::uint8_t* table, const ResidualOutput& output, std::size_t pixels,
                    const ResidualSteps& steps, const Parallel& parallel);

}  // namespace edgeml
