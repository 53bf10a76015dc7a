// What every operator's cpu.cpp shares: PyTorch's stable ABI, threads, the choice of instructions.
//
// An operator writes its kernel once, in kernel.h, with the vectors of lanes.h, and in cpu.cpp says
//     #define MICROTOME_KERNEL "deform_attn/kernel.h"
//     #include "../each_isa.h"
// which compiles it for every instruction set of the processor family into a namespace each;
// MICROTOME_CALL picks among them at run time. Kernels write no lambdas: those would be compiled
// for the baseline.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <tuple>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace microtome {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using BFloat16 = torch::headeronly::BFloat16;
using Half = torch::headeronly::Half;

enum class Isa { baseline, avx2, avx512 };

// The best that this processor has, unless ATEN_CPU_CAPABILITY (default, avx2, avx512) asks for
// less, as it does of PyTorch itself.
inline Isa isa() {
  static const Isa chosen = [] {
    Isa best = Isa::baseline;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c"))
      best = Isa::avx2;
    if (best == Isa::avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
      best = Isa::avx512;
    const char* asked = std::getenv("ATEN_CPU_CAPABILITY");
    if (asked && !std::strcmp(asked, "default")) best = Isa::baseline;
    if (asked && !std::strcmp(asked, "avx2")) best = std::min(best, Isa::avx2);
#endif
    return best;
  }();
  return chosen;
}

// Threads as torch has them; `work(begin, end)` on ranges of at least `grain`.
template <class Work>
void parallel(int64_t count, int64_t grain, const Work& work) {
  if (count > 0) torch::stable::parallel_for(0, count, std::max<int64_t>(grain, 1), work);
}

}  // namespace microtome

#if defined(__x86_64__)
#define MICROTOME_CALL(function, ...)                                                    \
  (::microtome::isa() == ::microtome::Isa::avx512 ? avx512::function(__VA_ARGS__)        \
   : ::microtome::isa() == ::microtome::Isa::avx2 ? avx2::function(__VA_ARGS__)          \
                                                  : baseline::function(__VA_ARGS__))
#else
#define MICROTOME_CALL(function, ...) baseline::function(__VA_ARGS__)
#endif
