// Point sampling on processors: the operators of operator.py. With many channels, maps are turned
// into rows of them first; a few are read where they lie.
#include "taps.h"

#define MICROTOME_KERNEL "point_sample/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using namespace microtome::point_sample;

template <class T>
using Sum = typename baseline::Row<T>::Sum;

constexpr int64_t few = 8;          // channels
constexpr int64_t at_a_time = 32;   // channels of a thread's share of a gradient

Call describe(const std::vector<int64_t>& shape, const Tensor& points, bool nearest) {
  Call call{shape[0], shape[1], points.size(1), points.size(2), {}, nearest};
  for (int64_t axis = 0; axis < call.dims; ++axis) call.shape[axis] = shape[2 + axis];
  return call;
}

std::vector<int64_t> sizes(const Tensor& x) {
  std::vector<int64_t> all;
  for (int64_t axis = 0; axis < x.dim(); ++axis) all.push_back(x.size(axis));
  return all;
}

template <class T>
void sample_in_place(const Call& call, const T* maps, const Sum<T>* points, T* out) {
  const int64_t pixels = call.pixels();
  parallel(call.batch * call.points, 1024, [&](int64_t begin, int64_t end) {
    Taps<Sum<T>> taps;
    for (int64_t i = begin; i < end; ++i) {
      taps.lay(call, points + i * call.dims);
      const int64_t image = i / call.points, point = i % call.points;
      for (int64_t channel = 0; channel < call.channels; ++channel) {
        const int64_t at = image * call.channels + channel;
        Sum<T> sum = 0;
        for (int64_t tap = 0; tap < taps.count; ++tap)
          sum += taps.weight[tap] * static_cast<Sum<T>>(maps[at * pixels + taps.offset[tap]]);
        out[at * call.points + point] = static_cast<T>(sum);
      }
    }
  });
}

template <class T>
void sample_rows(const Call& call, const T* maps, const Sum<T>* points, T* out) {
  const int64_t pixels = call.pixels(), channels = call.channels;
  std::vector<Sum<T>> rows(pixels * channels);
  for (int64_t image = 0; image < call.batch; ++image) {
    const T* from = maps + image * channels * pixels;
    parallel(pixels, 256, [&](int64_t begin, int64_t end) {
      MICROTOME_CALL(turn, from + begin, pixels, channels, end - begin,
                     rows.data() + begin * channels, channels);
    });
    parallel(call.points, 256, [&](int64_t begin, int64_t end) {
      std::vector<Sum<T>> tile(baseline::strip * channels);
      MICROTOME_CALL(sample<T>, call, rows.data(), points + image * call.points * call.dims, begin,
                     end, tile.data(), out + image * channels * call.points);
    });
  }
}

template <class T>
void forward_as(const Call& call, const Tensor& maps, const Tensor& points, Tensor& out) {
  const T* from = static_cast<const T*>(maps.const_data_ptr());
  const auto* at = static_cast<const Sum<T>*>(points.const_data_ptr());
  T* to = static_cast<T*>(out.mutable_data_ptr());
  if (call.channels < few)
    sample_in_place(call, from, at, to);
  else
    sample_rows(call, from, at, to);
}

// Each thread has channels of its own and goes from point to point: the sums are the same each time.
template <class T>
void backward_as(const Call& call, const Tensor& grad, const Tensor& points, Tensor& by_maps) {
  const T* from = static_cast<const T*>(grad.const_data_ptr());
  const auto* at = static_cast<const Sum<T>*>(points.const_data_ptr());
  T* to = static_cast<T*>(by_maps.mutable_data_ptr());
  const int64_t pixels = call.pixels();
  const int64_t parts = (call.channels + at_a_time - 1) / at_a_time;
  parallel(call.batch * parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<Sum<T>> rows, tile(baseline::strip * at_a_time);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / parts, first = i % parts * at_a_time;
      const int64_t some = std::min(at_a_time, call.channels - first);
      const int64_t channel = image * call.channels + first;
      rows.assign(pixels * some, Sum<T>(0));
      MICROTOME_CALL(spread<T>, call, from + channel * call.points,
                     at + image * call.points * call.dims, some, tile.data(), rows.data());
      MICROTOME_CALL(turn, rows.data(), some, pixels, some, to + channel * pixels, pixels);
    }
  });
}

