// The inner steps of a binary convolution, one table of them for each instruction set.
//
// The files that define the tables are compiled for their processor. They use plain pointers only: a template of the
// standard library instantiated there could be linked into code that runs on every processor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa.h"

namespace edgeml {

inline constexpr std::size_t kBlock = 16;      // output channels computed together
inline constexpr std::size_t kWordBits = 32;   // channels in one word of packed activations

// Which pixels, taps and channels one call computes: `blocks` times kBlock output channels at `pixels` positions.
struct Tile {
  const std::uint32_t* x;            // packed image: words of all channels of a pixel side by side
  const std::uint32_t* offsets;      // (pixels): the word of x where the first tap of each pixel lies
  const std::uint32_t* patterns;     // (pixels): where the row of `base` for its padding begins
  std::size_t pixels;
  const std::uint32_t* run_offsets;  // (runs): words from a pixel's first tap to a run of consecutive ones
  std::size_t runs;
  std::size_t run_words;
  const std::uint32_t* weights;      // (blocks, runs, run_words, kBlock)
  std::size_t blocks;                // 1, or up to Steps::most_blocks
  const std::int32_t* base;          // count = base[pattern of the pixel + channel] - 2 * popcount
};

// y = scale * count + bias, then what a fused layer adds. Pointers to the tile's channels; null leaves the step out.
struct Epilogue {
  const float* scale;
  const float* bias;
  const float* slope;          // negative values are multiplied by it: ReLU is 0, PReLU its weights
  const float* post_scale;     // after the slope: y = post_scale * y + post_bias
  const float* post_bias;
  const float* residual;       // (pixels, pixel_stride): added last
  const float* shift_in;       // RPReLU after the residual (ReActNet): y = prelu(y - shift_in, rslope) + shift_out
  const float* rslope;
  const float* shift_out;
  float* y;                    // (pixels, pixel_stride), or null
  std::size_t pixel_stride;    // floats from pixel to pixel in residual and y
  const float* threshold;      // with bits: negative where y < threshold
  std::uint16_t* bits;         // (pixels, bits_stride), or null; one for each block
  std::size_t bits_stride;     // from pixel to pixel
};

// Signs only: negative where popcount > limit, the other way round for the channels in `flip`.
struct SignLimits {
  const std::int32_t* limit;   // laid out as Tile::base
  const std::uint16_t* flip;   // (blocks): bit i is channel i of the block
  std::uint16_t* bits;         // (pixels, bits_stride); one for each block
  std::size_t bits_stride;
};

struct Steps {
  std::size_t most_blocks;  // that one tile may have: two where registers hold their sums
  // Bits of `channels` planes at `pixels` consecutive positions, written to out[offsets[i] + channel / kWordBits].
  // x: the first plane; threshold: (channels).
  void (*pack_planes)(const float* x, std::size_t plane_stride, const float* threshold, std::size_t channels,
                      const std::uint32_t* offsets, std::size_t pixels, std::uint32_t* out);
  // Bits of `pixels` pixels whose channels lie side by side: x (pixels, channels), out (pixels, words).
  void (*pack_pixels)(const float* x, const float* threshold, std::size_t channels, std::size_t pixels,
                      std::uint32_t* out);
  void (*to_float)(const Tile&, const Epilogue&);
  void (*to_signs)(const Tile&, const SignLimits&);
  // (pixels, row_stride) -> the first `channels`, at most kBlock, as planes.
  void (*to_planes)(const float* rows, std::size_t row_stride, std::size_t pixels, float* y, std::size_t plane_stride,
                    std::size_t channels);
};

extern const Steps scalar_steps;
extern const Steps neon_steps;
extern const Steps avx2_steps;
extern const Steps avx512_steps;

const Steps& steps_of(Isa isa);

}  // namespace edgeml
