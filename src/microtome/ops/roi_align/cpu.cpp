// RoIAlign on processors: the operators of operator.py. Rows of channels are what is fast, so maps
// that have their channels in front are turned into them, unless boxes are few.
#include "taps.h"

#include <type_traits>

#define MICROTOME_KERNEL "roi_align/kernel.h"
#include "../each_isa.h"
#include "backward.h"
#include "forward.h"

namespace {

using namespace microtome;
using namespace microtome::roi_align;

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
