// Boxes that one box suppresses, LANES at a time; included by each_isa.h.

// IoUs are compared with a threshold to the last bit: they must round as torchvision's do.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

template <class T>
struct Pack;

template <>
struct Pack<float> {
  using Values = Floats;
  using Mask = FloatMask;
};

template <>
struct Pack<double> {
  using Values = Doubles;
  using Mask = DoubleMask;
};

// Marks those of the boxes begin…end whose IoU with box `at` is above the threshold.
template <class T, int D>
INLINE void suppress_range(const microtome::nms::Columns<T>& boxes, int64_t at, int64_t begin,
                           int64_t end, T threshold) {
  using Values = typename Pack<T>::Values;
  using Mask = typename Pack<T>::Mask;
  constexpr int width = sizeof(Values) / sizeof(T);
  Mask lane;
  for (int i = 0; i < width; ++i) lane[i] = i;
  for (int64_t i = begin; i < end; i += width) {
    Values low, high, volume, shared;
    for (int axis = 0; axis < D; ++axis) {
      std::memcpy(&low, boxes.low[axis] + i, sizeof low);
      std::memcpy(&high, boxes.high[axis] + i, sizeof high);
      const Values own_low = Values{} + boxes.low[axis][at];
      const Values own_high = Values{} + boxes.high[axis][at];
      Values length = (high < own_high ? high : own_high) - (low > own_low ? low : own_low);
      length = length > 0 ? length : Values{};
      shared = axis ? shared * length : length;
    }
    std::memcpy(&volume, boxes.volume + i, sizeof volume);
    const Values iou = shared / (boxes.volume[at] + volume - shared);
    Mask gone;
    std::memcpy(&gone, boxes.gone + i, sizeof gone);
    gone |= (iou > threshold) & (lane < static_cast<decltype(lane[0] + 0)>(
                                            std::min<int64_t>(end - i, width)));
    std::memcpy(boxes.gone + i, &gone, sizeof gone);
  }
}

template <class T, int D>
void suppress_window(const microtome::nms::Columns<T>& boxes, const microtome::nms::Grid& grid,
                     const microtome::nms::Window& window, int64_t at, T threshold) {
  for (int64_t z = window.from[0]; z <= window.to[0]; ++z)
    for (int64_t y = window.from[1]; y <= window.to[1]; ++y) {
      const int32_t* row = grid.start.data() + (z * grid.cells[1] + y) * grid.cells[2];
      suppress_range<T, D>(boxes, at, row[window.from[2]], row[window.to[2] + 1], threshold);
    }
}

template <class T>
void suppress(int64_t dims, const microtome::nms::Columns<T>& boxes,
              const microtome::nms::Grid& grid, const microtome::nms::Window& window, int64_t at,
              T threshold) {
  if (dims == 1) suppress_window<T, 1>(boxes, grid, window, at, threshold);
  if (dims == 2) suppress_window<T, 2>(boxes, grid, window, at, threshold);
  if (dims == 3) suppress_window<T, 3>(boxes, grid, window, at, threshold);
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif
