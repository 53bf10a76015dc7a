// Forward where maps have their channels in front: an axis after the other, `width` channels at a
// time. Rows of pixels are turned as they are read, so nothing but a row and the cells is held.
// Included by kernel.h.

// Whole vectors, each in one line of a cache.
template <class S>
class Lanes {
 public:
  using R = Row<S>;
  using V = typename R::Vector;

  explicit Lanes(int64_t count) : count_(count), held_(count * R::width + line / sizeof(S)) {
    const auto from = reinterpret_cast<uintptr_t>(held_.data());
    first_ = held_.data() + (line - from % line) % line / sizeof(S);
  }
  Lanes(const Lanes&) = delete;

  int64_t size() const { return count_; }
  S* data() { return first_; }
  S* at(int64_t i) { return first_ + i * R::width; }
  void clear() { std::fill_n(first_, count_ * R::width, S(0)); }

  // Times a weight onto as many vectors.
  INLINE void add_to(S weight, S* to) const {
    for (int64_t i = 0; i < count_ * R::width; i += R::width)
      R::store(to + i, R::load(to + i) + weight * R::load(first_ + i));
  }

 private:
  static constexpr int64_t line = 64;  // bytes
  int64_t count_;
  std::vector<S> held_;
  S* first_;
};

template <class T>
class Pooling {
 public:
  using S = typename Row<T>::Sum;
  using R = Row<S>;
  using Axis = typename Taps<S>::Axis;

  Pooling(const Call& call, const Taps<S>& taps)
      : call_(call), inner_(taps.axes[2]), middle_(taps.axes[1].by_pixel()),
        outer_(taps.axes[0].by_pixel()), size_(squares(inner_.size, call.shape[2])),
        low_(std::min(inner_.low, call.shape[2] - size_)), row_(size_), line_(call.output[2]),
        plane_(call.output[1] * line_.size()), all_(call.cells()) {}

  // From the first of some channels, [some, pixels], to [some, cells].
  void run(const T* channels, int64_t some, T* out) {
    all_.clear();
    for (size_t i = 0; i < outer_.size();) {
      const int32_t z = outer_[i].pixel;
      pool_plane(channels + z * call_.shape[1] * call_.shape[2], some);
      for (; i < outer_.size() && outer_[i].pixel == z; ++i)
        plane_.add_to(outer_[i].weight, all_.at(outer_[i].cell * plane_.size()));
    }
    turn(all_.data(), R::width, all_.size(), some, out, all_.size());
  }

 private:
  const Call& call_;
  const Axis& inner_;
  const std::vector<typename Axis::Tap> middle_, outer_;
  const int64_t size_, low_;                // pixels of a row that are turned
  Lanes<S> row_, line_, plane_, all_;  // pixels; cells along one, two and three axes

  // Squares are turned fastest: more pixels than are seen, where the row has them.
  static int64_t squares(int64_t seen, int64_t length) {
    const int64_t whole = (seen + LANES - 1) / LANES * LANES;
    return whole <= length ? whole : seen;
  }

  void pool_plane(const T* plane, int64_t some) {
    plane_.clear();
    for (size_t i = 0; i < middle_.size();) {
      const int32_t y = middle_[i].pixel;
      const T* from = plane + y * call_.shape[2] + low_;
      turn(from, call_.pixels(), some, size_, row_.data(), R::width);
      pool_row();
      for (; i < middle_.size() && middle_[i].pixel == y; ++i)
        line_.add_to(middle_[i].weight, plane_.at(middle_[i].cell * line_.size()));
    }
  }

  void pool_row() {
    for (int64_t cell = 0; cell < line_.size(); ++cell) {
      typename R::Vector sum{};
      for (int32_t i = inner_.start[cell]; i < inner_.start[cell + 1]; ++i)
        sum += inner_.weight[i] * R::load(row_.at(inner_.pixel[i] - low_));
      R::store(line_.at(cell), sum);
    }
  }
};

// One box in some channels of an image.
template <class T>
void pool_axes(const Call& call, const Taps<typename Row<T>::Sum>& taps, const T* channels,
               int64_t some, T* out) {
  constexpr int64_t width = Pooling<T>::R::width;
  Pooling<T> pooling(call, taps);
  for (int64_t c = 0; c < some; c += width)
    pooling.run(channels + c * call.pixels(), std::min(width, some - c), out + c * call.cells());
}
