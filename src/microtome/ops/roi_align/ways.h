// One call, its boxes, and the way in which it touches least.
#pragma once
#include "taps.h"

namespace microtome::roi_align {

template <class T>
using Sum = typename baseline::Row<T>::Sum;

inline Call describe(const std::vector<int64_t>& shape, const Tensor& boxes,
                     const Tensor& image_index, const std::vector<int64_t>& output,
                     const std::vector<double>& stride, int64_t samples, bool last) {
  Call call{};
  call.dims = boxes.size(1) / 2, call.count = boxes.size(0);
  call.batch = shape[0], call.channels = shape[last ? 1 + call.dims : 1];
  call.samples = samples, call.last = last;
  const int64_t front = most_axes - call.dims;
  for (int64_t axis = 0; axis < most_axes; ++axis) {
    const bool real = axis >= front;
    call.shape[axis] = real ? shape[axis - front + (last ? 1 : 2)] : 1;
    call.output[axis] = real ? output[axis - front] : 1;
    call.stride[axis] = real ? stride[axis - front] : 1;
  }
  const int64_t* index = static_cast<const int64_t*>(image_index.const_data_ptr());
  for (int64_t box = 0; box < call.count; ++box)
    STD_TORCH_CHECK(0 <= index[box] && index[box] < call.batch, "roi_align: image_index holds ",
                    index[box], ", but there are ", call.batch, " images");
  return call;
}

template <class S>
void lay(Taps<S>& taps, const Call& call, const Tensor& boxes, int64_t box) {
  const int64_t at = box * 2 * call.dims;
  if (boxes.scalar_type() == ScalarType::Double)
    taps.lay(call, static_cast<const double*>(boxes.const_data_ptr()) + at);
  else
    taps.lay(call, static_cast<const float*>(boxes.const_data_ptr()) + at);
}

// Forward, where maps have their channels in front: whether it takes less to turn them whole and
// read rows than to turn what each box sees. Roughly, to turn a pixel and keep it takes as long as
// twelve taps, to turn one and use it as long as four.
template <class S>
bool worth_turning(const Call& call, const Tensor& boxes) {
  Taps<S> taps;
  int64_t gain = -call.batch * call.pixels() * 12;
  for (int64_t box = 0; box < call.count && gain < 0; ++box) {
    lay(taps, call, boxes, box);
    gain += 4 * taps.seen() - taps.taps();
  }
  return gain > 0;
}

// Backward: turn them whole, or around each box, or add to the taps where they lie; whatever
// touches least.
enum class Way { whole, around, in_place };

template <class S>
Way way(const Call& call, const Tensor& boxes) {
  Taps<S> taps;
  int64_t seen = 0, read = 0;
  const int64_t all = call.batch * call.pixels();
  for (int64_t box = 0; box < call.count && std::min(seen, read) < all; ++box) {
    lay(taps, call, boxes, box);
    seen += taps.seen(), read += taps.taps();
  }
  if (read < all && read <= 2 * seen) return Way::in_place;  // turning a pixel takes two steps
  return seen < all ? Way::around : Way::whole;
}

}  // namespace microtome::roi_align
