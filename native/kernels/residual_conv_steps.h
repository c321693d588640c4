// The inner steps of a convolution of 8-bit codes, one table of them for each instruction set.
//
// The files that define the tables are compiled for their processor. They use plain pointers only: a template of the
// standard library instantiated there could be linked into code that runs on every processor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa.h"

namespace edgeml {

inline constexpr std::size_t kFilters = 16;  // output channels computed together: a block
inline constexpr std::size_t kQuad = 4;      // products that one step adds to each sum

// Some output pixels of one group: which codes they read, and what makes codes of their sums.
//
// A pixel's codes lie in runs, each of run_words times four bytes. What the last bytes of a run read beyond the codes
// of its taps meets weights of 0. In a depthwise step a run is one tap, and channel c of the image is filter c; there
// `runs` is a multiple of kQuad.
struct PixelGroup {
  const std::uint8_t* x;
  const std::size_t* offsets;      // (pixels): bytes from x to a pixel's first run
  std::size_t pixels;
  const std::size_t* run_offsets;  // (runs): bytes from a pixel's first run to each
  std::size_t runs;
  std::size_t run_words;
  const std::int8_t* weights;      // (blocks, quads, kFilters, kQuad), or (blocks, quads, kQuad, kFilters)
  std::size_t filters;             // of them, the last block's may be fewer than kFilters
  const std::int32_t* bias;        // (blocks * kFilters): sums begin with it
  const float* multiplier;         // (blocks * kFilters)
  std::int32_t zero_point;         // code = clip(rint(sum * multiplier) + zero_point, 0, 255)
  std::uint8_t* codes;             // (pixels, codes_stride)
  std::size_t codes_stride;
};

struct ResidualConvSteps {
  bool filters_innermost;    // the order of weights
  std::int32_t code_offset;  // taken off codes before they are multiplied; the bias makes up for it
  void (*convolve)(const PixelGroup&);
  void (*convolve_depthwise)(const PixelGroup&);
};

extern const ResidualConvSteps scalar_residual_conv_steps;
extern const ResidualConvSteps neon_residual_conv_steps;
extern const ResidualConvSteps neon_dotprod_residual_conv_steps;
extern const ResidualConvSteps avx2_residual_conv_steps;
extern const ResidualConvSteps avx512_residual_conv_steps;

const ResidualConvSteps& residual_conv_steps_of(Isa isa);

}  // namespace edgeml
