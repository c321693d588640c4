// The attributes that BinaryConv shares with ONNX's Conv.
#pragma once

#include "../kernels/binary_conv.h"
#include "kernel.h"

namespace edgeml {

// All but out_channels, which the weights tell.
inline ConvGeometry conv_geometry(const KernelInfo& info) {
  ConvGeometry geometry;
  geometry.channels = info.integer("channels");
  geometry.group = info.integer("group", 1);
  geometry.kernel = info.integers<2>("kernel_shape");
  geometry.strides = info.integers<2>("strides", {1, 1});
  geometry.dilations = info.integers<2>("dilations", {1, 1});
  geometry.pads = info.integers<4>("pads", {0, 0, 0, 0});
  return geometry;
}

}  // namespace edgeml
