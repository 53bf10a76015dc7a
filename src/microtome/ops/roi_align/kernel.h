// The loops over channels, compiled for each instruction set (see each_isa.h). T is the maps' dtype,
// S what sums are held in; a row holds the channels of a pixel.

#include "rows.h"

using microtome::roi_align::Call;
using microtome::roi_align::Line;
using microtome::roi_align::Taps;

#include "axes.h"

// The gradient of one box in one channel of an image, whose pixels lie side by side.
template <class S>
void spread_plane(const Line<S>& line, const S* grad, S* plane) {
  int64_t tap = 0;
  for (int64_t end : line.end) {
    const S given = *grad++;
    for (; tap < end; ++tap) plane[line.offset[tap]] += line.weight[tap] * given;
  }
}

// `to += from`, element by element of two grids of columns.
template <class S>
void add_turned(const S* from, int64_t rows, int64_t columns, S* to, int64_t stride) {
  for (int64_t q = 0; q < columns; ++q)
    for (int64_t p = 0; p < rows; ++p) to[q * stride + p] += from[p * columns + q];
}

// One box from the rows of its image; `tile` has room for [cells, C].
template <class T>
void pool(const Call& call, Taps<typename Row<T>::Sum>& taps, const T* rows,
          typename Row<T>::Sum* tile, T* out) {
  const int64_t none[3] = {};
  int64_t done = 0, at[3];
  for (at[0] = 0; at[0] < call.output[0]; ++at[0])
    for (at[1] = 0; at[1] < call.output[1]; ++at[1])
      for (at[2] = 0; at[2] < call.output[2]; ++at[2]) {
        taps.cell(at, none, call.shape);
        sum_rows<T>(rows, call.channels, taps.offset.data(), taps.weight.data(),
                 static_cast<int64_t>(taps.offset.size()), tile + call.channels * done++);
      }
  if (call.last)
    write_row<T>(out, tile, done * call.channels);
  else
    turn(tile, call.channels, done, call.channels, out, done);
}

// The gradient of one box, channels begin…begin + some, added to rows that lie `stride` apart and
// begin at pixel `low` of a block of `size`.
template <class T>
void spread(const Call& call, Taps<typename Row<T>::Sum>& taps, const T* grad, int64_t begin,
            int64_t some, typename Row<T>::Sum* tile, const int64_t* low, const int64_t* size,
            typename Row<T>::Sum* rows, int64_t stride) {
  using S = typename Row<T>::Sum;
  const int64_t cells = call.cells();
  if (call.last)
    for (int64_t cell = 0; cell < cells; ++cell)
      read_row<T>(tile + cell * some, grad + cell * call.channels + begin, some);
  else
    turn(grad + begin * cells, cells, some, cells, tile, some);
  int64_t done = 0, at[3];
  for (at[0] = 0; at[0] < call.output[0]; ++at[0])
    for (at[1] = 0; at[1] < call.output[1]; ++at[1])
      for (at[2] = 0; at[2] < call.output[2]; ++at[2]) {
        const S* given = tile + some * done++;
        taps.cell(at, low, size);
        for (size_t tap = 0; tap < taps.offset.size(); ++tap) {
          add_row<S>(given, taps.weight[tap], some, rows + taps.offset[tap] * stride);
        }
      }
}
