// The kernels, compiled for each instruction set (see each_isa.h).
//
// For a query and head, `Plan` turns places and weights into what the loops over channels need: on
// each axis of each sample the two neighbouring cells and their shares. Beyond the borders shares
// are zero and cells the nearest ones, so that the loops have no cases.

using microtome::deform::Call;
using microtome::deform::Lattice;

// Of each level, spread over its points and axes.
template <class A>
struct Tables {
  std::vector<A> size;                       // [S * D]
  std::vector<int32_t> last, step;           // [S * D]: last cell, cells from one to the next
  std::vector<int64_t> start;                // [S]: position of the level
  std::vector<A> tap;                        // [S * D]: of a convolution, from the place's corner

  explicit Tables(const Call& call) {
    int64_t before = 0;
    for (int64_t level = 0; level < call.levels; ++level) {
      const int64_t* shape = call.shapes->data() + level * call.dims;
      for (int64_t point = 0; point < call.points; ++point) {
        start.push_back(before);
        for (int64_t axis = 0; axis < call.dims; ++axis) {
          int64_t cells = 1;
          for (int64_t inner = axis + 1; inner < call.dims; ++inner) cells *= shape[inner];
          size.push_back(static_cast<A>(shape[axis]));
          last.push_back(static_cast<int32_t>(shape[axis] - 1));
          step.push_back(static_cast<int32_t>(cells));
        }
      }
      int64_t count = 1;
      for (int64_t axis = 0; axis < call.dims; ++axis) count *= shape[axis];
      before += count;
    }
    if (call.lattice) spread_taps(*call.lattice, call.points, call.dims);
  }

  void spread_taps(const Lattice& lattice, int64_t points, int64_t dims) {
    tap.resize(points * dims);
    for (int64_t point = 0; point < points; ++point)
      for (int64_t axis = dims - 1, rest = point; axis >= 0; rest /= lattice.kernel[axis--])
        tap[point * dims + axis] = static_cast<A>(
            rest % lattice.kernel[axis] * lattice.dilation[axis] - lattice.padding[axis]);
  }
};

template <class A>
struct Plan {
  const Tables<A>& tables;
  int64_t samples, flat;                  // S, S * D
  std::vector<A> base;                    // [S * D] what places are relative to, in cells
  std::vector<A> low, high;               // [S * D] shares of the lower and upper neighbour
  std::vector<int32_t> below, above;      // [S * D] where the neighbours are, in positions
  std::vector<int32_t> in_low, in_high;   // [S * D] 1 when the neighbour exists
  std::vector<A> weight;                  // [S]

  Plan(const Tables<A>& tables, int64_t samples)
      : tables(tables), samples(samples), flat(tables.size.size()), base(flat), low(flat),
        high(flat), below(flat), above(flat), in_low(flat), in_high(flat), weight(samples) {}

  // Once per query: `base` from reference points, from the lattice, or from neither.
  INLINE void centre(const Call& call, int64_t batch, int64_t query) {
    if (call.lattice) return centre_taps(*call.lattice, query, call.dims);
    const int64_t row = (call.around_each ? batch * call.queries : 0) + query;
    const A* points = static_cast<const A*>(call.around) + row * call.levels * call.dims;
    for (int64_t level = 0, i = 0; level < call.levels; ++level)
      for (int64_t point = 0; point < call.points; ++point)
        for (int64_t axis = 0; axis < call.dims; ++axis, ++i) {
          const A at = call.around ? points[level * call.dims + axis] * tables.size[i] : A(0);
          base[i] = at - A(0.5);
        }
  }

  INLINE void centre_taps(const Lattice& lattice, int64_t place, int64_t dims) {
    for (int64_t axis = dims - 1; axis >= 0; place /= lattice.output[axis--]) {
      const A corner = static_cast<A>(place % lattice.output[axis] * lattice.stride[axis]);
      for (int64_t i = axis; i < flat; i += dims) base[i] = tables.tap[i] + corner;
    }
  }

