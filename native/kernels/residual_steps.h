// The inner loops of the operators of residual video beside convolution, one table of them for each instruction set.
//
// Images are uint8 codes, channels last. As with binary_conv_steps.h, the files that define the tables use plain
// pointers only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa.h"

namespace edgeml {

// What becomes of two codes that are added: rint((a - a_zero) * a_multiplier + (b - b_zero) * b_multiplier) + y_zero,
// the products and their sum rounded to float32, the result clipped to 0..255. The multipliers are finite and none of
// the products overflows.
struct AddTerms {
  float a_multiplier, b_multiplier;
  std::int32_t a_zero, b_zero, y_zero;
};

// Windows of one size beside each other, none beyond the image.
struct WindowRun {
  const std::uint8_t* x;      // the first window's first pixel
  std::size_t row_stride;     // bytes from a row of the image to the next
  std::size_t step;           // bytes from a window to the next
  std::size_t rows, columns;  // of a window, in pixels
  std::size_t windows;
  std::size_t channels;
};

struct ResidualSteps {
  // changed[i] = whether pixel i of `fresh` (pixels, channels) differs from the one of `previous`, or-ed to what is
  // there with `also`; y = fresh. previous and y have `stride` bytes from pixel to pixel and may be the same.
  void (*renew)(const std::uint8_t* fresh, const std::uint8_t* previous, std::uint8_t* y, std::size_t pixels,
                std::size_t channels, std::size_t stride, bool also, std::uint8_t* changed);
  // y[i] = table[x[i]]; table: (256). x and y may be the same.
  void (*look_up)(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y);
  void (*add)(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddTerms& terms, std::uint8_t* y);
  // y: (windows, channels).
  void (*maxima)(const WindowRun& run, std::uint8_t* y);
  // rint(float32(sum of (x - zero_point)) / count) + zero_point, the division as a product with the rounded 1 / count.
  // The sums fit int32.
  void (*means)(const WindowRun& run, std::int32_t zero_point, std::uint8_t* y);
  // y[i] = a_weight * a[i] + b_weight * b[i]; the weights are at least 0 and 8 together at most.
  void (*blend_rows)(const std::uint8_t* a, const std::uint8_t* b, std::uint16_t a_weight, std::uint16_t b_weight,
                     std::size_t count, std::uint16_t* y);
  // Linear interpolation between pixels beside each other: x (pixels + 2, channels) as blend_rows makes it, with one
  // pixel more at either end; y (pixels, factor, channels), rounded to nearest even. factor is 2 or 4.
  void (*blend_columns)(const std::uint16_t* x, std::size_t pixels, std::size_t channels, std::size_t factor,
                        std::uint8_t* y);
  // A row of `count` bytes in tiles of `tile` bytes, the last cut off: differs[t] becomes 1 where |a - b| > limit
  // anywhere in tile t, and stays as it is elsewhere.
  void (*mark_tiles)(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, std::size_t tile,
                     std::uint8_t limit, std::uint8_t* differs);
  // sums[t] += the sum of (a - b)^2 over tile t.
  void (*add_squares)(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, std::size_t tile,
                      std::uint64_t* sums);
};

extern const ResidualSteps scalar_residual_steps;
extern const ResidualSteps neon_residual_steps;
extern const ResidualSteps avx2_residual_steps;
extern const ResidualSteps avx512_residual_steps;
extern const ResidualSteps avx512_vbmi_residual_steps;

const ResidualSteps& residual_steps_of(Isa isa);

}  // namespace edgeml
