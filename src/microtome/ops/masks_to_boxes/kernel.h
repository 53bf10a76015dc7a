// Boxes around the runs of equal labels; included by each_isa.h.

#include "labels.h"

using microtome::masks_to_boxes::Boxes;
using microtome::masks_to_boxes::Maps;

// Where a label differs from the one before it, as a byte per pixel; bytes behind the last are 0.
INLINE void mark_changes(const int64_t* labels, int64_t count, uint8_t* changes) {
  for (int64_t i = 1; i < count; ++i) changes[i] = labels[i] != labels[i - 1];
  std::memset(changes + count, 0, sizeof(uint64_t));
}

// Part of a line, from `first` on its axis: every run of a label widens its box.
inline void widen_along(const int64_t* labels, int64_t count, int64_t first, uint8_t* changes,
                        Boxes& boxes) {
  constexpr int64_t word = sizeof(uint64_t);
  mark_changes(labels, count, changes);
  int64_t from = 0;
  for (int64_t at = 0; at < count; at += word) {
    uint64_t some;
    std::memcpy(&some, changes + at, word);
    for (; some; some &= some - 1) {
      const int64_t next = at + __builtin_ctzll(some) / 8;  // the lowest byte is the first pixel
      boxes.widen(labels[from], first + from, first + next);
      from = next;
    }
  }
  boxes.widen(labels[from], first + from, first + count);
}

// Lines begin…end of all layers.
void widen_lines(const Maps& maps, int64_t begin, int64_t end, Boxes& boxes) {
  std::vector<int64_t> buffer(block);
  std::vector<uint8_t> changes(block + sizeof(uint64_t));
  for (int64_t line = begin; line < end; ++line) {
    boxes.move_to(maps, line);
    for (int64_t first = 0; first < maps.length(); first += block) {
      const int64_t count = std::min(block, maps.length() - first);
      const int64_t* labels =
          read_labels(maps.labels, maps.dtype, line * maps.length() + first, count, buffer.data());
      widen_along(labels, count, first, changes.data(), boxes);
    }
  }
}
