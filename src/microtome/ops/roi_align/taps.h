// Which pixels the cells of a box see, and how much of each.
#pragma once
#include "../native.h"

namespace microtome::roi_align {

constexpr int most_axes = 3;

// Sizes of one call; with fewer than three axes, those in front have one pixel and one cell.
struct Call {
  int64_t batch, channels, count, samples, dims;
  int64_t shape[most_axes], output[most_axes];
  double stride[most_axes];
  bool last;  // channels lie behind the axes

  int64_t pixels() const { return shape[0] * shape[1] * shape[2]; }
  int64_t cells() const { return output[0] * output[1] * output[2]; }
};

// Samples are averaged along each axis on its own: a cell's pixels on one axis times those on the
// others. Neighbouring samples share pixels, whose weights are added up.
template <class S>
struct Taps {
  struct Axis {
    std::vector<int32_t> start, pixel;  // of each cell its first tap, and the end of the last
    std::vector<S> weight;
    int64_t low = 0, size = 1;  // the pixels from `low` on that are seen at all

    struct Tap {
      int32_t pixel, cell;
      S weight;
    };

    // All taps, those of one pixel side by side.
    std::vector<Tap> by_pixel() const {
      std::vector<Tap> taps;
      for (size_t cell = 0; cell + 1 < start.size(); ++cell)
        for (int32_t i = start[cell]; i < start[cell + 1]; ++i)
          taps.push_back({pixel[i], static_cast<int32_t>(cell), weight[i]});
      std::stable_sort(taps.begin(), taps.end(), before);
      return taps;
    }

    static bool before(const Tap& x, const Tap& y) { return x.pixel < y.pixel; }

    void add(int64_t at, S part) {
      if (part == S(0)) return;
      for (size_t i = start.back(); i < pixel.size(); ++i)
        if (pixel[i] == at) return void(weight[i] += part);
      pixel.push_back(static_cast<int32_t>(at));
      weight.push_back(part);
    }
  };
  Axis axes[most_axes];
  std::vector<int64_t> offset;  // of one cell: rows, counted from the first one that is seen
  std::vector<S> weight;

  // `box` holds 2 D coordinates. The arithmetic is that of the reference, step by step.
  template <class B>
  void lay(const Call& call, const B* box) {
    const int64_t front = most_axes - call.dims;
    for (int64_t i = 0; i < most_axes; ++i) {
      Axis& axis = axes[i];
      axis.start.assign(1, 0), axis.pixel.clear(), axis.weight.clear();
      if (i < front) {
        axis.add(0, 1);
        axis.start.push_back(1);
        continue;
      }
      const B low = box[i - front], high = box[call.dims + i - front];
      lay_axis(axis, low, high, static_cast<B>(call.stride[i]), call.shape[i], call.output[i],
               call.samples);
    }
  }

  template <class B>
  static void lay_axis(Axis& axis, B low, B high, B stride, int64_t size, int64_t cells,
                       int64_t samples) {
    const B length = (high - low) / stride / static_cast<B>(cells);
    const B begin = low / stride - B(0.5);
    for (int64_t cell = 0; cell < cells; ++cell) {
      for (int64_t sample = 0; sample < samples; ++sample) {
        const B step = static_cast<B>(cell * samples + sample) + B(0.5);
        B at = begin + length * step / static_cast<B>(samples);
        if (!(at >= -1 && at <= static_cast<B>(size))) continue;
        at = std::min(std::max(at, B(0)), static_cast<B>(size - 1));
        const int64_t first = static_cast<int64_t>(at);
        const S far = static_cast<S>(at - static_cast<B>(first));
        axis.add(first, (1 - far) / static_cast<S>(samples));
        axis.add(std::min(first + 1, size - 1), far / static_cast<S>(samples));
      }
      axis.start.push_back(static_cast<int32_t>(axis.pixel.size()));
    }
    if (axis.pixel.empty()) {
      axis.low = 0, axis.size = 0;
      return;
    }
    const auto [least, most] = std::minmax_element(axis.pixel.begin(), axis.pixel.end());
    axis.low = *least, axis.size = *most - *least + 1;
  }

  int64_t seen() const { return axes[0].size * axes[1].size * axes[2].size; }

  // Of all cells together.
  int64_t taps() const {
    return axes[0].pixel.size() * axes[1].pixel.size() * axes[2].pixel.size();
  }

  // Fills `offset` and `weight` for a cell, in a block of rows that begins at pixel `low`.
  void cell(const int64_t* at, const int64_t* low, const int64_t* size) {
    offset.clear(), weight.clear();
    const Axis &outer = axes[0], &middle = axes[1], &inner = axes[2];
    for (int32_t i = outer.start[at[0]]; i < outer.start[at[0] + 1]; ++i)
      for (int32_t j = middle.start[at[1]]; j < middle.start[at[1] + 1]; ++j) {
        const int64_t plane = (outer.pixel[i] - low[0]) * size[1] + middle.pixel[j] - low[1];
        const S part = outer.weight[i] * middle.weight[j];
        for (int32_t k = inner.start[at[2]]; k < inner.start[at[2] + 1]; ++k) {
          offset.push_back(plane * size[2] + inner.pixel[k] - low[2]);
          weight.push_back(part * inner.weight[k]);
        }
      }
  }
};

// The taps of all cells of a box in an image, one cell after the other.
template <class S>
struct Line {
  std::vector<int64_t> end, offset;  // of each cell the end of its taps; the pixels of all taps
  std::vector<S> weight;

  void lay(const Call& call, Taps<S>& taps) {
    constexpr int64_t none[most_axes] = {};
    end.clear(), offset.clear(), weight.clear();
    int64_t at[most_axes];
    for (at[0] = 0; at[0] < call.output[0]; ++at[0])
      for (at[1] = 0; at[1] < call.output[1]; ++at[1])
        for (at[2] = 0; at[2] < call.output[2]; ++at[2]) {
          taps.cell(at, none, call.shape);
          offset.insert(offset.end(), taps.offset.begin(), taps.offset.end());
          weight.insert(weight.end(), taps.weight.begin(), taps.weight.end());
          end.push_back(offset.size());
        }
  }
};

}  // namespace microtome::roi_align
