// Runs of pixels of one object, and what those of two layers share; included by each_isa.h.

using microtome::layer_overlap::Layers;
using microtome::layer_overlap::Run;
using microtome::layer_overlap::Runs;
using microtome::mask_overlap::Hashed;

constexpr int64_t piece = 64;  // pixels; most pieces of most layers are empty
constexpr int64_t stretch = 256 * piece;  // read of one layer after the other: few streams from memory

template <class T>
bool any(const T* at, int64_t count) {
  T all = 0;
  for (int64_t i = 0; i < count; ++i) all |= at[i];
  return all != 0;
}

// Where a pixel differs from the one before it, as a byte per pixel; `last` is before the first.
template <class T>
INLINE void mark_changes(const T* at, int64_t count, T last, uint8_t* changes) {
  changes[0] = at[0] != last;
  for (int64_t i = 1; i < count; ++i) changes[i] = at[i] != at[i - 1];
}

template <class T>
void find_runs(const void* from, int64_t begin, int64_t count, Runs& runs) {
  const T* at = static_cast<const T*>(from) + begin;
  T last = 0;
  for (int64_t start = 0; start < count; start += piece) {
    const int64_t some = std::min(piece, count - start);
    if (!last && !any(at + start, some)) continue;
    uint8_t changes[piece] = {};
    mark_changes(at + start, some, last, changes);
    for (int64_t word = 0; word < piece; word += sizeof(uint64_t)) {
      uint64_t marks;
      std::memcpy(&marks, changes + word, sizeof(marks));
      for (; marks; marks &= marks - 1) {
        const int64_t here = start + word + __builtin_ctzll(marks) / 8;  // the lowest byte is first
        if (last) runs.back().to = here;
        last = at[here];
        if (last) runs.push_back({static_cast<int64_t>(last), here, count});
      }
    }
  }
}

// The runs of every layer between two pixels.
void read_runs(const Layers& layers, int64_t begin, int64_t count, std::vector<Runs>& runs) {
  using microtome::ScalarType;
  for (int64_t layer = 0; layer < layers.count; ++layer) {
    const int64_t at = layer * layers.pixels + begin;
    runs[layer].clear();
    switch (layers.dtype) {
      case ScalarType::Bool:
      case ScalarType::Byte: find_runs<uint8_t>(layers.data, at, count, runs[layer]); break;
      case ScalarType::Char: find_runs<int8_t>(layers.data, at, count, runs[layer]); break;
      case ScalarType::Short: find_runs<int16_t>(layers.data, at, count, runs[layer]); break;
      case ScalarType::Int: find_runs<int32_t>(layers.data, at, count, runs[layer]); break;
      default: find_runs<int64_t>(layers.data, at, count, runs[layer]);
    }
  }
}

void add_shared(const Runs& a, const Runs& b, Hashed& counts) {
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const int64_t shared = std::min(a[i].to, b[j].to) - std::max(a[i].from, b[j].from);
    if (shared > 0) counts.add(a[i].id, b[j].id, shared);
    a[i].to < b[j].to ? ++i : ++j;
  }
}

void count_layers(const Layers& a, const Layers& b, int64_t begin, int64_t end, Hashed& counts) {
  std::vector<Runs> in_a(a.count), in_b(b.count);
  for (; begin < end; begin += stretch) {
    const int64_t count = std::min(stretch, end - begin);
    read_runs(a, begin, count, in_a), read_runs(b, begin, count, in_b);
    for (const Runs& one : in_a)
      for (const Run& run : one) counts.add(run.id, 0, run.to - run.from);
    for (const Runs& other : in_b)
      for (const Run& run : other) counts.add(0, run.id, run.to - run.from);
    for (const Runs& one : in_a)
      for (const Runs& other : in_b) add_shared(one, other, counts);
  }
}
