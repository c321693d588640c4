// The inner loops of residual video for 64-bit ARM.
#include "residual_codes.h"

namespace edgeml {

const ResidualSteps neon_residual_steps{renew,         look_up,    add,        maxima, means, blend_rows,
                                          blend_columns, mark_tiles, add_squares};

}  // namespace edgeml
