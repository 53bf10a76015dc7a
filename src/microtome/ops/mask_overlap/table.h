// Counts of pairs: by hashing with open addresses while they are few enough for a cache; what comes
// after that is kept run by run, to be sorted.
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

class Table {
 public:
  Table() : entries_(1 << 10) {}

  void add(int64_t a, int64_t b, int64_t count) {
    if (used_ == most) return further_.push_back({a, b, count});
    Entry& entry = find(a, b);
    entry.a = a, entry.b = b;
    if (!entry.count && ++used_ * 2 > entries_.size()) {
      entry.count = count;
      return grow();
    }
    entry.count += count;
  }

  // All that was counted, in no order; a pair may stand there more than once.
  std::vector<Entry> take() {
    for (const Entry& entry : entries_)
      if (entry.count) further_.push_back(entry);
    return std::move(further_);
  }

 private:
  static constexpr size_t most = 1 << 14;

  Entry& find(int64_t a, int64_t b) {
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

  std::vector<Entry> entries_, further_;
  size_t used_ = 0;
};

}  // namespace microtome::mask_overlap
