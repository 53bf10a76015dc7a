// The kernels of deformable attention and convolution, compiled for each instruction set (see
// each_isa.h). For a query and head, `Plan` turns places and weights, many samples at a time, into
// what the loops over channels need: which cells, and how much of each.

using microtome::deform::Call;
using microtome::deform::Lattice;

template <int D, class A>
struct Plan {
  using R = Row<A>;
  using V = typename R::Vector;
  using M = typename R::Mask;
  using Index = typename R::Index;
  static constexpr int width = R::width, corners = 1 << D;

  const Call& call;
  const int64_t samples, padded;  // S, and S up to whole vectors
  // Per sample, for good: the level's first position and its size per axis; a convolution's tap.
  std::vector<Index> start, last[D], step[D];
  std::vector<A> size[D], tap[D];
  // Per query: what places are relative to, in cells.
  std::vector<A> base[D];
  // Per query and head. Shares of the lower and upper neighbour on each axis, 0 beyond the border,
  // and whether there is one; then cells and shares of the 2^D corners, the last axis fastest.
  // `seen`: -1 within the border, 1 beyond it where shares are nan all the same, else 0.
  std::vector<A> weight, place[D], low[D], high[D], share[corners];
  std::vector<Index> in_low[D], in_high[D], cell[corners], seen;

  explicit Plan(const Call& call)
      : call(call), samples(call.samples()), padded((samples + width - 1) / width * width),
        start(padded), weight(padded), seen(padded) {
    for (int axis = 0; axis < D; ++axis) {
      last[axis].resize(padded), step[axis].resize(padded);
      in_low[axis].resize(padded), in_high[axis].resize(padded);
      for (std::vector<A>* x : {size, tap, base, place, low, high}) x[axis].resize(padded);
    }
    for (int k = 0; k < corners; ++k) share[k].resize(padded), cell[k].resize(padded);
    spread_levels();
    if (call.lattice) spread_taps(*call.lattice);
  }

  void spread_levels() {
    Index before = 0;
    for (int64_t level = 0, s = 0; level < call.levels; ++level) {
      const int64_t* shape = call.shapes->data() + level * D;
      for (int64_t point = 0; point < call.points; ++point, ++s) {
        start[s] = before;
        Index cells = 1;
        for (int axis = D - 1; axis >= 0; cells *= shape[axis--]) {
          size[axis][s] = static_cast<A>(shape[axis]);
          last[axis][s] = shape[axis] - 1;
          step[axis][s] = cells;
        }
      }
      Index count = 1;
      for (int axis = 0; axis < D; ++axis) count *= shape[axis];
      before += count;
    }
  }

  void spread_taps(const Lattice& lattice) {
    for (int64_t s = 0; s < samples; ++s)
      for (int64_t axis = D - 1, rest = s; axis >= 0; rest /= lattice.kernel[axis--])
        tap[axis][s] = static_cast<A>(rest % lattice.kernel[axis] * lattice.dilation[axis] -
                                      lattice.padding[axis]);
  }

  void centre(int64_t batch, int64_t query) {
    if (call.lattice) return centre_taps(*call.lattice, query);
    const int64_t row = (call.around_each ? batch * call.queries : 0) + query;
    const A* points = static_cast<const A*>(call.around) + row * call.levels * D;
    for (int64_t level = 0, s = 0; level < call.levels; ++level)
      for (int64_t point = 0; point < call.points; ++point, ++s)
        for (int axis = 0; axis < D; ++axis) {
          const A at = call.around ? points[level * D + axis] * size[axis][s] : A(0);
          base[axis][s] = at - A(0.5);
        }
  }

  void centre_taps(const Lattice& lattice, int64_t place) {
    for (int64_t axis = D - 1; axis >= 0; place /= lattice.output[axis--]) {
      const A corner = static_cast<A>(place % lattice.output[axis] * lattice.stride[axis]);
      for (int64_t s = 0; s < samples; ++s) base[axis][s] = tap[axis][s] + corner;
    }
  }

  void prepare(int64_t row) {  // of B * Q * H
    read_any(weight.data(), call.weights, call.weights_dtype, row * samples, samples);
    if (call.softmax) soften();
    const A* places = static_cast<const A*>(call.places) + row * samples * D;
    for (int64_t s = 0; s < samples; ++s)
      for (int axis = 0; axis < D; ++axis) place[axis][s] = places[s * D + axis];
    for (int64_t s = 0; s < padded; s += width) locate(s);
  }

