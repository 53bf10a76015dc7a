// Deformable attention on processors: the operators of operator.py. The kernels are in kernel.h.
#include "../deform.h"

#define MICROTOME_KERNEL "deform_attn/kernel.h"
#include "../each_isa.h"

namespace microtome::deform {

namespace {

void run(const Call& call, bool backward, int64_t begin, int64_t end) {
  if (call.dtype == ScalarType::Double) return baseline::run(call, backward, begin, end);
  MICROTOME_CALL(run, call, backward, begin, end);
}

}  // namespace

void forward(const Call& call) {
  parallel(call.batch * call.queries, 16,
           [&](int64_t begin, int64_t end) { run(call, false, begin, end); });
}

void backward(const Call& call) {
  parallel(call.batch * call.heads, 1,
           [&](int64_t begin, int64_t end) { run(call, true, begin, end); });
}

}  // namespace microtome::deform

namespace {

using namespace microtome;
using deform::Call;

Call describe(const Tensor& value, const std::vector<int64_t>& shapes, const Tensor& places,
              const Tensor& weights, const std::optional<Tensor>& around) {
  Call call{};
  call.batch = value.size(0), call.positions = value.size(1);
  call.heads = value.size(2), call.channels = value.size(3);
  call.queries = places.size(1), call.levels = places.size(3);
  call.points = places.size(4), call.dims = places.size(5);
  call.shapes = &shapes;
  call.dtype = value.scalar_type(), call.weights_dtype = weights.scalar_type();
  call.softmax = around.has_value();
  call.value = value.const_data_ptr();
  call.places = places.const_data_ptr();
  call.weights = weights.const_data_ptr();
  call.around = around ? around->const_data_ptr() : nullptr;
  call.around_each = around && around->size(0) > 1;
  return call;
}

std::optional<Tensor> contiguous_if(const std::optional<Tensor>& x) {
  return x ? std::optional<Tensor>(contiguous(*x)) : std::nullopt;
}

Tensor attend(Tensor value, std::vector<int64_t> shapes, Tensor places, Tensor weights,
              std::optional<Tensor> around) {
  value = contiguous(value), places = contiguous(places), weights = contiguous(weights);
  around = contiguous_if(around);
  Call call = describe(value, shapes, places, weights, around);
  Tensor out =
      torch::stable::new_empty(value, {call.batch, call.queries, call.heads, call.channels});
  call.out = out.mutable_data_ptr();
  deform::forward(call);
  return out;
}

std::tuple<Tensor, Tensor, Tensor> differentiate(Tensor grad, Tensor value,
                                                 std::vector<int64_t> shapes, Tensor places,
                                                 Tensor weights, std::optional<Tensor> around) {
  grad = contiguous(grad);
  value = contiguous(value), places = contiguous(places), weights = contiguous(weights);
  around = contiguous_if(around);
  Call call = describe(value, shapes, places, weights, around);
  Tensor by_value = torch::stable::empty_like(value);
  Tensor by_places = torch::stable::empty_like(places);
  Tensor by_weights = torch::stable::empty_like(weights);
  call.grad = grad.const_data_ptr();
  call.grad_value = by_value.mutable_data_ptr();
  call.grad_places = by_places.mutable_data_ptr();
  call.grad_weights = by_weights.mutable_data_ptr();
  deform::backward(call);
  return {by_value, by_places, by_weights};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) {
  m.impl("deform_attn", TORCH_BOX(&attend));
  m.impl("deform_attn_backward", TORCH_BOX(&differentiate));
}
