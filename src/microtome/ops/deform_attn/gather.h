// Forward: the queries of a range, side by side. Included by kernel.h.

// V vectors of channels, in several sums at once, which do not wait for each other.
template <int D, class T, int V>
INLINE void gather(const Plan<D, typename Row<T>::Sum>& plan, const T* rows, int64_t step, T* out) {
  using R = Row<T>;
  constexpr int sums = V >= 4 ? 2 : 4, corners = 1 << D;
  typename R::Vector total[sums][V] = {};
  for (int64_t s = 0; s < plan.samples; ++s) {
    if (!plan.seen[s]) continue;
#pragma GCC unroll 8
    for (int k = 0; k < corners; ++k) {
      const T* row = rows + plan.cell[k][s] * step;
      const typename R::Sum share = plan.share[k][s];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) total[k % sums][v] += share * R::load(row + v * R::width);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 4
    for (int i = 1; i < sums; ++i) total[0][v] += total[i][v];
    R::store(out + v * R::width, total[0][v]);
  }
}

template <int D, class T>
void gather_one(const Plan<D, typename Row<T>::Sum>& plan, const T* rows, int64_t step, T* out) {
  using A = typename Row<T>::Sum;
  A total = 0;
  for (int64_t s = 0; s < plan.samples; ++s) {
    if (!plan.seen[s]) continue;
    for (int k = 0; k < (1 << D); ++k)
      total += plan.share[k][s] * static_cast<A>(rows[plan.cell[k][s] * step]);
  }
  *out = static_cast<T>(total);
}

template <int D, class T>
void forward_range(const Call& call, int64_t begin, int64_t end) {
  constexpr int width = Row<T>::width;
  Plan<D, typename Row<T>::Sum> plan(call);
  const int64_t channels = call.channels, step = call.heads * channels;
  for (int64_t row = begin; row < end; ++row) {  // of B * Q
    const int64_t batch = row / call.queries;
    plan.centre(batch, row % call.queries);
    for (int64_t head = 0; head < call.heads; ++head) {
      plan.prepare(row * call.heads + head);
      const T* rows =
          static_cast<const T*>(call.value) + batch * call.positions * step + head * channels;
      T* out = static_cast<T*>(call.out) + row * step + head * channels;
      int64_t c = 0;
      for (; c + 4 * width <= channels; c += 4 * width)
        gather<D, T, 4>(plan, rows + c, step, out + c);
      for (; c + 2 * width <= channels; c += 2 * width)
        gather<D, T, 2>(plan, rows + c, step, out + c);
      for (; c + width <= channels; c += width) gather<D, T, 1>(plan, rows + c, step, out + c);
      for (; c < channels; ++c) gather_one<D, T>(plan, rows + c, step, out + c);
    }
  }
}
