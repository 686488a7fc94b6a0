// Which kernels this processor can run.
#include "kernels.h"

namespace skprune {

#if defined(SKPRUNE_X86)

namespace baseline { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> found{&baseline::kernels};
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return found;
    found.push_back(&avx2::kernels);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
        found.push_back(&avx512::kernels);
    }
    return found;
}

#elif defined(SKPRUNE_NEON)

namespace neon { extern const Kernels kernels; }

std::vector<const Kernels*> available_kernels() { return {&neon::kernels}; }

#else

namespace baseline { extern const Kernels kernels; }

std::vector<const Kernels*> available_kernels() { return {&baseline::kernels}; }

#endif

}  // namespace skprune