  void soften() {
    const A least = -std::numeric_limits<A>::infinity();
    for (int64_t s = samples; s < padded; ++s) weight[s] = least;
    A most = least, total = 0;
    for (int64_t s = 0; s < samples; ++s) most = std::max(most, weight[s]);
    for (int64_t s = 0; s < padded; s += width)
      R::store(&weight[s], exponential(R::load(&weight[s]) - most));
    for (int64_t s = 0; s < samples; ++s) total += weight[s];
    for (int64_t s = 0; s < padded; s += width) R::store(&weight[s], R::load(&weight[s]) / total);
  }

  // Cells beyond the border are those at it: their share is 0, and what is there is of the level.
  // A place that is not finite lies beyond it, and its shares are nan.
  INLINE void locate(int64_t s) {
    M inside = M{} - 1, cells[corners];
    V shares[corners];
    cells[0] = load_index<A>(&start[s]);
    shares[0] = R::load(&weight[s]);
#pragma GCC unroll 3
    for (int axis = 0; axis < D; ++axis) {
      const V length = R::load(&size[axis][s]), given = R::load(&place[axis][s]);
      V x = R::load(&base[axis][s]) + (call.relative() ? given : given * length);
      const V spoilt = x - x;  // 0, or nan where x is not finite
      x = x > A(-2) ? x : V{} - A(2);  // nan becomes -2
      x = x < length + 1 ? x : length + 1;
      M at = __builtin_convertvector(x, M);
      at += (M)(x < __builtin_convertvector(at, V));  // floor
      const V part = x - __builtin_convertvector(at, V);
      const M end = load_index<A>(&last[axis][s]), stride = load_index<A>(&step[axis][s]);
      const M lower = (at >= 0) & (at <= end), upper = (at >= -1) & (at < end);
      const V less = (lower ? 1 - part : V{}) + spoilt, more = (upper ? part : V{}) + spoilt;
      const M below = (lower ? at : M{}) * stride, above = (upper ? at + 1 : end) * stride;
      inside &= lower | upper;
#pragma GCC unroll 4
      for (int k = (1 << axis) - 1; k >= 0; --k) {
        cells[2 * k + 1] = cells[k] + above, cells[2 * k] = cells[k] + below;
        shares[2 * k + 1] = shares[k] * more, shares[2 * k] = shares[k] * less;
      }
      R::store(&low[axis][s], less), R::store(&high[axis][s], more);
      store_index<A>(&in_low[axis][s], lower), store_index<A>(&in_high[axis][s], upper);
    }
    const M unlike = (M)(shares[0] != shares[0]);  // of a weight that is not finite, too
    store_index<A>(&seen[s], inside | (unlike & 1));
#pragma GCC unroll 8
    for (int k = 0; k < corners; ++k) {
      store_index<A>(&cell[k][s], cells[k]);
      R::store(&share[k][s], shares[k]);
    }
  }
};

// ---- forward: queries side by side ----

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

// ---- backward: a slice (batch, head) belongs to one thread, so nothing is added from two ----

template <int D, class A>
struct Slice {
  using R = Row<A>;
  using V = typename R::Vector;
  static constexpr int width = R::width, corners = 1 << D;

  const Call& call;
  Plan<D, A> plan;
  const int64_t channels;
  std::vector<A> rows;      // [N, 2, C] values beside their gradients
  std::vector<A> grad;      // [C] of the answer
  std::vector<A> products;  // [2^D, S, width] of value and gradient, channels folded to a vector
  std::vector<A> by_weight, by_place[D], mixed;

  explicit Slice(const Call& call)
      : call(call), plan(call), channels(call.channels), rows(call.positions * 2 * channels),
        grad(channels), products(corners * plan.padded * width), by_weight(plan.padded),
        mixed(plan.samples * D) {
    for (int axis = 0; axis < D; ++axis) by_place[axis].resize(plan.padded);
  }

  void run(int64_t batch, int64_t head) {
    const int64_t step = call.heads * channels;
    const int64_t first = batch * call.positions * step + head * channels;
    for (int64_t n = 0; n < call.positions; ++n) {
      read_any(&rows[n * 2 * channels], call.value, call.dtype, first + n * step, channels);
      std::fill_n(&rows[(n * 2 + 1) * channels], channels, A(0));
    }
    for (int64_t query = 0; query < call.queries; ++query)
      answer(batch, query, (batch * call.queries + query) * call.heads + head);
    for (int64_t n = 0; n < call.positions; ++n)
      write_any(call.grad_value, &rows[(n * 2 + 1) * channels], call.dtype, first + n * step,
                channels);
  }