template <class T>
void by_points_as(const Call& call, const Tensor& grad, const Tensor& maps, const Tensor& points,
                  Tensor& by_points) {
  const T* given = static_cast<const T*>(grad.const_data_ptr());
  const T* from = static_cast<const T*>(maps.const_data_ptr());
  const auto* at = static_cast<const Sum<T>*>(points.const_data_ptr());
  auto* to = static_cast<Sum<T>*>(by_points.mutable_data_ptr());
  const int64_t pixels = call.pixels();
  parallel(call.batch * call.points, 256, [&](int64_t begin, int64_t end) {
    Taps<Sum<T>> taps;
    for (int64_t i = begin; i < end; ++i) {
      taps.lay(call, at + i * call.dims);
      const int64_t image = i / call.points, point = i % call.points;
      Sum<T> sums[most_axes] = {};
      for (int64_t channel = 0; channel < call.channels; ++channel) {
        const int64_t row = image * call.channels + channel;
        const Sum<T> part = given[row * call.points + point];
        for (int64_t tap = 0; tap < taps.count; ++tap) {
          const Sum<T> seen = from[row * pixels + taps.offset[tap]];
          for (int64_t axis = 0; axis < call.dims; ++axis)
            sums[axis] += part * seen * taps.slope[tap][axis];
        }
      }
      for (int64_t axis = 0; axis < call.dims; ++axis) to[i * call.dims + axis] = sums[axis];
    }
  });
}

#define MICROTOME_BY_DTYPE(function, dtype, ...)                                            \
  switch (dtype) {                                                                          \
    case ScalarType::Double: function<double>(__VA_ARGS__); break;                          \
    case ScalarType::Float: function<float>(__VA_ARGS__); break;                            \
    case ScalarType::BFloat16: function<BFloat16>(__VA_ARGS__); break;                      \
    case ScalarType::Half: function<Half>(__VA_ARGS__); break;                              \
    default: STD_TORCH_CHECK(false, "point_sample: maps of a dtype that is not known here"); \
  }

Tensor forward(Tensor maps, Tensor points, bool nearest) {
  maps = contiguous(maps), points = contiguous(points);
  const Call call = describe(sizes(maps), points, nearest);
  Tensor out = torch::stable::new_empty(maps, {call.batch, call.channels, call.points});
  MICROTOME_BY_DTYPE(forward_as, maps.scalar_type(), call, maps, points, out);
  return out;
}

Tensor backward(Tensor grad, Tensor points, std::vector<int64_t> shape, bool nearest) {
  grad = contiguous(grad), points = contiguous(points);
  const Call call = describe(shape, points, nearest);
  Tensor by_maps = torch::stable::new_empty(grad, shape);
  MICROTOME_BY_DTYPE(backward_as, grad.scalar_type(), call, grad, points, by_maps);
  return by_maps;
}

Tensor backward_points(Tensor grad, Tensor maps, Tensor points, bool nearest) {
  grad = contiguous(grad), maps = contiguous(maps), points = contiguous(points);
  const Call call = describe(sizes(maps), points, nearest);
  Tensor by_points = torch::stable::empty_like(points);
  MICROTOME_BY_DTYPE(by_points_as, maps.scalar_type(), call, grad, maps, points, by_points);
  return by_points;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) {
  m.impl("point_sample", TORCH_BOX(&forward));
  m.impl("point_sample_backward", TORCH_BOX(&backward));
  m.impl("point_sample_backward_points", TORCH_BOX(&backward_points));
}
