#include "isa.h"

#include <cstdlib>

#include "binary_conv_steps.h"

namespace edgeml {

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::neon:
      return "neon";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512_vpopcntdq:
      return "avx512-vpopcntdq";
    case Isa::scalar:
      break;
  }
  return "scalar";
}

std::optional<Isa> isa_named(std::string_view name) {
  for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512_vpopcntdq}) {
    if (name_of(isa) == name) return isa;
  }
  return std::nullopt;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas{Isa::scalar};
#ifdef EDGEML_HAS_NEON
  isas.push_back(Isa::neon);  // every 64-bit ARM processor has it
#endif
#if defined(EDGEML_HAS_AVX2) || defined(EDGEML_HAS_AVX512)
  __builtin_cpu_init();
#endif
#ifdef EDGEML_HAS_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::avx2);
#endif
#ifdef EDGEML_HAS_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vpopcntdq")) {
    isas.push_back(Isa::avx512_vpopcntdq);
  }
#endif
  return isas;
}

Isa chosen_isa() {
  const std::vector<Isa> isas = available_isas();
  if (const char* wish = std::getenv("EDGEML_KERNEL")) {
    for (const Isa isa : isas) {
      if (name_of(isa) == wish) return isa;
    }
  }
  return isas.back();
}

}  // namespace edgeml
