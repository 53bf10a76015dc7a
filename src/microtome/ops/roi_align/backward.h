// From the gradient of cells to that of maps; included by cpu.cpp behind the kernels.
#pragma once
#include "ways.h"

namespace microtome::roi_align {

// How many channels a thread takes at a time: it alone adds to them, box after box, so the sums are
// the same each time.
inline int64_t channels_at_a_time(const Call& call, int64_t bytes) {
  constexpr int64_t least = 16, most = 64, cache = 8 << 20;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t share = (call.channels * call.batch + threads - 1) / threads;
  const int64_t fits = cache / (bytes * std::max<int64_t>(call.pixels(), 1));
  const int64_t some = std::min({share, fits, most});
  return std::max(least, (some + least - 1) / least * least);
}

// The gradient of some channels of one image, added up in rows and then turned.
template <class T>
struct Part {
  using S = Sum<T>;
  const Call& call;
  const T* grad;  // of all boxes
  int64_t first, some;
  T* to;  // [C, pixels] or [pixels, C]
  Taps<S> taps;
  std::vector<S> tile, rows;

  Part(const Call& call, const T* grad, int64_t first, int64_t some, T* to)
      : call(call), grad(grad), first(first), some(some), to(to), tile(call.cells() * some) {}

  void spread_box(int64_t box, const int64_t* low, const int64_t* size, S* onto, int64_t stride) {
    MICROTOME_CALL(spread<T>, call, taps, grad + box * call.cells() * call.channels, first, some,
                   tile.data(), low, size, onto, stride);
  }

  void all(const Tensor& boxes, const std::vector<int64_t>& mine) {
    const int64_t none[most_axes] = {}, pixels = call.pixels();
    const bool in_place = call.last && std::is_same_v<T, S>;
    if (!in_place) rows.assign(pixels * some, S(0));
    S* onto = rows.data();
    if constexpr (std::is_same_v<T, S>)
      if (in_place) onto = to + first;
    for (int64_t box : mine) {
      lay(taps, call, boxes, box);
      spread_box(box, none, call.shape, onto, in_place ? call.channels : some);
    }
    if (in_place) return;
    if (!call.last) MICROTOME_CALL(turn, onto, some, pixels, some, to + first * pixels, pixels);
    for (int64_t pixel = 0; call.last && pixel < pixels; ++pixel)
      MICROTOME_CALL(write_row<T>, to + pixel * call.channels + first, onto + pixel * some, some);
  }

  void clear() { std::memset(to + first * call.pixels(), 0, sizeof(T) * some * call.pixels()); }

  // The same where boxes are few: onto their taps where these lie.
  void in_place(const Tensor& boxes, const std::vector<int64_t>& mine) {
    Line<S> line;
    clear();
    for (int64_t box : mine) {
      lay(taps, call, boxes, box), line.lay(call, taps);
      for (int64_t c = first; c < first + some; ++c)
        MICROTOME_CALL(spread_plane<T>, line, grad + (box * call.channels + c) * call.cells(),
                       to + c * call.pixels());
    }
  }

  // The same where boxes are small: only what each of them sees is turned.
  void around(const Tensor& boxes, const std::vector<int64_t>& mine) {
    T* channels = to + first * call.pixels();
    clear();
    for (int64_t box : mine) {
      lay(taps, call, boxes, box);
      const auto& [outer, middle, inner] = taps.axes;
      const int64_t low[] = {outer.low, middle.low, inner.low};
      const int64_t size[] = {outer.size, middle.size, inner.size};
      rows.assign(taps.seen() * some, S(0));
      spread_box(box, low, size, rows.data(), some);
      const S* line = rows.data();
      for (int64_t z = low[0]; z < low[0] + size[0]; ++z)
        for (int64_t y = low[1]; y < low[1] + size[1]; ++y, line += size[2] * some) {
          T* at = channels + (z * call.shape[1] + y) * call.shape[2] + low[2];
          MICROTOME_CALL(add_turned<T>, line, size[2], some, at, call.pixels());
        }
    }
  }
};

template <class T>
void backward_as(const Call& call, const Tensor& grad, const Tensor& boxes, const int64_t* index,
                 Tensor& by_maps) {
  constexpr bool exact = std::is_same_v<T, Sum<T>>;  // half precision must not round between boxes
  const T* from = static_cast<const T*>(grad.const_data_ptr());
  T* to = static_cast<T*>(by_maps.mutable_data_ptr());
  const int64_t size = call.pixels() * call.channels;
  if (call.last && exact) std::memset(to, 0, sizeof(T) * call.batch * size);
  std::vector<std::vector<int64_t>> of_image(call.batch);
  for (int64_t box = 0; box < call.count; ++box) of_image[index[box]].push_back(box);
  const Way how = exact && !call.last ? way<Sum<T>>(call, boxes) : Way::whole;
  const int64_t at_a_time = channels_at_a_time(call, sizeof(Sum<T>));
  const int64_t parts = (call.channels + at_a_time - 1) / at_a_time;
  parallel(call.batch * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / parts, first = i % parts * at_a_time;
      Part<T> part(call, from, first, std::min(at_a_time, call.channels - first), to + image * size);
      if constexpr (exact) {
        if (how == Way::in_place) part.in_place(boxes, of_image[image]);
        if (how == Way::around) part.around(boxes, of_image[image]);
      }
      if (how == Way::whole) part.all(boxes, of_image[image]);
    }
  });
}

}  // namespace microtome::roi_align
