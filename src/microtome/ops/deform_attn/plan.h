// For a query and head, `Plan` turns places and weights, many samples at a time, into what the loops
// over channels need: which cells, and how much of each. Included by kernel.h.

using microtome::deform::Call;
using microtome::deform::Lattice;

// Every D-th element of D vectors, from `axis` on.
template <int D, int axis, class V, size_t... I>
INLINE V every(const V* x, std::index_sequence<I...>) {
  constexpr int width = sizeof...(I), both = 2 * width;
  V y = __builtin_shufflevector(x[0], x[1], (int(I) * D + axis < both ? int(I) * D + axis : 0)...);
  if constexpr (D == 3)
    y = __builtin_shufflevector(
        y, x[2], (int(I) * D + axis < both ? int(I) : int(I) * D + axis - width)...);
  return y;
}

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
  Array<Index> start, last[D], step[D];
  Array<A> size[D], tap[D];
  // Per query: what places are relative to, in cells.
  Array<A> base[D];
  // Per query and head. Shares of the lower and upper neighbour on each axis, 0 beyond the border,
  // and whether there is one; then cells and shares of the 2^D corners, the last axis fastest.
  // `seen`: -1 within the border, 1 beyond it where shares are nan all the same, else 0.
  Array<A> low[D], high[D], share[corners];
  Array<Index> in_low[D], in_high[D], cell[corners], seen;
  const A* weights;  // where they lie in memory, or in `own`
  Array<A> own, own_places;

  explicit Plan(const Call& call)
      : call(call), samples(call.samples()), padded((samples + width - 1) / width * width),
        start(padded), seen(padded), own(padded), own_places(padded * D) {
    for (int axis = 0; axis < D; ++axis) {
      last[axis].resize(padded), step[axis].resize(padded);
      in_low[axis].resize(padded), in_high[axis].resize(padded);
      for (Array<A>* x : {size, tap, base, low, high}) x[axis].resize(padded);
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
      for (int64_t s = 0; s < padded; s += width)  // stored as it is read again: in whole vectors
        R::store(&base[axis][s], R::load(&tap[axis][s]) + corner);
    }
  }

  // Whole vectors are read where they lie, even beyond the row, but not beyond the tensor.
  void prepare(int64_t row) {  // of B * Q * H
    const int64_t rows = call.batch * call.queries * call.heads;
    const bool whole = row * samples + padded <= rows * samples;
    const bool same = sizeof(A) == 8 || call.weights_dtype == microtome::ScalarType::Float;
    const A* places = static_cast<const A*>(call.places) + row * samples * D;
    if (!whole) {
      std::copy(places, places + samples * D, own_places.begin());
      places = own_places.data();
    }
    weights = static_cast<const A*>(call.weights) + row * samples;
    if (!whole || !same || call.softmax) {
      read_any(own.data(), call.weights, call.weights_dtype, row * samples, samples);
      weights = own.data();
    }
    if (call.softmax) soften();
    for (int64_t s = 0; s < padded; s += width) locate(s, places + s * D);
  }

  void soften() {
    const A least = -std::numeric_limits<A>::infinity();
    for (int64_t s = samples; s < padded; ++s) own[s] = least;
    A most = least, total = 0;
    for (int64_t s = 0; s < samples; ++s) most = std::max(most, own[s]);
    for (int64_t s = 0; s < padded; s += width)
      R::store(&own[s], exponential(R::load(&own[s]) - most));
    for (int64_t s = 0; s < samples; ++s) total += own[s];
    for (int64_t s = 0; s < padded; s += width) R::store(&own[s], R::load(&own[s]) / total);
  }

  // Cells beyond the border are those at it: their share is 0, and what is there is of the level.
  // A place that is not finite lies beyond it, and its shares are nan.
  INLINE void locate(int64_t s, const A* places) {
    V rows[D], place[D];
    for (int i = 0; i < D; ++i) rows[i] = R::load(places + i * width);
    using Lanes = std::make_index_sequence<width>;
    place[0] = every<D, 0>(rows, Lanes()), place[1] = every<D, 1>(rows, Lanes());
    if constexpr (D == 3) place[2] = every<D, 2>(rows, Lanes());
    M inside = M{} - 1, cells[corners];
    V shares[corners];
    cells[0] = load_index<A>(&start[s]);
    shares[0] = R::load(&weights[s]);
#pragma GCC unroll 3
    for (int axis = 0; axis < D; ++axis) {
      const V length = R::load(&size[axis][s]), given = place[axis];
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
