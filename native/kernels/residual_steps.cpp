#include "residual_steps.h"

namespace edgeml {

const ResidualSteps& residual_steps_of(Isa isa) {
  switch (isa) {
#ifdef EDGEML_HAS_NEON
    case Isa::neon:
      return neon_residual_steps;
#endif
#ifdef EDGEML_HAS_AVX2
    case Isa::avx2:
      return avx2_residual_steps;
#endif
#ifdef EDGEML_HAS_AVX512
    case Isa::avx512_vpopcntdq:
      return __builtin_cpu_supports("avx512vbmi") ? avx512_vbmi_residual_steps : avx512_residual_steps;
#endif
    default:
      return scalar_residual_steps;
  }
}

}  // namespace edgeml
