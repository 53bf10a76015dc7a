// Boxes of label maps on processors: run by run, each thread for itself.
#include "boxes.h"

#include <mutex>

#define MICROTOME_KERNEL "masks_to_boxes/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using namespace microtome::masks_to_boxes;

constexpr int64_t pixels_at_least = 1 << 16;  // for a thread of its own

Maps describe(const Tensor& maps) {
  Maps given{maps.const_data_ptr(), maps.scalar_type(), {}};
  for (int64_t axis = 1; axis < maps.dim(); ++axis) given.shape.push_back(maps.size(axis));
  return given;
}

void check(const Boxes& boxes, int64_t count) {
  STD_TORCH_CHECK(boxes.most <= count, "a label map holds ", boxes.most, ", but there are only ",
                  count, " objects");
  STD_TORCH_CHECK(boxes.least >= 0, "a label map holds ", boxes.least, ", below 0");
}

Tensor run(Tensor maps, int64_t count) {
  maps = contiguous(maps);
  const Maps given = describe(maps);
  Boxes all(count, given.dims());
  std::mutex joining;
  const int64_t grain = pixels_at_least / std::max<int64_t>(given.length(), 1);
  parallel(maps.numel() ? given.lines(maps.size(0)) : 0, grain, [&](int64_t begin, int64_t end) {
    Boxes boxes(count, given.dims());
    MICROTOME_CALL(widen_lines, given, begin, end, boxes);
    const std::lock_guard<std::mutex> lock(joining);
    all.widen(boxes);
  });
  check(all, count);
  Tensor out = torch::stable::new_empty(maps, {count, 2 * given.dims()}, ScalarType::Long);
  all.write(static_cast<int64_t*>(out.mutable_data_ptr()));
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) { m.impl("masks_to_boxes", TORCH_BOX(&run)); }
