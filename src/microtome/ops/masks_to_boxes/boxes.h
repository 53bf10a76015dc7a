// Boxes of objects as they are widened, pixel run by pixel run.
#pragma once
#include "../native.h"

namespace microtome::masks_to_boxes {

struct Maps {
  const void* labels;  // [K, *S]
  ScalarType dtype;
  std::vector<int64_t> shape;  // *S

  int64_t dims() const { return shape.size(); }
  int64_t length() const { return shape.back(); }  // of a line, along the last axis
  int64_t lines(int64_t layers) const {
    for (size_t axis = 0; axis + 1 < shape.size(); ++axis) layers *= shape[axis];
    return layers;
  }
};

class Boxes {
 public:
  int64_t least = 0, most = 0;  // labels that were seen

  Boxes(int64_t count, int64_t dims)
      : count_(count), dims_(dims), sides_(count * 2 * dims), at_(dims) {
    for (int64_t i = 0; i < count * 2 * dims; ++i)
      sides_[i] = i / dims % 2 ? 0 : std::numeric_limits<int64_t>::max();
  }

  // The line whose runs come next.
  void move_to(const Maps& maps, int64_t line) {
    for (int64_t axis = dims_ - 2; axis >= 0; line /= maps.shape[axis--])
      at_[axis] = line % maps.shape[axis];
  }

  void widen(int64_t label, int64_t begin, int64_t end) {
    if (!label) return;
    least = std::min(least, label), most = std::max(most, label);
    if (label < 0 || label > count_) return;
    int64_t* low = sides_.data() + (label - 1) * 2 * dims_;
    int64_t* high = low + dims_;
    for (int64_t axis = 0; axis + 1 < dims_; ++axis)
      widen_axis(low[axis], high[axis], at_[axis], at_[axis] + 1);
    widen_axis(low[dims_ - 1], high[dims_ - 1], begin, end);
  }

  void widen(const Boxes& other) {
    least = std::min(least, other.least), most = std::max(most, other.most);
    for (int64_t i = 0; i < count_ * 2 * dims_; ++i)
      sides_[i] = i / dims_ % 2 ? std::max(sides_[i], other.sides_[i])
                                : std::min(sides_[i], other.sides_[i]);
  }

  // [N, 2D]; zeros where nothing was seen.
  void write(int64_t* to) const {
    for (int64_t i = 0; i < count_ * 2 * dims_; ++i) {
      const bool seen = sides_[i / (2 * dims_) * 2 * dims_ + dims_] > 0;
      to[i] = seen ? sides_[i] : 0;
    }
  }

 private:
  int64_t count_, dims_;
  std::vector<int64_t> sides_;  // [N, 2D]
  std::vector<int64_t> at_;     // the line's place on all axes but the last

  static void widen_axis(int64_t& low, int64_t& high, int64_t begin, int64_t end) {
    low = std::min(low, begin), high = std::max(high, end);
  }
};

}  // namespace microtome::masks_to_boxes
