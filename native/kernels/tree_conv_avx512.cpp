// The steps of a convolution along a tree of filters for AVX-512.
#include "tree_conv_tile.h"

namespace edgeml {

const TreeSteps avx512_tree_steps{sign_bits, cut_planes, add_up, to_counts, to_floats};

}  // namespace edgeml
