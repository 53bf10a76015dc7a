// Pieces of layers in which objects lie, and runs of objects in them; included by each_isa.h.

#include "labels.h"

using microtome::layer_overlap::Layers;
using microtome::mask_overlap::Hashed;

constexpr int64_t piece = 64;  // pixels; most pieces of most layers are empty

template <class T>
bool any(const void* from, int64_t begin, int64_t count) {
  const T* at = static_cast<const T*>(from) + begin;
  T all = 0;
  for (int64_t i = 0; i < count; ++i) all |= at[i];
  return all != 0;
}

bool holds(const Layers& layers, int64_t begin, int64_t count) {
  using microtome::ScalarType;
  switch (layers.dtype) {
    case ScalarType::Bool:
    case ScalarType::Byte:
    case ScalarType::Char: return any<int8_t>(layers.data, begin, count);
    case ScalarType::Short: return any<int16_t>(layers.data, begin, count);
    case ScalarType::Int: return any<int32_t>(layers.data, begin, count);
    default: return any<int64_t>(layers.data, begin, count);
  }
}

// One piece of all layers.
class Held {
 public:
  explicit Held(const Layers& layers) : layers_(layers), buffer_(layers.count * piece) {}

  void read(int64_t begin, int64_t count) {
    rows.clear();
    for (int64_t layer = 0; layer < layers_.count; ++layer) {
      const int64_t at = layer * layers_.pixels + begin;
      if (holds(layers_, at, count))
        rows.push_back(
            read_labels(layers_.data, layers_.dtype, at, count, buffer_.data() + layer * piece));
    }
  }

  std::vector<const int64_t*> rows;  // of the layers that hold objects

 private:
  const Layers& layers_;
  std::vector<int64_t> buffer_;
};

// Where neither changes is one run; runs that either side leaves empty are skipped.
void add_runs(const int64_t* a, const int64_t* b, int64_t count, Hashed& counts) {
  int64_t from = 0;
  for (int64_t i = 1; i <= count; ++i) {
    if (i < count && a[i] == a[from] && b[i] == b[from]) continue;
    if (a[from] && b[from]) counts.add(a[from], b[from], i - from);
    from = i;
  }
}

void add_areas(const int64_t* ids, int64_t count, bool first, Hashed& counts) {
  int64_t from = 0;
  for (int64_t i = 1; i <= count; ++i) {
    if (i < count && ids[i] == ids[from]) continue;
    if (ids[from]) counts.add(first ? ids[from] : 0, first ? 0 : ids[from], i - from);
    from = i;
  }
}

void count_layers(const Layers& a, const Layers& b, int64_t begin, int64_t end, Hashed& counts) {
  Held in_a(a), in_b(b);
  for (; begin < end; begin += piece) {
    const int64_t count = std::min(piece, end - begin);
    in_a.read(begin, count), in_b.read(begin, count);
    for (const int64_t* row : in_a.rows) add_areas(row, count, true, counts);
    for (const int64_t* row : in_b.rows) add_areas(row, count, false, counts);
    for (const int64_t* one : in_a.rows)
      for (const int64_t* other : in_b.rows) add_runs(one, other, count, counts);
  }
}