  // Once per query and head.
  INLINE void place(const A* places, bool relative) {
    const A *__restrict from = base.data(), *__restrict size = tables.size.data();
    const int32_t *__restrict last = tables.last.data(), *__restrict step = tables.step.data();
    A *__restrict lo = low.data(), *__restrict hi = high.data();
    int32_t *__restrict b = below.data(), *__restrict a = above.data();
    int32_t *__restrict il = in_low.data(), *__restrict ih = in_high.data();
    for (int64_t i = 0; i < flat; ++i) {
      A x = from[i] + (relative ? places[i] : places[i] * size[i]);
      x = x > A(-2) ? x : A(-2);  // nan becomes -2
      x = x < size[i] + 1 ? x : size[i] + 1;
      int32_t cell = static_cast<int32_t>(x);
      cell -= x < static_cast<A>(cell);  // floor
      const A share = x - static_cast<A>(cell);
      il[i] = (cell >= 0) & (cell <= last[i]);
      ih[i] = (cell >= -1) & (cell < last[i]);
      lo[i] = il[i] ? 1 - share : A(0);
      hi[i] = ih[i] ? share : A(0);
      b[i] = std::max(cell, 0) * step[i];
      a[i] = std::min(cell + 1, last[i]) * step[i];
    }
  }

  INLINE void softmax() {
    A most = -std::numeric_limits<A>::infinity(), total = 0;
    for (int64_t s = 0; s < samples; ++s) most = std::max(most, weight[s]);
    for (int64_t s = 0; s < samples; ++s) total += weight[s] = std::exp(weight[s] - most);
    for (int64_t s = 0; s < samples; ++s) weight[s] /= total;
  }

  template <int D>
  INLINE bool outside(int64_t s) const {
    bool seen = true;
    for (int axis = 0; axis < D; ++axis) seen &= in_low[s * D + axis] | in_high[s * D + axis];
    return !seen;
  }
};

// The 2^D neighbours of a sample: positions and shares, the last axis varying fastest.
template <int D, class A>
struct Corners {
  int64_t at[1 << D];
  A share[1 << D];

  INLINE Corners(const Plan<A>& plan, int64_t s, A weight) {
    at[0] = plan.tables.start[s];
    share[0] = weight;
#pragma GCC unroll 3
    for (int axis = 0; axis < D; ++axis) {
      const int64_t i = s * D + axis;
#pragma GCC unroll 4
      for (int k = (1 << axis) - 1; k >= 0; --k) {
        at[2 * k + 1] = at[k] + plan.above[i];
        at[2 * k] = at[k] + plan.below[i];
        share[2 * k + 1] = share[k] * plan.high[i];
        share[2 * k] = share[k] * plan.low[i];
      }
    }
  }
};

template <class A>
INLINE void prepare(Plan<A>& plan, const Call& call, int64_t row) {
  read_any(plan.weight.data(), call.weights, call.weights_dtype, row * plan.samples, plan.samples);
  if (call.softmax) plan.softmax();
  plan.place(static_cast<const A*>(call.places) + row * plan.flat, call.relative());
}

// ---- forward: queries side by side ----

// V vectors of channels, in several sums at once, which do not wait for each other.
template <int D, class T, int V>
INLINE void gather(const Plan<typename Row<T>::Sum>& plan, const T* rows, int64_t step, T* out) {
  using R = Row<T>;
  constexpr int sums = V >= 4 ? 2 : 4;
  typename R::Vector total[sums][V] = {};
  for (int64_t s = 0; s < plan.samples; ++s) {
    if (plan.template outside<D>(s)) continue;
    const Corners<D, typename R::Sum> corners(plan, s, plan.weight[s]);
#pragma GCC unroll 8
    for (int k = 0; k < (1 << D); ++k) {
      const T* row = rows + corners.at[k] * step;
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        total[k % sums][v] += corners.share[k] * R::load(row + v * R::width);
    }
  }
  for (int v = 0; v < V; ++v) {
    for (int i = 1; i < sums; ++i) total[0][v] += total[i][v];
    R::store(out + v * R::width, total[0][v]);
  }
}

