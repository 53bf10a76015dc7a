// Layers of label maps, one after the other in memory, and what lies in them.
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

struct Run {  // pixels from…to - 1 of an object
  int64_t id, from, to;
};
using Runs = std::vector<Run>;

}  // namespace microtome::layer_overlap
