// Convolution of 8-bit codes that computes only tiles whose input changed: the kernel behind ai.edgeml::ResidualConv.
//
// Images are channels last. A sum is int32, bias + sum of (code - x_zero_point) * weight, where padding counts as
// x_zero_point; the code of an output is table[clip(rint(float32(sum) * multiplier) + y_zero_point, 0, 255)], the
// product rounded once to float32 and then to the nearest even integer.
#pragma once

#include <cstdint>
#include <memory>

#include "binary_conv.h"
#include "isa.h"
#include "parallel.h"
#include "residual_output.h"

namespace edgeml {

// What a node says beside its geometry.
struct ResidualSettings {
  std::int64_t x_zero_point = 0, y_zero_point = 0;  // 0 to 255
  std::int64_t tile = 8;       // height and width in output pixels, at least 1
  std::int64_t threshold = 0;  // in sixteenths of a code, at least 0
};

// The arrays of one frame.
struct ResidualFrame {
  const std::uint8_t* x;        // (batch, height, width, channels)
  const std::uint8_t* changed;  // (batch, height, width): 0 where a pixel is as in the frame before
  std::int64_t batch, height, width;
  ResidualOutput output;        // of batch * out_height * out_width pixels
};

// A convolution with its weights packed for one instruction set. Immutable: any number of threads may run it at once.
class ResidualConvolution {
 public:
  // weights: int8 (out_channels, channels / group, kernel height, kernel width).
  // multiplier: float32 (out_channels), finite. bias: int32 (out_channels). table: uint8 (256).
  // All are copied. Throws std::invalid_argument for a geometry that check() refuses, settings or multipliers beyond
  // what is said above, and filters that take more than 2 GiB when packed.
  static std::unique_ptr<ResidualConvolution> create(const ConvGeometry& geometry, const std::int8_t* weights,
                                                     const float* multiplier, const std::int32_t* bias,
                                                     const std::uint8_t* table, const ResidualSettings& settings,
                                                     Isa isa);
  virtual ~ResidualConvolution() = default;

  // A tile is renewed where a tap of its pixels reads a changed pixel inside the image and, with a threshold, 16 times
  // the largest difference of its codes from the previous ones is above it; the rest of the output is kept.
  // The caller has made sure that out_height and out_width are at least 1. batch may be 0.
  virtual void run(const ResidualFrame& frame, const Parallel& parallel) const = 0;

  virtual const ConvGeometry& geometry() const = 0;
};

}  // namespace edgeml