template <int D, class T>
INLINE void gather_rest(const Plan<typename Row<T>::Sum>& plan, const T* rows, int64_t step, T* out) {
  typename Row<T>::Sum total = 0;
  for (int64_t s = 0; s < plan.samples; ++s) {
    if (plan.template outside<D>(s)) continue;
    const Corners<D, typename Row<T>::Sum> corners(plan, s, plan.weight[s]);
    for (int k = 0; k < (1 << D); ++k)
      total += corners.share[k] * static_cast<typename Row<T>::Sum>(rows[corners.at[k] * step]);
  }
  *out = static_cast<T>(total);
}

template <int D, class T>
void forward_range(const Call& call, int64_t begin, int64_t end) {
  using R = Row<T>;
  using A = typename R::Sum;
  const Tables<A> tables(call);
  Plan<A> plan(tables, call.samples());
  const int64_t step = call.heads * call.channels, channels = call.channels;
  for (int64_t row = begin; row < end; ++row) {  // of B * Q
    const int64_t batch = row / call.queries;
    plan.centre(call, batch, row % call.queries);
    for (int64_t head = 0; head < call.heads; ++head) {
      prepare(plan, call, row * call.heads + head);
      const T* rows = static_cast<const T*>(call.value) + batch * call.positions * step +
                      head * channels;
      T* out = static_cast<T*>(call.out) + row * step + head * channels;
      int64_t c = 0;
      for (; c + 4 * R::width <= channels; c += 4 * R::width)
        gather<D, T, 4>(plan, rows + c, step, out + c);
      for (; c + 2 * R::width <= channels; c += 2 * R::width)
        gather<D, T, 2>(plan, rows + c, step, out + c);
      for (; c + R::width <= channels; c += R::width)
        gather<D, T, 1>(plan, rows + c, step, out + c);
      for (; c < channels; ++c) gather_rest<D, T>(plan, rows + c, step, out + c);
    }
  }
}

// ---- backward: a slice (batch, head) belongs to one thread, so nothing is added from two ----

template <int D, class A>
struct Slice {
  using R = Row<A>;
  using V = typename R::Vector;
  static constexpr int corners = 1 << D;

  const Call& call;
  Plan<A> plan;
  int64_t channels, vectors;
  std::vector<A> rows;     // [N, 2, C] values beside their gradients
  std::vector<A> grad;     // [C] of the answer
  std::vector<A> partial;  // [S * 2^D, width] products of value and gradient, a vector each
  std::vector<A> dots;     // their sums
  std::vector<A> by_place, by_weight;

  Slice(const Call& call, const Tables<A>& tables)
      : call(call), plan(tables, call.samples()), channels(call.channels),
        vectors(call.channels / R::width), rows(call.positions * 2 * call.channels),
        grad(call.channels), by_place(plan.flat), by_weight(plan.samples) {
    const int64_t count = (plan.samples * corners + R::width - 1) / R::width * R::width;
    partial.resize(count * R::width);
    dots.resize(count);
  }

  void run(int64_t batch, int64_t head) {
    const int64_t step = call.heads * channels;
    const int64_t first = batch * call.positions * step + head * channels;
    for (int64_t n = 0; n < call.positions; ++n) {
      read_any(&rows[n * 2 * channels], call.value, call.dtype, first + n * step, channels);
      std::fill_n(&rows[(n * 2 + 1) * channels], channels, A(0));
    }
    for (int64_t query = 0; query < call.queries; ++query) {
      const int64_t row = (batch * call.queries + query) * call.heads + head;
      read_any(grad.data(), call.grad, call.dtype, row * channels, channels);
      plan.centre(call, batch, query);
      prepare(plan, call, row);
      scatter();
      for (int64_t i = 0; i < int64_t(dots.size()); i += R::width)
        R::store(&dots[i], sums<A>(&partial[i * R::width]));
      differentiate();
      write_row(static_cast<A*>(call.grad_places) + row * plan.flat, by_place.data(), plan.flat);
      write_any(call.grad_weights, by_weight.data(), call.weights_dtype, row * plan.samples,
                plan.samples);
    }
    for (int64_t n = 0; n < call.positions; ++n)
      write_any(call.grad_value, &rows[(n * 2 + 1) * channels], call.dtype, first + n * step,
                channels);
  }