  void answer(int64_t batch, int64_t query, int64_t row) {
    const int64_t samples = plan.samples;
    read_any(grad.data(), call.grad, call.dtype, row * channels, channels);
    plan.centre(batch, query);
    plan.prepare(row);
    if (channels == 2 * width)
      scatter<2>();
    else if (channels == width)
      scatter<1>();
    else
      scatter<0>();
    for (int64_t s = 0; s < plan.padded; s += width) differentiate(s);
    if (call.softmax) soften();
    for (int64_t s = 0; s < samples; ++s)
      for (int axis = 0; axis < D; ++axis) mixed[s * D + axis] = by_place[axis][s];
    write_row(static_cast<A*>(call.grad_places) + row * samples * D, mixed.data(), samples * D);
    write_any(call.grad_weights, by_weight.data(), call.weights_dtype, row * samples, samples);
  }

  // Adds the gradient to the values' and leaves its products with the values.
  template <int K>  // vectors of channels; 0: any number, and a rest
  INLINE void scatter() {
    const int64_t count = K ? K : channels / width;
    V g[K ? K : 1];
    for (int v = 0; v < K; ++v) g[v] = R::load(&grad[v * width]);
    for (int64_t s = 0; s < plan.samples; ++s) {
      A* product = &products[s * width];
      for (int k = 0; k < corners; ++k, product += plan.padded * width) {
        V total = V{};
        if (plan.seen[s]) {
          A* value = &rows[int64_t(plan.cell[k][s]) * 2 * channels];
          A* sum = value + channels;
          const A share = plan.seen[s] < 0 ? plan.share[k][s] : A(0);
#pragma GCC unroll 2
          for (int64_t v = 0; v < count; ++v) {
            const V now = K ? g[K ? v : 0] : R::load(&grad[v * width]);
            total += now * R::load(value + v * width);
            R::store(sum + v * width, R::load(sum + v * width) + share * now);
          }
          if (!K)
            for (int64_t c = count * width; c < channels; ++c) {
              total[0] += grad[c] * value[c];
              sum[c] += share * grad[c];
            }
        }
        R::store(product, total);
      }
    }
  }

  // From products to the gradients of weights and places, `width` samples at a time.
  INLINE void differentiate(int64_t s) {
    V dots[corners];
    for (int k = 0; k < corners; ++k) dots[k] = sums<A>(&products[(k * plan.padded + s) * width]);
    const V weight = R::load(&plan.weight[s]);
    R::store(&by_weight[s], mix(dots, s, -1));
#pragma GCC unroll 3
    for (int axis = 0; axis < D; ++axis) {
      const V slope = weight * mix(dots, s, axis);
      const V length = R::load(&plan.size[axis][s]);
      R::store(&by_place[axis][s], call.relative() ? slope : slope * length);
    }
  }

  // The dots times the shares of their corners; along the axis `slope`, times their derivatives.
  INLINE V mix(const V* dots, int64_t s, int slope) const {
    V left[corners];
    for (int k = 0; k < corners; ++k) left[k] = dots[k];
#pragma GCC unroll 3
    for (int axis = D - 1; axis >= 0; --axis) {
      V less = R::load(&plan.low[axis][s]), more = R::load(&plan.high[axis][s]);
      if (axis == slope) {
        const V spoilt = less - less;  // nan where the place is not finite
        less = (load_index<A>(&plan.in_low[axis][s]) ? V{} - 1 : V{}) + spoilt;
        more = (load_index<A>(&plan.in_high[axis][s]) ? V{} + 1 : V{}) + spoilt;
      }
#pragma GCC unroll 4
      for (int k = 0; k < (1 << axis); ++k) left[k] = less * left[2 * k] + more * left[2 * k + 1];
    }
    return left[0];
  }

  // From the gradients of softmax weights to those of logits.
  void soften() {
    A mean = 0;
    for (int64_t s = 0; s < plan.samples; ++s) mean += plan.weight[s] * by_weight[s];
    for (int64_t s = 0; s < plan.samples; ++s) by_weight[s] = plan.weight[s] * (by_weight[s] - mean);
  }
};

template <int D, class A>
void backward_range(const Call& call, int64_t begin, int64_t end) {
  Slice<D, A> slice(call);
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
