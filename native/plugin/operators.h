// Every operator that the plugin brings to the domain ai.edgeml. A new one is a function here and a line in the table.
#pragma once

#include <vector>

#include "kernel.h"

namespace edgeml {

Operator binary_conv_operator();
Operator binary_dense_operator();
Operator pack_signs_operator();
Operator packed_binary_conv_operator();
Operator packed_binary_conv_sum_operator();
Operator packed_max_pool_operator();
Operator average_pool_channels_last_operator();
Operator tree_binary_conv_operator();
Operator tile_gate_operator();
Operator residual_add_operator();
Operator residual_conv_operator();
Operator residual_concat_operator();
Operator residual_table_operator();
Operator residual_pool_operator();
Operator residual_resize_operator();

// All of them, in the order of their names; built once and kept to the end of the process.
const std::vector<Operator>& operators();

}  // namespace edgeml
