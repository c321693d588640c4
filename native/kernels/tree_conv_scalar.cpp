// The steps of a convolution along a tree of filters for any processor.
#include "tree_conv_tile.h"

namespace edgeml {

const TreeSteps scalar_tree_steps{sign_bits, cut_planes, add_up, to_counts, to_floats};

}  // namespace edgeml
