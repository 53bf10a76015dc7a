// Counts of many pairs of few ids: in a table of all pairs.
#pragma once
#include "counts.h"

namespace microtome::mask_overlap {

class Tabled {
 public:
  // Whether the table is no larger than the maps; its counts have 32 bits.
  static bool fit(const Span& span, int64_t pixels) {
    constexpr uint64_t most = uint64_t(1) << 32;
    const uint64_t a = span.far_a(), b = span.far_b(), all = pixels;
    return all < most && a < all && b < all && (a + 1) * (b + 1) <= all;
  }

  explicit Tabled(const Span& span)
      : span_(span), height_(span.far_a() + 1), width_(span.far_b() + 1),
        counts_(height_ * width_) {}

  bool full() const { return false; }

  void add(int64_t a, int64_t b, int64_t count) {
    counts_[(a - span_.low_a) * width_ + (b - span_.low_b)] += static_cast<uint32_t>(count);
  }

  void add(const Tabled& other, int64_t begin, int64_t end) {  // some lines
    for (int64_t i = begin * width_; i < end * width_; ++i) counts_[i] += other.counts_[i];
  }

  int64_t lines() const { return height_; }

  int64_t pairs(int64_t line) const {
    const uint32_t* at = counts_.data() + line * width_;
    return width_ - std::count(at, at + width_, 0u);
  }

  void write(int64_t line, int64_t* a, int64_t* b, int64_t* counts) const {
    const uint32_t* at = counts_.data() + line * width_;
    for (int64_t i = 0; i < width_; ++i)
      if (at[i]) *a++ = span_.low_a + line, *b++ = span_.low_b + i, *counts++ = at[i];
  }

 private:
  Span span_;
  int64_t height_, width_;
  std::vector<uint32_t> counts_;
};

}  // namespace microtome::mask_overlap
