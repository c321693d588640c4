// Convolution of signs with signs: the kernel behind ai.edgeml::BinaryConv.
//
// A bit is 1 where a value is negative (-1) and 0 elsewhere (+1). The integer result at an output position is
//   count = taps inside the image * channels per group - 2 * popcount(activation bits XOR weight bits),
// so that padding adds exactly zero.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "isa.h"
#include "parallel.h"

namespace edgeml {

// What ONNX's Conv calls by the same names; two axes each, height before width.
struct ConvGeometry {
  std::int64_t channels = 0;      // of the input, a multiple of group
  std::int64_t out_channels = 0;  // a multiple of group
  std::int64_t group = 1;
  std::array<std::int64_t, 2> kernel{1, 1};
  std::array<std::int64_t, 2> strides{1, 1};
  std::array<std::int64_t, 2> dilations{1, 1};
  std::array<std::int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right

  std::int64_t channels_per_group() const { return channels / group; }
  std::int64_t bits_per_filter() const { return channels_per_group() * kernel[0] * kernel[1]; }
  std::int64_t bytes_per_filter() const { return (bits_per_filter() + 7) / 8; }
  // Of axis 0 (height) or 1 (width), as ONNX defines it; less than 1 where the kernel does not fit.
  std::int64_t out_size(int axis, std::int64_t in_size) const;
};

// A value outside [1, limit] would overflow the arithmetic; throws std::invalid_argument with one line that names the
// attribute, its value and what is allowed.
void check(const ConvGeometry& geometry);

// What follows scale * count + bias in a fused layer. Null leaves a step out. Arrays are float32 (out_channels), images
// float32 (batch, out_height, out_width, out_channels).
struct PackedLayer {
  const float* slope = nullptr;       // negative values are multiplied by it
  const float* post_scale = nullptr;  // then y = post_scale * y + post_bias
  const float* post_bias = nullptr;
  const float* residual = nullptr;    // an image, added
  const float* shift_in = nullptr;    // RPReLU (ReActNet): y = prelu(y - shift_in, residual_slope) + shift_out
  const float* residual_slope = nullptr;
  const float* shift_out = nullptr;
  float* y = nullptr;                 // an image
  const float* threshold = nullptr;   // with bits
  std::uint32_t* bits = nullptr;      // (batch, out_height, out_width, ceil(out_channels / 32)): y < threshold
};

// A convolution with its weights packed for one instruction set. Immutable: any number of threads may run it at once.
class BinaryConvolution {
 public:
  // weights: uint8 (out_channels, bytes_per_filter); bit i of a filter, least significant bit of a byte first, is
  //   element i of the filter in ONNX's order (channel, row, column); bits beyond bits_per_filter are ignored.
  // threshold: float32 (channels); an activation is negative where x < threshold.
  // scale, bias: float32 (out_channels); y = scale * count + bias.
  // All are copied. Throws std::invalid_argument for a geometry that check() refuses.
  static std::unique_ptr<BinaryConvolution> create(const ConvGeometry& geometry, const std::uint8_t* weights,
                                                   const float* threshold, const float* scale, const float* bias,
                                                   Isa isa);
  virtual ~BinaryConvolution() = default;

  // x: float32 (batch, channels, height, width); y: float32 (batch, out_channels, out_height, out_width).
  // The caller has made sure that out_height and out_width are at least 1. batch may be 0.
  virtual void run(const float* x, std::int64_t batch, std::int64_t height, std::int64_t width, float* y,
                   const Parallel& parallel) const = 0;

  // The same on packed activations, with what a fused layer adds; only for group 1 and out_channels a multiple of 16.
  // x: uint32 (batch, height, width, ceil(channels / 32)), channel c in bit c % 32 of word c / 32; bits beyond channels
  // are 0. What the signs in x were taken against was decided by whoever packed them: the threshold is not used.
  virtual void run_packed(const std::uint32_t* x, std::int64_t batch, std::int64_t height, std::int64_t width,
                          const PackedLayer& layer, const Parallel& parallel) const = 0;

  virtual const ConvGeometry& geometry() const = 0;
};

// Packs signs: x float32 (batch, height * width, channels) if channels_last, else (batch, channels, height * width);
// out: uint32 (batch, height * width, ceil(channels / 32)); negative where x < threshold[channel].
void pack_signs(const float* x, std::int64_t batch, std::int64_t pixels, std::int64_t channels, const float* threshold,
                bool channels_last, std::uint32_t* out, Isa isa, const Parallel& parallel);

}  // namespace edgeml
