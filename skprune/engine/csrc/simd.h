// The few vector operations that the kernels are written in.
//
// Compiler vectors rather than intrinsics: one source serves SSE2, AVX2, AVX-512 and NEON, and a
// multiplication followed by an addition becomes a fused one where the processor has it. Intrinsics
// stand where compilers have missed the one instruction that is meant; tests/engine/test_emitted.py
// reads what they emit.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#define SKPRUNE_ALWAYS_INLINE __attribute__((always_inline))  // behind the parameters of a lambda
#define SKPRUNE_INLINE inline SKPRUNE_ALWAYS_INLINE

namespace skprune::SKPRUNE_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

template <int N>
struct VectorOf {
    typedef float Floats __attribute__((vector_size(N * 4)));
    typedef std::int32_t Ints __attribute__((vector_size(N * 4)));
    typedef float Stored __attribute__((vector_size(N * 4), may_alias));
};

// N floats; `Floats` fill the widest register.
template <int N>
using FloatsOf = typename VectorOf<N>::Floats;
using Floats = FloatsOf<kLanes>;

// What a tile of W columns is made of.
template <int W>
using TileFloats = FloatsOf<(W < kLanes ? W : kLanes)>;

template <class F>
constexpr int kLanesOf = sizeof(F) / sizeof(float);
template <class F>
using IntsLike = typename VectorOf<kLanesOf<F>>::Ints;

template <class F>
SKPRUNE_INLINE F load(const float* aligned) {
    return *reinterpret_cast<const typename VectorOf<kLanesOf<F>>::Stored*>(aligned);
}

template <class F>
SKPRUNE_INLINE void store(float* aligned, F x) {
    *reinterpret_cast<typename VectorOf<kLanesOf<F>>::Stored*>(aligned) = x;
}

template <class F, std::size_t... I>
SKPRUNE_INLINE F repeat(float x, std::index_sequence<I...>) {
    return F{(static_cast<void>(I), x)...};
}

template <class F>
SKPRUNE_INLINE F broadcast(float x) {
    return repeat<F>(x, std::make_index_sequence<kLanesOf<F>>());
}

// Four weights, in every quarter of a vector, so that spreading one of them stays in its quarter:
// shuffles across quarters are slow. As a shuffle of compiler vectors, GCC 12 makes the load of
// AVX-512 a store to the stack and a load that has to wait for it, five times slower in all.
template <class F>
SKPRUNE_INLINE F load_weight_quad(const float* aligned) {
#if defined(__AVX512F__)
    if constexpr (kLanesOf<F> == 16) return _mm512_broadcast_f32x4(_mm_load_ps(aligned));
#endif
#if defined(__AVX2__)
    if constexpr (kLanesOf<F> == 8) {
        return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(aligned));
    }
#endif
    if constexpr (kLanesOf<F> == 4) return load<F>(aligned);
}

template <class F, std::size_t E, std::size_t... I>
SKPRUNE_INLINE F repeat_element(F quad, std::index_sequence<I...>) {
    return __builtin_shufflevector(quad, quad, (I / 4 * 4 + E)...);
}

template <std::size_t E, class F>
SKPRUNE_INLINE F broadcast_element(F quad) {
    return repeat_element<F, E>(quad, std::make_index_sequence<kLanesOf<F>>());
}

// A value from an array of any alignment.
template <class T>
SKPRUNE_INLINE T read(const char* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

}  // namespace skprune::SKPRUNE_ISA
