// The sparse table of overlaps on processors: run by run, each thread for itself. Pairs are hashed;
// where they turn out to be many, how far ids reach decides how those that are left are counted.
#include "sorted.h"
#include "table.h"
#include "tabled.h"

#include <mutex>

#define MICROTOME_KERNEL "mask_overlap/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using namespace microtome::mask_overlap;

// What one thread has counted, and the pixels that are left.
struct Part {
  int64_t begin, end;
  Hashed hashed;
};

// Turns numbers of rows into where they begin; returns the sum.
int64_t begin_each(std::vector<int64_t>& rows) {
  int64_t sum = 0;
  for (int64_t& some : rows) std::swap(some, sum), sum += some;
  return sum;
}

// ---- by hashing ----

Table from_hashed(const std::vector<Part>& parts, const Tensor& like) {
  std::vector<Entry> all;
  for (const Part& part : parts) part.hashed.append_to(all);
  return summed(all, like);
}

// ---- many pairs ----

Span span_of(const Maps& maps, const std::vector<Part>& parts) {
  std::vector<Span> spans(parts.size());
  parallel(parts.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      MICROTOME_CALL(measure, maps, parts[i].begin, parts[i].end, spans[i]);
      for (const Entry& entry : parts[i].hashed.entries()) spans[i].reach(entry.a, entry.b);
    }
  });
  Span all;
  for (const Span& span : spans)
    all.reach(span.low_a, span.low_b), all.reach(span.high_a, span.high_b);
  return all;
}

// Counts what is left and what was hashed, in one way, a thread per part.
template <class Counts>
std::vector<Counts> count_all(const Maps& maps, const std::vector<Part>& parts,
                              const Counts& empty) {
  std::vector<Counts> counts(parts.size(), empty);
  parallel(parts.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (const Entry& entry : parts[i].hashed.entries())
        counts[i].add(entry.a, entry.b, entry.count);
      int64_t at = parts[i].begin;
      while (at < parts[i].end) {
        at = MICROTOME_CALL(count_pairs, maps, at, parts[i].end, counts[i]);
        if constexpr (std::is_same_v<Counts, Sorted>)
          if (counts[i].full()) counts[i].squeeze();
      }
    }
  });
  return counts;
}

Table from_tabled(std::vector<Tabled> tables, const Tensor& like) {
  Tabled& table = tables[0];
  std::vector<int64_t> rows(table.lines());
  parallel(table.lines(), 16, [&](int64_t begin, int64_t end) {
    for (size_t i = 1; i < tables.size(); ++i) table.add(tables[i], begin, end);
    for (int64_t line = begin; line < end; ++line) rows[line] = table.pairs(line);
  });
  const Columns out(begin_each(rows), like);
  parallel(table.lines(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line)
      table.write(line, out.a + rows[line], out.b + rows[line], out.count + rows[line]);
  });
  return out.table();
}

constexpr int buckets = 256, bucket_shift = 64 - 8;  // by the highest bits of a key

// The keys of all threads by bucket, each from `start` on.
std::vector<uint64_t> deal(const std::vector<Sorted>& parts, std::vector<int64_t>& start) {
  std::vector<std::vector<int64_t>> next(parts.size(), std::vector<int64_t>(buckets));
  int64_t total = 0;
  parallel(parts.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (uint64_t key : parts[i].keys) ++next[i][key >> bucket_shift];
  });
  for (int bucket = 0; bucket < buckets; ++bucket) {
    start.push_back(total);
    for (auto& of_part : next) std::swap(of_part[bucket], total), total += of_part[bucket];
  }
  start.push_back(total);
  std::vector<uint64_t> keys(total);
  parallel(parts.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (uint64_t key : parts[i].keys) keys[next[i][key >> bucket_shift]++] = key;
  });
  return keys;
}

Table from_sorted(const std::vector<Sorted>& parts, const Layout& layout, const Tensor& like) {
  std::vector<int64_t> start, rows(buckets);
  std::vector<uint64_t> keys = deal(parts, start);
  parallel(buckets, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint64_t> other;
    for (int64_t bucket = begin; bucket < end; ++bucket) {
      uint64_t* from = keys.data() + start[bucket];
      const int64_t count = start[bucket + 1] - start[bucket];
      sort_keys(from, count, layout.count_bits, bucket_shift, other);
      for (int64_t i = 0; i < count; ++i) rows[bucket] += !i || !layout.alike(from[i], from[i - 1]);
    }
  });
  const Columns out(begin_each(rows), like);
  parallel(buckets, 1, [&](int64_t begin, int64_t end) {
    for (int64_t bucket = begin; bucket < end; ++bucket) {
      int64_t row = rows[bucket] - 1;
      for (int64_t i = start[bucket]; i < start[bucket + 1]; ++i) {
        if (i == start[bucket] || !layout.alike(keys[i], keys[i - 1]))
          out.a[++row] = layout.a(keys[i]), out.b[row] = layout.b(keys[i]), out.count[row] = 0;
        out.count[row] += layout.count(keys[i]);
      }
    }
  });
  return out.table();
}

Table run(Tensor a, Tensor b) {
  a = contiguous(a), b = contiguous(b);
  const Maps maps{a.const_data_ptr(), b.const_data_ptr(), a.scalar_type(), b.scalar_type()};
  std::vector<Part> parts;
  std::mutex adding;
  bool left = false;
  parallel(a.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    Part part{begin, end, {}};
    part.begin = MICROTOME_CALL(count_pairs, maps, begin, end, part.hashed);
    const std::lock_guard<std::mutex> lock(adding);
    left |= part.begin < part.end;
    parts.push_back(std::move(part));
  });
  if (!left) return from_hashed(parts, a);
  const Span span = span_of(maps, parts);
  if (Tabled::fit(span, a.numel())) return from_tabled(count_all(maps, parts, Tabled(span)), a);
  if (Layout::fit(span)) {
    const Layout layout(span);
    return from_sorted(count_all(maps, parts, Sorted(layout)), layout, a);
  }
  parallel(parts.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      parts[i].hashed.grow_without_end();
      MICROTOME_CALL(count_pairs, maps, parts[i].begin, parts[i].end, parts[i].hashed);
    }
  });
  return from_hashed(parts, a);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) { m.impl("mask_overlap", TORCH_BOX(&run)); }
