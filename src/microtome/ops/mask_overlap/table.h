// The table of pairs that is handed out: three columns, sorted by both ids.
#pragma once
#include "counts.h"

namespace microtome::mask_overlap {

using Table = std::tuple<Tensor, Tensor, Tensor>;

struct Columns {
  Tensor ids_a, ids_b, counts;
  int64_t *a, *b, *count;

  Columns(int64_t rows, const Tensor& like)
      : ids_a(column(rows, like)), ids_b(column(rows, like)), counts(column(rows, like)),
        a(data(ids_a)), b(data(ids_b)), count(data(counts)) {}

  Table table() const { return {ids_a, ids_b, counts}; }

 private:
  static Tensor column(int64_t rows, const Tensor& like) {
    return torch::stable::new_empty(like, {rows}, ScalarType::Long);
  }
  static int64_t* data(Tensor& x) { return static_cast<int64_t*>(x.mutable_data_ptr()); }
};

inline bool ordered(const Entry& x, const Entry& y) { return x.a != y.a ? x.a < y.a : x.b < y.b; }

// Sorts entries and adds up those of the same pair.
inline Table summed(std::vector<Entry>& all, const Tensor& like) {
  std::sort(all.begin(), all.end(), ordered);
  size_t rows = 0;
  for (const Entry& entry : all) {
    if (rows && !ordered(all[rows - 1], entry))
      all[rows - 1].count += entry.count;
    else
      all[rows++] = entry;
  }
  const Columns out(rows, like);
  for (size_t i = 0; i < rows; ++i)
    out.a[i] = all[i].a, out.b[i] = all[i].b, out.count[i] = all[i].count;
  return out.table();
}

}  // namespace microtome::mask_overlap
