// RoIAlign on processors: the operators of operator.py. Rows of channels are what is fast, so maps
// that have their channels in front are turned: whole, or around each box when that is less.
#include "taps.h"

#include <type_traits>

#define MICROTOME_KERNEL "roi_align/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using namespace microtome::roi_align;

template <class T>
using Sum = typename baseline::Row<T>::Sum;

Call describe(const std::vector<int64_t>& shape, const Tensor& boxes, const Tensor& image_index,
              const std::vector<int64_t>& output, const std::vector<double>& stride,
              int64_t samples, bool last) {
  Call call{};
  call.dims = boxes.size(1) / 2, call.count = boxes.size(0);
  call.batch = shape[0], call.channels = shape[last ? 1 + call.dims : 1];
  call.samples = samples, call.last = last;
  const int64_t front = most_axes - call.dims;
  for (int64_t axis = 0; axis < most_axes; ++axis) {
    const bool real = axis >= front;
    call.shape[axis] = real ? shape[axis - front + (last ? 1 : 2)] : 1;
    call.output[axis] = real ? output[axis - front] : 1;
    call.stride[axis] = real ? stride[axis - front] : 1;
  }
  const int64_t* index = static_cast<const int64_t*>(image_index.const_data_ptr());
  for (int64_t box = 0; box < call.count; ++box)
    STD_TORCH_CHECK(0 <= index[box] && index[box] < call.batch, "roi_align: image_index holds ",
                    index[box], ", but there are ", call.batch, " images");
  return call;
}

template <class S>
void lay(Taps<S>& taps, const Call& call, const Tensor& boxes, int64_t box) {
  const int64_t at = box * 2 * call.dims;
  if (boxes.scalar_type() == ScalarType::Double)
    taps.lay(call, static_cast<const double*>(boxes.const_data_ptr()) + at);
  else
    taps.lay(call, static_cast<const float*>(boxes.const_data_ptr()) + at);
}

template <class S>
bool turn_around_boxes(const Call& call, const Tensor& boxes) {
  Taps<S> taps;
  int64_t seen = 0;
  const int64_t all = call.batch * call.pixels();
  for (int64_t box = 0; box < call.count && seen < all; ++box) {
    lay(taps, call, boxes, box);
    seen += taps.seen();
  }
  return seen < all;
}

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

template <class T>
void forward_as(const Call& call, const Tensor& maps, const Tensor& boxes, const int64_t* index,
                Tensor& out) {
  const T* from = static_cast<const T*>(maps.const_data_ptr());
  T* to = static_cast<T*>(out.mutable_data_ptr());
  const int64_t image_size = call.pixels() * call.channels, none[most_axes] = {};
  const bool around = !call.last && turn_around_boxes<Sum<T>>(call, boxes);
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

// How many channels a thread takes at a time: it alone adds to them, box after box, so the sums are
// the same each time.
int64_t channels_at_a_time(const Call& call, int64_t bytes) {
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

  // The same where boxes are few: only what each of them sees is turned.
  void around(const Tensor& boxes, const std::vector<int64_t>& mine) {
    T* channels = to + first * call.pixels();
    std::memset(channels, 0, sizeof(T) * some * call.pixels());
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
  const bool around = exact && !call.last && turn_around_boxes<Sum<T>>(call, boxes);
  const int64_t at_a_time = channels_at_a_time(call, sizeof(Sum<T>));
  const int64_t parts = (call.channels + at_a_time - 1) / at_a_time;
  parallel(call.batch * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / parts, first = i % parts * at_a_time;
      Part<T> part(call, from, first, std::min(at_a_time, call.channels - first), to + image * size);
      if constexpr (exact)
        if (around) {
          part.around(boxes, of_image[image]);
          continue;
        }
      part.all(boxes, of_image[image]);
    }
  });
}

#define MICROTOME_BY_DTYPE(function, dtype, ...)                                       \
  switch (dtype) {                                                                     \
    case ScalarType::Double: function<double>(__VA_ARGS__); break;                     \
    case ScalarType::Float: function<float>(__VA_ARGS__); break;                       \
    case ScalarType::BFloat16: function<BFloat16>(__VA_ARGS__); break;                 \
    case ScalarType::Half: function<Half>(__VA_ARGS__); break;                         \
    default: STD_TORCH_CHECK(false, "roi_align: maps of a dtype that is not known here"); \
  }

Tensor forward(Tensor maps, Tensor boxes, Tensor image_index, std::vector<int64_t> output,
               std::vector<double> stride, int64_t samples, bool last) {
  maps = contiguous(maps), boxes = contiguous(boxes), image_index = contiguous(image_index);
  std::vector<int64_t> shape;
  for (int64_t axis = 0; axis < maps.dim(); ++axis) shape.push_back(maps.size(axis));
  const Call call = describe(shape, boxes, image_index, output, stride, samples, last);
  std::vector<int64_t> sizes = {call.count};
  if (!last) sizes.push_back(call.channels);
  sizes.insert(sizes.end(), output.begin(), output.end());
  if (last) sizes.push_back(call.channels);
  Tensor out = torch::stable::new_empty(maps, sizes);
  const int64_t* index = static_cast<const int64_t*>(image_index.const_data_ptr());
  MICROTOME_BY_DTYPE(forward_as, maps.scalar_type(), call, maps, boxes, index, out);
  return out;
}

Tensor backward(Tensor grad, Tensor boxes, Tensor image_index, std::vector<int64_t> shape,
                std::vector<double> stride, int64_t samples, bool last) {
  grad = contiguous(grad), boxes = contiguous(boxes), image_index = contiguous(image_index);
  std::vector<int64_t> output;
  for (int64_t axis = last ? 1 : 2; axis < grad.dim() - last; ++axis)
    output.push_back(grad.size(axis));
  const Call call = describe(shape, boxes, image_index, output, stride, samples, last);
  Tensor by_maps = torch::stable::new_empty(grad, shape);
  const int64_t* index = static_cast<const int64_t*>(image_index.const_data_ptr());
  MICROTOME_BY_DTYPE(backward_as, grad.scalar_type(), call, grad, boxes, index, by_maps);
  return by_maps;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) {
  m.impl("roi_align", TORCH_BOX(&forward));
  m.impl("roi_align_backward", TORCH_BOX(&backward));
}
