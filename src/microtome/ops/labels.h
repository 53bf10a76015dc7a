// Label maps of any integers, a block at a time as 64-bit ones; included by the kernels of operators
// that read them.

constexpr int64_t block = 2048;  // pixels that are widened at once, in the nearest cache

template <class T>
const int64_t* widen(const void* from, int64_t begin, int64_t count, int64_t* to) {
  const T* at = static_cast<const T*>(from) + begin;
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<int64_t>(at[i]);
  return to;
}

// Pixels begin…begin + count of a map as 64-bit integers, in `buffer` unless they are that already.
inline const int64_t* read_labels(const void* from, microtome::ScalarType dtype, int64_t begin,
                                  int64_t count, int64_t* buffer) {
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
