// One box with many others, LANES at a time; included by each_isa.h.

// The arithmetic is that of the reference, step by step, so that a box has an IoU of 1 with itself.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

using microtome::box_iou::Columns;

// The larger and the smaller of two numbers; nan where one of them is, which makes a side of 0.
template <class V>
INLINE V larger(V a, V b) {
  const V x = a > b ? a : b;
  return a == a ? x : a;
}

template <class V>
INLINE V smaller(V a, V b) {
  const V x = a < b ? a : b;
  return a == a ? x : a;
}

// What one box shares with `width` others, and the hull around them.
template <class T, int D>
struct Meeting {
  using V = typename Row<T>::Vector;
  V own[2 * D], other[2 * D];
  V inner[D], outer[D];  // sides as they come: below 0 where boxes lie apart
  V shared, hull, both;  // volumes; `both` is that of the union

  INLINE Meeting(const T* box, T volume, const Columns<T>& others, int64_t at) {
    shared = hull = V{} + T(1);
#pragma GCC unroll 3
    for (int axis = 0; axis < D; ++axis) {
      own[axis] = V{} + box[axis], own[D + axis] = V{} + box[D + axis];
      other[axis] = Row<T>::load(others.low(axis) + at);
      other[D + axis] = Row<T>::load(others.high(axis) + at);
      inner[axis] = smaller(own[D + axis], other[D + axis]) - larger(own[axis], other[axis]);
      outer[axis] = larger(own[D + axis], other[D + axis]) - smaller(own[axis], other[axis]);
      shared *= side(inner[axis]), hull *= side(outer[axis]);
    }
    both = volume + Row<T>::load(others.volumes() + at) - shared;
  }

  static INLINE V side(V x) { return x > 0 ? x : V{}; }
  INLINE V iou() const { return both > 0 ? shared / both : V{}; }
  INLINE V giou() const { return iou() - (hull > 0 ? (hull - both) / hull : V{}); }

  // By how much a product of sides grows with one of them.
  static INLINE V slope(const V* sides, int axis) {
    V product = sides[axis] > 0 ? V{} + T(1) : V{};
#pragma GCC unroll 3
    for (int i = 0; i < D; ++i)
      if (i != axis) product *= side(sides[i]);
    return product;
  }

  // By how much the larger, or smaller, of two grows with `x`: alike where they are the same.
  static INLINE V as_larger(V x, V y) {
    return x < y ? V{} : x == y ? V{} + T(0.5) : V{} + T(1);
  }
  static INLINE V as_smaller(V x, V y) { return as_larger(y, x); }

  // Adds to the gradient by the own box's numbers; returns that by its volume.
  INLINE V differentiate(V grad, bool generalised, V* sum) const {
    const V by_iou = both > 0 ? grad / both : V{}, ratio = both > 0 ? shared / both : V{};
    V by_both = -by_iou * ratio, by_hull = V{};
    if (generalised) {
      const V by_share = hull > 0 ? grad / hull : V{};
      by_both += by_share;
      by_hull = hull > 0 ? -by_share * (both / hull) : V{};
    }
    const V by_shared = by_iou - by_both;
#pragma GCC unroll 3
    for (int axis = 0; axis < D; ++axis) {
      const V inside = by_shared * slope(inner, axis), around = by_hull * slope(outer, axis);
      const V low = own[axis], high = own[D + axis];
      sum[axis] -= inside * as_larger(low, other[axis]) + around * as_smaller(low, other[axis]);
      sum[D + axis] += inside * as_smaller(high, other[D + axis]) +
                       around * as_larger(high, other[D + axis]);
    }
    return by_both;
  }
};

template <class T, int D>
void compare_box(const T* box, const Columns<T>& others, bool generalised, T* out) {
  constexpr int width = Row<T>::width;
  const T volume = Columns<T>::volume(box, D);
  for (int64_t at = 0; at < others.count; at += width) {
    const Meeting<T, D> meeting(box, volume, others, at);
    const auto answer = generalised ? meeting.giou() : meeting.iou();
    std::memcpy(out + at, &answer, sizeof(T) * std::min<int64_t>(width, others.count - at));
  }
}

template <class T, int D>
void differentiate_box(const T* box, const Columns<T>& others, const T* grad, bool generalised,
                       T* out) {
  using V = typename Row<T>::Vector;
  constexpr int width = Row<T>::width;
  const T volume = Columns<T>::volume(box, D);
  V sum[2 * D] = {}, by_volume = {};
  for (int64_t at = 0; at < others.count; at += width) {
    V given = {};
    std::memcpy(&given, grad + at, sizeof(T) * std::min<int64_t>(width, others.count - at));
    by_volume += Meeting<T, D>(box, volume, others, at).differentiate(given, generalised, sum);
  }
  V sides[D];
  for (int axis = 0; axis < D; ++axis) sides[axis] = V{} + (box[D + axis] - box[axis]);
  for (int axis = 0; axis < D; ++axis) {
    const V part = by_volume * Meeting<T, D>::slope(sides, axis);
    sum[axis] -= part, sum[D + axis] += part;
  }
  for (int k = 0; k < 2 * D; ++k) {
    out[k] = 0;
    for (int i = 0; i < width; ++i) out[k] += sum[k][i];
  }
}

// Boxes begin…end: to `out` [N, M].
template <class T>
void compare(const T* boxes, int64_t begin, int64_t end, const Columns<T>& others, bool generalised,
             T* out) {
  const int64_t dims = others.dims;
  const auto one = dims == 1 ? compare_box<T, 1> : dims == 2 ? compare_box<T, 2> : compare_box<T, 3>;
  for (int64_t i = begin; i < end; ++i)
    one(boxes + i * 2 * dims, others, generalised, out + i * others.count);
}

// Boxes begin…end: from `grad` [N, M] to their gradients.
template <class T>
void differentiate(const T* boxes, int64_t begin, int64_t end, const Columns<T>& others,
                   const T* grad, bool generalised, T* out) {
  const int64_t dims = others.dims;
  const auto one = dims == 1   ? differentiate_box<T, 1>
                   : dims == 2 ? differentiate_box<T, 2>
                               : differentiate_box<T, 3>;
  for (int64_t i = begin; i < end; ++i)
    one(boxes + i * 2 * dims, others, grad + i * others.count, generalised, out + i * 2 * dims);
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif
