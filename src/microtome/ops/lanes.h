// Vectors of LANES floats (half as many doubles); included by each_isa.h in a namespace per
// instruction set. `Row<T>` reads and writes elements of type T as vectors of what they are summed
// in: float, or double for double.

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t FloatMask __attribute__((vector_size(4 * LANES)));
typedef uint32_t FloatBits __attribute__((vector_size(4 * LANES)));
typedef uint16_t HalfBits __attribute__((vector_size(2 * LANES)));
typedef double Doubles __attribute__((vector_size(4 * LANES)));
typedef int64_t DoubleMask __attribute__((vector_size(4 * LANES)));

#define INLINE inline __attribute__((always_inline))

// Memory for whole vectors: none lies across two lines of the cache, which would cost a tenth.
template <class T>
struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t line{64};
  Aligned() = default;
  template <class U>
  Aligned(const Aligned<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), line)); }
  void deallocate(T* p, size_t) { ::operator delete(p, line); }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};

template <class T>
using Array = std::vector<T, Aligned<T>>;

template <class T>
struct Row;

template <>
struct Row<float> {
  using Sum = float;
  using Vector = Floats;
  using Mask = FloatMask;  // lanes of 0 or -1; also the integers as wide as the floats
  using Index = int32_t;
  static constexpr int width = LANES;
  static INLINE Vector load(const float* p) {
    Vector x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static INLINE void store(float* p, Vector x) { std::memcpy(p, &x, sizeof x); }
};

template <>
struct Row<double> {
  using Sum = double;
  using Vector = Doubles;
  using Mask = DoubleMask;
  using Index = int64_t;
  static constexpr int width = LANES / 2;
  static INLINE Vector load(const double* p) {
    Vector x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static INLINE void store(double* p, Vector x) { std::memcpy(p, &x, sizeof x); }
};

template <>
struct Row<microtome::BFloat16> {
  using Sum = float;
  using Vector = Floats;
  static constexpr int width = LANES;
  static INLINE Vector load(const microtome::BFloat16* p) {
    HalfBits half;
    std::memcpy(&half, p, sizeof half);
    return (Vector)(__builtin_convertvector(half, FloatBits) << 16);
  }
  static INLINE void store(microtome::BFloat16* p, Vector x) {  // to nearest, ties to even
    FloatBits bits = (FloatBits)x;
    bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    bits = x == x ? bits : FloatBits{} + 0x7fc0u;
    HalfBits half = __builtin_convertvector(bits, HalfBits);
    std::memcpy(p, &half, sizeof half);
  }
};

template <>
struct Row<microtome::Half> {
  using Sum = float;
  using Vector = Floats;
  static constexpr int width = LANES;
  static INLINE Vector load(const microtome::Half* p) {
#if LANES == 16
    return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif LANES == 8
    return (Vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#else
    return Vector{float(p[0]), float(p[1]), float(p[2]), float(p[3])};
#endif
  }
  static INLINE void store(microtome::Half* p, Vector x) {
#if LANES == 16
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
#elif LANES == 8
    _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < LANES; ++i) p[i] = microtome::Half(x[i]);
#endif
  }
};

// Integers beside floats or doubles of the same width.
template <class A>
INLINE typename Row<A>::Mask load_index(const typename Row<A>::Index* p) {
  typename Row<A>::Mask x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

template <class A>
INLINE void store_index(typename Row<A>::Index* p, typename Row<A>::Mask x) {
  std::memcpy(p, &x, sizeof x);
}

template <class T>
void read_row(typename Row<T>::Sum* to, const T* from, int64_t count) {
  int64_t i = 0;
  for (; i + Row<T>::width <= count; i += Row<T>::width)
    Row<typename Row<T>::Sum>::store(to + i, Row<T>::load(from + i));
  for (; i < count; ++i) to[i] = static_cast<typename Row<T>::Sum>(from[i]);
}

template <class T>
void write_row(T* to, const typename Row<T>::Sum* from, int64_t count) {
  int64_t i = 0;
  for (; i + Row<T>::width <= count; i += Row<T>::width)
    Row<T>::store(to + i, Row<typename Row<T>::Sum>::load(from + i));
  for (; i < count; ++i) to[i] = static_cast<T>(from[i]);
}

// Elements [at, at + count) of a tensor of any floating dtype, as what they are summed in.
inline void read_any(float* to, const void* from, microtome::ScalarType dtype, int64_t at,
                     int64_t count) {
  if (dtype == microtome::ScalarType::Float)
    read_row(to, static_cast<const float*>(from) + at, count);
  else if (dtype == microtome::ScalarType::BFloat16)
    read_row(to, static_cast<const microtome::BFloat16*>(from) + at, count);
  else
    read_row(to, static_cast<const microtome::Half*>(from) + at, count);
}

inline void read_any(double* to, const void* from, microtome::ScalarType, int64_t at,
                     int64_t count) {
  read_row(to, static_cast<const double*>(from) + at, count);
}

inline void write_any(void* to, const float* from, microtome::ScalarType dtype, int64_t at,
                      int64_t count) {
  if (dtype == microtome::ScalarType::Float)
    write_row(static_cast<float*>(to) + at, from, count);
  else if (dtype == microtome::ScalarType::BFloat16)
    write_row(static_cast<microtome::BFloat16*>(to) + at, from, count);
  else
    write_row(static_cast<microtome::Half*>(to) + at, from, count);
}

inline void write_any(void* to, const double* from, microtome::ScalarType, int64_t at,
                      int64_t count) {
  write_row(static_cast<double*>(to) + at, from, count);
}

// Sums of two blocks of `half` lanes each: those of a where its first one was, those of b where its
// second one was.
template <class S, int half, class V, size_t... I>
INLINE V fold(V a, V b, std::index_sequence<I...>) {
  constexpr int width = sizeof...(I);
  const typename Row<S>::Mask second = {-int((I & half) != 0)...};
  return (second ? b : a) +
         __builtin_shufflevector(a, b, (int(I) & half ? width + int(I) - half : int(I) + half)...);
}

// One vector for each of its lanes; their sums come in order.
template <class S, int half, class V>
INLINE V fold_all(V* x) {
  constexpr int width = Row<S>::width;
#pragma GCC unroll 8
  for (int i = 0; i < half; ++i)
    x[i] = fold<S, half>(x[i], x[i + half], std::make_index_sequence<width>());
  if constexpr (half > 1) return fold_all<S, half / 2>(x);
  return x[0];
}

// The sums of `width` vectors, which lie one after the other, as one vector.
template <class S>
INLINE typename Row<S>::Vector sums(const S* x) {
  constexpr int width = Row<S>::width;
  typename Row<S>::Vector y[width];
#pragma GCC unroll 16
  for (int i = 0; i < width; ++i) y[i] = Row<S>::load(x + i * width);
  return fold_all<S, width / 2>(y);
}

// e^x to a few units in the last place (Cephes' polynomial); 0 where float has nothing as small,
// nan of nan.
INLINE Floats exponential(Floats x) {
  const Floats clamped = x <= -87.0f ? Floats{} - 87.0f : x;
  const Floats turns = clamped * 1.44269504f + (clamped < 0.0f ? Floats{} - 0.5f : Floats{} + 0.5f);
  const FloatMask power = __builtin_convertvector(turns, FloatMask);  // nearest
  const Floats whole = __builtin_convertvector(power, Floats);
  const Floats r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Floats y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  return x <= -87.0f ? Floats{} : y * (Floats)((power + 127) << 23);
}

INLINE Doubles exponential(Doubles x) {
  for (int i = 0; i < LANES / 2; ++i) x[i] = std::exp(x[i]);
  return x;
}
