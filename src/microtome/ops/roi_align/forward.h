// From maps to cells; included by cpu.cpp behind the kernels.
#pragma once
#include "ways.h"

namespace microtome::roi_align {

// [B, pixels, C] of all maps.
template <class T>
std::vector<Sum<T>> turned(const Call& call, const T* maps) {
  constexpr int64_t strip = 256;
  const int64_t pixels = call.pixels(), strips = (pixels + strip - 1) / strip;
  std::vector<Sum<T>> rows(call.batch * pixels * call.channels);
  parallel(call.batch * strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / strips, from = i % strips * strip;
      const T* at = maps + image * call.channels * pixels + from;
      Sum<T>* to = rows.data() + (image * pixels + from) * call.channels;
      MICROTOME_CALL(turn, at, pixels, call.channels, std::min(strip, pixels - from), to,
                     call.channels);
    }
  });
  return rows;
}

// What one box sees of an image [C, pixels], turned into `rows`.
template <class T>
void turn_around(const Call& call, const T* image, const Taps<Sum<T>>& taps, const int64_t* low,
                 const int64_t* size, std::vector<Sum<T>>& rows) {
  rows.resize(taps.seen() * call.channels);
  Sum<T>* to = rows.data();
  for (int64_t z = low[0]; z < low[0] + size[0]; ++z)
    for (int64_t y = low[1]; y < low[1] + size[1]; ++y, to += size[2] * call.channels) {
      const T* from = image + (z * call.shape[1] + y) * call.shape[2] + low[2];
      MICROTOME_CALL(turn, from, call.pixels(), call.channels, size[2], to, call.channels);
    }
}

// Where boxes are few: a thread takes some channels of one.
template <class T>
void pool_in_place(const Call& call, const T* from, const Tensor& boxes, const int64_t* index,
                   T* to) {
  constexpr int64_t some = 32;
  const int64_t parts = (call.channels + some - 1) / some, cells = call.cells();
  parallel(call.count * parts, 1, [&](int64_t begin, int64_t end) {
    Taps<Sum<T>> taps;
    Line<Sum<T>> line;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t box = i / parts, first = i % parts * some;
      if (i == begin || !first) lay(taps, call, boxes, box), line.lay(call, taps);
      for (int64_t c = first; c < std::min(first + some, call.channels); ++c)
        MICROTOME_CALL(pool_plane<T>, line, from + (index[box] * call.channels + c) * call.pixels(),
                       to + (box * call.channels + c) * cells);
    }
  });
}

template <class T>
void forward_as(const Call& call, const Tensor& maps, const Tensor& boxes, const int64_t* index,
                Tensor& out) {
  const T* from = static_cast<const T*>(maps.const_data_ptr());
  T* to = static_cast<T*>(out.mutable_data_ptr());
  const int64_t image_size = call.pixels() * call.channels, none[most_axes] = {};
  const Way how = call.last ? Way::whole : way<Sum<T>>(call, boxes);
  if (how == Way::in_place) return pool_in_place(call, from, boxes, index, to);
  const bool around = how == Way::around;
  std::vector<Sum<T>> all;
  const Sum<T>* rows = nullptr;
  if constexpr (std::is_same_v<T, Sum<T>>) {
    if (call.last) rows = from;
  }
  if (!rows && !around) {
    if (call.last) {
      all.resize(call.batch * image_size);
      parallel(call.batch * call.pixels(), 256, [&](int64_t begin, int64_t end) {
        MICROTOME_CALL(read_row<T>, all.data() + begin * call.channels,
                       from + begin * call.channels, (end - begin) * call.channels);
      });
    } else {
      all = turned(call, from);
    }
    rows = all.data();
  }
  parallel(call.count, 1, [&](int64_t begin, int64_t end) {
    Taps<Sum<T>> taps;
    std::vector<Sum<T>> tile(call.cells() * call.channels), own;
    for (int64_t box = begin; box < end; ++box) {
      lay(taps, call, boxes, box);
      T* answer = to + box * call.cells() * call.channels;
      const int64_t start = index[box] * image_size;
      if (around) {
        const int64_t low[] = {taps.axes[0].low, taps.axes[1].low, taps.axes[2].low};
        const int64_t size[] = {taps.axes[0].size, taps.axes[1].size, taps.axes[2].size};
        turn_around(call, from + start, taps, low, size, own);
        MICROTOME_CALL(pool<T>, call, taps, own.data(), low, size, tile.data(), answer);
      } else {
        MICROTOME_CALL(pool<T>, call, taps, rows + start, none, call.shape, tile.data(), answer);
      }
    }
  });
}

}  // namespace microtome::roi_align
