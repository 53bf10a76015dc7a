// From maps to cells; included by cpu.cpp behind the kernels.
#pragma once
#include "ways.h"

namespace microtome::roi_align {

// [B, pixels, C] of all maps.
template <class T>
std::vector<T> turned(const Call& call, const T* maps) {
  constexpr int64_t strip = 256;
  const int64_t pixels = call.pixels(), strips = (pixels + strip - 1) / strip;
  std::vector<T> rows(call.batch * pixels * call.channels);
  parallel(call.batch * strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / strips, from = i % strips * strip;
      const T* at = maps + image * call.channels * pixels + from;
      T* to = rows.data() + (image * pixels + from) * call.channels;
      MICROTOME_CALL(turn, at, pixels, call.channels, std::min(strip, pixels - from), to,
                     call.channels);
    }
  });
  return rows;
}

// From maps as they lie, with their channels in front: a thread takes some channels of a box.
template <class T>
void pool_along_axes(const Call& call, const T* from, const Tensor& boxes, const int64_t* index,
                     T* to) {
  constexpr int64_t most = 64;  // channels
  const int64_t parts = (call.channels + most - 1) / most;
  parallel(call.count * parts, 1, [&](int64_t begin, int64_t end) {
    Taps<Sum<T>> taps;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t box = i / parts, first = i % parts * most;
      lay(taps, call, boxes, box);
      MICROTOME_CALL(pool_axes<T>, call, taps,
                     from + (index[box] * call.channels + first) * call.pixels(),
                     std::min(most, call.channels - first),
                     to + (box * call.channels + first) * call.cells());
    }
  });
}

// From rows of channels.
template <class T>
void pool_rows(const Call& call, const T* rows, const Tensor& boxes, const int64_t* index, T* to) {
  parallel(call.count, 1, [&](int64_t begin, int64_t end) {
    Taps<Sum<T>> taps;
    std::vector<Sum<T>> tile(call.cells() * call.channels);
    for (int64_t box = begin; box < end; ++box) {
      lay(taps, call, boxes, box);
      MICROTOME_CALL(pool<T>, call, taps, rows + index[box] * call.pixels() * call.channels,
                     tile.data(), to + box * call.cells() * call.channels);
    }
  });
}

template <class T>
void forward_as(const Call& call, const Tensor& maps, const Tensor& boxes, const int64_t* index,
                Tensor& out) {
  const T* from = static_cast<const T*>(maps.const_data_ptr());
  T* to = static_cast<T*>(out.mutable_data_ptr());
  if (call.last) return pool_rows(call, from, boxes, index, to);
  if (worth_turning<Sum<T>>(call, boxes))
    return pool_rows(call, turned(call, from).data(), boxes, index, to);
  pool_along_axes(call, from, boxes, index, to);
}

}  // namespace microtome::roi_align
