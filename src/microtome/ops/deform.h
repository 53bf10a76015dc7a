// One call of deformable attention or convolution: its sizes, and where its tensors lie, all
// contiguous. Both sum S samples between the cells of a value for each query and head; they differ
// in where samples lie.
// Letters: B batch, N positions, H heads or groups, C channels of one, Q queries or places, L levels
// (1 in a convolution), P points or taps, D axes; S = L * P.
#pragma once
#include "native.h"

namespace microtome::deform {

// Where the taps of a convolution lie before they are moved; each D numbers.
struct Lattice {
  std::vector<int64_t> kernel, stride, padding, dilation, output;
};

struct Call {
  int64_t batch, positions, heads, channels, queries, levels, points, dims;
  const std::vector<int64_t>* shapes;  // L * D
  ScalarType dtype, weights_dtype;
  bool softmax;            // `weights` are logits
  const void* value;       // [B, N, H, C]
  const void* places;      // [B, Q, H, L, P, D] locations; offsets where one of the next two is
  const void* weights;     // [B, Q, H, L, P]
  const void* around;      // [B or 1, Q, L, D] reference points, or null
  bool around_each;        // the reference points have B
  const Lattice* lattice;  // of a convolution, or null
  void* out;               // [B, Q, H, C]
  const void* grad;        // [B, Q, H, C]
  void* grad_value;
  void* grad_places;
  void* grad_weights;

  int64_t samples() const { return levels * points; }
  bool relative() const { return around || lattice; }
};

// Fill `out`, or the gradients, on all threads; the kernels are in deform_attn/kernel.h.
void forward(const Call& call);
void backward(const Call& call);

}  // namespace microtome::deform
