// What is counted, and counts of pairs by hashing: where pairs are few enough for a cache, or ids lie
// too far apart for anything else.
#pragma once
#include "../native.h"

namespace microtome::mask_overlap {

struct Maps {
  const void *a, *b;
  ScalarType dtype_a, dtype_b;
};

struct Entry {
  int64_t a, b, count;  // count 0: nothing here
};

// From the lowest ids to the highest.
struct Span {
  int64_t low_a = std::numeric_limits<int64_t>::max(), high_a = std::numeric_limits<int64_t>::min();
  int64_t low_b = low_a, high_b = high_a;

  void reach(int64_t a, int64_t b) {
    low_a = std::min(low_a, a), high_a = std::max(high_a, a);
    low_b = std::min(low_b, b), high_b = std::max(high_b, b);
  }
  uint64_t far_a() const { return static_cast<uint64_t>(high_a) - low_a; }
  uint64_t far_b() const { return static_cast<uint64_t>(high_b) - low_b; }
};

class Hashed {
 public:
  Hashed() : entries_(1 << 10) {}

  bool full() const { return used_ >= most_; }
  void grow_without_end() { most_ = std::numeric_limits<size_t>::max(); }

  void add(int64_t a, int64_t b, int64_t count) {
    Entry& entry = find(a, b);
    const bool fresh = !entry.count;
    entry = {a, b, entry.count + count};
    if (fresh && ++used_ * 2 > entries_.size()) grow();
  }

  // In no order.
  std::vector<Entry> entries() const {
    std::vector<Entry> some;
    append_to(some);
    return some;
  }

  void append_to(std::vector<Entry>& some) const {
    some.reserve(some.size() + used_);
    for (const Entry& entry : entries_)
      if (entry.count) some.push_back(entry);
  }

 private:
  size_t most_ = 1 << 14, used_ = 0;
  std::vector<Entry> entries_;

  Entry& find(int64_t a, int64_t b) {  // open addresses
    const size_t mask = entries_.size() - 1;
    uint64_t mixed = static_cast<uint64_t>(a) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 32) ^ static_cast<uint64_t>(b)) * 0xd6e8feb86659fd93u;
    size_t at = (mixed ^ (mixed >> 32)) & mask;
    while (entries_[at].count && (entries_[at].a != a || entries_[at].b != b)) at = (at + 1) & mask;
    return entries_[at];
  }

  void grow() {
    std::vector<Entry> before(entries_.size() * 2);
    before.swap(entries_);
    for (const Entry& entry : before)
      if (entry.count) find(entry.a, entry.b) = entry;
  }
};

}  // namespace microtome::mask_overlap
