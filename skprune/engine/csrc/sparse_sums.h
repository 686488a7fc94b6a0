// The sums of a sparse layer, for a tile of rows or for a lone one: non-zeros in a stream, several
// outputs side by side.
#pragma once

#include "simd.h"
#include "views.h"

namespace skprune::SKPRUNE_ISA {

// Accumulators in flight: enough independent sums to hide the latency of a multiply-add (4 cycles,
// two a cycle), few enough to stay in the 16 registers of SSE and AVX.
constexpr int kChains = 8;

// The values of one unit, as many vectors as a tile of W columns has ...
template <int W>
struct TileLine {
    using Value = Floats;
    static constexpr int kValues = W / kLanes;
    static constexpr int kOutputs = kChains > kValues ? kChains / kValues : 1;
    static constexpr int kScale = kTile / W;
    static SKPRUNE_INLINE Floats repeat(float x) { return broadcast(x); }
    static SKPRUNE_INLINE Floats value(const float* x, int v) { return load(x + v * kLanes); }
};

// ... or the one number of a lone row. Four outputs: eight streams would need too many pointers.
struct RowLine {
    using Value = float;
    static constexpr int kValues = 1;
    static constexpr int kOutputs = 4;
    static constexpr int kScale = kTile;
    static SKPRUNE_INLINE float repeat(float x) { return x; }
    static SKPRUNE_INLINE float value(const float* x, int) { return *x; }
};

// Adds to K outputs their terms. `left` falls from the first output to the last, so all have as
// many in common as the last has; what remains is shared by half of them, and so on.
template <class Shape, int K>
SKPRUNE_INLINE void add_terms(const Term** terms, std::int64_t* left, const float* in,
                              typename Shape::Value (*sums)[Shape::kValues]) {
    const std::int64_t common = left[K - 1];
    for (std::int64_t i = 0; i < common; ++i) {
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) {
            const Term term = terms[k][i];
            const typename Shape::Value weight = Shape::repeat(term.weight);
            const float* x = in + term.at / Shape::kScale;
#pragma GCC unroll 8
            for (int v = 0; v < Shape::kValues; ++v) sums[k][v] += weight * Shape::value(x, v);
        }
    }
    if constexpr (K > 1) {
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) {
            terms[k] += common;
            left[k] -= common;
        }
        if (left[0] > 0) {
            add_terms<Shape, K / 2>(terms, left, in, sums);
            add_terms<Shape, K / 2>(terms + K / 2, left + K / 2, in, sums + K / 2);
        }
    }
}

// Sums the outputs from `o` on, bias first, in groups of K, then what is left in smaller groups.
// `done` takes the sums of a group and the numbers of its outputs.
template <class Shape, int K, class Done>
void sum_outputs(const LayerView& layer, std::int64_t o, const float* in, const Done& done) {
    for (; o + K <= layer.n_out; o += K) {
        const std::uint32_t* outputs = layer.term_outputs + o;
        const Term* terms[K];
        std::int64_t left[K];
        typename Shape::Value sums[K][Shape::kValues];
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) {
            terms[k] = layer.terms + layer.term_starts[o + k];
            left[k] = layer.term_starts[o + k + 1] - layer.term_starts[o + k];
#pragma GCC unroll 8
            for (int v = 0; v < Shape::kValues; ++v) {
                sums[k][v] = Shape::repeat(layer.bias[outputs[k]]);
            }
        }
        add_terms<Shape, K>(terms, left, in, sums);
        done(sums, outputs);
    }
    if constexpr (K > 1) {
        if (o < layer.n_out) sum_outputs<Shape, K / 2>(layer, o, in, done);
    }
}

template <class Shape, class Done>
void sum_sparse(const LayerView& layer, const float* in, const Done& done) {
    sum_outputs<Shape, Shape::kOutputs>(layer, 0, in, done);
}

}  // namespace skprune::SKPRUNE_ISA
