// Which pixels a point sees, and how much of each.
#pragma once
#include "../native.h"

namespace microtome::point_sample {

constexpr int most_axes = 3, most_taps = 8;

struct Call {
  int64_t batch, channels, points, dims;
  int64_t shape[most_axes];
  bool nearest;

  int64_t pixels() const {
    int64_t product = 1;
    for (int64_t axis = 0; axis < dims; ++axis) product *= shape[axis];
    return product;
  }
};

// S is what sums are held in, which is the dtype of the points, too.
template <class S>
struct Taps {
  int64_t offset[most_taps];  // pixels
  S weight[most_taps];
  S slope[most_taps][most_axes];  // of the weight, by the point's coordinates
  int64_t count;
  bool finite;  // else there is one tap, all nan, which gives no gradient to its pixel

  // The arithmetic is that of grid_sample; pixels beyond the borders are left out.
  void lay(const Call& call, const S* point) {
    count = 0, finite = true;
    for (int64_t axis = 0; axis < call.dims; ++axis) finite &= point[axis] - point[axis] == 0;
    if (!finite) return spoil(call);
    S at[most_axes];
    for (int64_t axis = 0; axis < call.dims; ++axis) {
      const S size = static_cast<S>(call.shape[axis]);
      at[axis] = ((2 * point[axis] - 1 + 1) * size - 1) / 2;
      if (!(at[axis] > -2 && at[axis] < size + 1)) return;
      if (call.nearest) at[axis] = std::nearbyint(at[axis]);
    }
    const int64_t corners = call.nearest ? 1 : int64_t(1) << call.dims;
    for (int64_t corner = 0; corner < corners; ++corner) lay_corner(call, at, corner);
  }

 private:
  void spoil(const Call& call) {
    const S nan = std::numeric_limits<S>::quiet_NaN();
    offset[0] = 0, weight[0] = nan, count = call.pixels() > 0;
    std::fill_n(slope[0], most_axes, nan);
  }

  void lay_corner(const Call& call, const S* at, int64_t corner) {
    int64_t place = 0;
    S parts[most_axes], share = 1;
    for (int64_t axis = 0; axis < call.dims; ++axis) {
      const int64_t upper = corner >> axis & 1;
      const S below = std::floor(at[axis]), far = at[axis] - below;
      const int64_t pixel = static_cast<int64_t>(below) + upper;
      if (pixel < 0 || pixel >= call.shape[axis]) return;
      place = place * call.shape[axis] + pixel;
      parts[axis] = upper ? far : 1 - far;
      share *= parts[axis];
    }
    for (int64_t axis = 0; axis < call.dims; ++axis) {
      S rest = call.nearest ? S(0) : static_cast<S>(call.shape[axis]);
      for (int64_t other = 0; other < call.dims; ++other)
        if (other != axis) rest *= parts[other];
      slope[count][axis] = corner >> axis & 1 ? rest : -rest;
    }
    offset[count] = place, weight[count] = share, ++count;
  }
};

}  // namespace microtome::point_sample
