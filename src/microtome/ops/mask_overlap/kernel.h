// Finding runs of equal pairs and the span of ids; included by each_isa.h.

#include "labels.h"

using microtome::mask_overlap::Maps;
using microtome::mask_overlap::Span;

// Where a pair differs from the one before it, as a byte per pixel; pixel 0 does.
INLINE void mark_changes(const int64_t* a, const int64_t* b, int64_t count, uint8_t* changes) {
  changes[0] = 1;
  for (int64_t i = 1; i < count; ++i)
    changes[i] = ((a[i] ^ a[i - 1]) | (b[i] ^ b[i - 1])) != 0;
}

// Hands runs to `counts`, block by block until they are full; returns the first pixel left.
template <class Counts>
int64_t count_pairs(const Maps& maps, int64_t begin, int64_t end, Counts& counts) {
  constexpr int64_t word = sizeof(uint64_t);
  std::vector<int64_t> buffer(2 * block);
  std::vector<uint8_t> changes(block + word);
  for (; begin < end && !counts.full(); begin = std::min(begin + block, end)) {
    const int64_t count = std::min(block, end - begin);
    const int64_t* a = read_labels(maps.a, maps.dtype_a, begin, count, buffer.data());
    const int64_t* b = read_labels(maps.b, maps.dtype_b, begin, count, buffer.data() + block);
    mark_changes(a, b, count, changes.data());
    std::memset(changes.data() + count, 0, word);
    int64_t from = 0;
    for (int64_t at = 0; at < count; at += word) {
      uint64_t some;
      std::memcpy(&some, changes.data() + at, word);
      if (at == 0) some &= ~uint64_t(1);
      for (; some; some &= some - 1) {
        const int64_t next = at + __builtin_ctzll(some) / 8;  // the lowest byte is the first pixel
        counts.add(a[from], b[from], next - from);
        from = next;
      }
    }
    counts.add(a[from], b[from], count - from);
  }
  return begin;
}

// How far the ids of some pixels reach.
void measure(const Maps& maps, int64_t begin, int64_t end, Span& span) {
  std::vector<int64_t> buffer(2 * block);
  int64_t low_a = span.low_a, high_a = span.high_a, low_b = span.low_b, high_b = span.high_b;
  for (; begin < end; begin += block) {
    const int64_t count = std::min(block, end - begin);
    const int64_t* a = read_labels(maps.a, maps.dtype_a, begin, count, buffer.data());
    const int64_t* b = read_labels(maps.b, maps.dtype_b, begin, count, buffer.data() + block);
    for (int64_t i = 0; i < count; ++i) {
      low_a = a[i] < low_a ? a[i] : low_a, high_a = a[i] > high_a ? a[i] : high_a;
      low_b = b[i] < low_b ? b[i] : low_b, high_b = b[i] > high_b ? b[i] : high_b;
    }
  }
  span.low_a = low_a, span.high_a = high_a, span.low_b = low_b, span.high_b = high_b;
}
