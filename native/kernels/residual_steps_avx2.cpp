// The inner loops of residual video for AVX2.
#include "residual_codes.h"

namespace edgeml {

const ResidualSteps avx2_residual_steps{renew,         look_up,    add,        maxima, means, blend_rows,
                                          blend_columns, mark_tiles, add_squares};

}  // namespace edgeml
