// The inner loops of residual video in portable C++, for every processor.
#define EDGEML_PORTABLE
#include "residual_codes.h"

namespace edgeml {

const ResidualSteps scalar_residual_steps{renew,         look_up,    add,        maxima, means, blend_rows,
                                          blend_columns, mark_tiles, add_squares};

}  // namespace edgeml
