// Compiles MICROTOME_KERNEL once for each instruction set, in the namespaces avx512, avx2, baseline
// (see native.h). LANES is the number of floats in a vector.
#include "native.h"

#if defined(__clang__)
#define MICROTOME_TARGET_END _Pragma("clang attribute pop")
#else
#define MICROTOME_TARGET_END _Pragma("GCC pop_options")
#endif

#if defined(__x86_64__)

#define LANES 16
#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#endif
namespace avx512 {
#include "lanes.h"
#include MICROTOME_KERNEL
}  // namespace avx512
MICROTOME_TARGET_END
#undef LANES

#define LANES 8
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
namespace avx2 {
#include "lanes.h"
#include MICROTOME_KERNEL
}  // namespace avx2
MICROTOME_TARGET_END
#undef LANES

#endif

#define LANES 4
namespace baseline {
#include "lanes.h"
#include MICROTOME_KERNEL
}  // namespace baseline
#undef LANES
