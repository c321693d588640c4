#include "operators.h"

namespace edgeml {

const std::vector<Operator>& operators() {
  static const auto& all = *new std::vector<Operator>{
      binary_conv_operator(),
      binary_dense_operator(),
      pack_signs_operator(),
      packed_binary_conv_operator(),
      packed_binary_conv_sum_operator(),
      packed_max_pool_operator(),
      average_pool_channels_last_operator(),
      tree_binary_conv_operator(),
      tile_gate_operator(),
      residual_add_operator(),
      residual_conv_operator(),
      residual_concat_operator(),
      residual_table_operator(),
      residual_pool_operator(),
      residual_resize_operator(),
  };
  return all;
}

}  // namespace edgeml
