// The steps for AVX-512 with VPOPCNTDQ: one register holds the 16 output channels of a block.
#include <immintrin.h>

#include "binary_conv_tile.h"

namespace edgeml {
namespace {

struct Avx512 {
  static constexpr int lanes = 16;
  static constexpr int pixels = 7;
  static constexpr std::size_t most_blocks = 2;
  static constexpr int flush_every = 0;
  using Words = __m512i;
  using Ints = __m512i;
  using Counter = __m512i;
  using Floats = __m512;

  static Ints zero() { return _mm512_setzero_si512(); }
  static Counter no_counts() { return _mm512_setzero_si512(); }
  static Words no_bits() { return _mm512_setzero_si512(); }
  static Words load_words(const std::uint32_t* p) { return _mm512_loadu_si512(p); }
  static void store_words(std::uint32_t* p, Words w) { _mm512_storeu_si512(p, w); }
  static Words broadcast_word(const std::uint32_t* p) { return _mm512_set1_epi32(static_cast<int>(*p)); }
  static Counter count(Counter c, Words a, Words b) {
    return _mm512_add_epi32(c, _mm512_popcnt_epi32(_mm512_xor_si512(a, b)));
  }
  static Ints flush(Ints, Counter c) { return c; }
  static Ints last_flush(Ints, Counter c) { return c; }
  static Ints base_minus_twice(const std::int32_t* base, Ints total) {
    return _mm512_sub_epi32(_mm512_loadu_si512(base), _mm512_slli_epi32(total, 1));
  }
  static unsigned above(Ints total, const std::int32_t* limit) {
    return _mm512_cmpgt_epi32_mask(total, _mm512_loadu_si512(limit));
  }
  static Floats to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Floats f) { _mm512_storeu_ps(p, f); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats prelu(Floats a, Floats slope) {
    return _mm512_mask_mul_ps(a, _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ), a, slope);
  }
  static unsigned less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Words set_where_less(Words w, Floats x, float threshold, std::uint32_t bit) {
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_set1_ps(threshold), _CMP_LT_OQ);
    return _mm512_mask_or_epi32(w, negative, w, _mm512_set1_epi32(static_cast<int>(bit)));
  }
};

// A 16x16 transposition: pairs of rows, pairs of pairs, then whole quarters.
void to_planes(const float* rows, std::size_t row_stride, std::size_t pixels, float* y, std::size_t plane_stride,
               std::size_t channels) {
  for (std::size_t first = 0; first < pixels; first += 16) {
    const std::size_t here = pixels - first < 16 ? pixels - first : 16;
    __m512 r[16];
    for (std::size_t i = 0; i < 16; ++i) r[i] = i < here ? _mm512_loadu_ps(rows + (first + i) * row_stride) : _mm512_setzero_ps();
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
      const __m512d a = _mm512_castps_pd(t[i]);
      const __m512d b = _mm512_castps_pd(t[i + 1]);
      const __m512d c = _mm512_castps_pd(t[i + 2]);
      const __m512d d = _mm512_castps_pd(t[i + 3]);
      r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
      r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
      r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
      r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    for (int i = 0; i < 4; ++i) {  // r[4 * q + i], quarter k: channel 4 * k + i of pixels 4 * q and up
      t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
      t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
      t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
      t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    }
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
      r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
      r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
      r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
    }
    const auto valid = static_cast<__mmask16>((1U << here) - 1U);
    for (std::size_t c = 0; c < channels; ++c) _mm512_mask_storeu_ps(y + c * plane_stride + first, valid, r[c]);
  }
}

}  // namespace

const Steps avx512_steps{Avx512::most_blocks, pack_planes<Avx512>, pack_pixels<Avx512>, to_float<Avx512>, to_signs<Avx512>, to_planes};

}  // namespace edgeml
