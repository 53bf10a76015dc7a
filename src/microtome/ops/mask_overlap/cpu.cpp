// The sparse table of overlaps on processors: one pass over the pixels, run by run, each thread into
// a table of its own.
#include "table.h"

#include <mutex>

#define MICROTOME_KERNEL "mask_overlap/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using namespace microtome::mask_overlap;

bool ordered(const Entry& x, const Entry& y) { return x.a != y.a ? x.a < y.a : x.b < y.b; }

// Sorts by one id, keeping the order of equal ones: a radix sort over the bits in which ids differ.
void sort_by(int64_t Entry::*id, std::vector<Entry>& entries, std::vector<Entry>& sorted) {
  constexpr int digit = 11, buckets = 1 << digit;
  const auto [low, high] = std::minmax_element(
      entries.begin(), entries.end(),
      [&](const Entry& x, const Entry& y) { return x.*id < y.*id; });
  const uint64_t least = (*low).*id, range = static_cast<uint64_t>((*high).*id) - least;
  for (int shift = 0; shift < 64 && range >> shift; shift += digit) {
    std::vector<size_t> start(buckets + 1);
    for (const Entry& entry : entries)
      ++start[((entry.*id - least) >> shift & (buckets - 1)) + 1];
    for (int i = 0; i < buckets; ++i) start[i + 1] += start[i];
    for (const Entry& entry : entries)
      sorted[start[(entry.*id - least) >> shift & (buckets - 1)]++] = entry;
    entries.swap(sorted);
  }
}

void sort(std::vector<Entry>& entries) {
  if (entries.size() < 4096) return std::sort(entries.begin(), entries.end(), ordered);
  std::vector<Entry> buffer(entries.size());
  sort_by(&Entry::b, entries, buffer);
  sort_by(&Entry::a, entries, buffer);
}

// Adds up neighbours of the same pair.
void add_up(std::vector<Entry>& entries) {
  size_t last = 0;
  for (size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].a == entries[last].a && entries[i].b == entries[last].b)
      entries[last].count += entries[i].count;
    else
      entries[++last] = entries[i];
  }
  if (!entries.empty()) entries.resize(last + 1);
}

Tensor column(int64_t Entry::*of, const std::vector<Entry>& entries, const Tensor& like) {
  const int64_t count = entries.size();
  Tensor out = torch::stable::new_empty(like, {count}, ScalarType::Long);
  int64_t* to = static_cast<int64_t*>(out.mutable_data_ptr());
  for (int64_t i = 0; i < count; ++i) to[i] = entries[i].*of;
  return out;
}

std::tuple<Tensor, Tensor, Tensor> run(Tensor a, Tensor b) {
  a = contiguous(a), b = contiguous(b);
  const Maps maps{a.const_data_ptr(), b.const_data_ptr(), a.scalar_type(), b.scalar_type()};
  std::vector<Entry> entries;
  std::mutex adding;
  parallel(a.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    Table table;
    MICROTOME_CALL(count_pairs, maps, begin, end, table);
    std::vector<Entry> mine = table.take();
    sort(mine);
    add_up(mine);
    const std::lock_guard<std::mutex> lock(adding);
    const int64_t before = entries.size();
    entries.insert(entries.end(), mine.begin(), mine.end());
    std::inplace_merge(entries.begin(), entries.begin() + before, entries.end(), ordered);
  });
  add_up(entries);
  return {column(&Entry::a, entries, a), column(&Entry::b, entries, a),
          column(&Entry::count, entries, a)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) { m.impl("mask_overlap", TORCH_BOX(&run)); }