  // Adds the gradient to the values' and leaves its products with the values in `partial`.
  INLINE void scatter() {
    for (int64_t s = 0; s < plan.samples; ++s) {
      A* product = &partial[s * corners * R::width];
      if (plan.template outside<D>(s)) {
        std::fill_n(product, corners * R::width, A(0));
        continue;
      }
      const Corners<D, A> near(plan, s, plan.weight[s]);
      if (channels == 2 * R::width)
        each_corner<2>(near, product);
      else if (channels == R::width)
        each_corner<1>(near, product);
      else
        each_corner<0>(near, product);
    }
  }

  template <int K>  // vectors of channels, 0: any number and a rest
  INLINE void each_corner(const Corners<D, A>& near, A* product) {
    const int64_t count = K ? K : vectors;
    for (int k = 0; k < corners; ++k) {
      A *value = &rows[near.at[k] * 2 * channels], *sum = value + channels;
      V total = V{};
      for (int64_t v = 0; v < count; ++v) {
        const V g = R::load(&grad[v * R::width]);
        total += g * R::load(value + v * R::width);
        R::store(sum + v * R::width, R::load(sum + v * R::width) + near.share[k] * g);
      }
      if (!K)
        for (int64_t c = count * R::width; c < channels; ++c) {
          total[0] += grad[c] * value[c];
          sum[c] += near.share[k] * grad[c];
        }
      R::store(product + k * R::width, total);
    }
  }

  // From `dots` to the gradients of places and weights.
  INLINE void differentiate() {
    A mean = 0;
    for (int64_t s = 0; s < plan.samples; ++s) {
      const A* dot = &dots[s * corners];
      by_weight[s] = mix(dot, s, -1);
      mean += plan.weight[s] * by_weight[s];
      for (int axis = 0; axis < D; ++axis) {
        const A slope = plan.weight[s] * mix(dot, s, axis);
        by_place[s * D + axis] = call.relative() ? slope : slope * plan.tables.size[s * D + axis];
      }
    }
    if (!call.softmax) return;
    for (int64_t s = 0; s < plan.samples; ++s) by_weight[s] = plan.weight[s] * (by_weight[s] - mean);
  }

  // The dots times the shares of their corners; along `slope`, times their derivatives.
  INLINE A mix(const A* dot, int64_t s, int slope) const {
    A left[corners];
    for (int k = 0; k < corners; ++k) left[k] = dot[k];
#pragma GCC unroll 3
    for (int axis = D - 1; axis >= 0; --axis) {
      const int64_t i = s * D + axis;
      const A low = axis == slope ? -A(plan.in_low[i]) : plan.low[i];
      const A high = axis == slope ? A(plan.in_high[i]) : plan.high[i];
#pragma GCC unroll 4
      for (int k = 0; k < (1 << axis); ++k) left[k] = low * left[2 * k] + high * left[2 * k + 1];
    }
    return left[0];
  }
};

template <int D, class A>
void backward_range(const Call& call, int64_t begin, int64_t end) {
  const Tables<A> tables(call);
  Slice<D, A> slice(call, tables);
  for (int64_t i = begin; i < end; ++i) slice.run(i / call.heads, i % call.heads);
}

// ---- doors ----

using Range = void (*)(const Call&, int64_t, int64_t);

template <int D>
Range range_of(microtome::ScalarType dtype, bool backward) {
  switch (dtype) {
#if LANES == 4  // float64 is for checking gradients: one instruction set is enough
    case microtome::ScalarType::Double:
      return backward ? backward_range<D, double> : forward_range<D, double>;
#endif
    case microtome::ScalarType::BFloat16:
      return backward ? backward_range<D, float> : forward_range<D, microtome::BFloat16>;
    case microtome::ScalarType::Half:
      return backward ? backward_range<D, float> : forward_range<D, microtome::Half>;
    default:
      return backward ? backward_range<D, float> : forward_range<D, float>;
  }
}

void run(const Call& call, bool backward, int64_t begin, int64_t end) {
  const Range range = call.dims == 2 ? range_of<2>(call.dtype, backward)
                                     : range_of<3>(call.dtype, backward);
  range(call, begin, end);
}
