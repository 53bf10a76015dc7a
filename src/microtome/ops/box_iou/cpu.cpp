// Overlaps of boxes on processors: the operators of operator.py. Every pair is looked at once, and
// nothing is kept but the answer.
#include "columns.h"

#define MICROTOME_KERNEL "box_iou/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using microtome::box_iou::Columns;

constexpr int64_t pairs_at_least = 1 << 14;  // for a thread of its own

int64_t grain(int64_t others) { return pairs_at_least / std::max<int64_t>(others, 1); }

template <class T>
void forward_as(const Tensor& boxes, const Tensor& others, bool generalised, Tensor& out) {
  const T* from = static_cast<const T*>(boxes.const_data_ptr());
  const Columns<T> columns(static_cast<const T*>(others.const_data_ptr()), others.size(0),
                           others.size(1) / 2);
  T* to = static_cast<T*>(out.mutable_data_ptr());
  parallel(boxes.size(0), grain(columns.count), [&](int64_t begin, int64_t end) {
    MICROTOME_CALL(compare<T>, from, begin, end, columns, generalised, to);
  });
}

template <class T>
void backward_as(const Tensor& grad, const Tensor& boxes, const Tensor& others, bool generalised,
                 Tensor& by_boxes) {
  const T* from = static_cast<const T*>(boxes.const_data_ptr());
  const T* given = static_cast<const T*>(grad.const_data_ptr());
  const Columns<T> columns(static_cast<const T*>(others.const_data_ptr()), others.size(0),
                           others.size(1) / 2);
  T* to = static_cast<T*>(by_boxes.mutable_data_ptr());
  parallel(boxes.size(0), grain(columns.count), [&](int64_t begin, int64_t end) {
    MICROTOME_CALL(differentiate<T>, from, begin, end, columns, given, generalised, to);
  });
}

Tensor forward(Tensor boxes, Tensor others, bool generalised) {
  boxes = contiguous(boxes), others = contiguous(others);
  Tensor out = torch::stable::new_empty(boxes, {boxes.size(0), others.size(0)});
  if (boxes.scalar_type() == ScalarType::Double)
    forward_as<double>(boxes, others, generalised, out);
  else
    forward_as<float>(boxes, others, generalised, out);
  return out;
}

Tensor backward(Tensor grad, Tensor boxes, Tensor others, bool generalised) {
  grad = contiguous(grad), boxes = contiguous(boxes), others = contiguous(others);
  Tensor by_boxes = torch::stable::empty_like(boxes);
  if (boxes.scalar_type() == ScalarType::Double)
    backward_as<double>(grad, boxes, others, generalised, by_boxes);
  else
    backward_as<float>(grad, boxes, others, generalised, by_boxes);
  return by_boxes;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) {
  m.impl("box_iou", TORCH_BOX(&forward));
  m.impl("box_iou_backward", TORCH_BOX(&backward));
}
