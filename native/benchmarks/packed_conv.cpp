// Times packed binary convolutions against what the processor's xor, popcount and addition allow, in turn.
//
//   packed_conv ROUNDS
// prints one line for each round and contender: NAME CHANNELS SIZE MICROSECONDS. The contender "bound" does as many
// xors, popcounts and additions on registers alone, and nothing else. Only for AVX-512 with VPOPCNTDQ, where the three
// are one instruction each.
#include <immintrin.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../kernels/binary_conv.h"

namespace {

using edgeml::BinaryConvolution;
using edgeml::Isa;
using Clock = std::chrono::steady_clock;

struct Shape {
  std::int64_t channels;
  std::int64_t size;
};

constexpr Shape kShapes[] = {{64, 56}, {128, 28}, {256, 14}, {512, 7}};

// Each step is one xor, one popcount and one addition on 512 bits; seven sums at once measured fastest.
int bound(std::size_t steps) {
  constexpr std::size_t sums = 7;
  __m512i sum[sums];
  __m512i other[sums];
  for (std::size_t i = 0; i < sums; ++i) {
    sum[i] = _mm512_setzero_si512();
    other[i] = _mm512_set1_epi32(static_cast<int>(i * 0x9E3779B9U));
  }
  __m512i word = _mm512_set1_epi32(0x5A5A1234);
  for (std::size_t step = 0; step < steps; step += sums) {
    asm volatile("" : "+v"(word));  // a new word each time, as far as the compiler knows
    for (std::size_t i = 0; i < sums; ++i) {
      sum[i] = _mm512_add_epi32(sum[i], _mm512_popcnt_epi32(_mm512_xor_si512(word, other[i])));
    }
  }
  for (std::size_t i = 1; i < sums; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  return _mm512_reduce_add_epi32(sum[0]);
}

template <class Work>
void timed(const char* name, const Shape& shape, const Work& work) {
  const auto start = Clock::now();
  work();
  const double microseconds = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  std::printf("%s %ld %ld %.3f\n", name, static_cast<long>(shape.channels), static_cast<long>(shape.size),
              microseconds);
}

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 0;
  if (rounds < 1 || edgeml::available_isas().back() != Isa::avx512_vpopcntdq) {
    std::fprintf(stderr, "usage: packed_conv ROUNDS, on a processor with AVX-512 VPOPCNTDQ\n");
    return 2;
  }
  std::mt19937 random(1);
  volatile int sink = 0;
  for (const Shape& shape : kShapes) {
    edgeml::ConvGeometry geometry;
    geometry.channels = geometry.out_channels = shape.channels;
    geometry.kernel = {3, 3};
    geometry.pads = {1, 1, 1, 1};
    std::vector<std::uint8_t> weights(static_cast<std::size_t>(shape.channels * geometry.bytes_per_filter()));
    for (auto& byte : weights) byte = static_cast<std::uint8_t>(random());
    const std::vector<float> zeros(static_cast<std::size_t>(shape.channels), 0.0F);
    const std::vector<float> ones(static_cast<std::size_t>(shape.channels), 1.0F);
    const auto convolution = BinaryConvolution::create(geometry, weights.data(), zeros.data(), ones.data(),
                                                       zeros.data(), Isa::avx512_vpopcntdq);
    const std::int64_t words = shape.size * shape.size * shape.channels / 32;
    std::vector<std::uint32_t> x(static_cast<std::size_t>(words));
    std::vector<std::uint32_t> bits(x.size());
    for (auto& word : x) word = random();
    std::vector<float> residual(x.size() * 32);
    std::vector<float> y(residual.size());
    edgeml::PackedLayer signs;
    signs.threshold = zeros.data();
    signs.bits = bits.data();
    edgeml::PackedLayer sums = signs;
    sums.residual = residual.data();
    sums.y = y.data();
    const auto steps = static_cast<std::size_t>(words * shape.channels * 9 / 16);
    const auto run = [&](const edgeml::PackedLayer& layer) {
      convolution->run_packed(x.data(), 1, shape.size, shape.size, layer, edgeml::Serial());
    };
    for (int round = 0; round < rounds; ++round) {
      timed("bound", shape, [&] { sink = sink + bound(steps); });
      timed("bits-to-bits", shape, [&] { run(signs); });
      timed("bits-to-sums-and-bits", shape, [&] { run(sums); });
    }
  }
  return 0;
}
