// The kernels of deformable attention and convolution, compiled for each instruction set (see
// each_isa.h).

#include "plan.h"
#include "gather.h"
#include "slice.h"

using Range = void (*)(const Call&, int64_t, int64_t);

template <int D>
Range range_of(microtome::ScalarType dtype, bool backward) {
  switch (dtype) {
#if LANES == 4  // float64 is for checking gradients: one instruction set is enough
    case microtome::ScalarType::Double:
      return backward ? backward_range<D, double> : forward_range<D, double>;
#endif
    case microtome::ScalarType::BFloat16:
      return backward ? backward_range<D, float> : forward_range<D, microtome::BFloat16>;
    case microtome::ScalarType::Half:
      return backward ? backward_range<D, float> : forward_range<D, microtome::Half>;
    default:
      return backward ? backward_range<D, float> : forward_range<D, float>;
  }
}

void run(const Call& call, bool backward, int64_t begin, int64_t end) {
  const Range range = call.dims == 2 ? range_of<2>(call.dtype, backward)
                                     : range_of<3>(call.dtype, backward);
  range(call, begin, end);
}
