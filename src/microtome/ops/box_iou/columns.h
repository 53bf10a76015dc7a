// Boxes as columns, which are read a vector at a time.
#pragma once
#include "../native.h"

namespace microtome::box_iou {

constexpr int most_axes = 3;

template <class T>
struct Columns {
  int64_t count, dims, padded;  // padded: up to whole vectors, with boxes of zeros
  std::vector<T> values;        // [2 D + 1, padded]: the boxes' numbers, then their volumes

  Columns(const T* boxes, int64_t count, int64_t dims)
      : count(count), dims(dims), padded((count + 15) / 16 * 16), values((2 * dims + 1) * padded) {
    for (int64_t i = 0; i < count; ++i) {
      const T* box = boxes + i * 2 * dims;
      for (int64_t k = 0; k < 2 * dims; ++k) values[k * padded + i] = box[k];
      values[2 * dims * padded + i] = volume(box, dims);
    }
  }

  const T* low(int64_t axis) const { return values.data() + axis * padded; }
  const T* high(int64_t axis) const { return low(dims + axis); }
  const T* volumes() const { return low(2 * dims); }

  // Of a box; 0 where it is the wrong way round or not a number.
  static T volume(const T* box, int64_t dims) {
    T product = 1;
    for (int64_t axis = 0; axis < dims; ++axis) {
      const T side = box[dims + axis] - box[axis];
      product *= side > 0 ? side : T(0);
    }
    return product;
  }
};

}  // namespace microtome::box_iou
