// The sums of a sparse layer, for a tile of rows or for a lone one: non-zeros in a stream, several
// outputs side by side.
//
// What bounds a tile is loads: two a cycle on most processors, as many as multiply-adds, each of
// which needs one for its input. So the rest comes by fours: the weights of a quad in one load, to be
// spread within the register, and where their inputs are in another.
#pragma once

#include "simd.h"
#include "views.h"

namespace skprune::SKPRUNE_ISA {

// Accumulators in flight: enough independent sums to hide the latency of a multiply-add (4 cycles,
// two a cycle), few enough to stay in the 16 registers of SSE and AVX.
constexpr int kChains = 8;

// A tile of W columns: as many vectors a unit as that is, and outputs to make up the accumulators.
template <int W>
struct TileSums {
    using Value = TileFloats<W>;
    static constexpr int kColumns = W < kChains * kLanes ? W : kChains * kLanes;  // at a time
    static constexpr int kVectors = kColumns / kLanesOf<Value>;
    static constexpr int kGroup = kChains / kVectors;
    using Quad = Value;
    static SKPRUNE_INLINE Quad load_quad(const float* weights) {
        return load_weight_quad<Value>(weights);
    }
    template <int E>
    static SKPRUNE_INLINE Value spread(const Quad& quad) { return broadcast_element<E>(quad); }
    static SKPRUNE_INLINE std::size_t bytes(std::size_t offset) { return offset * kOffsetUnit; }
    static SKPRUNE_INLINE Value value(const float* x, int v) {
        return load<Value>(x + v * kLanesOf<Value>);
    }
};

// A lone row reads the stream of one shape, as scalars.
constexpr int kRowShape = 2;
struct RowSums {
    using Value = float;
    static constexpr int kVectors = 1;
    static constexpr int kGroup = TileSums<kWidths[kRowShape]>::kGroup;
    struct Quad { const float* weights; };
    static SKPRUNE_INLINE Quad load_quad(const float* weights) { return {weights}; }
    template <int E>
    static SKPRUNE_INLINE float spread(const Quad& quad) { return quad.weights[E]; }
    static SKPRUNE_INLINE std::size_t bytes(std::size_t offset) {
        return offset * kOffsetUnit / kWidths[kRowShape];
    }
    static SKPRUNE_INLINE float value(const float* x, int) { return *x; }
};

// The offsets of four inputs, in one load or two; element E of them.
struct ShortOffsets {
    std::uint64_t four;
    explicit SKPRUNE_INLINE ShortOffsets(const std::uint16_t* p) { std::memcpy(&four, p, 8); }
    template <int E>
    SKPRUNE_INLINE std::size_t get() const { return static_cast<std::uint16_t>(four >> (16 * E)); }
};
struct LongOffsets {
    std::uint64_t two[2];
    explicit SKPRUNE_INLINE LongOffsets(const std::uint32_t* p) { std::memcpy(two, p, 16); }
    template <int E>
    SKPRUNE_INLINE std::size_t get() const {
        return static_cast<std::uint32_t>(two[E / 2] >> (32 * (E % 2)));
    }
};
SKPRUNE_INLINE ShortOffsets load_offsets(const std::uint16_t* p) { return ShortOffsets(p); }
SKPRUNE_INLINE LongOffsets load_offsets(const std::uint32_t* p) { return LongOffsets(p); }

template <class Sums, int E, int kFirst, class Quad, class Offsets>
SKPRUNE_INLINE void add_slot(const Quad& quad, const Offsets& offsets, const float* in,
                             typename Sums::Value (&sums)[Sums::kGroup][Sums::kVectors]) {
    constexpr int k = (kFirst + E) % Sums::kGroup;
    const typename Sums::Value weight = Sums::template spread<E>(quad);
    const std::size_t offset = Sums::bytes(offsets.template get<E>());
    const float* x = reinterpret_cast<const float*>(reinterpret_cast<const char*>(in) + offset);
#pragma GCC unroll 8
    for (int v = 0; v < Sums::kVectors; ++v) sums[k][v] += weight * Sums::value(x, v);
}

template <class Sums, int kFirst, class Offset>
SKPRUNE_INLINE void add_quad(const float* weights, const Offset* offsets_of_slots, const float* in,
                             typename Sums::Value (&sums)[Sums::kGroup][Sums::kVectors]) {
    const typename Sums::Quad quad = Sums::load_quad(weights + kFirst);
    const auto offsets = load_offsets(offsets_of_slots + kFirst);
    add_slot<Sums, 0, kFirst>(quad, offsets, in, sums);
    add_slot<Sums, 1, kFirst>(quad, offsets, in, sums);
    add_slot<Sums, 2, kFirst>(quad, offsets, in, sums);
    add_slot<Sums, 3, kFirst>(quad, offsets, in, sums);
}

// Sums all outputs of a stream, each over its inputs in order. `start` makes the sums of an output,
// `done` takes those of a group and the numbers of its outputs.
template <class Sums, class Offset, class Start, class Done>
SKPRUNE_INLINE void sum_stream(const Stream& stream, const Offset* offsets_of_slots, const float* in,
                               const Start& start, const Done& done) {
    constexpr int K = Sums::kGroup;
    constexpr int kSlots = K < kQuad ? kQuad : K;
    const float* weights = stream.weights;
    for (std::int64_t g = 0; g < stream.n_groups; ++g) {
        const std::uint32_t* outputs = stream.outputs + g * K;
        typename Sums::Value sums[K][Sums::kVectors];
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) start(outputs[k], sums[k]);
        const std::int64_t end = stream.starts[g + 1];
        for (std::int64_t i = stream.starts[g]; i < end; i += kSlots) {
            add_quad<Sums, 0>(weights + i, offsets_of_slots + i, in, sums);
            if constexpr (kSlots > kQuad) add_quad<Sums, kQuad>(weights + i, offsets_of_slots + i, in, sums);
        }
        done(sums, outputs);
    }
}

}  // namespace skprune::SKPRUNE_ISA
