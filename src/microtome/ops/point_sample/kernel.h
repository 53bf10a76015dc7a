// Sampling rows of channels, compiled for each instruction set (see each_isa.h). T is the maps'
// dtype, S what sums are held in.

#include "rows.h"

using microtome::point_sample::Call;
using microtome::point_sample::Taps;

constexpr int64_t strip = 64;  // points whose samples are turned at once

// Points begin…end of one image: rows [pixels, C] to `out` [C, P].
template <class T>
void sample(const Call& call, const typename Row<T>::Sum* rows,
            const typename Row<T>::Sum* points, int64_t begin, int64_t end,
            typename Row<T>::Sum* tile, T* out) {
  using S = typename Row<T>::Sum;
  Taps<S> taps;
  for (; begin < end; begin += strip) {
    const int64_t some = std::min(strip, end - begin);
    for (int64_t i = 0; i < some; ++i) {
      taps.lay(call, points + (begin + i) * call.dims);
      sum_rows<S>(rows, call.channels, taps.offset, taps.weight, taps.count,
                  tile + i * call.channels);
    }
    turn(tile, call.channels, some, call.channels, out + begin, call.points);
  }
}

// The gradient of `some` channels of one image, [some, P], added to rows [pixels, some].
template <class T>
void spread(const Call& call, const T* grad, const typename Row<T>::Sum* points, int64_t some,
            typename Row<T>::Sum* tile, typename Row<T>::Sum* rows) {
  using S = typename Row<T>::Sum;
  Taps<S> taps;
  for (int64_t begin = 0; begin < call.points; begin += strip) {
    const int64_t count = std::min(strip, call.points - begin);
    turn(grad + begin, call.points, some, count, tile, some);
    for (int64_t i = 0; i < count; ++i) {
      taps.lay(call, points + (begin + i) * call.dims);
      for (int64_t tap = 0; taps.finite && tap < taps.count; ++tap)
        add_row<S>(tile + i * some, taps.weight[tap], some, rows + taps.offset[tap] * some);
    }
  }
}
