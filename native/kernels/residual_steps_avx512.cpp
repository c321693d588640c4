// The inner loops of residual video for AVX-512, without and with its shuffles of bytes (VBMI).
#include "residual_codes.h"

namespace edgeml {
namespace {

__attribute__((target("avx512vbmi"))) void look_up_vbmi(const std::uint8_t* x, std::size_t count,
                                                        const std::uint8_t* table, std::uint8_t* y) {
  const __m512i first = _mm512_loadu_si512(table), second = _mm512_loadu_si512(table + 64);
  const __m512i third = _mm512_loadu_si512(table + 128), fourth = _mm512_loadu_si512(table + 192);
  for (std::size_t i = 0; i < count; i += 64) {
    const __mmask64 valid = count - i < 64 ? (__mmask64{1} << (count - i)) - 1 : ~__mmask64{0};
    const __m512i index = _mm512_maskz_loadu_epi8(valid, x + i);
    const __m512i low = _mm512_permutex2var_epi8(first, index, second);
    const __m512i high = _mm512_permutex2var_epi8(third, index, fourth);
    _mm512_mask_storeu_epi8(y + i, valid, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
  }
}

}  // namespace

const ResidualSteps avx512_residual_steps{renew,         look_up,    add,        maxima, means, blend_rows,
                                          blend_columns, mark_tiles, add_squares};
const ResidualSteps avx512_vbmi_residual_steps{renew,         look_up_vbmi, add,        maxima, means, blend_rows,
                                               blend_columns, mark_tiles,   add_squares};

}  // namespace edgeml
