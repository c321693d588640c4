// The steps for AVX2: popcounts of half bytes looked up by a shuffle, counted in bytes.
#include <immintrin.h>

#include "binary_conv_tile.h"

namespace edgeml {
namespace {

struct Avx2 {
  static constexpr int lanes = 8;
  static constexpr int pixels = 4;
  static constexpr std::size_t most_blocks = 1;
  static constexpr int flush_every = 31;  // each word adds at most 8 to a byte
  using Words = __m256i;
  using Ints = __m256i;
  using Counter = __m256i;
  using Floats = __m256;

  static Ints zero() { return _mm256_setzero_si256(); }
  static Counter no_counts() { return _mm256_setzero_si256(); }
  static Words no_bits() { return _mm256_setzero_si256(); }
  static Words load_words(const std::uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_words(std::uint32_t* p, Words w) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), w); }
  static Words broadcast_word(const std::uint32_t* p) { return _mm256_set1_epi32(static_cast<int>(*p)); }
  static Counter count(Counter c, Words a, Words b) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                           0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i half = _mm256_set1_epi8(15);
    const __m256i v = _mm256_xor_si256(a, b);
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, half));
    const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
    return _mm256_add_epi8(c, _mm256_add_epi8(low, high));
  }
  static Ints flush(Ints total, Counter c) {
    const __m256i pairs = _mm256_maddubs_epi16(c, _mm256_set1_epi8(1));
    return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static Ints last_flush(Ints total, Counter c) { return flush(total, c); }
  static Ints base_minus_twice(const std::int32_t* base, Ints total) {
    return _mm256_sub_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(base)), _mm256_slli_epi32(total, 1));
  }
  static unsigned above(Ints total, const std::int32_t* limit) {
    const __m256i m = _mm256_cmpgt_epi32(total, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(limit)));
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(m)));
  }
  static Floats to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }
  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Floats f) { _mm256_storeu_ps(p, f); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats prelu(Floats a, Floats slope) {
    return _mm256_blendv_ps(a, _mm256_mul_ps(a, slope), _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_LT_OQ));
  }
  static unsigned less(Floats a, Floats b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)));
  }
  static Words set_where_less(Words w, Floats x, float threshold, std::uint32_t bit) {
    const __m256i negative = _mm256_castps_si256(_mm256_cmp_ps(x, _mm256_set1_ps(threshold), _CMP_LT_OQ));
    return _mm256_or_si256(w, _mm256_and_si256(negative, _mm256_set1_epi32(static_cast<int>(bit))));
  }
};

void to_planes(const float* rows, std::size_t row_stride, std::size_t pixels, float* y, std::size_t plane_stride,
               std::size_t channels) {
  std::size_t first = 0;
  for (; channels == kBlock && first + 8 <= pixels; first += 8) {
    for (std::size_t half = 0; half < kBlock; half += 8) {
      __m256 r[8];
      __m256 t[8];
      for (std::size_t i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(rows + (first + i) * row_stride + half);
      for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
      }
      for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
      }
      for (std::size_t i = 0; i < 4; ++i) {
        _mm256_storeu_ps(y + (half + i) * plane_stride + first, _mm256_permute2f128_ps(r[i], r[4 + i], 0x20));
        _mm256_storeu_ps(y + (half + 4 + i) * plane_stride + first, _mm256_permute2f128_ps(r[i], r[4 + i], 0x31));
      }
    }
  }
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = first; i < pixels; ++i) y[c * plane_stride + i] = rows[i * row_stride + c];
  }
}

}  // namespace

const Steps avx2_steps{Avx2::most_blocks, pack_planes<Avx2>, pack_pixels<Avx2>, to_float<Avx2>, to_signs<Avx2>, to_planes};

}  // namespace edgeml
