// Backward: a slice (batch, head) belongs to one thread, so nothing is added from two. Included by
// kernel.h.

inline int64_t bytes(microtome::ScalarType dtype) {
  using microtome::ScalarType;
  return dtype == ScalarType::Double ? 8 : dtype == ScalarType::Float ? 4 : 2;
}

// So many elements from `first` on, towards the nearest cache.
INLINE void fetch(const void* of, int64_t first, int64_t count, int64_t size) {
  constexpr int64_t line = 64;
  const char* from = static_cast<const char*>(of) + first * size;
  for (int64_t i = 0; i < count * size; i += line) __builtin_prefetch(from + i);
  if (count) __builtin_prefetch(from + count * size - 1);
}

template <int D, class A>
struct Slice {
  using R = Row<A>;
  using V = typename R::Vector;
  static constexpr int width = R::width, corners = 1 << D;
  static constexpr int64_t ahead = 8;  // queries

  const Call& call;
  Plan<D, A> plan;
  const int64_t channels;
  Array<A> rows;      // [N, 2, C] values beside their gradients
  Array<A> grad;      // [C] of the answer
  Array<A> products;  // [2^D, S, width] of value and gradient, channels folded to a vector
  Array<A> by_weight, by_place[D];

  explicit Slice(const Call& call)
      : call(call), plan(call), channels(call.channels), rows(call.positions * 2 * channels),
        grad(channels), products(corners * plan.padded * width), by_weight(plan.padded) {
    for (int axis = 0; axis < D; ++axis) by_place[axis].resize(plan.padded);
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
      if (query + ahead < call.queries) fetch_row(row + ahead * call.heads);
      answer(batch, query, row);
    }
    for (int64_t n = 0; n < call.positions; ++n)
      write_any(call.grad_value, &rows[(n * 2 + 1) * channels], call.dtype, first + n * step,
                channels);
  }

  // Rows of a head lie far apart: those of a later query come while this one is worked on.
  void fetch_row(int64_t row) const {
    fetch(call.grad, row * channels, channels, bytes(call.dtype));
    const int64_t read = plan.padded, own = plan.samples;  // whole vectors, beyond the row
    fetch(call.weights, row * own, read, bytes(call.weights_dtype));
    fetch(call.places, row * own * D, read * D, sizeof(A));
    fetch(call.grad_places, row * own * D, own * D, sizeof(A));
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
    A* places = static_cast<A*>(call.grad_places) + row * samples * D;
    for (int64_t s = 0; s < samples; ++s)
      for (int axis = 0; axis < D; ++axis) places[s * D + axis] = by_place[axis][s];
    write_any(call.grad_weights, by_weight.data(), call.weights_dtype, row * samples, samples);
  }

  // Adds the gradient to the values' and leaves its products with the values. For all the compiler
  // knows, a vector stored may be a member: those that the loop needs are kept apart.
  template <int K>  // vectors of channels; 0: any number, and a rest
  INLINE void scatter() {
    const int64_t channels = K ? K * width : this->channels, count = channels / width;
    const int64_t samples = plan.samples, apart = plan.padded * width;
    const typename R::Index *seen = plan.seen.data(), *cells[corners];
    const A *given = grad.data(), *shares[corners];
    A *values = rows.data(), *product = products.data();
    for (int k = 0; k < corners; ++k)
      cells[k] = plan.cell[k].data(), shares[k] = plan.share[k].data();
    V g[K ? K : 1];
    for (int v = 0; v < K; ++v) g[v] = R::load(given + v * width);
    for (int64_t s = 0; s < samples; ++s, product += width) {
#pragma GCC unroll 8
      for (int k = 0; k < corners; ++k) {
        V total = V{};
        if (seen[s]) {
          A* value = values + int64_t(cells[k][s]) * 2 * channels;
          A* sum = value + channels;
          const A share = seen[s] < 0 ? shares[k][s] : A(0);
#pragma GCC unroll 2
          for (int64_t v = 0; v < count; ++v) {
            const V now = K ? g[K ? v : 0] : R::load(given + v * width);
            total += now * R::load(value + v * width);
            R::store(sum + v * width, R::load(sum + v * width) + share * now);
          }
          if (!K)
            for (int64_t c = count * width; c < channels; ++c) {
              total[0] += given[c] * value[c];
              sum[c] += share * given[c];
            }
        }
        R::store(product + k * apart, total);
      }
    }
  }

  // From products to the gradients of weights and places, `width` samples at a time.
  INLINE void differentiate(int64_t s) {
    V dots[corners];
    for (int k = 0; k < corners; ++k) dots[k] = sums<A>(&products[(k * plan.padded + s) * width]);
    const V weight = R::load(&plan.weights[s]);
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
    for (int64_t s = 0; s < plan.samples; ++s) mean += plan.weights[s] * by_weight[s];
    for (int64_t s = 0; s < plan.samples; ++s) by_weight[s] = plan.weights[s] * (by_weight[s] - mean);
  }
};

template <int D, class A>
void backward_range(const Call& call, int64_t begin, int64_t end) {
  Slice<D, A> slice(call);
  for (int64_t i = begin; i < end; ++i) slice.run(i / call.heads, i % call.heads);
}
