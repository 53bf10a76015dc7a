// One call of deformable attention: its sizes, and where its tensors lie, all contiguous.
// Letters as in __init__.py: B batch, N positions, H heads, C channels, Q queries, L levels,
// P points, D axes; S = L * P samples.
#pragma once
#include "../native.h"

namespace microtome::deform_attn {

struct Call {
  int64_t batch, positions, heads, channels, queries, levels, points, dims;
  const std::vector<int64_t>* shapes;  // L * D
  ScalarType dtype, weights_dtype;
  const void* value;    // [B, N, H, C]
  const void* places;   // [B, Q, H, L, P, D] locations, or offsets in pixels where `around` is
  const void* weights;  // [B, Q, H, L, P], or logits where `around` is
  const void* around;   // [B or 1, Q, L, D] reference points, or null
  bool around_each;     // the reference points have B
  void* out;            // [B, Q, H, C]
  const void* grad;     // [B, Q, H, C]
  void* grad_value;
  void* grad_places;
  void* grad_weights;

  int64_t samples() const { return levels * points; }
};

}  // namespace microtome::deform_attn
