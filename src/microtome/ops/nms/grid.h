// Boxes in the order of the cells of a grid that their centres lie in.
//
// An IoU above t bounds how far apart centres are: along an axis boxes of lengths a and b share at
// most (a + b) / 2 - distance, and the IoU is at most that over max(a, b). So all that a box can
// suppress lies in a few cells around it.
#pragma once
#include "../native.h"

namespace microtome::nms {

constexpr int most_axes = 3;
constexpr int64_t padding = 16;  // elements more in each column: whole vectors are read at the end

template <class T>
struct Flag {
  using type = int32_t;
};
template <>
struct Flag<double> {
  using type = int64_t;
};

template <class T>
struct Columns {
  const T* low[most_axes];
  const T* high[most_axes];
  const T* volume;
  typename Flag<T>::type* gone;  // not 0: suppressed
};

// Fewer than three axes: those in front have one cell.
struct Grid {
  double origin[most_axes], scale[most_axes];  // where cell 0 begins, cells per pixel
  int64_t cells[most_axes];
  std::vector<int32_t> start;  // of each cell's boxes, and the end of the last

  int64_t cell(int axis, double at) const {
    const double place = (at - origin[axis]) * scale[axis];
    if (!(place > 0)) return 0;
    return place < static_cast<double>(cells[axis]) ? static_cast<int64_t>(place)
                                                    : cells[axis] - 1;
  }
};

struct Window {
  int64_t from[most_axes], to[most_axes];  // cells, the last one included
};

// How far the centres of boxes can lie from that of one of length `side` whose IoU with it is above
// `threshold`, where no box is longer than `longest`; a little more, for what is rounded.
inline double reach(double side, double longest, double threshold) {
  const double other = threshold < 0.5 ? std::min(longest, side / std::max(threshold, 1e-30)) : side;
  return ((side + other) / 2 - threshold * other) * 1.001 + side * 1e-4;
}

}  // namespace microtome::nms
