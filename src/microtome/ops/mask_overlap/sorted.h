// Counts of many pairs of many ids: by sorting numbers that hold a, b and, below, how many pixels.
#pragma once
#include "counts.h"

namespace microtome::mask_overlap {

// A radix sort by the bits from `low` to `high`, from the lowest digit on.
inline void sort_keys(uint64_t* keys, int64_t count, int low, int high,
                      std::vector<uint64_t>& other) {
  constexpr int digit = 9, buckets = 1 << digit;
  if (count < 64) return std::sort(keys, keys + count);
  other.resize(std::max<size_t>(other.size(), count));
  uint64_t *from = keys, *to = other.data();
  for (; low < high; low += digit, std::swap(from, to)) {
    const uint64_t mask = (uint64_t(1) << std::min(digit, high - low)) - 1;
    int64_t start[buckets + 1] = {};
    for (int64_t i = 0; i < count; ++i) ++start[(from[i] >> low & mask) + 1];
    for (int i = 0; i < buckets; ++i) start[i + 1] += start[i];
    for (int64_t i = 0; i < count; ++i) to[start[from[i] >> low & mask]++] = from[i];
  }
  if (from != keys) std::copy(from, from + count, keys);
}

struct Layout {
  int64_t low_a, low_b;
  int bits_b, count_bits;

  static bool fit(const Span& span) { return bits(span.far_a()) + bits(span.far_b()) <= 52; }

  explicit Layout(const Span& span)
      : low_a(span.low_a), low_b(span.low_b), bits_b(bits(span.far_b())),
        count_bits(64 - bits(span.far_a()) - bits_b) {}

  uint64_t longest() const { return uint64_t(1) << count_bits; }
  uint64_t key(int64_t a, int64_t b, int64_t count) const {
    const uint64_t pair = static_cast<uint64_t>(a - low_a) << bits_b | (b - low_b);
    return pair << count_bits | (count - 1);
  }
  bool alike(uint64_t x, uint64_t y) const { return !((x ^ y) >> count_bits); }
  int64_t a(uint64_t key) const { return low_a + static_cast<int64_t>(key >> count_bits >> bits_b); }
  int64_t b(uint64_t key) const {
    return low_b + static_cast<int64_t>(key >> count_bits & ((uint64_t(1) << bits_b) - 1));
  }
  int64_t count(uint64_t key) const { return (key & (longest() - 1)) + 1; }

 private:
  static int bits(uint64_t far) { return far ? 64 - __builtin_clzll(far) : 0; }
};

// The keys of one thread. From time to time those of the same pair become one, so that there are
// never many more than there are pairs.
class Sorted {
 public:
  std::vector<uint64_t> keys;

  explicit Sorted(const Layout& layout) : layout_(layout) {}

  bool full() const { return keys.size() >= most_; }

  void add(int64_t a, int64_t b, int64_t count) {
    const int64_t longest = layout_.longest();
    for (; count > longest; count -= longest) keys.push_back(layout_.key(a, b, longest));
    keys.push_back(layout_.key(a, b, count));
  }

  void squeeze() {
    std::vector<uint64_t> other;
    sort_keys(keys.data(), keys.size(), layout_.count_bits, 64, other);
    size_t last = 0;
    for (size_t i = 1; i < keys.size(); ++i) {
      const uint64_t sum = layout_.count(keys[last]) + layout_.count(keys[i]);
      if (layout_.alike(keys[last], keys[i]) && sum <= layout_.longest())
        keys[last] += layout_.count(keys[i]);
      else
        keys[++last] = keys[i];
    }
    keys.resize(last + 1);
    most_ = std::max(most_, 2 * keys.size());
  }

 private:
  Layout layout_;
  size_t most_ = 1 << 22;
};

}  // namespace microtome::mask_overlap
