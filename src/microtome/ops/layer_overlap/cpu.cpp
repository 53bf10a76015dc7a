// Overlaps of objects in layers on processors: each pixel of each layer is read once, and layers are
// laid upon each other only where both hold objects.
#include "../mask_overlap/table.h"
#include "layers.h"

#include <mutex>

#define MICROTOME_KERNEL "layer_overlap/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using namespace microtome::mask_overlap;
using microtome::layer_overlap::Layers;

int64_t pixels_of(const Tensor& maps) {
  int64_t pixels = 1;
  for (int64_t axis = 1; axis < maps.dim(); ++axis) pixels *= maps.size(axis);
  return pixels;
}

Table run(Tensor a, Tensor b) {
  a = contiguous(a), b = contiguous(b);
  const int64_t pixels = pixels_of(a);
  const Layers in_a(a, pixels), in_b(b, pixels);
  std::vector<Entry> all;
  std::mutex adding;
  parallel(pixels, 1 << 15, [&](int64_t begin, int64_t end) {
    Hashed hashed;
    hashed.grow_without_end();
    MICROTOME_CALL(count_layers, in_a, in_b, begin, end, hashed);
    const std::lock_guard<std::mutex> lock(adding);
    hashed.append_to(all);
  });
  return summed(all, a);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) { m.impl("layer_overlap", TORCH_BOX(&run)); }
