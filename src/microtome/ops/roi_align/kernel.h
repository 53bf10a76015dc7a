// The loops over channels, compiled for each instruction set (see each_isa.h). T is the maps' dtype,
// S what sums are held in; a row holds the channels of a pixel.

using microtome::roi_align::Call;
using microtome::roi_align::Taps;

// Interleaves two vectors: its lower and its upper half.
INLINE void interleave(Floats a, Floats b, Floats* out) {
#if LANES == 16
  out[0] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  out[1] =
      __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif LANES == 8
  out[0] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  out[1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  out[0] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  out[1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

// Turns a square of LANES x LANES whose rows lie `step` apart; a row becomes a column.
template <class From, class To>
INLINE void turn_square(const From* from, int64_t step, To* to, int64_t stride) {
  Floats rows[LANES], next[LANES];
  for (int i = 0; i < LANES; ++i) rows[i] = Row<From>::load(from + i * step);
#pragma GCC unroll 4
  for (int done = 1; done < LANES; done *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < LANES / 2; ++i) interleave(rows[i], rows[i + LANES / 2], next + 2 * i);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; ++i) rows[i] = next[i];
  }
  for (int i = 0; i < LANES; ++i) Row<To>::store(to + i * stride, rows[i]);
}

// `to[j * stride + i] = from[i * step + j]` for all i < rows, j < columns.
template <class From, class To>
void turn(const From* from, int64_t step, int64_t rows, int64_t columns, To* to, int64_t stride) {
  constexpr bool squares = std::is_same_v<typename Row<From>::Sum, float>;
  for (int64_t i = 0; i < rows; i += LANES)
    for (int64_t j = 0; j < columns; j += LANES) {
      if constexpr (squares)
        if (i + LANES <= rows && j + LANES <= columns) {
          turn_square(from + i * step + j, step, to + j * stride + i, stride);
          continue;
        }
      for (int64_t p = i; p < std::min<int64_t>(i + LANES, rows); ++p)
        for (int64_t q = j; q < std::min<int64_t>(j + LANES, columns); ++q)
          to[q * stride + p] = static_cast<To>(static_cast<typename Row<To>::Sum>(from[p * step + q]));
    }
}

// `to += from`, element by element of two grids of columns.
template <class S>
void add_turned(const S* from, int64_t rows, int64_t columns, S* to, int64_t stride) {
  for (int64_t q = 0; q < columns; ++q)
    for (int64_t p = 0; p < rows; ++p) to[q * stride + p] += from[p * columns + q];
}

template <class S, int N>
INLINE void sum_rows_of(const S* rows, int64_t stride, const Taps<S>& taps, S* out) {
  using Vector = typename Row<S>::Vector;
  constexpr int width = Row<S>::width;
  Vector sum[N] = {};
  for (size_t tap = 0; tap < taps.offset.size(); ++tap) {
    const S* row = rows + taps.offset[tap] * stride;
    const Vector weight = Vector{} + taps.weight[tap];
    for (int i = 0; i < N; ++i) sum[i] += weight * Row<S>::load(row + i * width);
  }
  for (int i = 0; i < N; ++i) Row<S>::store(out + i * width, sum[i]);
}

template <class S>
INLINE void sum_rows(const S* rows, int64_t channels, const Taps<S>& taps, S* out) {
  constexpr int width = Row<S>::width;
  int64_t c = 0;
  for (; c + 8 * width <= channels; c += 8 * width)
    sum_rows_of<S, 8>(rows + c, channels, taps, out + c);
  for (; c + width <= channels; c += width) sum_rows_of<S, 1>(rows + c, channels, taps, out + c);
  for (; c < channels; ++c) {
    S sum = 0;
    for (size_t tap = 0; tap < taps.offset.size(); ++tap)
      sum += taps.weight[tap] * rows[taps.offset[tap] * channels + c];
    out[c] = sum;
  }
}

// One box: `rows` begin at pixel `low` of a block of `size`; `tile` has room for [cells, C].
template <class T>
void pool(const Call& call, Taps<typename Row<T>::Sum>& taps, const typename Row<T>::Sum* rows,
          const int64_t* low, const int64_t* size, typename Row<T>::Sum* tile, T* out) {
  int64_t done = 0, at[3];
  for (at[0] = 0; at[0] < call.output[0]; ++at[0])
    for (at[1] = 0; at[1] < call.output[1]; ++at[1])
      for (at[2] = 0; at[2] < call.output[2]; ++at[2]) {
        taps.cell(at, low, size);
        sum_rows(rows, call.channels, taps, tile + call.channels * done++);
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
  constexpr int width = Row<S>::width;
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
          S* row = rows + taps.offset[tap] * stride;
          const S weight = taps.weight[tap];
          int64_t c = 0;
          for (; c + width <= some; c += width)
            Row<S>::store(row + c, Row<S>::load(row + c) + weight * Row<S>::load(given + c));
          for (; c < some; ++c) row[c] += weight * given[c];
        }
      }
}
