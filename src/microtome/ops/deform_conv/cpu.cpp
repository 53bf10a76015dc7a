// Deformable convolution on processors: the operators of operator.py, by the kernels of deformable
// attention, with one level and the taps of a kernel for points.
#include "../deform.h"

namespace {

using namespace microtome;
using deform::Call;
using deform::Lattice;
using Sizes = std::vector<int64_t>;

Call describe(const Tensor& value, const Tensor& offsets, const Tensor& modulation,
              const Lattice& lattice, const Sizes& shape, bool softmax) {
  Call call{};
  call.batch = value.size(0);
  call.dims = offsets.size(offsets.dim() - 1);
  call.heads = value.size(value.dim() - 2), call.channels = value.size(value.dim() - 1);
  call.points = modulation.size(modulation.dim() - 1);
  call.levels = call.positions = call.queries = 1;
  for (int64_t size : shape) call.positions *= size;
  for (int64_t size : lattice.output) call.queries *= size;
  call.shapes = &shape;
  call.lattice = &lattice;
  call.dtype = value.scalar_type(), call.weights_dtype = modulation.scalar_type();
  call.softmax = softmax;
  call.value = value.const_data_ptr();
  call.places = offsets.const_data_ptr();
  call.weights = modulation.const_data_ptr();
  return call;
}

Sizes inner(const Tensor& x, int64_t dims) {  // *S of [B, *S, ...]
  const auto sizes = x.sizes();
  return Sizes(sizes.begin() + 1, sizes.begin() + 1 + dims);
}

Tensor convolve(Tensor value, Tensor offsets, Tensor modulation, Sizes kernel, Sizes stride,
                Sizes padding, Sizes dilation, bool softmax) {
  value = contiguous(value), offsets = contiguous(offsets), modulation = contiguous(modulation);
  const int64_t dims = kernel.size();
  const Lattice lattice{kernel, stride, padding, dilation, inner(offsets, dims)};
  const Sizes shape = inner(value, dims);
  Call call = describe(value, offsets, modulation, lattice, shape, softmax);
  Sizes sizes{call.batch};
  sizes.insert(sizes.end(), lattice.output.begin(), lattice.output.end());
  sizes.insert(sizes.end(), {call.heads, call.channels});
  Tensor out = torch::stable::new_empty(value, sizes);
  call.out = out.mutable_data_ptr();
  deform::forward(call);
  return out;
}

std::tuple<Tensor, Tensor, Tensor> differentiate(Tensor grad, Tensor value, Tensor offsets,
                                                 Tensor modulation, Sizes kernel, Sizes stride,
                                                 Sizes padding, Sizes dilation, bool softmax) {
  grad = contiguous(grad), value = contiguous(value);
  offsets = contiguous(offsets), modulation = contiguous(modulation);
  const int64_t dims = kernel.size();
  const Lattice lattice{kernel, stride, padding, dilation, inner(offsets, dims)};
  const Sizes shape = inner(value, dims);
  Call call = describe(value, offsets, modulation, lattice, shape, softmax);
  Tensor by_value = torch::stable::empty_like(value);
  Tensor by_offsets = torch::stable::empty_like(offsets);
  Tensor by_modulation = torch::stable::empty_like(modulation);
  call.grad = grad.const_data_ptr();
  call.grad_value = by_value.mutable_data_ptr();
  call.grad_places = by_offsets.mutable_data_ptr();
  call.grad_weights = by_modulation.mutable_data_ptr();
  deform::backward(call);
  return {by_value, by_offsets, by_modulation};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) {
  m.impl("deform_conv", TORCH_BOX(&convolve));
  m.impl("deform_conv_backward", TORCH_BOX(&differentiate));
}
