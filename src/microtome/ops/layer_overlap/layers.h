// Layers of label maps, one after the other in memory.
#pragma once
#include "../native.h"

namespace microtome::layer_overlap {

struct Layers {
  const void* data;
  ScalarType dtype;
  int64_t count, pixels;

  Layers(const Tensor& maps, int64_t pixels)
      : data(maps.const_data_ptr()), dtype(maps.scalar_type()), count(maps.size(0)), pixels(pixels) {}
};

}  // namespace microtome::layer_overlap
