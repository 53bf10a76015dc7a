// Rows of channels: turning maps into them and back, and weighted sums of them; included by the
// kernels of operators that sample between pixels.

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

template <class T, int N>
INLINE void sum_rows_of(const T* rows, int64_t stride, const int64_t* offset,
                        const typename Row<T>::Sum* weight, int64_t taps,
                        typename Row<T>::Sum* out) {
  using R = Row<T>;
  typename R::Vector sum[N] = {};
  for (int64_t tap = 0; tap < taps; ++tap) {
    const T* row = rows + offset[tap] * stride;
    const auto part = typename R::Vector{} + weight[tap];
    for (int i = 0; i < N; ++i) sum[i] += part * R::load(row + i * R::width);
  }
  for (int i = 0; i < N; ++i) Row<typename R::Sum>::store(out + i * R::width, sum[i]);
}

// `taps` rows of channels, each times its weight.
template <class T>
INLINE void sum_rows(const T* rows, int64_t channels, const int64_t* offset,
                     const typename Row<T>::Sum* weight, int64_t taps, typename Row<T>::Sum* out) {
  using S = typename Row<T>::Sum;
  constexpr int width = Row<T>::width;
  int64_t c = 0;
  for (; c + 8 * width <= channels; c += 8 * width)
    sum_rows_of<T, 8>(rows + c, channels, offset, weight, taps, out + c);
  for (; c + 4 * width <= channels; c += 4 * width)
    sum_rows_of<T, 4>(rows + c, channels, offset, weight, taps, out + c);
  for (; c + width <= channels; c += width)
    sum_rows_of<T, 1>(rows + c, channels, offset, weight, taps, out + c);
  for (; c < channels; ++c) {
    S sum = 0;
    for (int64_t tap = 0; tap < taps; ++tap)
      sum += weight[tap] * static_cast<S>(rows[offset[tap] * channels + c]);
    out[c] = sum;
  }
}

template <class S>
INLINE void add_row(const S* given, S weight, int64_t channels, S* row) {
  constexpr int width = Row<S>::width;
  int64_t c = 0;
  for (; c + width <= channels; c += width)
    Row<S>::store(row + c, Row<S>::load(row + c) + weight * Row<S>::load(given + c));
  for (; c < channels; ++c) row[c] += weight * given[c];
}
