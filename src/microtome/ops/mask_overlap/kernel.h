// Reading label maps and finding runs of equal pairs; included by each_isa.h.

constexpr int64_t block = 2048;  // pixels that are widened at once, in the nearest cache

template <class T>
const int64_t* widen(const void* from, int64_t begin, int64_t count, int64_t* to) {
  const T* at = static_cast<const T*>(from) + begin;
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<int64_t>(at[i]);
  return to;
}

// Pixels begin…begin + count of a map as 64-bit integers, in `buffer` unless they are that already.
const int64_t* read(const void* from, microtome::ScalarType dtype, int64_t begin, int64_t count,
                    int64_t* buffer) {
  using microtome::ScalarType;
  switch (dtype) {
    case ScalarType::Bool:
    case ScalarType::Byte: return widen<uint8_t>(from, begin, count, buffer);
    case ScalarType::Char: return widen<int8_t>(from, begin, count, buffer);
    case ScalarType::Short: return widen<int16_t>(from, begin, count, buffer);
    case ScalarType::Int: return widen<int32_t>(from, begin, count, buffer);
    default: return static_cast<const int64_t*>(from) + begin;
  }
}

// Where a pair differs from the one before it, as a byte per pixel; pixel 0 does.
INLINE void mark_changes(const int64_t* a, const int64_t* b, int64_t count, uint8_t* changes) {
  changes[0] = 1;
  for (int64_t i = 1; i < count; ++i)
    changes[i] = ((a[i] ^ a[i - 1]) | (b[i] ^ b[i - 1])) != 0;
}

void count_pairs(const microtome::mask_overlap::Maps& maps, int64_t begin, int64_t end,
                 microtome::mask_overlap::Table& table) {
  constexpr int64_t word = sizeof(uint64_t);
  std::vector<int64_t> buffer(2 * block);
  std::vector<uint8_t> changes(block + word);
  for (; begin < end; begin += block) {
    const int64_t count = std::min(block, end - begin);
    const int64_t* a = read(maps.a, maps.dtype_a, begin, count, buffer.data());
    const int64_t* b = read(maps.b, maps.dtype_b, begin, count, buffer.data() + block);
    mark_changes(a, b, count, changes.data());
    std::memset(changes.data() + count, 0, word);
    int64_t from = 0;
    for (int64_t at = 0; at < count; at += word) {
      uint64_t some;
      std::memcpy(&some, changes.data() + at, word);
      if (at == 0) some &= ~uint64_t(1);
      for (; some; some &= some - 1) {
        const int64_t next = at + __builtin_ctzll(some) / 8;  // the lowest byte is the first pixel
        table.add(a[from], b[from], next - from);
        from = next;
      }
    }
    table.add(a[from], b[from], count - from);
  }
}
