// The few vector operations that the kernels are written in.
//
// Compiler vectors rather than intrinsics: one source serves SSE2, AVX2, AVX-512 and NEON, and a
// multiplication followed by an addition becomes a fused one where the processor has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#define SKPRUNE_INLINE inline __attribute__((always_inline))

namespace skprune::SKPRUNE_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Floats __attribute__((vector_size(kLanes * 4), may_alias));
typedef std::int32_t Ints __attribute__((vector_size(kLanes * 4), may_alias));
typedef float LooseFloats __attribute__((vector_size(kLanes * 4), aligned(1), may_alias));

SKPRUNE_INLINE Floats load(const float* aligned) {
    return *reinterpret_cast<const Floats*>(aligned);
}

SKPRUNE_INLINE void store(float* aligned, Floats x) { *reinterpret_cast<Floats*>(aligned) = x; }

SKPRUNE_INLINE Floats load_anywhere(const void* p) {
    return *static_cast<const LooseFloats*>(p);
}

template <std::size_t... I>
SKPRUNE_INLINE Floats repeat(float x, std::index_sequence<I...>) {
    return Floats{(static_cast<void>(I), x)...};
}

SKPRUNE_INLINE Floats broadcast(float x) { return repeat(x, std::make_index_sequence<kLanes>()); }

// Four weights, in every quarter of a vector, so that spreading one of them stays in its quarter:
// shuffles across quarters are slow.
typedef float Quarter __attribute__((vector_size(16), may_alias));
typedef Floats WeightQuad;

template <std::size_t... I>
SKPRUNE_INLINE Floats repeat_quarter(Quarter x, std::index_sequence<I...>) {
    return __builtin_shufflevector(x, x, (I % 4)...);
}

SKPRUNE_INLINE WeightQuad load_weight_quad(const float* aligned) {
    return repeat_quarter(*reinterpret_cast<const Quarter*>(aligned),
                          std::make_index_sequence<kLanes>());
}

template <std::size_t E, std::size_t... I>
SKPRUNE_INLINE Floats repeat_element(WeightQuad x, std::index_sequence<I...>) {
    return __builtin_shufflevector(x, x, (I / 4 * 4 + E)...);
}

template <std::size_t E>
SKPRUNE_INLINE Floats broadcast_element(WeightQuad x) {
    return repeat_element<E>(x, std::make_index_sequence<kLanes>());
}

// A value from an array of any alignment.
template <class T>
SKPRUNE_INLINE T read(const char* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

SKPRUNE_INLINE bool any_nan(Floats x) {
    bool found = false;
    for (int i = 0; i < kLanes; ++i) found |= x[i] != x[i];
    return found;
}

}  // namespace skprune::SKPRUNE_ISA
